/* link/link.h: the sending side of one instance: connect, prove the secret, catch up, stream,
 * reconnect. Loop thread only. Knows messages and changesets, no files (link/source.h) and no
 * restarts. */
#ifndef LP_LINK_LINK_H
#define LP_LINK_LINK_H

#include "common/loop/loop.h"
#include "link/rate.h"
#include "link/source.h"
#include "wire/msg.h"

struct lp_link; /* opaque */

/* url, secret, ca_file and pins (common/loop/ws.h): borrowed until lp_link_destroy. app, holder:
 * shown to others. index: the number of this instance among the app's, for the caller. reconnect:
 * try again for ever when the connection is lost, also when it cannot be made the first time. */
struct lp_link_opts {
	const char *url;
	const char *secret;
	const char *ca_file;
	const char *pins;
	const char *app;
	const char *holder;
	const uint8_t *workspace; /* LP_WIRE_ID_BYTES */
	enum lp_role role;
	bool take_over;
	bool compress;
	bool reconnect;
	unsigned index;
	struct lp_rate *rate;
};

/* What an instance said. on_up: welcomed; the owner's catch-up begins. on_caught_up: it holds what
 * the workspace holds. on_message: APPLIED, RESTARTED, SETTLED, FAILED, LOG, STATUS, VERIFIED,
 * ROLLED, borrowed. on_idle: nothing is in flight any more. on_down: not connected (any more);
 * final: it will not try again. on_progress: content bytes of the catch-up sent so far. on_sent:
 * the last byte of that changeset was given to the connection. on_down may come before on_up. */
struct lp_link_ops {
	void (*on_up)(void *ctx, struct lp_link *link, const struct lp_msg_welcome *welcome);
	void (*on_caught_up)(void *ctx, struct lp_link *link);
	void (*on_message)(void *ctx, struct lp_link *link, const struct lp_msg *msg);
	void (*on_idle)(void *ctx, struct lp_link *link);
	void (*on_down)(void *ctx, struct lp_link *link, const char *reason, bool final);
	bool (*on_difference)(void *ctx, struct lp_link *link, const struct lp_changeset *cs);
	void (*on_progress)(void *ctx, struct lp_link *link, uint64_t sent, uint64_t total);
	void (*on_sent)(void *ctx, struct lp_link *link, uint64_t revision);
	void *ctx;
};

/* Makes the link; it connects when the loop runs. source may be NULL for an observer. Returns 0 or
 * -EINVAL (url, secret). */
int lp_link_create(struct lp_link **out, struct lp_loop *loop, const struct lp_link_opts *opts,
		   const struct lp_link_ops *ops, const struct lp_source *source,
		   struct lp_err *err) LP_MUST_USE;

/* Closes and releases it; no callback follows. NULL is allowed. */
void lp_link_destroy(struct lp_link *link);

/* A changeset encoded once for all links (link/reel.h). */
struct lp_reel;

/* Offers a changeset with its reel. A link that streams queues it; one that is catching up
 * remembers the paths; one that is down remembers what it replaces, because catching up covers it.
 */
void lp_link_push(struct lp_link *link, struct lp_changeset *cs, struct lp_reel *reel);

/* The network is back, or the machine has slept: a link that is down tries at once, one that is up
 * makes sure within 2 s that its peer is still there, or connects anew when TCP would let what was
 * sent meanwhile wait. */
void lp_link_nudge(struct lp_link *link);

/* Asks the instance to read its tree again and compare, as soon as nothing is in flight. VERIFIED
 * goes to on_message; trees that differ are made equal, unless the link is held or its instance
 * went back, which is so already when VERIFIED is given. Returns 0, or -ENOTCONN when the instance
 * is not connected. What was asked is forgotten when the connection is lost. */
int lp_link_verify(struct lp_link *link) LP_MUST_USE;

/* Holds back what is pushed from now on, and the comparison of trees when it connects; or lets all
 * of that go on. */
void lp_link_hold(struct lp_link *link, bool held);
bool lp_link_is_held(const struct lp_link *link);

/* Its instance went back to an earlier revision, and is left there until something is pushed. */
bool lp_link_is_rolled(const struct lp_link *link);

/* It was refused, or lost without reconnecting, and will not try again. */
bool lp_link_has_ended(const struct lp_link *link);

/* Streaming and nothing in flight or queued. */
bool lp_link_is_idle(const struct lp_link *link);
bool lp_link_is_streaming(const struct lp_link *link);

/* The instance did not come to hold what it was sent, nor when trees were compared, twice in a row:
 * the link waits before it tries again. */
bool lp_link_keeps_failing(const struct lp_link *link);

/* Something could not be sent as it was saved, because it was changing or gone: it is looked at
 * again, and trees are compared. False when that has not helped for a while. */
bool lp_link_is_in_doubt(const struct lp_link *link);

/* The newest revision that the instance says it has applied, and its root digest then. */
uint64_t lp_link_applied(const struct lp_link *link);
unsigned lp_link_index(const struct lp_link *link);

/* Whether a tree with that root digest is what a changeset leads to that was sent to it lately,
 * over this connection or one before: it may have been applied without an answer that got here. */
bool lp_link_has_led_to(const struct lp_link *link, const uint8_t root[16]);
const char *lp_link_url(const struct lp_link *link);

/* Sends a message without content (RESTART, ASK, TAIL). Returns 0 or -ENOTCONN. */
int lp_link_send(struct lp_link *link, const struct lp_msg *msg) LP_MUST_USE;

#endif
