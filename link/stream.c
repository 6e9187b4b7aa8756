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

static void free_outgoing(struct lp_outgoing *o)
{
	lp_feed_destroy(o->feed);
	lp_frame_unref(o->frame);
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

/* Drops what is queued but for the first when it may have been sent in part. */
static void drop_queue(struct lp_link *link)
{
	struct lp_outgoing **at = &link->out_first;

	link->out_last = NULL;
	if (*at && (*at)->feed) {
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
	link->sent = link->consumed = 0;
}

void lp_stream_enqueue(struct lp_link *link, struct lp_changeset *cs, struct lp_frame *frame)
{
	struct lp_outgoing *o = lp_xcalloc(1, sizeof(*o));

	o->cs = lp_changeset_ref(cs);
	if (frame) {
		frame->refs++;
		o->frame = frame;
	} else {
		o->feed = lp_feed_create(cs, &link->source);
	}
	if (link->out_last)
		link->out_last->next = o;
	else
		link->out_first = o;
	link->out_last = o;
	link->in_flight++;
	lp_ws_want_write(link->ws);
}

void lp_link_push(struct lp_link *link, struct lp_changeset *cs, struct lp_frame *frame)
{
	if (link->state == LP_LINK_WALKING) {
		lp_walk_touch(link, cs);
		return;
	}
	if (link->state != LP_LINK_STREAMING && link->state != LP_LINK_CATCHING)
		return;
	if (link->behind)
		return; /* comparing trees will cover it */
	if (link->in_flight < QUEUE_MAX) {
		lp_stream_enqueue(link, cs, frame);
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

/* Sends the next message of the first changeset. */
static void send_content(struct lp_link *link)
{
	struct lp_outgoing *o = link->out_first;
	const struct lp_buf *bytes = &link->scratch;
	bool done = true;

	link->scratch.len = 0;
	if (o->frame) {
		bytes = lp_frame_bytes(o->frame, link->packer);
	} else {
		if (lp_feed_next(o->feed, &link->scratch) < 0) {
			lp_link_fail(link, "out of memory");
			return;
		}
		done = lp_feed_done(o->feed);
	}
	/* The window counts messages as they are before packing: that is what the other side holds.
	 */
	link->sent += o->frame ? o->frame->raw.len : link->scratch.len;
	if (!o->frame && link->packer && lp_packer_pack(link->packer, &link->scratch) < 0) {
		lp_link_fail(link, "out of memory");
		return;
	}
	if (lp_ws_send(link->ws, bytes->data, bytes->len) < 0)
		lp_link_fail(link, "connection lost");
	if (!o->frame && link->state == LP_LINK_CATCHING && link->ops.on_progress)
		link->ops.on_progress(link->ops.ctx, link, lp_feed_sent(o->feed), o->cs->bytes);
	if (!done)
		return;
	link->out_first = o->next;
	if (!link->out_first)
		link->out_last = NULL;
	free_outgoing(o);
}

static bool may_send_content(const struct lp_link *link)
{
	return link->out_first &&
	       link->sent - link->consumed + LP_WIRE_MSG_MAX_BYTES <= LP_WIRE_WINDOW_BYTES;
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
	lp_walk_start(LP_CONTAINER_OF(timer, struct lp_link, resync_timer), false);
}

/* The instance's tree is not what we took it for: compare again, slower when that keeps on. It
 * takes no changesets until then, so none are sent. */
static void resync(struct lp_link *link)
{
	drop_all(link);
	link->state = LP_LINK_RESTING;
	link->resync_timer.on_fire = on_resync_timer;
	if (link->resyncs == 0) {
		lp_walk_start(link, false);
	} else {
		unsigned doublings = link->resyncs < 6 ? link->resyncs - 1 : 5;

		lp_timer_set(link->loop, &link->resync_timer,
			     lp_now_us() + ((uint64_t)RESYNC_DELAY_US << doublings));
	}
	link->resyncs++;
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
	if (link->behind)
		lp_walk_start(link, false);
	else if (link->ops.on_idle)
		link->ops.on_idle(link->ops.ctx, link);
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
		link->applied = msg->u.applied.revision;
		link->resyncs = 0;
		link->tries = 0; /* a connection that gets this far may come back at once */
		link->ops.on_message(link->ops.ctx, link, msg);
		if (expected)
			answered(link);
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
