/* watcher/content.h: one look at one file: its entry, and its content when it is small. Never takes
 * a content that a writer is half through with. */
#ifndef LP_WATCHER_CONTENT_H
#define LP_WATCHER_CONTENT_H

#include "sync/changeset.h"

enum lp_look_state {
	LP_LOOK_SAME,    /* stat says that nothing changed since `known` was taken */
	LP_LOOK_READ,    /* entry, sig and perhaps blob are filled */
	LP_LOOK_GONE,    /* there is nothing (any more) */
	LP_LOOK_BUSY,    /* a writer has it open; its closing will say when to look again */
	LP_LOOK_SPECIAL, /* socket, fifo, device */
	LP_LOOK_STATE_COUNT_,
};

/* known: the node that the index has for it, or NULL. want_blob: keep the content of files up to
 * LP_INLINE_MAX_BYTES. even_if_busy: take what is there although somebody has it open for writing.
 * just_closed: a writer has closed it this moment: wait up to 2 ms for the kernel to let go of it.
 * created: it was created this moment: unless it is a second name of another file it is about to be
 * written, and is left until it is closed. */
struct lp_look_opts {
	const struct lp_node *known;
	bool want_blob;
	bool even_if_busy;
	bool just_closed;
	bool created;
};

/* blob is the caller's, NULL when it was not wanted or the file is large. A link's blob is its
 * target, always there. */
struct lp_look {
	enum lp_look_state state;
	struct lp_entry e;
	struct lp_stat_sig sig;
	struct lp_blob *blob;
};

/* Looks at `name` (one component) in the directory dir_fd, without following a link. While a
 * regular file is read it is under a read lease (fcntl(2), F_SETLEASE), which is only given when
 * nobody has it open for writing and which makes a writer's open wait; on file systems without
 * leases, size and times before and after the reading are compared. Returns 0 or -errno (-EACCES,
 * -EIO, -ENOMEM). */
int lp_look_at(int dir_fd, const char *name, const struct lp_look_opts *opts, struct lp_look *out);

/* Lease breaks raise SIGIO, whose default is to end the process: ignores it. Call once. */
void lp_look_setup(void);

#endif
