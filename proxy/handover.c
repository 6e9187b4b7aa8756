/* proxy/handover.c: WebSockets whose client's socket goes to the owner of their route, so that what
 * follows the upgrade does not pass through here. */
#include "proxy/server.h"

#include <sys/epoll.h>

/* Whether what comes and goes on the client's socket is what was said: its new owner reads and
 * writes there itself. */
static bool is_plain(const struct lp_px_conn *c)
{
	return c->s.fd >= 0 && !c->s.tls && !lp_px_buf_len(&c->s.out);
}

bool lp_px_handover_wanted(const struct lp_px_conn *c, const struct lp_px_route *route)
{
	const struct lp_px_head *h = &c->proxy->head;

	return route && route->hands_over && c->proxy->opts.on_handover && h->wants_upgrade &&
	       lp_px_span_is(h->upgrade, "websocket") && is_plain(c);
}

/* Watches the socket again; the first look tells all that came meanwhile. */
static void take_back(struct lp_px_conn *c, int fd)
{
	if (lp_px_sock_open(&c->s, c->proxy->epoll_fd, fd, false) == 0)
		return;
	lp_px_buf_finish(&c->s.in);
	lp_px_conn_close(c, false);
}

bool lp_px_handover_try(struct lp_px_conn *c)
{
	struct lp_proxy *p = c->proxy;
	size_t behind = lp_px_buf_len(&c->s.in);
	int fd = c->s.fd;

	if (lp_px_buf_reserve(&c->replay, behind, SIZE_MAX / 2) < 0)
		return false;
	lp_px_buf_put(&c->replay, lp_px_buf_at(&c->s.in), behind);
	/* Nothing may be left here of what another thread is about to use. */
	(void)epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	c->s.fd = -1;
	if (!p->opts.on_handover(p->opts.ctx, fd, lp_px_buf_at(&c->replay),
				 lp_px_buf_len(&c->replay))) {
		c->replay.end -= behind;
		take_back(c, fd);
		return c->state == LP_PX_DEAD;
	}
	lp_px_buf_finish(&c->s.in);
	lp_px_buf_finish(&c->s.out);
	lp_px_conn_close(c, false);
	return true;
}
