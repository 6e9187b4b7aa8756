/* child.c: starts child processes and watches them through pidfds. Between fork and exec only calls
 * that are safe in a process with threads are made: everything that needs memory is prepared
 * before.
 */
#include "common/loop/child.h"

#include "common/base/lp_mem.h"
#include "common/base/lp_util.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define DEFAULT_PATH      "/usr/local/bin:/usr/bin:/bin"
#define FIRST_FREE_FD     3
#define CLOSE_BY_HAND_MAX 65536

/* The steps of a child before its program runs, for messages. */
enum step {
	STEP_DEATH_SIGNAL,
	STEP_DESCRIPTORS,
	STEP_DIRECTORY,
	STEP_LIMIT,
	STEP_EXEC,
	STEP_COUNT_,
};

static const char *const step_names[STEP_COUNT_] = {
	[STEP_DEATH_SIGNAL] = "tie the child to its parent",
	[STEP_DESCRIPTORS] = "set up the child's descriptors",
	[STEP_DIRECTORY] = "enter the child's directory",
	[STEP_LIMIT] = "set the child's descriptor limit",
	[STEP_EXEC] = "run",
};

/* What the child writes into the report pipe when it cannot get to its program. */
struct report {
	int step;
	int code;
};

/* Everything the child needs, made before the fork. candidates: the paths to try, in order.
 * shell_argv: {"/bin/sh", <candidate>, arguments…} for scripts without an interpreter line. */
struct plan {
	const struct lp_spawn *spec;
	char **candidates;
	size_t n_candidates;
	const char **shell_argv;
	int null_fd;
	int report_fd;
	pid_t parent;
};

static const char *env_path(const char *const *envp)
{
	for (; envp && *envp; envp++) {
		if (strncmp(*envp, "PATH=", 5) == 0)
			return *envp + 5;
	}
	return DEFAULT_PATH;
}

static void plan_add(struct plan *p, size_t *cap, char *candidate)
{
	lp_grow(&p->candidates, cap, p->n_candidates + 1, sizeof(*p->candidates));
	p->candidates[p->n_candidates++] = candidate;
}

/* An empty component of PATH is the current directory, as in execvp(3). */
static void plan_candidates(struct plan *p)
{
	const char *name = p->spec->argv[0];
	const char *dir = env_path(p->spec->envp);
	size_t cap = 0;

	if (strchr(name, '/') || name[0] == '\0') {
		plan_add(p, &cap, lp_xstrdup(name));
		return;
	}
	for (;;) {
		size_t len = strcspn(dir, ":");

		plan_add(p, &cap,
			 len == 0 ? lp_xasprintf("./%s", name)
				  : lp_xasprintf("%.*s/%s", (int)len, dir, name));
		if (dir[len] == '\0')
			return;
		dir += len + 1;
	}
}

static void plan_shell(struct plan *p)
{
	size_t n = 0;

	while (p->spec->argv[n])
		n++;
	p->shell_argv = lp_xcalloc(n + 2, sizeof(*p->shell_argv));
	p->shell_argv[0] = "/bin/sh";
	for (size_t i = 1; i < n; i++)
		p->shell_argv[i + 1] = p->spec->argv[i];
}

static void plan_finish(struct plan *p)
{
	for (size_t i = 0; i < p->n_candidates; i++)
		free(p->candidates[i]);
	free(p->candidates);
	free(p->shell_argv);
	lp_auto_close(&p->null_fd);
	lp_auto_close(&p->report_fd);
}

static _Noreturn void child_fail(const struct plan *p, enum step step, int code)
{
	struct report report = {.step = (int)step, .code = code};
	ssize_t n = write(p->report_fd, &report, sizeof(report));

	_exit(n == (ssize_t)sizeof(report) ? 127 : 126);
}

static void child_signals_reset(void)
{
	struct sigaction dfl;

	memset(&dfl, 0, sizeof(dfl));
	dfl.sa_handler = SIG_DFL;
	for (int signo = 1; signo < NSIG; signo++)
		(void)sigaction(signo, &dfl, NULL);
}

/* Marks every descriptor from 3 on to be closed by exec; by hand where the kernel cannot. */
static void child_close_others(void)
{
	struct rlimit limit = {.rlim_cur = CLOSE_BY_HAND_MAX, .rlim_max = CLOSE_BY_HAND_MAX};

	if (close_range(FIRST_FREE_FD, UINT_MAX, CLOSE_RANGE_CLOEXEC) == 0)
		return;
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur > CLOSE_BY_HAND_MAX)
		limit.rlim_cur = CLOSE_BY_HAND_MAX;
	for (int fd = FIRST_FREE_FD; fd < (int)limit.rlim_cur; fd++)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static int child_descriptors(const struct plan *p)
{
	const int wanted[FIRST_FREE_FD] = {-1, p->spec->out_fd, p->spec->err_fd};
	int from[FIRST_FREE_FD];

	/* Copies above the standard numbers first: what is given may be one of those itself. */
	for (int i = 0; i < FIRST_FREE_FD; i++) {
		from[i] = fcntl(wanted[i] >= 0 ? wanted[i] : p->null_fd, F_DUPFD_CLOEXEC,
				FIRST_FREE_FD);
		if (from[i] < 0)
			return errno;
	}
	for (int i = 0; i < FIRST_FREE_FD; i++) {
		if (dup2(from[i], i) < 0)
			return errno;
	}
	child_close_others();
	if (p->spec->keep_fd >= 0 && fcntl(p->spec->keep_fd, F_SETFD, 0) < 0)
		return errno;
	return 0;
}

