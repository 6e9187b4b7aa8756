/* controller/sup_proc.c: process groups with their output.
 *
 * How the end of a group is seen: its leader is reaped through its pidfd; from then on the group is
 * polled (1 ms, doubling to 50 ms): its members that were reparented to us, a child subreaper, are
 * reaped with waitid(P_PGID), and kill(-pgid, 0) says ESRCH when nobody is left. The number of a
 * group is not given out again while it has members, and the kernel hands out numbers in turn, so
 * between two polls it cannot come to mean somebody else. */
#include "controller/sup_proc.h"

#include "common/base/lp_clock.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>

#define READ_BYTES       16384
#define READS_PER_EVENT  4
#define READS_AT_THE_END 256 /* 4 MiB: more than a pipe holds, but an end for what never stops */
#define POLL_FIRST_US    1000u
#define POLL_MAX_US      50000u
#define FINISH_WAIT_MS   1000
#define US_PER_MS        1000u

static void close_pipe(struct lp_proc_pipe *pipe)
{
	lp_loop_fd_remove(&pipe->src);
	if (pipe->src.fd >= 0)
		lp_auto_close(&pipe->src.fd);
	pipe->src.fd = -1;
}

/* Delivers at most `reads` pieces of output. */
static void read_pipe(struct lp_proc_pipe *pipe, int reads)
{
	struct lp_proc *proc = pipe->proc;
	char data[READ_BYTES];

	while (reads-- > 0 && pipe->src.fd >= 0) {
		ssize_t n = read(pipe->src.fd, data, sizeof(data));

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			close_pipe(pipe);
			return;
		}
		lp_excerpt_add(&proc->excerpt, data, (size_t)n);
		proc->ops->on_output(proc, pipe->stream, data, (size_t)n);
	}
}

static void on_pipe(struct lp_fd_src *src, uint32_t ready)
{
	(void)ready;
	read_pipe(LP_CONTAINER_OF(src, struct lp_proc_pipe, src), READS_PER_EVENT);
}

static void read_the_rest(struct lp_proc *proc)
{
	for (size_t i = 0; i < LP_COUNT_OF(proc->pipes); i++)
		read_pipe(&proc->pipes[i], READS_AT_THE_END);
}

static bool group_is_empty(const struct lp_proc *proc)
{
	siginfo_t info;

	do {
		info.si_pid = 0;
	} while (waitid(P_PGID, (id_t)proc->pgid, &info, WEXITED | WNOHANG) == 0 &&
		 info.si_pid != 0);
	if (kill(-proc->pgid, 0) == 0)
		return false;
	/* EPERM: only members that changed their user are left; KILL does not reach them either. */
	return errno == ESRCH || proc->stage == LP_PROC_KILLED;
}

static void signal_group(const struct lp_proc *proc, int signo)
{
	if (proc->pgid > 0)
		(void)kill(-proc->pgid, signo);
}

static void gone(struct lp_proc *proc)
{
	read_the_rest(proc);
	for (size_t i = 0; i < LP_COUNT_OF(proc->pipes); i++)
		close_pipe(&proc->pipes[i]);
	lp_timer_clear(&proc->timer);
	proc->pgid = 0;
	proc->stage = LP_PROC_GONE;
	proc->ops->on_gone(proc);
}

static void set_timer(struct lp_proc *proc)
{
	uint64_t due_us = UINT64_MAX;

	if (proc->exited) {
		due_us = lp_now_us() + proc->poll_us;
		proc->poll_us = proc->poll_us * 2 < POLL_MAX_US ? proc->poll_us * 2 : POLL_MAX_US;
	}
	if (proc->stage == LP_PROC_TERMED && proc->kill_at_us < due_us)
		due_us = proc->kill_at_us;
	if (due_us != UINT64_MAX)
		lp_timer_set(proc->loop, &proc->timer, due_us);
}

static void on_timer(struct lp_timer *timer)
{
	struct lp_proc *proc = LP_CONTAINER_OF(timer, struct lp_proc, timer);

	if (proc->exited && group_is_empty(proc)) {
		gone(proc);
		return;
	}
	if (proc->stage == LP_PROC_TERMED && lp_now_us() >= proc->kill_at_us) {
		lp_proc_kill(proc);
		proc->ops->on_killed(proc);
		return;
	}
	set_timer(proc);
}

