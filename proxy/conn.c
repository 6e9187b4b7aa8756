/* proxy/conn.c: client connections: reading a request head and routing it. */
#include "proxy/conn.h"

#include "common/base/lp_mem.h"
#include "proxy/addr.h"
#include "proxy/rewrite.h"
#include "proxy/server.h"

#include <string.h>
#include <sys/epoll.h>

#define MAX_ROUNDS 16 /* of one connection before the others get their turn */

/* RFC 9113 section 3.4. */
static const char http2_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define HTTP2_PREFACE_BYTES (sizeof(http2_preface) - 1)

void lp_px_conn_close(struct lp_px_conn *c, bool abort)
{
	struct lp_proxy *p = c->proxy;

	if (c->state == LP_PX_DEAD)
		return;
	c->state = LP_PX_DEAD;
	lp_px_heads_count(c, 0);
	if (c->up)
		lp_px_upconn_close(c->up);
	c->up = NULL;
	lp_px_upstream_leave(p, c);
	lp_px_unhold(c);
	lp_px_timer_clear(&c->timer);
	lp_px_link_drop(&c->ready);
	lp_px_buf_finish(&c->replay);
	lp_px_inject_finish(&c->inject);
	if (abort)
		lp_px_sock_abort(&c->s);
	else
		lp_px_sock_close(&c->s);
	lp_px_link_drop(&c->link);
	lp_px_list_push(&p->dead_conns, &c->link);
	atomic_fetch_sub_explicit(&p->n_conns, 1, memory_order_relaxed);
	lp_px_listen_resume(p);
}

/* Sends c->replay where the route says; anything but FORWARD and HOLD is answered. */
static void follow(struct lp_px_conn *c, struct lp_px_route *route)
{
	if (!route) {
		lp_px_respond(c, 404, "no route", "there is no route for this host and path");
		return;
	}
	if (route->kind == LP_ROUTE_REFUSE) {
		lp_px_respond(c, route->status, "refused by route", route->text);
		return;
	}
	lp_px_timer_clear(&c->timer);
	lp_px_upstream_enter(lp_px_route_pick(route)->upstream, c);
	lp_px_exchange_start(c, c->is_http2);
}

/* Whether requests of that route wait. */
static bool must_hold(const struct lp_proxy *p, const struct lp_px_route *route)
{
	return !p->table || (route && route->kind == LP_ROUTE_HOLD);
}

/* Where the request goes whose head is parsed; HTTP/2 as a whole goes where "/" does. */
static struct lp_px_route *find_route(const struct lp_px_conn *c, bool is_http2)
{
	const struct lp_px_span any = {"", 0}, root = {"/", 1};
	const struct lp_px_head *h = &c->proxy->head;
	const struct lp_px_table *t = c->proxy->table;

	return t ? lp_px_table_find(t, is_http2 ? any : h->host, is_http2 ? root : h->path) : NULL;
}

void lp_px_conn_reroute(struct lp_px_conn *c)
{
	struct lp_proxy *p = c->proxy;
	struct lp_px_scan scan = {0};
	const char *cause = "";
	ptrdiff_t end =
		lp_px_http_find_end(&scan, lp_px_buf_at(&c->replay), lp_px_buf_len(&c->replay));
	struct lp_px_route *route;

	if (!c->is_http2 &&
	    (end <= 0 || lp_px_http_parse_request(&p->head, lp_px_buf_at(&c->replay), (size_t)end,
						  &cause) != 0)) {
		lp_px_respond(c, 502, "the request cannot be repeated", NULL);
		return;
	}
	route = find_route(c, c->is_http2);
	if (must_hold(p, route))
		lp_px_hold(c);
	else
		follow(c, route);
}

/* Puts a body that has come whole behind the head, so that both can be repeated. Returns 0 or
 * -errno. */
static int keep_small_body(struct lp_px_conn *c)
{
	int r = lp_px_flow_scan(&c->req, &c->s.in, LP_PX_IN_OPEN, NULL);

	if (r == 0 && lp_px_body_is_too_large(c, c->req.cleared))
		return -EMSGSIZE;
	if (r < 0 || !c->req.done || !c->req.cleared || c->req.cleared > LP_PX_BLOCK_BYTES)
		return r;
	r = lp_px_buf_reserve(&c->replay, c->req.cleared, SIZE_MAX / 2);
	if (r < 0)
		return r;
	lp_px_buf_put(&c->replay, lp_px_buf_at(&c->s.in), c->req.cleared);
	lp_px_buf_drop(&c->s.in, c->req.cleared);
	c->req.cleared = 0;
	return 0;
}

