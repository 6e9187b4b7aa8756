/* link/stream.c: what is on its way to an instance: control messages first, then changesets, within
 * the window. What comes back is in answers.c. */
#include "link/link_internal.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"

#include <string.h>

static void free_outgoing(struct lp_outgoing *o)
{
	lp_feed_destroy(o->feed);
	lp_reader_close(&o->reader);
	lp_changeset_unref(o->cs);
	free(o);
}

void lp_stream_drop(struct lp_link *link)
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
	lp_stream_drop(link);
	lp_timer_clear(&link->paced);
	link->sent = link->consumed = 0;
	link->verify = false;
	link->verifies = 0;
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
	if (link->state == LP_LINK_RESTING && cs->n_ops > 0)
		lp_stream_hurry(link);
	if (link->state != LP_LINK_STREAMING && link->state != LP_LINK_CATCHING)
		return;
	if (link->behind)
		return; /* comparing trees will cover it */
	if (link->in_flight < LP_LINK_QUEUE_MAX) {
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
	if (!link->unsure)
		link->led[link->n_led++ % LP_LINK_QUEUE_MAX] = o->cs->root;
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
