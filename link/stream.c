/* link/stream.c: what is on its way to an instance: control messages first, then changesets, within
 * the window; and what comes back. */
#include "link/link_internal.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"

#include <string.h>

/* Changesets in flight and queued. What is queued for a slower instance is dropped, and it catches
 * up by comparing trees, so that it never makes the client's memory grow. */
#define QUEUE_MAX       8
#define RESYNC_DELAY_US 1000000u
#define DOUBT_DELAY_US  125000u
#define DOUBTS_MAX      3

static void free_outgoing(struct lp_outgoing *o)
{
	lp_feed_destroy(o->feed);
	lp_reader_close(&o->reader);
	lp_changeset_unref(o->cs);
	free(o);
}

static void drop_all(struct lp_link *link)
{
	while (link->out_first) {
		struct lp_outgoing *o = link->out_first;

		link->out_first = o->next;
		free_outgoing(o);
	}
	link->out_last = NULL;
	link->in_flight = 0;
	link->behind = false;
}

/* Drops what is queued but for the first when it was sent in part. */
static void drop_queue(struct lp_link *link)
{
	struct lp_outgoing **at = &link->out_first;

	link->out_last = NULL;
	if (*at && (*at)->begun) {
		link->out_last = *at;
		at = &(*at)->next;
	}
	while (*at) {
		struct lp_outgoing *o = *at;

		*at = o->next;
		free_outgoing(o);
		link->in_flight--;
	}
}

void lp_stream_reset(struct lp_link *link)
{
	while (link->control_first) {
		struct lp_control *c = link->control_first;

		link->control_first = c->next;
		lp_buf_finish(&c->bytes);
		free(c);
	}
	link->control_last = NULL;
	drop_all(link);
	lp_timer_clear(&link->paced);
	link->sent = link->consumed = 0;
	link->verify = false;
}

void lp_stream_enqueue(struct lp_link *link, struct lp_changeset *cs, struct lp_reel *reel,
		       const struct lp_feed_have *have)
{
	struct lp_outgoing *o = lp_xcalloc(1, sizeof(*o));

	o->cs = lp_changeset_ref(cs);
	if (reel)
		lp_reader_open(&o->reader, reel);
	else
		o->feed = lp_feed_create(cs, &link->source, have, NULL);
	if (link->out_last)
		link->out_last->next = o;
	else
		link->out_first = o;
	link->out_last = o;
	link->in_flight++;
	lp_ws_want_write(link->ws);
}

void lp_link_push(struct lp_link *link, struct lp_changeset *cs, struct lp_reel *reel)
{
	lp_old_remember(link, cs);
	if (link->held) {
		link->missed = true;
		/* It went back from something else; that is no reason to lack this. */
		link->rolled = link->rolled && cs->n_ops == 0;
		return;
	}
	if (link->rolled && cs->n_ops == 0)
		return;
	if (link->rolled && link->state == LP_LINK_STREAMING && link->in_flight == 0) {
		lp_walk_start(link, false);
		return;
	}
	link->rolled = false;
	if (link->state == LP_LINK_WALKING) {
		lp_walk_touch(link, cs);
		return;
	}
	if (link->state != LP_LINK_STREAMING && link->state != LP_LINK_CATCHING)
		return;
	if (link->behind)
		return; /* comparing trees will cover it */
	if (link->in_flight < QUEUE_MAX) {
		lp_stream_enqueue(link, cs, reel, NULL);
		return;
	}
	drop_queue(link);
	link->behind = true;
	if (link->in_flight == 0)
		lp_walk_start(link, false);
}

static void send_control(struct lp_link *link)
{
	struct lp_control *c = link->control_first;

	link->control_first = c->next;
	if (!link->control_first)
		link->control_last = NULL;
	if (lp_ws_send(link->ws, c->bytes.data, c->bytes.len) < 0)
		lp_link_fail(link, "connection lost");
	lp_buf_finish(&c->bytes);
	free(c);
}

/* The next message of a changeset: its bytes as they go out, their number before packing (which is
 * what the window counts, because the other side holds them so), and whether it is the last. */
struct next {
	const struct lp_buf *bytes;
	size_t raw_len;
	bool last;
	bool left_out;
};

static int next_of_feed(struct lp_link *link, struct lp_outgoing *o, struct next *out)
{
	link->scratch.len = 0;
	if (lp_feed_next(o->feed, &link->scratch) < 0)
		return -ENOMEM;
	out->raw_len = link->scratch.len;
	if (link->packer && lp_packer_pack(link->packer, &link->scratch) < 0)
		return -ENOMEM;
	out->bytes = &link->scratch;
	out->last = lp_feed_done(o->feed);
	out->left_out = lp_feed_left_out(o->feed);
	return 0;
}