/* Rewrites the parsed head, which is head_len bytes of the input, into c->replay. Returns 0, or the
 * status to answer with. */
static int prepare(struct lp_px_conn *c, size_t head_len)
{
	struct lp_px_origin origin = {
		.ip = c->ip,
		.is_tls = c->s.tls != NULL,
		.identity = c->inject.tag != NULL,
		.via = c->proxy->opts.limits.via,
	};
	int r;

	c->replay.cache = &c->proxy->cache;
	r = lp_px_rewrite_request(&c->replay, &c->proxy->head, &origin);
	lp_px_buf_drop(&c->s.in, head_len);
	if (r == 0 && c->proxy->head.body == LP_PX_BODY_LENGTH &&
	    lp_px_body_is_too_large(c, c->proxy->head.length))
		r = -EMSGSIZE;
	if (r == 0)
		r = keep_small_body(c);
	if (r == 0)
		return 0;
	c->keep_alive = false;
	return r == -EBADMSG ? 400 : r == -EMSGSIZE ? 413 : 503;
}

static const char *cause_of(int status)
{
	switch (status) {
	case 400:
		return "invalid chunked body";
	case 413:
		return "the request body is too large";
	default:
		return "out of memory";
	}
}

static void take_facts(struct lp_px_conn *c)
{
	const struct lp_px_head *h = &c->proxy->head;

	lp_px_heads_count(c, 0);
	c->minor = h->minor;
	c->keep_alive = h->keep_alive;
	c->is_head = h->is_head;
	c->is_safe = h->is_safe;
	c->wants_upgrade = h->wants_upgrade;
	lp_px_flow_init(&c->req, h->body, LP_PX_RAW, h->length);
	if (!c->held_before)
		atomic_fetch_add_explicit(&c->proxy->n_requests, 1, memory_order_relaxed);
}

/* Routes the request whose head is parsed. A held one keeps its head in the input, to be parsed
 * again. */
static void dispatch(struct lp_px_conn *c, size_t head_len)
{
	struct lp_proxy *p = c->proxy;
	struct lp_px_route *route = find_route(c, false);
	bool hand_over = lp_px_handover_wanted(c, route);
	int status = 0;

	take_facts(c);
	if (must_hold(p, route)) {
		lp_px_hold(c);
		return;
	}
	lp_px_inject_prepare(&c->inject, route ? route->tag : NULL, &p->head);
	if (route && route->kind == LP_ROUTE_FORWARD)
		status = prepare(c, head_len);
	else
		lp_px_buf_drop(&c->s.in, head_len);
	if (status)
		lp_px_respond(c, status, cause_of(status), NULL);
	else if (!hand_over || !lp_px_handover_try(c))
		follow(c, route);
}

/* Answers a request that was not understood, and ends the connection. */
static void refuse(struct lp_px_conn *c, int status, const char *cause)
{
	lp_px_heads_count(c, 0);
	c->keep_alive = false;
	c->is_head = false;
	c->minor = 1;
	lp_px_respond(c, status, cause, cause);
}

/* The head is not whole: waits for more, within the limits. */
static bool await_head(struct lp_px_conn *c)
{
	if (lp_px_buf_len(&c->s.in) >= c->proxy->opts.limits.max_header_bytes) {
		if (c->scan.line == 0)
			refuse(c, 414, "the request target is too long");
		else
			refuse(c, 431, "the header is too large");
		return true;
	}
	if (c->s.eof) {
		lp_px_conn_close(c, false);
		return true;
	}
	if (!c->timing)
		lp_px_wait(c, LP_PX_WAIT_HEAD);
	c->timing = true;
	c->more = true;
	lp_px_heads_await(c);
	return c->s.readable;
}

