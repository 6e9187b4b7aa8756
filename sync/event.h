/* sync/event.h: what a source of events (inotify, FUSE) says about the workspace. An event names a
 * place to look at, never a state: whoever takes it looks at the file system itself, so that late,
 * doubled and reordered events do no harm. */
#ifndef LP_SYNC_EVENT_H
#define LP_SYNC_EVENT_H

#include "sync/index.h"
#include "sync/ranges.h"

enum lp_event_kind {
	LP_EVENT_CREATED, /* a name appeared; a regular file is still being written */
	LP_EVENT_CLOSED,  /* a writer has just closed the file */
	LP_EVENT_CHANGED, /* one entry appeared, was closed by its writer, moved, chmodded or
			     removed */
	LP_EVENT_SUBTREE, /* a directory appeared: everything below it may be new */
	LP_EVENT_WRITING, /* a file is being written, or was cut by its name: look when it has
			     rested */
	LP_EVENT_LOST,    /* events were lost: everything below `path` ("" for all) may differ */
	LP_EVENT_MOVED,   /* what was at `from` is at the path now, a directory with all below it */
	LP_EVENT_KIND_COUNT_,
};

/* What a source that passes every write through itself knows: the file was as `before` when the
 * first of the writes came, nobody else changed it between them, and it was as `after` when the
 * event was reported. Whoever knows the file as it was `before`, and finds it as `after`, need not
 * read anything else of it. */
struct lp_written {
	struct lp_ranges ranges;
	struct lp_stat_sig before;
	struct lp_stat_sig after;
};

/* path: clean and relative to the workspace, "" for its root; borrowed until the call returns.
 * at_us: lp_now_us() when it happened, as near as the source can tell. written: of a file, what was
 * written to it since the last event that said so; NULL: unknown. from: of MOVED, as path. */
struct lp_event {
	enum lp_event_kind kind;
	const char *path;
	uint64_t at_us;
	const struct lp_written *written;
	const char *from;
};

/* Takes one event. ctx is what was given with the function. */
typedef void lp_event_fn(void *ctx, const struct lp_event *ev);

#endif
