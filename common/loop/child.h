/* common/loop/child.h: child processes as sources of the loop. A child leads its own process group;
 * it is reaped through its pidfd, never by SIGCHLD. */
#ifndef LP_COMMON_LOOP_CHILD_H
#define LP_COMMON_LOOP_CHILD_H

#include "common/loop/loop.h"

#include <sys/types.h>

/* What to start. argv and envp: NULL-terminated, borrowed until lp_child_spawn returns; argv[0] is
 * looked up in the PATH of envp. cwd_fd: directory to start in, or -1. stdin is /dev/null. out_fd
 * and err_fd become stdout and stderr (-1: /dev/null); both borrowed. keep_fd: stays open in the
 * child under the same number, or -1. nofile: soft RLIMIT_NOFILE, 0 leaves it. die_with_parent:
 * SIGKILL when the thread that spawned it ends. */
struct lp_spawn {
	const char *const *argv;
	const char *const *envp;
	int cwd_fd;
	int out_fd;
	int err_fd;
	int keep_fd;
	uint64_t nofile;
	bool die_with_parent;
};

/* A running child. pid is 0 when there is none. on_exit is called once, from the loop, after the
 * process was reaped: status is as from waitpid(2); pid still names the group meanwhile. The struct
 * must stay put until on_exit has returned. */
struct lp_child {
	pid_t pid;
	void (*on_exit)(struct lp_child *child, int status);
	struct lp_fd_src pidfd; /* private */
};

/* Starts it in a process group of its own with default signal handling, no signal blocked and no
 * other descriptor open. Waits until the program runs: returns 0, or -errno of the step that
 * failed, -ENOENT for an unknown command included (the child reports its exec through a pipe). A
 * script without an interpreter line is run by /bin/sh, as execvp(3) does. child->on_exit must be
 * set before. */
int lp_child_spawn(struct lp_loop *loop, struct lp_child *child, const struct lp_spawn *spec,
		   struct lp_err *err) LP_MUST_USE;

/* Sends the signal to the whole group of the child; from within on_exit, to what its ended leader
 * left behind. Returns 0 or -errno (-ESRCH: nobody left). */
int lp_child_signal(const struct lp_child *child, int signo);

/* Stops watching a running child without ending it: on_exit will not come. */
void lp_child_forget(struct lp_child *child);

/* "exited with status 3", "was killed by SIGSEGV (Segmentation fault)" for a waitpid status. */
void lp_child_status_text(int status, char *out, size_t out_bytes);

#endif
