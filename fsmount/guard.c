/* fsmount/guard.c: the guard process; see guard.h. Between fork and its end the child makes only
 * async-signal-safe calls and system calls: this process may have threads that hold locks. */
#include "fsmount/guard.h"

#include "fsmount/attach.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	/* The threads of a process that was killed are gone after so long, unless one of them waits
	 * for an answer of its own mount: that none of them will give any more. */
	DYING_MS = 1000,
};

/* What the child needs, prepared before the fork. */
struct plan {
	const char *mountpoint;
	pid_t parent;
	char *const *argv; /* of fusermount; argv[0] NULL: there is none */
	char *const *envp;
	int fd;
};

/* The mount is taken by a descriptor of this number, so that it is surely the one looked at that is
 * detached, and not one that somebody has put there since. */
#define MOUNT_FD      3
#define MOUNT_FD_PATH "/proc/self/fd/3"

/* Whether a FUSE mount without a server is there; then MOUNT_FD is its root. A mount of somebody
 * else answers, and is left alone. While the threads of the dead process are still going away the
 * call waits for them. */
static bool find_dead_mount(const char *mountpoint)
{
	int fd = open(mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statfs sf;

	if (fd < 0 || (fd != MOUNT_FD && dup2(fd, MOUNT_FD) < 0))
		return false;
	return fstatfs(MOUNT_FD, &sf) < 0 && (errno == ENOTCONN || errno == ECONNABORTED);
}

/* Those that wait to be delivered are dropped, by being ignored for a moment: one of them tells of
 * the parent's end, and would be ours before fusermount runs. */
static void reset_signals(void)
{
	const struct sigaction ignored = {.sa_handler = SIG_IGN};
	const struct sigaction by_default = {.sa_handler = SIG_DFL};
	sigset_t none;

	(void)prctl(PR_SET_PDEATHSIG, 0UL);
	for (int signo = 1; signo <= SIGRTMAX; signo++) {
		(void)sigaction(signo, &ignored, NULL);
		(void)sigaction(signo, &by_default, NULL);
	}
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Whether the first thread of the process has ended, with others left. */
static bool is_dying(pid_t pid)
{
	char path[32];
	char text[512];
	const char *state;
	ssize_t len;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) /* what is gone has no others left; of what cannot be seen nothing is known */
		return false;
	len = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	text[len < 0 ? 0 : len] = '\0';
	state = strrchr(text, ')'); /* behind the name, which may hold anything */
	return state != NULL && state[1] != '\0' && (state[2] == 'Z' || state[2] == 'X');
}

/* Ends the session of the mount, so that nobody waits for its answers any more: neither the threads
 * of the process that gave them, without which it could not end, nor others. */
static void abort_session(const char *mountpoint, dev_t dev)
{
	char path[64];
	int fd;

	if (dev == 0 || lp_attach_dev(mountpoint) != dev)
		return;
	if (umount2(mountpoint, MNT_FORCE | UMOUNT_NOFOLLOW) == 0 || errno != EPERM)
		return;
	(void)snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", minor(dev));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, "1", 1);
	(void)close(fd);
}

/* Waits for the end of the parent, on whose descriptor it is told the device of the mount.
 * signal_fd tells that the thread that forked us is about to end, or that somebody wants us to end:
 * a while later it is seen which. Returns false when the parent dismisses us. */
static bool wait_for_end(const struct plan *plan, int signal_fd)
{
	struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
				{.fd = signal_fd, .events = POLLIN}};
	struct signalfd_siginfo info;
	int wait_ms = -1;
	dev_t dev = 0;
	dev_t told;

	for (;;) {
		int n = poll(fds, 2, wait_ms);

		if (n == 0) {
			if (is_dying(plan->parent))
				abort_session(plan->mountpoint, dev);
			wait_ms = -1;
		} else if (n > 0 && fds[0].revents != 0) {
			ssize_t len = read(STDIN_FILENO, &told, sizeof(told));

			if (len != sizeof(told))
				return len == 0;
			dev = told;
		} else if (n > 0 && read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
			wait_ms = DYING_MS;
		}
	}
}

/* The life of the child. Every signal is blocked, from before the fork until fusermount runs. */
static void __attribute__((noreturn)) guard(const struct plan *plan)
{
	sigset_t told;
	int signal_fd;

	(void)setsid();
	(void)prctl(PR_SET_NAME, "livepush-guard");
	(void)prctl(PR_SET_PDEATHSIG, (unsigned long)SIGTERM);
	if (chdir("/") < 0 || dup2(plan->fd, STDIN_FILENO) < 0)
		_exit(1);
	(void)syscall(SYS_close_range, STDIN_FILENO + 1, UINT_MAX, 0);
	/* Keeps 1 and 2 from becoming something that fusermount would write into. */
	(void)open("/dev/null", O_WRONLY); /* NOLINT(android-cloexec-open): they are for exec */
	(void)open("/dev/null", O_WRONLY); /* NOLINT(android-cloexec-open) */
	(void)sigemptyset(&told);
	(void)sigaddset(&told, SIGTERM);
	signal_fd = signalfd(-1, &told, SFD_CLOEXEC);
	if (!wait_for_end(plan, signal_fd) || !find_dead_mount(plan->mountpoint))
		_exit(0);
	if (umount2(MOUNT_FD_PATH, MNT_DETACH) == 0 || errno != EPERM || plan->argv[0] == NULL)
		_exit(0);
	reset_signals();
	(void)execve(plan->argv[0], plan->argv, plan->envp);
	_exit(1);
}

int lp_guard_start(struct lp_guard *g, const char *mountpoint, const char *fusermount,
		   struct lp_err *err)
{
	char *const argv[] = {(char *)(uintptr_t)fusermount,
			      (char[]){"-u"},
			      (char[]){"-z"},
			      (char[]){"-q"},
			      (char[]){"--"},
			      (char *)(uintptr_t)mountpoint,
			      NULL};
	struct plan plan = {
		.mountpoint = mountpoint, .parent = getpid(), .argv = argv, .envp = environ};
	sigset_t all;
	sigset_t before;
	int fds[2];
	int e;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return lp_err_set(err, errno, "make a connection to the guard process");
	plan.fd = fds[1];
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	g->pid = fork();
	if (g->pid == 0)
		guard(&plan);
	e = errno;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)close(fds[1]);
	if (g->pid < 0) {
		(void)close(fds[0]);
		g->pid = 0;
		return lp_err_set(err, e, "fork the guard process");
	}
	g->fd = fds[0];
	return 0;
}

void lp_guard_tell(struct lp_guard *g, dev_t dev)
{
	if (g->pid > 0)
		(void)send(g->fd, &dev, sizeof(dev), MSG_NOSIGNAL);
}

void lp_guard_dismiss(struct lp_guard *g)
{
	pid_t r;

	if (g->pid <= 0)
		return;
	(void)send(g->fd, "", 1, MSG_NOSIGNAL); /* fails when it was killed: just as well */
	(void)close(g->fd);
	do
		r = waitpid(g->pid, NULL, 0);
	while (r < 0 && errno == EINTR);
	g->pid = 0;
}
