/* proxy/exchange.c: a request and its response on their way between two connections. */
#include "proxy/rewrite.h"
#include "proxy/server.h"

#include <string.h>

#define MAX_DIALS 4 /* upstream connections for one request */

bool lp_px_body_is_too_large(const struct lp_px_conn *c, uint64_t bytes)
{
	uint64_t max = c->proxy->opts.limits.max_body_bytes;

	return max > 0 && bytes > max;
}

/* Whether the request may be sent again, on another connection, without running twice. One that may
 * have been the end of an upstream has one more. On a fresh connection a reset tells nothing: it
 * also comes from a program that has run a request of whose body it read only a part. */
static bool may_retry(const struct lp_px_conn *c, const struct lp_px_upconn *uc)
{
	bool unsent = uc->s.sent == uc->sent_before;

	if (c->res_seen || c->res_begun || c->body_sent || c->dials >= MAX_DIALS)
		return false;
	if (!uc->reused)
		return unsent || (c->is_safe && !c->ended_by);
	return unsent || c->is_safe || !lp_px_sock_delivered(&uc->s, uc->sent_before);
}

/* Takes the request back from the connection: sent bytes still stand at the front of its block. */
static void take_back(struct lp_px_conn *c, struct lp_px_upconn *uc)
{
	lp_px_buf_finish(&c->replay);
	c->replay = uc->s.out;
	c->replay.start = 0;
	c->replay.end = uc->replay_len;
	memset(&uc->s.out, 0, sizeof(uc->s.out));
}

void lp_px_exchange_fail(struct lp_px_conn *c, const char *cause, bool cut)
{
	struct lp_px_upconn *uc = c->up;
	bool retry = !cut && uc && may_retry(c, uc);
	bool timed_out = uc && uc->connecting && !cut;
	bool fresh = uc && !uc->reused;

	if (retry)
		take_back(c, uc);
	c->up = NULL;
	if (uc)
		lp_px_upconn_close(uc);
	lp_px_timer_clear(&c->timer);
	if (retry && c->upstream->retired) {
		if (fresh)
			c->ended_by = cause;
		lp_px_upstream_leave(c->proxy, c);
		lp_px_conn_reroute(c);
	} else if (retry && !fresh) {
		lp_px_exchange_start(c, true);
	} else if (!retry || timed_out || !lp_px_hold_for_next(c, cause)) {
		lp_px_respond(c, timed_out ? 504 : 502, cause, NULL);
	}
}

/* No connection could be started. */
static void cannot_dial(struct lp_px_conn *c, int r)
{
	struct lp_proxy *p = c->proxy;

	if (r == -EAGAIN) {
		if (!c->redial_until_ms)
			c->redial_until_ms = p->now_ms + p->opts.limits.connect_timeout_ms;
		if (p->now_ms < c->redial_until_ms) {
			c->state = LP_PX_REDIAL;
			lp_px_wait(c, LP_PX_WAIT_REDIAL);
			return;
		}
	}
	if (r == -EMFILE || r == -ENFILE) {
		lp_px_respond(c, 503, "out of file descriptors", NULL);
	} else if (c->upstream->retired && c->dials < MAX_DIALS) {
		c->dials++;
		lp_px_upstream_leave(p, c);
		lp_px_conn_reroute(c);
	} else if (!lp_px_hold_for_next(c, "upstream refused the connection")) {
		lp_px_respond(c, 502, "upstream refused the connection", NULL);
	}
}

void lp_px_exchange_start(struct lp_px_conn *c, bool fresh)
{
	struct lp_px_upconn *uc = fresh ? NULL : lp_px_upconn_take(c->upstream);
	int r = 0;

	if (!uc)
		uc = lp_px_upconn_open(c->proxy, c->upstream, &r);
	if (!uc) {
		cannot_dial(c, r);
		return;
	}
	c->dials++;
	c->up = uc;
	uc->conn = c;
	uc->replay_len = lp_px_buf_len(&c->replay);
	uc->s.out = c->replay;
	memset(&c->replay, 0, sizeof(c->replay));
	c->replay.cache = &c->proxy->cache;
	memset(&c->res_scan, 0, sizeof(c->res_scan));
	c->res_seen = false;
	c->state = LP_PX_RUN;
	if (uc->connecting)
		lp_px_wait(c, LP_PX_WAIT_CONNECT);
}