/* Looks for a head in the input and goes on with it. */
static bool take_head(struct lp_px_conn *c)
{
	struct lp_px_buf *in = &c->s.in;
	const char *cause = "";
	ptrdiff_t end = lp_px_http_find_end(&c->scan, lp_px_buf_at(in), lp_px_buf_len(in));
	int status;

	if (end == 0)
		return await_head(c);
	if (end < 0) {
		refuse(c, 400, "invalid line end or folded line in the header");
		return true;
	}
	if ((size_t)end > c->proxy->opts.limits.max_header_bytes) {
		refuse(c, 431, "the header is too large");
		return true;
	}
	status = lp_px_http_parse_request(&c->proxy->head, lp_px_buf_at(in), (size_t)end, &cause);
	if (status)
		refuse(c, status, cause);
	else
		dispatch(c, (size_t)end);
	return true;
}

bool lp_px_conn_is_stream(const struct lp_px_conn *c)
{
	return c->state == LP_PX_TUNNEL || c->is_http2 ||
	       (c->state == LP_PX_RUN && c->res_begun && c->is_stream);
}

/* Whether the input is HTTP/2 with prior knowledge, as far as it has come. */
static bool begins_http2(const struct lp_px_buf *in)
{
	size_t len =
		lp_px_buf_len(in) < HTTP2_PREFACE_BYTES ? lp_px_buf_len(in) : HTTP2_PREFACE_BYTES;

	/* A method begins with "PR" as well; "PRI" is none. */
	return len >= 3 && memcmp(lp_px_buf_at(in), http2_preface, len) == 0;
}

/* Sends the whole connection where "/" goes. We speak no HTTP/2, so whatever cannot be done ends
 * the connection. */
static void take_http2(struct lp_px_conn *c)
{
	struct lp_proxy *p = c->proxy;
	struct lp_px_route *route = find_route(c, true);

	lp_px_heads_count(c, 0);
	if (must_hold(p, route)) {
		lp_px_hold(c);
		return;
	}
	c->replay.cache = &p->cache;
	if (!route || route->kind != LP_ROUTE_FORWARD ||
	    lp_px_buf_reserve(&c->replay, HTTP2_PREFACE_BYTES, LP_PX_BLOCK_BYTES) < 0) {
		lp_px_conn_close(c, false);
		return;
	}
	atomic_fetch_add_explicit(&p->n_requests, 1, memory_order_relaxed);
	lp_px_buf_put(&c->replay, http2_preface, HTTP2_PREFACE_BYTES);
	lp_px_buf_drop(&c->s.in, HTTP2_PREFACE_BYTES);
	c->is_http2 = true;
	c->is_safe = false;
	follow(c, route);
}

/* Drops the empty lines that may stand before a request line (RFC 9112 section 2.2). */
static void skip_empty_lines(struct lp_px_buf *in)
{
	while (lp_px_buf_len(in) >= 2 && memcmp(lp_px_buf_at(in), "\r\n", 2) == 0)
		lp_px_buf_drop(in, 2);
}

/* What the first bytes of a connection with TLS show. Returns whether it is answered. */
static bool settle_tls(struct lp_px_conn *c)
{
	if (c->s.refused_tls) {
		refuse(c, 400, "this port speaks HTTPS, not HTTP");
		return true;
	}
	if (c->s.tls && c->is_new)
		lp_px_heads_shake(c);
	return false;
}

static bool step_head(struct lp_px_conn *c)
{
	struct lp_px_buf *in = &c->s.in;
	bool moved = false;
	char first;

	if (c->more || !lp_px_buf_len(in))
		moved = lp_px_sock_fill(&c->s, c->proxy->opts.limits.max_header_bytes);
	if (settle_tls(c))
		return true;
	if (c->scan.seen == 0)
		skip_empty_lines(in);
	if (!lp_px_buf_len(in)) {
		if (c->s.eof)
			lp_px_conn_close(c, false);
		return moved;
	}
	if (c->more && !moved)
		return false;
	first = *lp_px_buf_at(in);
	if (first == '\r' && lp_px_buf_len(in) == 1)
		return await_head(c) || moved;
	if (begins_http2(in)) {
		if (lp_px_buf_len(in) < HTTP2_PREFACE_BYTES)
			return await_head(c) || moved;
		if (c->proxy->opts.limits.no_h2)
			refuse(c, 505, "HTTP/2 is not spoken here");
		else
			take_http2(c);
		return true;
	}
	if (first >= 'A' && first <= 'Z')
		return take_head(c) || moved;
	refuse(c, 400, "this is not HTTP");
	return true;
}

