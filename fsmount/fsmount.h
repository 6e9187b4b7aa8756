/* fsmount/fsmount.h: the workspace mounted over itself with FUSE: every call passes through to the
 * directory below, and what changed is reported. Knows nothing of what is mirrored or ignored. */
#ifndef LP_FSMOUNT_FSMOUNT_H
#define LP_FSMOUNT_FSMOUNT_H

#include "common/base/lp_err.h"
#include "sync/event.h"

struct lp_fsmount; /* opaque: owns the session and its threads */

/* root_fd: the directory below, opened before it is covered; borrowed until lp_fsmount_stop.
 * root_path: its absolute real path. mountpoint: where to mount, an existing directory; may be
 * root_path itself. on_event is called from the file system's threads, after the change is visible
 * below; it must be quick and thread-safe. on_ended is called once from such a thread when the
 * kernel ended the session by itself (somebody unmounted it); not after lp_fsmount_stop. */
struct lp_fsmount_opts {
	int root_fd;
	const char *root_path;
	const char *mountpoint;
	lp_event_fn *on_event;
	void (*on_ended)(void *ctx);
	void *ctx;
};

/* Whether a mount can work here: /dev/fuse can be opened, and we are root or fusermount3 exists.
 * Returns 0, or -errno with the cause and the way out in err. Leaves nothing behind. */
int lp_fsmount_probe(struct lp_err *err) LP_MUST_USE;

/* Detaches a dead FUSE mount that a killed process left at `path`; what is alive is left alone. To
 * be called before root_fd is opened, which is not possible through such a mount. Returns 0, also
 * when there was nothing to do, or -errno. */
int lp_fsmount_heal(const char *path, struct lp_err *err) LP_MUST_USE;

/* Mounts and starts serving in threads of its own; returns when the mount answers. A guard process
 * unmounts when this process dies without lp_fsmount_stop, by kill -9 too. Call it before
 * other threads exist where possible (it forks the guard). This process may use the mount like any
 * other, but must not map files of it: it could not serve the pages of its own mappings. Returns 0
 * or -errno. */
int lp_fsmount_start(struct lp_fsmount **out, const struct lp_fsmount_opts *opts,
		     struct lp_err *err) LP_MUST_USE;

/* Unmounts (lazily when it is busy), ends the threads and the guard, releases everything. Every
 * event has been reported when it returns. Returns 0, or -EBUSY when the mount was still in use and
 * was detached lazily (released all the same). NULL is allowed. */
int lp_fsmount_stop(struct lp_fsmount *m);

#endif
