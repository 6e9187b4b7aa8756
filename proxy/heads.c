/* proxy/heads.c: what clients take up before their request is known: heads that are not whole, and
 * handshakes of TLS that are not over. */
#include "proxy/server.h"

/* What they may take up together. Few clients send a head in pieces, and a handshake takes one way
 * there and back; of those that are at it, the slowest make room. */
#define ROOM_BYTES ((size_t)32 * 1024 * 1024)

/* What OpenSSL 3.0 keeps for a handshake once something has come: two buffers of the size of a
 * record, the messages, and the keys. Measured: 46 KiB, and 58 where as much came as may come. */
#define HANDSHAKE_BYTES ((size_t)64 * 1024)

void lp_px_heads_count(struct lp_px_conn *c, size_t bytes)
{
	c->proxy->heads_bytes += bytes - c->head_bytes;
	c->head_bytes = bytes;
}

/* Closes those that have been at it for longest, while all take up too much. */
static void bound(const struct lp_px_conn *c)
{
	struct lp_px_timeq *q = &c->proxy->waits[LP_PX_WAIT_HEAD];
	struct lp_px_link *l = q->timers.next, *next;

	for (; l != &q->timers && c->proxy->heads_bytes > ROOM_BYTES; l = next) {
		struct lp_px_conn *old = LP_CONTAINER_OF(
			LP_CONTAINER_OF(l, struct lp_px_timer, link), struct lp_px_conn, timer);

		next = l->next;
		if (old != c && old->head_bytes)
			lp_px_conn_close(old, false);
	}
}

void lp_px_heads_await(struct lp_px_conn *c)
{
	lp_px_heads_count(c, c->s.in.cap);
	bound(c);
}

void lp_px_heads_shake(struct lp_px_conn *c)
{
	if (lp_px_tls_is_up(c->s.tls)) {
		c->is_new = false;
		lp_px_heads_count(c, 0);
		lp_px_wait(c, LP_PX_WAIT_IDLE);
	} else if (!c->head_bytes && lp_px_tls_has_begun(c->s.tls)) {
		lp_px_heads_count(c, HANDSHAKE_BYTES);
		bound(c);
	}
}
