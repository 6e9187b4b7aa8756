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
 * kernel ended the session by itself (somebody unmounted it); not after lp_fsmount_stop.
 *
 * barrier: NULL, or what makes fsync(2), and the close(2) of a file that was written, exact: a
 * thread of the file system calls it with the file's path after it has given the event to on_event,
 * and the caller's call returns when it does. It returns 0 when the change is applied everywhere,
 * -ETIME when that has not happened at deadline_us (lp_now_us), or another -errno when it never
 * will (the session ends). Many threads wait in it at once; that stops no other request. It must
 * not use the mount. barrier_us: how long it may take. barrier_strict: what it did not bring about
 * is EIO to the caller, who otherwise sees success. */
struct lp_fsmount_opts {
	int root_fd;
	const char *root_path;
	const char *mountpoint;
	lp_event_fn *on_event;
	void (*on_ended)(void *ctx);
	int (*barrier)(void *ctx, const char *path, uint64_t deadline_us);
	uint64_t barrier_us;
	bool barrier_strict;
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

/* Whether the owner tells with lp_fsmount_invalidate of everything that changes underneath. While
 * it does the kernel answers for names, attributes and pages itself for a long time; otherwise (and
 * at first) it asks again after a second. Any thread. */
void lp_fsmount_set_told(struct lp_fsmount *m, bool told);

/* Something happened to `path` (clean, relative to the workspace) below: what the mount shows of it
 * is compared with what is there. Cheap when the mount itself did it. "": everything may have
 * changed. Returns at once, a thread of the file system does the work. Any thread. */
void lp_fsmount_invalidate(struct lp_fsmount *m, const char *path);

/* Returns when every change through the mount whose system call (close(2) of a writer included) has
 * returned by now has been given to on_event: that may be some 10 µs later otherwise. Not from a
 * thread of the file system. */
void lp_fsmount_drain(struct lp_fsmount *m);

/* Whether the file at `path` was changed through the mount by somebody who may not be done with it:
 * its event follows when the last writer has closed it. Any thread; does not use the mount. */
bool lp_fsmount_is_writing(struct lp_fsmount *m, const char *path);

/* Unmounts (lazily when it is busy), ends the threads and the guard, releases everything. Every
 * event has been reported when it returns. Returns 0, or -EBUSY when the mount was still in use and
 * was detached lazily (released all the same). NULL is allowed. */
int lp_fsmount_stop(struct lp_fsmount *m);

/* The same; with -EBUSY `who` says which processes use the mount and how: "pid 412 (vim) works in
 * it at 'src'; pid 97 (tail) has 'log' open". */
int lp_fsmount_stop_explain(struct lp_fsmount *m, struct lp_err *who);

#endif
