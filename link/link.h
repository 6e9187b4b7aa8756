/* link/link.h: the sending side of one instance: connect, prove the secret, catch up, stream,
 * reconnect. Loop thread only. Knows messages and changesets, no files (link/source.h) and no
 * restarts. */
#ifndef LP_LINK_LINK_H
#define LP_LINK_LINK_H

#include "common/loop/loop.h"
#include "link/source.h"
#include "wire/msg.h"

struct lp_link; /* opaque */

/* url, secret and ca_file: borrowed until lp_link_destroy. app, holder: shown to others. index: the
 * number of this instance among the app's, for the caller. reconnect: try again for ever when the
 * connection is lost, also when it cannot be made the first time. */
struct lp_link_opts {
	const char *url;
	const char *secret;
	const char *ca_file;
	const char *app;
	const char *holder;
	const uint8_t *workspace; /* LP_WIRE_ID_BYTES */
	enum lp_role role;
	bool take_over;
	bool compress;
	bool reconnect;
	unsigned index;
};

/* What an instance said. on_up: welcomed; the owner's catch-up begins. on_caught_up: it holds what
 * the workspace holds. on_message: APPLIED, RESTARTED, SETTLED, FAILED, LOG, STATUS, borrowed.
 * on_idle: nothing is in flight any more. on_down: not connected (any more); final: it will not try
 * again. on_progress: content bytes of the catch-up sent so far. on_down may come before on_up. */
struct lp_link_ops {
	void (*on_up)(void *ctx, struct lp_link *link, const struct lp_msg_welcome *welcome);
	void (*on_caught_up)(void *ctx, struct lp_link *link);
	void (*on_message)(void *ctx, struct lp_link *link, const struct lp_msg *msg);
	void (*on_idle)(void *ctx, struct lp_link *link);
	void (*on_down)(void *ctx, struct lp_link *link, const char *reason, bool final);
	bool (*on_difference)(void *ctx, struct lp_link *link, const struct lp_changeset *cs);
	void (*on_progress)(void *ctx, struct lp_link *link, uint64_t sent, uint64_t total);
	void *ctx;
};

/* Makes the link; it connects when the loop runs. source may be NULL for an observer. Returns 0 or
 * -EINVAL (url, secret). */
int lp_link_create(struct lp_link **out, struct lp_loop *loop, const struct lp_link_opts *opts,
		   const struct lp_link_ops *ops, const struct lp_source *source,
		   struct lp_err *err) LP_MUST_USE;

/* Closes and releases it; no callback follows. NULL is allowed. */
void lp_link_destroy(struct lp_link *link);

/* A message encoded once for all links; raw and, when some link compresses, packed. */
struct lp_frame; /* opaque, counted */

/* The whole changeset as one message, or NULL when it does not fit into one. One reference. */
struct lp_frame *lp_frame_create(struct lp_changeset *cs);
void lp_frame_unref(struct lp_frame *frame); /* NULL is allowed */

/* Offers a changeset (with its frame or NULL). A link that streams queues it; one that is catching
 * up remembers the paths; one that is down ignores it, because catching up covers it. */
void lp_link_push(struct lp_link *link, struct lp_changeset *cs, struct lp_frame *frame);

/* Streaming and nothing in flight or queued. */
bool lp_link_is_idle(const struct lp_link *link);
bool lp_link_is_streaming(const struct lp_link *link);

/* The instance failed to apply what it got more than once in a row: the link waits before it tries
 * again. */
bool lp_link_is_resting(const struct lp_link *link);

/* The newest revision that the instance says it has applied, and its root digest then. */
uint64_t lp_link_applied(const struct lp_link *link);
unsigned lp_link_index(const struct lp_link *link);
const char *lp_link_url(const struct lp_link *link);

/* Sends a message without content (RESTART, ASK, TAIL). Returns 0 or -ENOTCONN. */
int lp_link_send(struct lp_link *link, const struct lp_msg *msg) LP_MUST_USE;

#endif
