/* proxy/tunnel.c: raw bytes in both directions, each ending on its own; and the end of a tunnel
 * whose upstream is to stop. */
#include "proxy/server.h"

#include <string.h>

/* RFC 6455 section 7.4: 1012, service restart. */
static const uint8_t websocket_close[] = {0x88, 0x02, 0x03, 0xf4};

/* RFC 9113 section 6.8: no stream is refused yet, but new ones belong on another connection. */
static const uint8_t http2_goaway[] = {0x00, 0x00, 0x08, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00,
				       0x7f, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00};

void lp_px_tunnel_begin(struct lp_px_conn *c, enum lp_px_framing framing)
{
	c->state = LP_PX_TUNNEL;
	c->frames = (struct lp_px_frames){.framing = framing};
	c->res.cleared = 0;
	lp_px_timer_clear(&c->timer);
}

/* Passes on the end of what `from` sends when nothing of it waits any more. */
static void pass_end(struct lp_px_sock *from, struct lp_px_sock *to)
{
	lp_px_buf_relax(&from->in);
	lp_px_buf_relax(&to->out);
	if (from->eof && !lp_px_buf_len(&from->in) && !lp_px_buf_len(&to->out))
		lp_px_sock_shutdown(to);
}

static bool pass_up(struct lp_px_conn *c)
{
	bool moved = lp_px_sock_fill(&c->s, lp_px_fair_share(&c->proxy->cache, LP_PX_TUNNEL_BYTES));
	size_t len = lp_px_buf_len(&c->s.in);

	moved = lp_px_sock_send(&c->up->s, &c->s.in, &len) || moved;
	pass_end(&c->s, &c->up->s);
	return moved;
}

static bool pass_down(struct lp_px_conn *c)
{
	struct lp_px_sock *from = &c->up->s;
	bool moved = lp_px_sock_fill(from, lp_px_fair_share(&c->proxy->cache, LP_PX_TUNNEL_BYTES));
	size_t fresh = lp_px_buf_len(&from->in) - c->res.cleared;

	if (fresh > 0)
		c->res.cleared += lp_px_frames_follow(
			&c->frames, (const uint8_t *)lp_px_buf_at(&from->in) + c->res.cleared,
			fresh, c->ending);
	moved = lp_px_sock_send(&c->s, &from->in, &c->res.cleared) || moved;
	pass_end(from, &c->s);
	return moved;
}

/* Puts our own frame between two of the upstream's. Returns whether the tunnel is over with it. */
static bool put_last_frame(struct lp_px_conn *c)
{
	bool is_http2 = c->frames.framing == LP_PX_FRAMES_HTTP2;
	const uint8_t *frame = is_http2 ? http2_goaway : websocket_close;
	size_t len = is_http2 ? sizeof(http2_goaway) : sizeof(websocket_close);

	c->ending = false;
	if (c->frames.framing == LP_PX_FRAMES_UNKNOWN)
		return true;
	if (lp_px_buf_reserve(&c->s.out, len, LP_PX_BULK_BYTES) < 0)
		return true;
	lp_px_buf_put(&c->s.out, frame, len);
	/* The streams of HTTP/2 that are open may come to their end. */
	return !is_http2;
}

bool lp_px_tunnel_step(struct lp_px_conn *c)
{
	struct lp_px_sock *client = &c->s;
	struct lp_px_sock *upstream = &c->up->s;
	bool moved = pass_up(c);

	moved = pass_down(c) || moved;
	if (client->reset || upstream->reset || client->broken || upstream->broken) {
		lp_px_conn_close(c, true);
		return moved;
	}
	if (client->shut && upstream->shut) {
		lp_px_conn_close(c, false);
		return moved;
	}
	if (!c->ending || client->shut || c->res.cleared || !lp_px_frames_between(&c->frames))
		return moved;
	if (put_last_frame(c))
		lp_px_exchange_finish_early(c);
	return true;
}