static bool step(struct lp_px_conn *c)
{
	switch (c->state) {
	case LP_PX_HEAD:
		return step_head(c);
	case LP_PX_RUN:
		return lp_px_exchange_step(c);
	case LP_PX_TUNNEL:
		return lp_px_tunnel_step(c);
	case LP_PX_FLUSH:
		return lp_px_respond_flush(c);
	case LP_PX_LINGER:
		return lp_px_respond_linger(c);
	case LP_PX_HELD:
	case LP_PX_REDIAL:
	case LP_PX_DEAD:
		break;
	}
	return false;
}

void lp_px_conn_pump(struct lp_px_conn *c)
{
	for (int i = 0; step(c); i++) {
		if (i < MAX_ROUNDS || c->state == LP_PX_DEAD)
			continue;
		if (!lp_px_link_on(&c->ready))
			lp_px_list_push(&c->proxy->ready, &c->ready);
		return;
	}
	lp_px_deadline_set(c);
}

static void on_event(struct lp_px_sock *s, uint32_t events)
{
	struct lp_px_conn *c = LP_CONTAINER_OF(s, struct lp_px_conn, s);
	bool gone = events & (EPOLLHUP | EPOLLERR);

	lp_px_sock_note(s, events);
	if ((c->state == LP_PX_RUN && gone) ||
	    ((c->state == LP_PX_HELD || c->state == LP_PX_REDIAL) && s->hup))
		lp_px_conn_close(c, false);
	else
		lp_px_conn_pump(c);
}

void lp_px_conn_release(struct lp_px_conn *c)
{
	lp_px_unhold(c);
	if (lp_px_buf_len(&c->replay)) {
		lp_px_conn_reroute(c);
	} else {
		c->state = LP_PX_HEAD;
		c->more = false;
	}
	lp_px_conn_pump(c);
}

void lp_px_conn_expire(struct lp_px_conn *c)
{
	switch (c->state) {
	case LP_PX_HEAD:
		if (c->timing)
			refuse(c, 408, "the request header took too long");
		else
			lp_px_conn_close(c, false);
		break;
	case LP_PX_HELD:
		lp_px_unhold(c);
		if (c->waits_for == LP_PX_WAIT_NEXT)
			lp_px_respond(c, 502, c->ended_by, NULL);
		else
			lp_px_hold_give_up(c, "the app is not ready",
					   "the app is not ready; try again");
		break;
	case LP_PX_REDIAL:
		lp_px_exchange_start(c, true);
		break;
	case LP_PX_RUN:
		lp_px_deadline_passed(c);
		break;
	case LP_PX_TUNNEL:
	case LP_PX_FLUSH:
		lp_px_conn_close(c, true);
		break;
	case LP_PX_LINGER:
	case LP_PX_DEAD:
		lp_px_conn_close(c, false);
		break;
	}
	lp_px_conn_pump(c);
}

void lp_px_conn_open(struct lp_proxy *p, int fd, const struct sockaddr *peer)
{
	struct lp_px_conn *c = lp_xcalloc(1, sizeof(*c));

	c->proxy = p;
	c->s.fd = -1;
	c->s.on_event = on_event;
	c->s.in.cache = &p->cache;
	c->s.out.cache = &p->cache;
	lp_px_addr_ip_text(peer, c->ip);
	lp_px_sock_tune(fd, peer->sa_family);
	if (lp_px_sock_open(&c->s, p->epoll_fd, fd, false) < 0) {
		free(c);
		return;
	}
	c->s.tls = p->tls ? lp_px_tls_create(p->tls, fd) : NULL;
	if (p->tls && !c->s.tls) {
		lp_px_sock_close(&c->s);
		free(c);
		return;
	}
	lp_px_list_push(&p->conns, &c->link);
	atomic_fetch_add_explicit(&p->n_conns, 1, memory_order_relaxed);
	c->is_new = p->tls != NULL;
	lp_px_wait(c, c->is_new ? LP_PX_WAIT_HEAD : LP_PX_WAIT_IDLE);
}
