/* watcher/inotify.h: inotify as a source of events: one watch per directory. Decides nothing: it
 * reports places to look at. */
#ifndef LP_WATCHER_INOTIFY_H
#define LP_WATCHER_INOTIFY_H

#include "common/loop/loop.h"
#include "sync/event.h"

struct lp_watch; /* opaque */

/* on_event gets every event (paths relative to the root); on_root_gone (may be
 * NULL): the root was removed or moved away, which was reported as LP_EVENT_LOST of "" as well: the
 * workspace waits for its return by itself; on_drained: what was queued has been reported. */
struct lp_watch_ops {
	lp_event_fn *on_event;
	void (*on_root_gone)(void *ctx);
	void (*on_drained)(void *ctx);
};

/* Starts without watches. Returns 0 or -errno (-EMFILE: too many inotify instances, with the sysctl
 * to raise). */
int lp_watch_create(struct lp_watch **out, struct lp_loop *loop, const struct lp_watch_ops *ops,
		    void *ctx, struct lp_err *err) LP_MUST_USE;
void lp_watch_destroy(struct lp_watch *w); /* NULL is allowed */

/* Watches the directory that is open as fd and known as `path` ("" is the root). Watching it again
 * under another name moves the watch, with all below it. Returns 0 or -errno; -ENOSPC: the user has
 * no more watches; the message has the numbers. A directory that moves inside the workspace is
 * followed: LP_EVENT_MOVED. */
int lp_watch_add(struct lp_watch *w, const char *path, int fd, struct lp_err *err) LP_MUST_USE;

/* Watches a file, open as fd and known as `path`, by itself: for those with several names, since a
 * write by a name that is not in a watched directory is told in no other way. Reports when a writer
 * closes it and when its attributes change. Watching it again under another name moves the watch.
 * Returns 0 or -errno: then it is seen by its known names only. */
int lp_watch_add_file(struct lp_watch *w, const char *path, int fd) LP_MUST_USE;

/* Reports what is queued now: everything that was closed or renamed before the call. */
void lp_watch_drain(struct lp_watch *w);

/* How many directories and files are watched. */
size_t lp_watch_count(const struct lp_watch *w);

/* /proc/sys/fs/inotify/<name> ("max_user_watches"), or 0 when it cannot be read. Of a user
 * namespace's own limit on watches and the machine's, the smaller one. */
uint64_t lp_watch_limit(const char *name);

#endif