static void on_exit_of_leader(struct lp_child *child, int status)
{
	struct lp_proc *proc = LP_CONTAINER_OF(child, struct lp_proc, child);

	proc->exited = true;
	proc->poll_us = POLL_FIRST_US;
	read_the_rest(proc);
	proc->ops->on_exit(proc, status);
	if (group_is_empty(proc)) {
		gone(proc);
		return;
	}
	lp_proc_end(proc);
	set_timer(proc);
}

static int make_pipe(struct lp_proc_pipe *pipe, struct lp_proc *proc, enum lp_sup_stream stream,
		     int *out_write_fd, struct lp_err *err)
{
	int ends[2];
	int r;

	*pipe = (struct lp_proc_pipe){.proc = proc, .stream = stream};
	pipe->src = (struct lp_fd_src){.fd = -1, .events = EPOLLIN, .on_ready = on_pipe};
	if (pipe2(ends, O_CLOEXEC) < 0)
		return lp_err_set(err, errno, "make a pipe for the output");
	pipe->src.fd = ends[0];
	*out_write_fd = ends[1];
	/* Only this end: the app's own end stays as programs expect it. */
	if (fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
		return lp_err_set(err, errno, "make a pipe for the output");
	r = lp_loop_fd_add(proc->loop, &pipe->src, err);
	return r;
}

int lp_proc_start(struct lp_proc *proc, const struct lp_spawn *spec, struct lp_err *err)
{
	LP_AUTO_CLOSE int out_fd = -1;
	LP_AUTO_CLOSE int err_fd = -1;
	struct lp_spawn with_pipes = *spec;
	int r;

	proc->timer.on_fire = on_timer;
	proc->child.on_exit = on_exit_of_leader;
	proc->pipes[1].src.fd = -1;
	r = make_pipe(&proc->pipes[0], proc, LP_STREAM_STDOUT, &out_fd, err);
	if (r == 0)
		r = make_pipe(&proc->pipes[1], proc, LP_STREAM_STDERR, &err_fd, err);
	if (r == 0) {
		with_pipes.out_fd = out_fd;
		with_pipes.err_fd = err_fd;
		r = lp_child_spawn(proc->loop, &proc->child, &with_pipes, err);
	}
	if (r < 0) {
		close_pipe(&proc->pipes[0]);
		close_pipe(&proc->pipes[1]);
		return r;
	}
	proc->pgid = proc->child.pid;
	proc->stage = LP_PROC_RUNNING;
	return 0;
}

void lp_proc_end(struct lp_proc *proc)
{
	if (proc->stage != LP_PROC_RUNNING)
		return;
	proc->stage = LP_PROC_TERMED;
	proc->kill_at_us = lp_now_us() + (uint64_t)proc->grace_ms * US_PER_MS;
	signal_group(proc, SIGTERM);
	signal_group(proc, SIGCONT); /* what is stopped cannot hear the TERM */
	set_timer(proc);
}

void lp_proc_kill(struct lp_proc *proc)
{
	if (proc->stage != LP_PROC_RUNNING && proc->stage != LP_PROC_TERMED)
		return;
	proc->stage = LP_PROC_KILLED;
	signal_group(proc, SIGKILL);
	lp_timer_clear(&proc->timer);
	set_timer(proc);
}

int lp_proc_signal_leader(const struct lp_proc *proc, int signo)
{
	if (proc->child.pid <= 0)
		return -ESRCH;
	return kill(proc->child.pid, signo) < 0 ? -errno : 0;
}

/* Reaps the leader that was just killed, so that it does not stay behind as a zombie. */
static void await_killed(const struct lp_proc *proc)
{
	struct pollfd pfd = {.fd = proc->child.pidfd.fd, .events = POLLIN};

	if (proc->child.pid > 0 && pfd.fd >= 0 && poll(&pfd, 1, FINISH_WAIT_MS) > 0)
		(void)waitpid(proc->child.pid, NULL, WNOHANG);
}

void lp_proc_finish(struct lp_proc *proc)
{
	if (proc->stage == LP_PROC_NONE)
		return;
	if (proc->stage != LP_PROC_GONE) {
		signal_group(proc, SIGKILL);
		await_killed(proc);
		(void)group_is_empty(proc); /* for its reaping */
	}
	lp_child_forget(&proc->child);
	lp_timer_clear(&proc->timer);
	for (size_t i = 0; i < LP_COUNT_OF(proc->pipes); i++)
		close_pipe(&proc->pipes[i]);
	proc->stage = LP_PROC_GONE;
}
