/* proxy/tunnel.c: raw bytes in both directions, each ending on its own. */
#include "proxy/server.h"

/* Moves what waits at `from` to `to`. */
static bool pass(struct lp_px_sock *from, struct lp_px_sock *to)
{
	bool moved = lp_px_sock_fill(from, LP_PX_TUNNEL_BYTES);
	size_t len = lp_px_buf_len(&from->in);

	moved = lp_px_sock_send(to, &from->in, &len) || moved;
	lp_px_buf_relax(&from->in);
	lp_px_buf_relax(&to->out);
	if (from->eof && !lp_px_buf_len(&from->in) && !lp_px_buf_len(&to->out))
		lp_px_sock_shutdown(to);
	return moved;
}

bool lp_px_tunnel_step(struct lp_px_conn *c)
{
	struct lp_px_sock *client = &c->s;
	struct lp_px_sock *upstream = &c->up->s;
	bool moved = pass(client, upstream);

	moved = pass(upstream, client) || moved;
	if (client->reset || upstream->reset || client->broken || upstream->broken)
		lp_px_conn_close(c, true);
	else if (client->shut && upstream->shut)
		lp_px_conn_close(c, false);
	return moved;
}