/* Moves the request. Returns whether something moved; c may be in another state afterwards. */
static bool step_request(struct lp_px_conn *c)
{
	struct lp_px_upconn *uc = c->up;
	size_t before;
	bool moved = false;

	if (uc->s.broken)
		return false;
	if (!c->req.done) {
		int r;

		moved = lp_px_sock_fill(&c->s,
					lp_px_fair_share(&c->proxy->cache, LP_PX_BULK_BYTES));
		if (moved)
			lp_px_timer_clear(&c->timer);
		r = lp_px_flow_scan(&c->req, &c->s.in, lp_px_sock_input(&c->s), NULL);
		if (r == -EBADMSG) {
			c->keep_alive = false;
			lp_px_respond(c, 400, "invalid chunked body", NULL);
			return true;
		}
		if (r < 0) {
			lp_px_conn_close(c, false);
			return true;
		}
		if (lp_px_body_is_too_large(c, c->body_sent + c->req.cleared)) {
			c->keep_alive = false;
			lp_px_respond(c, 413, "the request body is too large", NULL);
			return true;
		}
	}
	before = c->req.cleared;
	moved = lp_px_sock_send(&uc->s, &c->s.in, &c->req.cleared) || moved;
	c->body_sent += before - c->req.cleared;
	/* What the upstream said before it broke is still to be read. */
	if (uc->s.broken)
		uc->s.readable = !uc->s.eof;
	return moved;
}

/* Starts the response whose head is parsed: decides how the body goes out. */
static int begin_response(struct lp_px_conn *c)
{
	const struct lp_px_head *h = &c->proxy->head;
	struct lp_px_reply reply = {.client_minor = c->minor, .via = c->proxy->opts.limits.via};
	enum lp_px_form form = LP_PX_RAW;

	/* A client that is still sending is told to stop: it may send all of it or not. */
	c->keep_alive = c->keep_alive && c->req.done;
	c->up_keep_alive = h->keep_alive && h->body != LP_PX_BODY_CLOSE;
	if (h->body == LP_PX_BODY_CLOSE && c->minor > 0)
		form = LP_PX_ENCHUNK;
	else if (h->body == LP_PX_BODY_CHUNKED && c->minor == 0)
		form = LP_PX_DECHUNK;
	reply.chunked =
		c->minor > 0 && (h->body == LP_PX_BODY_CHUNKED || h->body == LP_PX_BODY_CLOSE);
	if (c->minor == 0 && (h->body == LP_PX_BODY_CHUNKED || h->body == LP_PX_BODY_CLOSE))
		c->keep_alive = false;
	reply.keep_alive = c->keep_alive;
	if (lp_px_inject_begin(&c->inject, h))
		reply.injected = lp_px_tag_len(c->inject.tag);
	lp_px_flow_init(&c->res, h->body, form, h->length);
	c->res_begun = true;
	c->is_stream = h->is_event_stream;
	lp_px_timer_clear(&c->timer);
	return lp_px_rewrite_response(&c->s.out, h, &reply);
}

static int begin_tunnel(struct lp_px_conn *c)
{
	struct lp_px_reply reply = {
		.client_minor = c->minor, .via = c->proxy->opts.limits.via, .upgrade = true};

	if (!c->wants_upgrade)
		return -EBADMSG;
	c->res_begun = true;
	lp_px_tunnel_begin(c, lp_px_span_is(c->proxy->head.upgrade, "websocket")
				      ? LP_PX_FRAMES_WEBSOCKET
				      : LP_PX_FRAMES_UNKNOWN);
	return lp_px_rewrite_response(&c->s.out, &c->proxy->head, &reply);
}

static int pass_interim(struct lp_px_conn *c)
{
	struct lp_px_reply reply = {.client_minor = c->minor, .via = c->proxy->opts.limits.via};

	if (c->minor == 0)
		return 0;
	return lp_px_rewrite_response(&c->s.out, &c->proxy->head, &reply);
}

/* Goes on with the response head of `len` bytes at the front of the input. */
static void take_response(struct lp_px_conn *c, size_t len)
{
	struct lp_px_buf *in = &c->up->s.in;
	const struct lp_px_head *h = &c->proxy->head;
	const char *cause = "";
	int r = lp_px_http_parse_response(&c->proxy->head, lp_px_buf_at(in), len, c->is_head,
					  &cause);

	if (r == 0 && h->status == 101)
		r = begin_tunnel(c);
	else if (r == 0 && h->status < 200)
		r = pass_interim(c);
	else if (r == 0)
		r = begin_response(c);
	if (r < 0) {
		lp_px_exchange_fail(c, "upstream sent an invalid response", true);
		return;
	}
	lp_px_buf_drop(in, len);
	memset(&c->res_scan, 0, sizeof(c->res_scan));
}