static int next_message(struct lp_link *link, struct lp_outgoing *o, struct next *out)
{
	static const struct lp_feed_have have = {.bases = true};
	struct lp_reel_message m;
	int r;

	if (o->feed)
		return next_of_feed(link, o, out);
	r = lp_reader_next(&o->reader, &m);
	if (r < 0)
		return r;
	if (r == 0) {
		/* The others are too far ahead to wait for this one. */
		o->feed = lp_feed_create(o->cs, &link->source, &have, &o->reader.where);
		lp_reader_close(&o->reader);
		return next_of_feed(link, o, out);
	}
	*out = (struct next){
		.bytes = m.raw, .raw_len = m.raw->len, .last = m.last, .left_out = m.left_out};
	if (link->packer)
		out->bytes = lp_reader_packed(&o->reader, link->packer);
	return 0;
}

/* It was taken when the instance was believed to hold what it builds on. */
static void begin_unsure(struct lp_link *link, struct lp_outgoing *o)
{
	static const struct lp_feed_have have = {.unsure = true};

	lp_feed_destroy(o->feed);
	lp_reader_close(&o->reader);
	o->feed = lp_feed_create(o->cs, &link->source, &have, NULL);
}

/* Sends the next message of the first changeset. */
static void send_content(struct lp_link *link)
{
	struct lp_outgoing *o = link->out_first;
	struct next next;

	if (link->unsure && !o->begun)
		begin_unsure(link, o);
	if (next_message(link, o, &next) < 0) {
		lp_link_fail(link, "out of memory");
		return;
	}
	o->begun = true;
	link->sent += next.raw_len;
	if (link->opts.rate)
		lp_rate_spend(link->opts.rate, next.bytes->len);
	if (lp_ws_send(link->ws, next.bytes->data, next.bytes->len) < 0)
		lp_link_fail(link, "connection lost");
	if (o->feed && link->state == LP_LINK_CATCHING && link->ops.on_progress)
		link->ops.on_progress(link->ops.ctx, link, lp_feed_sent(o->feed), o->cs->bytes);
	if (!next.last)
		return;
	link->unsure |= next.left_out;
	if (link->ops.on_sent)
		link->ops.on_sent(link->ops.ctx, link, o->cs->revision);
	link->out_first = o->next;
	if (!link->out_first)
		link->out_last = NULL;
	free_outgoing(o);
}

static void on_paced(struct lp_timer *timer)
{
	struct lp_link *link = LP_CONTAINER_OF(timer, struct lp_link, paced);

	if (link->ws)
		lp_ws_want_write(link->ws);
}

static bool window_is_open(const struct lp_link *link)
{
	return link->out_first &&
	       link->sent - link->consumed + LP_WIRE_MSG_MAX_BYTES <= LP_WIRE_WINDOW_BYTES;
}

/* Whether content may go out now; when only the rate forbids it, a timer comes back to it. */
static bool may_send_content(struct lp_link *link)
{
	uint64_t now_us, wait_us;

	if (!window_is_open(link))
		return false;
	if (!link->opts.rate || link->opts.rate->bytes_per_s == 0)
		return true;
	now_us = lp_now_us();
	wait_us = lp_rate_wait_us(link->opts.rate, now_us);
	if (wait_us == 0)
		return true;
	link->paced.on_fire = on_paced;
	if (!link->paced.loop)
		lp_timer_set(link->loop, &link->paced, now_us + wait_us);
	return false;
}

void lp_stream_writable(struct lp_link *link)
{
	if (link->control_first)
		send_control(link);
	else if (may_send_content(link))
		send_content(link);
	if (link->control_first || may_send_content(link))
		lp_ws_want_write(link->ws);
}

static void on_resync_timer(struct lp_timer *timer)
{
	struct lp_link *link = LP_CONTAINER_OF(timer, struct lp_link, resync_timer);

	if (link->held)
		link->missed = true;
	else if (link->state == LP_LINK_RESTING || (link->unsure && lp_link_is_idle(link)))
		lp_walk_start(link, false);
	else if (link->unsure && link->in_flight > 0)
		link->behind = true;
}

/* Longer each time. */
static void walk_later(struct lp_link *link, uint64_t wait_us, unsigned times)
{
	link->resync_timer.on_fire = on_resync_timer;
	lp_timer_set(link->loop, &link->resync_timer,
		     lp_now_us() + (wait_us << (times < 5 ? times : 5)));
}

/* The instance's tree is not what we took it for: compare again, slower when that keeps on. It
 * takes no changesets until then, so none are sent. */
static void resync(struct lp_link *link)
{
	drop_all(link);
	link->state = LP_LINK_RESTING;
	if (link->resyncs == 0)
		lp_walk_start(link, false);
	else
		walk_later(link, RESYNC_DELAY_US, link->resyncs - 1);
	link->resyncs++;
}

static int send_verify(struct lp_link *link)
{
	const struct lp_msg msg = {.kind = LP_MSG_VERIFY};

	link->verify = false;
	return lp_link_queue(link, &msg);
}