static int child_limit(uint64_t nofile)
{
	struct rlimit limit;

	if (nofile == 0)
		return 0;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return errno;
	limit.rlim_cur = nofile < limit.rlim_max ? (rlim_t)nofile : limit.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? errno : 0;
}

static char *const *exec_list(const char *const *list)
{
	union {
		const char *const *in;
		char *const *out;
	} u = {.in = list};

	return u.out;
}

/* Tries the candidates as execvp(3) does: what is not there or not allowed is passed over, and "not
 * allowed" is remembered. Returns the errno to report. */
static int child_exec(const struct plan *p)
{
	int code = ENOENT;

	for (size_t i = 0; i < p->n_candidates; i++) {
		(void)execve(p->candidates[i], exec_list(p->spec->argv), exec_list(p->spec->envp));
		if (errno == ENOEXEC) {
			p->shell_argv[1] = p->candidates[i];
			(void)execve("/bin/sh", exec_list(p->shell_argv), exec_list(p->spec->envp));
		}
		if (errno == EACCES)
			code = EACCES;
		else if (errno != ENOENT && errno != ENOTDIR)
			return errno;
	}
	return code;
}

static _Noreturn void child_main(const struct plan *p)
{
	const struct lp_spawn *spec = p->spec;
	sigset_t none;
	int e;

	(void)setpgid(0, 0);
	if (spec->die_with_parent) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
			child_fail(p, STEP_DEATH_SIGNAL, errno);
		if (getppid() != p->parent)
			_exit(127);
	}
	child_signals_reset();
	if ((e = child_descriptors(p)) != 0)
		child_fail(p, STEP_DESCRIPTORS, e);
	if (spec->cwd_fd >= 0 && fchdir(spec->cwd_fd) < 0)
		child_fail(p, STEP_DIRECTORY, errno);
	if ((e = child_limit(spec->nofile)) != 0)
		child_fail(p, STEP_LIMIT, e);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	child_fail(p, STEP_EXEC, child_exec(p));
}

/* Forks with all signals blocked, so that no handler of ours runs in the child. */
static pid_t fork_quietly(const struct plan *p)
{
	sigset_t all, before;
	pid_t pid;
	int e;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		child_main(p);
	e = errno;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = e;
	return pid;
}

static int say_failed(const struct plan *p, const struct report *report, struct lp_err *err)
{
	const char *name = p->spec->argv[0];
	bool known_step = report->step >= 0 && report->step < STEP_COUNT_;

	if (report->step != STEP_EXEC)
		return lp_err_set(err, report->code, "cannot %s for '%s'",
				  known_step ? step_names[report->step] : "start it", name);
	if (report->code == ENOENT && !strchr(name, '/'))
		return lp_err_say(err, ENOENT, "command '%s' not found in PATH (%s)", name,
				  env_path(p->spec->envp));
	if (report->code == ENOENT)
		return lp_err_say(err, ENOENT,
				  "cannot run '%s': no such file, or the interpreter in its first "
				  "line is missing",
				  name);
	if (report->code == EACCES)
		return lp_err_say(err, EACCES,
				  "cannot run '%s': not an executable file (chmod +x?)", name);
	return lp_err_set(err, report->code, "cannot run '%s'", name);
}

static void kill_and_reap(pid_t pid)
{
	(void)kill(-pid, SIGKILL);
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
}