static bool step_response_head(struct lp_px_conn *c)
{
	struct lp_px_sock *s = &c->up->s;
	uint32_t max = c->proxy->opts.limits.max_header_bytes;
	bool moved = lp_px_sock_fill(s, max);
	ptrdiff_t end = 0;

	c->res_seen = c->res_seen || lp_px_buf_len(&s->in);
	if (lp_px_buf_len(&s->in))
		end = lp_px_http_find_end(&c->res_scan, lp_px_buf_at(&s->in),
					  lp_px_buf_len(&s->in));
	if (end > 0) {
		take_response(c, (size_t)end);
		return true;
	}
	if (end < 0 || lp_px_buf_len(&s->in) >= max)
		lp_px_exchange_fail(c, "upstream sent an invalid response", true);
	else if (s->eof)
		lp_px_exchange_fail(c, "upstream closed the connection without a response", false);
	else
		return moved;
	return true;
}

static void finish(struct lp_px_conn *c)
{
	struct lp_px_upconn *uc = c->up;
	bool over = c->req.done && !c->req.cleared && !lp_px_buf_len(&uc->s.out);

	c->up = NULL;
	lp_px_upconn_put(uc, over && c->up_keep_alive);
	lp_px_upstream_leave(c->proxy, c);
	lp_px_timer_clear(&c->timer);
	c->keep_alive = c->keep_alive && over;
	c->state = LP_PX_FLUSH;
}

/* Whether an event stream can be ended here without its client taking it for cut: between two
 * chunks that went out whole, or where it ends by closing anyway. */
static bool may_end_stream(const struct lp_px_conn *c)
{
	if (!c->ending || !c->is_stream || c->res.cleared)
		return false;
	if (c->res.form == LP_PX_RAW && c->res.kind == LP_PX_BODY_CHUNKED)
		return lp_px_chunk_between(&c->res.chunk);
	return c->res.kind == LP_PX_BODY_CLOSE || c->res.form == LP_PX_DECHUNK;
}

static void end_stream(struct lp_px_conn *c)
{
	static const char last_chunk[] = "0\r\n\r\n";
	bool chunked = c->minor > 0;

	if (chunked && lp_px_buf_reserve(&c->s.out, 5, 2 * LP_PX_BULK_BYTES) == 0)
		lp_px_buf_put(&c->s.out, last_chunk, 5);
	lp_px_exchange_finish_early(c);
}

void lp_px_exchange_finish_early(struct lp_px_conn *c)
{
	lp_px_upconn_close(c->up);
	c->up = NULL;
	lp_px_upstream_leave(c->proxy, c);
	lp_px_timer_clear(&c->timer);
	c->keep_alive = false;
	c->req.done = false; /* the client may say something yet, which nobody reads */
	c->state = LP_PX_FLUSH;
}

static int scan_response(struct lp_px_conn *c)
{
	struct lp_px_sock *s = &c->up->s;

	if (c->inject.active)
		return lp_px_inject_scan(&c->inject, &c->res, &s->in, lp_px_sock_input(s),
					 &c->s.out);
	return lp_px_flow_scan(&c->res, &s->in, lp_px_sock_input(s), &c->s.out);
}

static bool step_response(struct lp_px_conn *c)
{
	struct lp_px_sock *s = &c->up->s;
	bool moved = false;
	int r;

	if (!c->res.done)
		moved = lp_px_sock_fill(s, lp_px_fair_share(&c->proxy->cache, LP_PX_BULK_BYTES));
	r = scan_response(c);
	moved = lp_px_sock_send(&c->s, &s->in, &c->res.cleared) || moved;
	if (r < 0 || c->s.broken) {
		/* Without a length, only a reset tells the client that something is missing. */
		lp_px_conn_close(c,
				 c->res.kind == LP_PX_BODY_CLOSE || c->res.form == LP_PX_DECHUNK);
		return true;
	}
	if (may_end_stream(c) && !c->res.done) {
		end_stream(c);
		return true;
	}
	if (!c->res.done || c->res.cleared)
		return moved;
	finish(c);
	return true;
}

bool lp_px_exchange_step(struct lp_px_conn *c)
{
	bool moved;

	if (c->up->connecting)
		return false;
	if (c->is_http2) {
		lp_px_tunnel_begin(c, LP_PX_FRAMES_HTTP2);
		return true;
	}
	moved = step_request(c);
	if (c->state != LP_PX_RUN || !c->up || c->up->connecting)
		return true;
	if (!c->res_begun) {
		moved = step_response_head(c) || moved;
		/* 100 goes out at once: the client waits for it. */
		if (c->state == LP_PX_RUN && !c->res_begun && lp_px_buf_len(&c->s.out))
			moved = lp_px_sock_send(&c->s, NULL, NULL) || moved;
		return moved;
	}
	return step_response(c) || moved;
}
