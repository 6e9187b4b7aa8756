/* link/feed.h: turns a changeset into CHANGE, DATA and SKIP messages, one at a time, as there is
 * room to send them. Reads files through the source; does not send. */
#ifndef LP_LINK_FEED_H
#define LP_LINK_FEED_H

#include "link/source.h"
#include "wire/msg.h"

struct lp_feed; /* opaque; holds a reference on its changeset */

struct lp_feed *lp_feed_create(struct lp_changeset *cs, const struct lp_source *source);
void lp_feed_destroy(struct lp_feed *f); /* NULL is allowed */

/* Appends the next encoded message to out. Returns 1, or 0 when the changeset is complete (nothing
 * appended), or -ENOMEM. What is no longer as its operation says is left out (or sent as a DELETE
 * when it is gone), because it may be half-written; the changeset then has no root digest, and the
 * path is reported to source->stale.
 */
int lp_feed_next(struct lp_feed *f, struct lp_buf *out) LP_MUST_USE;

/* Whether all messages have been given out. */
bool lp_feed_done(const struct lp_feed *f);

/* Content bytes given out so far. */
uint64_t lp_feed_sent(const struct lp_feed *f);

/* Whether a changeset fits into one message with the contents that it carries. */
bool lp_feed_is_single(const struct lp_changeset *cs);

#endif
