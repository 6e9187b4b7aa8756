/* fsmount/guard.h: a process that outlives this one by a moment and unmounts what it left. */
#ifndef LP_FSMOUNT_GUARD_H
#define LP_FSMOUNT_GUARD_H

#include "common/base/lp_err.h"

#include <sys/types.h>

/* A running guard; pid 0 when there is none. fd is our end of its connection. */
struct lp_guard {
	pid_t pid;
	int fd;
};

/* Forks it. When this process ends without lp_guard_dismiss and has left a dead FUSE mount at
 * mountpoint, the guard detaches it: with umount2(2), or with the program fusermount (NULL: there
 * is none) where that is not permitted. It holds nothing of this process but its memory, and no
 * signal but SIGKILL ends it. Returns 0 or -errno. */
int lp_guard_start(struct lp_guard *g, const char *mountpoint, const char *fusermount,
		   struct lp_err *err) LP_MUST_USE;

/* The mount is there, with this device number. Should this process then be killed while one of its
 * own threads waits for an answer of the mount, which keeps it from ending, the guard ends the
 * session after a second. */
void lp_guard_tell(struct lp_guard *g, dev_t dev);

/* Ends the guard without it doing anything, and reaps it. Harmless when there is none. */
void lp_guard_dismiss(struct lp_guard *g);

#endif
