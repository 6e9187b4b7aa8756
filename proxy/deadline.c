/* proxy/deadline.c: what a connection with a request waits for, and what follows when that does not
 * come in time. */
#include "proxy/server.h"

void lp_px_wait(struct lp_px_conn *c, enum lp_px_wait wait)
{
	c->waits_for = wait;
	lp_px_timer_set(&c->proxy->waits[wait], &c->timer, c->proxy->now_ms);
}

/* Whether the client does not take what waits for it, which has a deadline from its last byte on.
 */
static bool await_reader(struct lp_px_conn *c)
{
	bool is_set = lp_px_link_on(&c->timer.link) && c->waits_for == LP_PX_WAIT_WRITE;

	if (c->s.writable || !(c->res.cleared + lp_px_buf_len(&c->s.out))) {
		if (is_set)
			lp_px_timer_clear(&c->timer);
		return false;
	}
	if (!is_set || c->sent_then != c->s.sent) {
		c->sent_then = c->s.sent;
		lp_px_wait(c, LP_PX_WAIT_WRITE);
	}
	return true;
}

/* Sets the deadline for what a running request waits for now. */
static void await_progress(struct lp_px_conn *c)
{
	enum lp_px_wait wait;

	if (await_reader(c))
		return;
	if (!c->req.done && !c->req.cleared)
		wait = LP_PX_WAIT_BODY;
	else if (c->s.hup)
		wait = LP_PX_WAIT_GONE;
	else if (!c->res_begun) /* or the upstream takes nothing of the body */
		wait = LP_PX_WAIT_RESPONSE;
	else
		return;
	/* Whether a client that sends no more is still there shows when it is sent something. */
	if (lp_px_link_on(&c->timer.link) && c->waits_for == wait &&
	    (wait != LP_PX_WAIT_GONE || c->sent_then == c->s.sent))
		return;
	c->sent_then = c->s.sent;
	lp_px_wait(c, wait);
}

void lp_px_deadline_passed(struct lp_px_conn *c)
{
	switch (c->waits_for) {
	case LP_PX_WAIT_CONNECT:
		lp_px_exchange_fail(c, "connecting to the upstream took too long", false);
		break;
	case LP_PX_WAIT_BODY:
		c->keep_alive = false;
		lp_px_respond(c, 408, "the request body took too long", NULL);
		break;
	case LP_PX_WAIT_RESPONSE:
		lp_px_respond(c, 504, "the upstream took too long to answer", NULL);
		break;
	default: /* a client that reads nothing, or has closed its sending side */
		lp_px_conn_close(c, c->waits_for == LP_PX_WAIT_WRITE);
		break;
	}
}

void lp_px_deadline_set(struct lp_px_conn *c)
{
	if (c->state == LP_PX_RUN && c->up && !c->up->connecting)
		await_progress(c);
	else if (c->state == LP_PX_TUNNEL || c->state == LP_PX_FLUSH)
		(void)await_reader(c);
}