int lp_link_verify(struct lp_link *link)
{
	if (link->state < LP_LINK_RESTING)
		return -ENOTCONN;
	/* Nothing follows that would bring a held one back to it. */
	if (lp_link_is_idle(link) || (link->held && link->state == LP_LINK_RESTING))
		return send_verify(link);
	link->verify = true;
	return 0;
}

static void answered(struct lp_link *link)
{
	if (link->in_flight > 0)
		link->in_flight--;
	if (link->state == LP_LINK_CATCHING) {
		link->state = LP_LINK_STREAMING;
		if (link->ops.on_caught_up)
			link->ops.on_caught_up(link->ops.ctx, link);
	}
	if (link->in_flight > 0)
		return;
	if (link->behind) {
		lp_walk_start(link, false);
		return;
	}
	if (link->verify && send_verify(link) < 0)
		lp_link_fail(link, "cannot ask to verify");
	if (link->ops.on_idle)
		link->ops.on_idle(link->ops.ctx, link);
}

/* Whether a root that the instance names is the workspace's as it is now. */
static bool is_present_root(const struct lp_link *link, const uint8_t root[16])
{
	struct lp_digest mine = lp_index_root(link->source.index(link->source.ctx));

	return memcmp(mine.b, root, sizeof(mine.b)) == 0;
}

/* Everything sent is applied. What was left out comes when it has settled; only when that takes
 * long are trees compared, because something else may be wrong. */
static void check_doubt(struct lp_link *link, const uint8_t root[16])
{
	if (link->unsure && is_present_root(link, root))
		link->unsure = false;
	if (!link->unsure)
		link->doubts = 0;
	else if (!link->resync_timer.loop)
		walk_later(link, DOUBT_DELAY_US, link->doubts++);
}

bool lp_link_is_in_doubt(const struct lp_link *link)
{
	return link->unsure && link->doubts <= DOUBTS_MAX;
}

static void on_applied(struct lp_link *link, const struct lp_msg *msg)
{
	bool expected = link->state == LP_LINK_STREAMING || link->state == LP_LINK_CATCHING;

	link->applied = msg->u.applied.revision;
	link->resyncs = 0;
	link->tries = 0; /* a connection that gets this far may come back at once */
	if (expected && link->in_flight <= 1) {
		lp_old_forget(link);
		check_doubt(link, msg->u.applied.root);
	}
	link->ops.on_message(link->ops.ctx, link, msg);
	if (expected)
		answered(link);
}

/* What was in flight meanwhile may make the roots differ, too; then comparing finds nothing. One
 * that is behind on purpose stays so: comparing would bring it what failed there, or was undone. */
static void on_verified(struct lp_link *link, const struct lp_msg *msg)
{
	bool equal = msg->u.verified.drifted == 0 && is_present_root(link, msg->u.verified.root);

	if (link->held && !equal)
		link->missed = true;
	if (link->rolled)
		memcpy(link->rolled_root.b, msg->u.verified.root, sizeof(link->rolled_root.b));
	link->ops.on_message(link->ops.ctx, link, msg);
	if (equal || link->held || link->rolled)
		return;
	if (lp_link_is_idle(link))
		lp_walk_start(link, false);
	else if (link->state == LP_LINK_WALKING)
		link->again = true;
	else if (link->in_flight > 0)
		link->behind = true;
}

/* What is under way by now leads to a comparison by itself. */
static void on_rolled(struct lp_link *link, const struct lp_msg *msg)
{
	if (msg->u.rolled.done && lp_link_is_idle(link)) {
		link->rolled = true;
		/* Nor is looked for what was left out before: the next comparison finds it. */
		link->unsure = false;
		lp_timer_clear(&link->resync_timer);
		memcpy(link->rolled_root.b, msg->u.rolled.root, sizeof(link->rolled_root.b));
	}
	link->ops.on_message(link->ops.ctx, link, msg);
}

void lp_stream_message(struct lp_link *link, const struct lp_msg *msg)
{
	bool expected = link->state == LP_LINK_STREAMING || link->state == LP_LINK_CATCHING;

	switch (msg->kind) {
	case LP_MSG_LISTING:
		lp_walk_listing(link, &msg->u.listing);
		return;
	case LP_MSG_CREDIT:
		if (msg->u.credit.consumed <= link->sent)
			link->consumed = msg->u.credit.consumed;
		if (may_send_content(link))
			lp_ws_want_write(link->ws);
		return;
	case LP_MSG_APPLIED:
		on_applied(link, msg);
		return;
	case LP_MSG_VERIFIED:
		on_verified(link, msg);
		return;
	case LP_MSG_ROLLED:
		on_rolled(link, msg);
		return;
	case LP_MSG_FAILED:
		if (msg->u.failed.resync && expected)
			resync(link);
		link->ops.on_message(link->ops.ctx, link, msg);
		if (!msg->u.failed.resync && msg->u.failed.stage == LP_WIRE_STAGE_APPLY && expected)
			answered(link);
		return;
	default:
		link->ops.on_message(link->ops.ctx, link, msg);
		return;
	}
}
