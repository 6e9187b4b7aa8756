/* link/feed.h: turns a changeset into CHANGE, DATA, PATCH and SKIP messages, one at a time, as
 * there is room to send them. Reads files through the source; does not send. */
#ifndef LP_LINK_FEED_H
#define LP_LINK_FEED_H

#include "link/source.h"
#include "wire/msg.h"

struct lp_feed; /* opaque; holds a reference on its changeset */

/* A place between two messages of a changeset. Zeroed: its beginning. large: the content of the
 * operation before next_op is under way, `at` bytes of it are done. */
struct lp_feed_mark {
	size_t next_op;
	uint64_t at;
	bool large;
	bool first_sent;
	bool last_sent;
	bool left_out;
};

/* What the receiver is known to have; NULL or zeroed: nothing. bases: the base of every operation
 * that names one. partial: the first partial_have bytes of a content of that digest; used once.
 * unsure: it may not have what the changeset builds on, so that no root digest can be named. */
struct lp_feed_have {
	bool bases;
	bool unsure;
	struct lp_digest partial;
	uint64_t partial_have;
};

/* source is copied; its ctx is borrowed until the feed is destroyed. mark: where to begin; NULL: at
 * the beginning. have must be what it was for the messages before the mark. */
struct lp_feed *lp_feed_create(struct lp_changeset *cs, const struct lp_source *source,
			       const struct lp_feed_have *have, const struct lp_feed_mark *mark);
void lp_feed_destroy(struct lp_feed *f); /* NULL is allowed */

/* Appends the next encoded message to out. Returns 1, or 0 when the changeset is complete (nothing
 * appended), or -ENOMEM. What is no longer as its operation says is left out (or sent as a DELETE
 * when it is gone), because it may be half-written, and so is what cannot be read; the changeset
 * then has no root digest, and the path is reported to source->stale. */
int lp_feed_next(struct lp_feed *f, struct lp_buf *out) LP_MUST_USE;

/* Whether all messages have been given out. */
bool lp_feed_done(const struct lp_feed *f);

/* Where it is now. */
struct lp_feed_mark lp_feed_where(const struct lp_feed *f);

/* Whether something was left out so far, so that the receiver does not hold what the index says. */
bool lp_feed_left_out(const struct lp_feed *f);

/* Content bytes given out so far. */
uint64_t lp_feed_sent(const struct lp_feed *f);

#endif
