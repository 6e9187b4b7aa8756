/* proxy/hold.c: requests that wait for a routing table that takes them. */
#include "proxy/server.h"

void lp_px_unhold(struct lp_px_conn *c)
{
	if (!lp_px_link_on(&c->held))
		return;
	lp_px_link_drop(&c->held);
	atomic_fetch_sub_explicit(&c->proxy->n_held, 1, memory_order_relaxed);
}

void lp_px_hold_give_up(struct lp_px_conn *c, const char *cause, const char *text)
{
	ptrdiff_t end =
		lp_px_http_find_end(&c->scan, lp_px_buf_at(&c->s.in), lp_px_buf_len(&c->s.in));

	if (!lp_px_buf_len(&c->replay) && end > 0)
		lp_px_buf_drop(&c->s.in, (size_t)end);
	lp_px_respond(c, 503, cause, text);
}

static void enqueue(struct lp_px_conn *c)
{
	c->state = LP_PX_HELD;
	lp_px_list_push(&c->proxy->held, &c->held);
	atomic_fetch_add_explicit(&c->proxy->n_held, 1, memory_order_relaxed);
}

bool lp_px_hold_for_next(struct lp_px_conn *c, const char *cause)
{
	struct lp_proxy *p = c->proxy;

	if (c->ended_by ||
	    atomic_load_explicit(&p->n_held, memory_order_relaxed) >= p->opts.limits.max_held)
		return false;
	c->ended_by = cause;
	lp_px_upstream_leave(p, c);
	lp_px_wait(c, LP_PX_WAIT_NEXT);
	enqueue(c);
	return true;
}

void lp_px_hold(struct lp_px_conn *c)
{
	struct lp_proxy *p = c->proxy;

	if (!c->held_before &&
	    atomic_load_explicit(&p->n_held, memory_order_relaxed) >= p->opts.limits.max_held) {
		lp_px_hold_give_up(c, "too many requests wait for the app", NULL);
		return;
	}
	/* It goes on from table to table, but not after an upstream that was tried meanwhile. */
	if (!lp_px_link_on(&c->timer.link) || c->waits_for != LP_PX_WAIT_HOLD)
		lp_px_wait(c, LP_PX_WAIT_HOLD);
	c->held_before = true;
	enqueue(c);
}
