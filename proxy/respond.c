/* proxy/respond.c: the proxy's own answers, and how a response and a connection end. */
#include "proxy/rewrite.h"
#include "proxy/server.h"

#include <string.h>

/* Whether the request was read to its end, so that the next one can follow. */
static bool request_is_over(struct lp_px_conn *c)
{
	if (lp_px_flow_scan(&c->req, &c->s.in, lp_px_sock_input(&c->s), NULL) < 0 || !c->req.done)
		return false;
	lp_px_buf_drop(&c->s.in, c->req.cleared);
	c->req.cleared = 0;
	return true;
}

void lp_px_respond(struct lp_px_conn *c, int status, const char *cause, const char *text)
{
	struct lp_proxy *p = c->proxy;
	struct lp_px_answer answer = {
		.status = status,
		.cause = cause,
		.text = text,
		.client_minor = c->minor,
		.to_head = c->is_head,
		.retry = status == 503,
	};

	if (c->up)
		lp_px_upconn_close(c->up);
	c->up = NULL;
	lp_px_upstream_leave(p, c);
	lp_px_timer_clear(&c->timer);
	lp_px_buf_finish(&c->replay);
	if (status >= 500)
		atomic_fetch_add_explicit(&p->n_failed, 1, memory_order_relaxed);
	if (c->res_begun || c->is_http2) {
		lp_px_conn_close(c, true);
		return;
	}
	c->keep_alive = c->keep_alive && request_is_over(c);
	answer.keep_alive = c->keep_alive;
	if (lp_px_rewrite_answer(&c->s.out, &answer) < 0) {
		lp_px_conn_close(c, true);
		return;
	}
	c->res_begun = true;
	c->state = LP_PX_FLUSH;
}

static void next_request(struct lp_px_conn *c)
{
	c->state = LP_PX_HEAD;
	memset(&c->scan, 0, sizeof(c->scan));
	c->body_sent = 0;
	c->redial_until_ms = 0;
	c->ended_by = NULL;
	c->dials = 0;
	c->more = false;
	c->timing = false;
	c->held_before = false;
	c->res_begun = false;
	c->is_stream = false;
	c->ending = false;
	lp_px_inject_finish(&c->inject);
	lp_px_buf_relax(&c->s.out);
	lp_px_buf_relax(&c->s.in);
	lp_px_wait(c, LP_PX_WAIT_IDLE);
}

bool lp_px_respond_flush(struct lp_px_conn *c)
{
	bool moved = lp_px_sock_send(&c->s, NULL, NULL);

	if (c->s.broken) {
		lp_px_conn_close(c, false);
		return true;
	}
	if (lp_px_buf_len(&c->s.out))
		return moved;
	if (c->keep_alive) {
		next_request(c);
		return true;
	}
	/* Closing with bytes unread would have the kernel reset the connection, and the client
	 * might lose the answer (RFC 9112 section 9.6). */
	if (c->req.done && lp_px_sock_is_quiet(&c->s) && lp_px_sock_may_close(&c->s)) {
		lp_px_conn_close(c, false);
		return true;
	}
	lp_px_sock_shutdown(&c->s);
	c->state = LP_PX_LINGER;
	lp_px_wait(c, LP_PX_WAIT_LINGER);
	return true;
}

bool lp_px_respond_linger(struct lp_px_conn *c)
{
	bool moved;

	lp_px_sock_shutdown(&c->s);
	lp_px_buf_drop(&c->s.in, lp_px_buf_len(&c->s.in));
	moved = lp_px_sock_fill(&c->s, LP_PX_BULK_BYTES);
	if (c->s.eof)
		lp_px_conn_close(c, false);
	return moved;
}
