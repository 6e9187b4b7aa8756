/* common/loop/ws_alive.c: whether peers are still there. One timer looks after all connections of a
 * loop: who was silent for a while is pinged, who stays silent is dropped. libwebsockets tells
 * nothing of the pings that it answers, but of pongs it does: so a client that asks says first, by
 * a pong, that it is there itself, and the server need not wake up to ask, too. */
#include "common/base/lp_clock.h"
#include "common/loop/loop_internal.h"
#include "common/loop/ws_internal.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define PING_AFTER_US        4500000u
#define SERVER_PING_AFTER_US 5200000u /* the client comes first */
#define DEAD_AFTER_US        9000000u
#define PROBE_US             2000000u
/* So much of a message that is still on its way is a sign of life, too: on a slow line one may take
 * longer than DEAD_AFTER_US. */
#define ALIVE_BYTES 4096u
/* What is due within that is done together, so that many connections wake the process up once. */
#define SLACK_US 500000u
/* A loop that was busy for longer has not listened: silence does not count. */
#define LATE_US 1000000u
/* More unsent content than that is not given to the kernel, so that what is urgent does not wait
 * behind it on a slow line. */
#define UNSENT_MAX_BYTES (256 * 1024)

static void on_beat(struct lp_timer *timer);

static uint64_t ping_after_us(const struct lp_ws *ws)
{
	return ws->is_client ? PING_AFTER_US : SERVER_PING_AFTER_US;
}

static uint64_t due_us(const struct lp_ws *ws)
{
	return ws->heard_us + (ws->pinged ? DEAD_AFTER_US : ping_after_us(ws));
}

static void schedule(struct lp_loop *loop, bool postpone)
{
	struct lp_ws_host *host = loop->ws;
	uint64_t first_us = UINT64_MAX;

	for (const struct lp_ws *ws = host->all; ws; ws = ws->next)
		if (ws->open && due_us(ws) < first_us)
			first_us = due_us(ws);
	if (first_us == UINT64_MAX)
		return;
	host->beat.on_fire = on_beat;
	if (!host->beat.loop || host->beat.due_us > first_us || postpone)
		lp_timer_set(loop, &host->beat, first_us);
}

/* Whether what was written to the peer still goes: a slow line is not a dead one. */
static bool still_moves(struct lp_ws *ws)
{
	int unread = 0;
	bool moves;

	if (ioctl(lws_get_socket_fd(ws->wsi), SIOCOUTQ, &unread) < 0)
		return false;
	moves = unread > 0 && (unread != ws->unread_before || ws->written != ws->written_before);
	ws->unread_before = unread;
	ws->written_before = ws->written;
	return moves;
}

static void ping(struct lp_ws *ws)
{
	(void)still_moves(ws); /* to compare with later */
	ws->pinged = true;
	ws->pong_due = ws->is_client;
	ws->ping_due = true;
	(void)lws_callback_on_writable(ws->wsi);
}

static void look_after(struct lp_ws *ws, uint64_t now_us)
{
	uint64_t silent_us = now_us > ws->heard_us ? now_us - ws->heard_us : 0;

	if (silent_us >= DEAD_AFTER_US && !still_moves(ws)) {
		ws->closing = true;
		if (!ws->close_reason[0])
			(void)lws_snprintf(ws->close_reason, sizeof(ws->close_reason),
					   "it does not answer any more");
		lws_set_timeout(ws->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
		ws->open = false;
	} else if (silent_us >= DEAD_AFTER_US) {
		ws->heard_us = now_us - ping_after_us(ws);
		ping(ws);
	} else if (silent_us + SLACK_US >= ping_after_us(ws) && !ws->pinged) {
		ping(ws);
	}
}

static void on_beat(struct lp_timer *timer)
{
	struct lp_ws_host *host = LP_CONTAINER_OF(timer, struct lp_ws_host, beat);
	struct lp_loop *loop = host->all ? host->all->loop : NULL;
	uint64_t now_us = lp_now_us();
	bool late = now_us > timer->due_us + LATE_US;

	for (struct lp_ws *ws = host->all; ws; ws = ws->next) {
		if (!ws->open)
			continue;
		if (late && now_us - ws->heard_us > ping_after_us(ws)) {
			ws->heard_us = now_us - ping_after_us(ws);
			ws->pinged = false;
		}
		look_after(ws, now_us);
	}
	if (loop)
		schedule(loop, false);
}

void lp_ws_alive_begin(struct lp_ws *ws)
{
	const int unsent = UNSENT_MAX_BYTES, timeout_ms = DEAD_AFTER_US / 1000;
	lws_sockfd_type fd = lws_get_socket_fd(ws->wsi);

	/* A unix socket has neither, and needs neither. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	/* A server's peer may read nothing for longer while it sends. */
	if (ws->is_client)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
				 sizeof(timeout_ms));
	ws->heard_us = lp_now_us();
	schedule(ws->loop, false);
}

static void heard(struct lp_ws *ws)
{
	ws->heard_us = lp_now_us();
	ws->pinged = false;
	ws->unheard = 0;
}

void lp_ws_alive_heard(struct lp_ws *ws)
{
	heard(ws);
	/* Or the timer would wake the process up for nothing. */
	schedule(ws->loop, true);
}

void lp_ws_alive_came(struct lp_ws *ws, size_t len, bool whole)
{
	ws->unheard += len;
	if (whole || ws->unheard >= ALIVE_BYTES)
		heard(ws);
}

int lp_ws_alive_ping(struct lp_ws *ws)
{
	/* libwebsockets tells nothing of a pong without payload. */
	uint8_t frame[LWS_PRE + 1] = {0};
	const int is_pong = ws->pong_due;

	/* Both in one packet wake the other side up once. */
	if (ws->is_client)
		(void)setsockopt(lws_get_socket_fd(ws->wsi), IPPROTO_TCP, TCP_CORK, &is_pong,
				 sizeof(is_pong));
	if (is_pong)
		ws->pong_due = false;
	else
		ws->ping_due = false;
	if (lws_write(ws->wsi, frame + LWS_PRE, 1, is_pong ? LWS_WRITE_PONG : LWS_WRITE_PING) < 0)
		return -1;
	if (ws->ping_due || ws->wants_write)
		(void)lws_callback_on_writable(ws->wsi);
	return 0;
}

void lp_ws_probe(struct lp_ws *ws)
{
	uint64_t now_us = lp_now_us(), since_us = now_us - (DEAD_AFTER_US - PROBE_US);

	if (!ws->open || ws->closing || !ws->wsi)
		return;
	if (ws->heard_us > since_us)
		ws->heard_us = since_us;
	if (!ws->pinged)
		ping(ws);
	schedule(ws->loop, false);
}

bool lp_ws_is_stuck(const struct lp_ws *ws)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	return ws->open && ws->wsi &&
	       getsockopt(lws_get_socket_fd(ws->wsi), IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       info.tcpi_retransmits > 0;
}
