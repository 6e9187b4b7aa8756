/* link/reel.h: a changeset encoded once, message by message, for all links that stream: the first
 * one that gets to a message has it made, the others find it. What the slower ones have not sent
 * yet is kept up to a ceiling; who falls further behind than that goes on with a feed of its own.
 * Loop thread only. */
#ifndef LP_LINK_REEL_H
#define LP_LINK_REEL_H

#include "link/feed.h"

/* Encoded bytes that one reel keeps at most, besides the newest message. */
#define LP_REEL_MAX_BYTES ((size_t)4 * 1024 * 1024)

struct lp_reel; /* opaque, counted */

/* source: copied. One reference, no reader. */
struct lp_reel *lp_reel_create(struct lp_changeset *cs, const struct lp_source *source);
void lp_reel_unref(struct lp_reel *reel); /* NULL is allowed */

/* A link's place in a reel. next: number of the message that it sends next. where: the same place
 * in the changeset. Zeroed: no reader. */
struct lp_reader {
	struct lp_reel *reel; /* one reference */
	size_t next;
	struct lp_feed_mark where;
};

/* One encoded message; borrowed until the next call to the reel. last: the changeset is complete
 * with it. left_out: something was left out up to here. */
struct lp_reel_message {
	const struct lp_buf *raw;
	bool last;
	bool left_out;
};

/* Begins at the beginning, before anybody has read. */
void lp_reader_open(struct lp_reader *r, struct lp_reel *reel);

/* The reader's next message, and steps over it. Returns 1, 0 when it is not kept any more (go on
 * with a feed from r->where), or -ENOMEM. */
int lp_reader_next(struct lp_reader *r, struct lp_reel_message *out) LP_MUST_USE;

/* The message that lp_reader_next gave last, packed when that is worth it. Borrowed likewise. */
const struct lp_buf *lp_reader_packed(const struct lp_reader *r, struct lp_packer *packer);

/* Drops its reference. Harmless without one. */
void lp_reader_close(struct lp_reader *r);

/* Messages that were encoded so far, and bytes that are kept now: for tests. */
size_t lp_reel_encoded(const struct lp_reel *reel);
size_t lp_reel_kept_bytes(const struct lp_reel *reel);

#endif