/* Waits until the child runs its program (the pipe closes) or says why it cannot. */
static int await_exec(const struct plan *p, int report_fd, pid_t pid, struct lp_err *err)
{
	struct report report;
	ssize_t n;

	do {
		n = read(report_fd, &report, sizeof(report));
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return 0;
	kill_and_reap(pid);
	if (n != (ssize_t)sizeof(report))
		return lp_err_say(err, EIO, "cannot learn whether '%s' started", p->spec->argv[0]);
	return say_failed(p, &report, err);
}

static int wait_status(const siginfo_t *info)
{
	switch (info->si_code) {
	case CLD_EXITED:
		return (info->si_status & 0xff) << 8;
	case CLD_DUMPED:
		return info->si_status | WCOREFLAG;
	default:
		return info->si_status;
	}
}

static void on_pidfd(struct lp_fd_src *src, uint32_t ready)
{
	struct lp_child *child = LP_CONTAINER_OF(src, struct lp_child, pidfd);
	pid_t pid = child->pid;
	siginfo_t info;
	int status;

	(void)ready;
	memset(&info, 0, sizeof(info));
	if (waitid(P_PIDFD, (id_t)src->fd, &info, WEXITED | WNOHANG) < 0) {
		if (errno != ECHILD)
			return;
		status = 255 << 8; /* somebody else reaped it: how it ended is lost */
	} else if (info.si_pid == 0) {
		return;
	} else {
		status = wait_status(&info);
	}
	lp_loop_fd_remove(src);
	lp_auto_close(&src->fd);
	src->fd = -1;
	child->on_exit(child, status);
	if (child->pid == pid)
		child->pid = 0;
}

static int watch(struct lp_loop *loop, struct lp_child *child, pid_t pid, struct lp_err *err)
{
	int r;

	child->pidfd = (struct lp_fd_src){.events = EPOLLIN, .on_ready = on_pidfd};
	child->pidfd.fd = pidfd_open(pid, 0);
	if (child->pidfd.fd < 0)
		return lp_err_set(err, errno, "watch process %d", (int)pid);
	r = lp_loop_fd_add(loop, &child->pidfd, err);
	if (r < 0) {
		lp_auto_close(&child->pidfd.fd);
		child->pidfd.fd = -1;
		return r;
	}
	child->pid = pid;
	return 0;
}

static int spawn_planned(struct lp_loop *loop, struct lp_child *child, struct plan *p,
			 struct lp_err *err)
{
	LP_AUTO_CLOSE int report_fd = -1;
	int ends[2];
	pid_t pid;
	int r;

	p->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (p->null_fd < 0)
		return lp_err_set(err, errno, "open /dev/null");
	if (pipe2(ends, O_CLOEXEC) < 0)
		return lp_err_set(err, errno, "make a pipe for '%s'", p->spec->argv[0]);
	report_fd = ends[0];
	/* Above the standard numbers, which the child fills anew. */
	p->report_fd = fcntl(ends[1], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
	lp_auto_close(&ends[1]);
	if (p->report_fd < 0)
		return lp_err_set(err, errno, "make a pipe for '%s'", p->spec->argv[0]);
	pid = fork_quietly(p);
	if (pid < 0)
		return lp_err_set(err, errno, "make a process for '%s'", p->spec->argv[0]);
	(void)setpgid(pid, pid); /* both do it, so that neither has to wait for the other */
	lp_auto_close(&p->report_fd);
	p->report_fd = -1;
	r = await_exec(p, report_fd, pid, err);
	if (r < 0)
		return r;
	r = watch(loop, child, pid, err);
	if (r < 0)
		kill_and_reap(pid);
	return r;
}

int lp_child_spawn(struct lp_loop *loop, struct lp_child *child, const struct lp_spawn *spec,
		   struct lp_err *err)
{
	struct plan p = {.spec = spec, .null_fd = -1, .report_fd = -1, .parent = getpid()};
	int r;

	child->pid = 0;
	child->pidfd = (struct lp_fd_src){.fd = -1};
	if (!spec->argv || !spec->argv[0])
		return lp_err_say(err, EINVAL, "cannot start a process: the command is empty");
	if (spec->keep_fd >= 0 && spec->keep_fd < FIRST_FREE_FD)
		return lp_err_say(err, EINVAL, "descriptor %d cannot be kept: it is a standard one",
				  spec->keep_fd);
	plan_candidates(&p);
	plan_shell(&p);
	r = spawn_planned(loop, child, &p, err);
	plan_finish(&p);
	return r;
}

int lp_child_signal(const struct lp_child *child, int signo)
{
	if (child->pid <= 0)
		return -ESRCH;
	return kill(-child->pid, signo) < 0 ? -errno : 0;
}

void lp_child_forget(struct lp_child *child)
{
	if (child->pid == 0)
		return;
	lp_loop_fd_remove(&child->pidfd);
	if (child->pidfd.fd >= 0)
		lp_auto_close(&child->pidfd.fd);
	child->pidfd.fd = -1;
	child->pid = 0;
}

void lp_child_status_text(int status, char *out, size_t out_bytes)
{
	const char *name, *text;
	int signo;

	if (!WIFSIGNALED(status)) {
		(void)snprintf(out, out_bytes, "exited with status %d", WEXITSTATUS(status));
		return;
	}
	signo = WTERMSIG(status);
	name = sigabbrev_np(signo);
	text = sigdescr_np(signo);
	if (name && text)
		(void)snprintf(out, out_bytes, "was killed by SIG%s (%s)", name, text);
	else
		(void)snprintf(out, out_bytes, "was killed by signal %d", signo);
}
