/* fsmount/guard.c: the guard process; see guard.h. Between fork and its end the child makes only
 * async-signal-safe calls and system calls: this process may have threads that hold locks. */
#include "fsmount/guard.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child needs, prepared before the fork. */
struct plan {
	const char *mountpoint;
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

static void reset_signals(void)
{
	struct sigaction sa = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int signo = 1; signo <= SIGRTMAX; signo++)
		(void)sigaction(signo, &sa, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The life of the child. Every signal is blocked, from before the fork until fusermount runs. */
static void __attribute__((noreturn)) guard(const struct plan *plan)
{
	char byte;
	ssize_t n;

	(void)setsid();
	(void)prctl(PR_SET_NAME, "livepush-guard");
	if (chdir("/") < 0 || dup2(plan->fd, STDIN_FILENO) < 0)
		_exit(1);
	(void)syscall(SYS_close_range, STDIN_FILENO + 1, UINT_MAX, 0);
	/* Keeps 1 and 2 from becoming something that fusermount would write into. */
	(void)open("/dev/null", O_WRONLY); /* NOLINT(android-cloexec-open): they are for exec */
	(void)open("/dev/null", O_WRONLY); /* NOLINT(android-cloexec-open) */
	do
		n = read(STDIN_FILENO, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n != 0 || !find_dead_mount(plan->mountpoint))
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
	struct plan plan = {.mountpoint = mountpoint, .argv = argv, .envp = environ};
	sigset_t all;
	sigset_t before;
	int fds[2];
	int e;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
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
