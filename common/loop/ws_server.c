/* common/loop/ws_server.c: the accepting side of WebSockets, and plain HTTP answers beside it. */
#include "common/base/lp_mem.h"
#include "common/loop/loop_internal.h"
#include "common/loop/ws_internal.h"

#include <string.h>
#include <sys/socket.h>

#define WS_PATH "/_livepush/ws"

int lp_ws_serve(struct lp_loop *loop, const struct lp_ws_serve_opts *opts, struct lp_err *err)
{
	struct lp_ws_host *host;
	int r = lp_ws_host_get(loop, &host, err);

	if (r < 0)
		return r;
	host->serve = *opts;
	free(host->serve_iface);
	host->serve_iface = lp_xasprintf("@%s", opts->abstract_name);
	if (!lp_ws_vhost(loop, host->serve_iface, NULL))
		return lp_err_say(err, EADDRINUSE, "cannot listen on the control socket '@%s'",
				  opts->abstract_name);
	return 0;
}

void lp_ws_adopt(struct lp_loop *loop, int fd, const void *bytes, size_t len)
{
	/* It is closed by libwebsockets when that does not take it, and by the answer's end. */
	(void)lws_adopt_socket_vhost_readbuf(loop->ws->base, fd, bytes, len);
}

static void copy_header(struct lws *wsi, enum lws_token_indexes token, char *out, size_t out_bytes)
{
	out[0] = '\0';
	if (lws_hdr_copy(wsi, out, (int)out_bytes, token) < 0)
		out[0] = '\0';
}

/* Others on this machine would get past the front door, which tells us who they are. */
static int filter_peer(lws_sockfd_type fd)
{
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid == getpid()
		       ? 0
		       : -1;
}

/* An upgrade is taken only with our subprotocol and at our path. */
static int filter_upgrade(struct lp_loop *loop, struct lws *wsi)
{
	const struct lws_protocols *protocol = lws_get_protocol(wsi);
	char path[64];

	copy_header(wsi, WSI_TOKEN_GET_URI, path, sizeof(path));
	if (strcmp(path, WS_PATH) != 0 || !protocol ||
	    strcmp(protocol->name, LP_WS_SUBPROTOCOL) != 0) {
		(void)lws_return_http_status(wsi, HTTP_STATUS_NOT_FOUND, NULL);
		return -1;
	}
	return lp_http_upgrade_status(loop, wsi, path) == 0 ? 0 : -1;
}

static int on_established(struct lp_loop *loop, struct lws *wsi)
{
	struct lp_ws_host *host = loop->ws;
	struct lp_ws *ws = lp_ws_new(loop);
	char forwarded_for[LP_HTTP_VALUE_MAX_BYTES + 1];

	copy_header(wsi, WSI_TOKEN_X_FORWARDED_FOR, forwarded_for, sizeof(forwarded_for));
	ws->forwarded_for = lp_xstrdup(forwarded_for);
	ws->wsi = wsi;
	ws->open = true;
	ws->ops = host->serve.on_accept(host->serve.ctx, ws, &ws->user);
	if (!ws->ops) {
		lp_ws_free(ws);
		return -1;
	}
	lws_set_opaque_user_data(wsi, ws);
	lp_ws_alive_begin(ws);
	ws->ops->on_open(ws);
	return 0;
}

/* What belongs to plain HTTP; session may be missing while a connection ends. */
static int on_http_event(struct lp_loop *loop, struct lws *wsi, enum lws_callback_reasons reason,
			 struct lp_ws_http_session *session, void *in, size_t len)
{
	if (!session)
		return 0;
	switch (reason) {
	case LWS_CALLBACK_HTTP:
		return lp_http_begin(loop, wsi, &session->http, in);
	case LWS_CALLBACK_HTTP_BODY:
		return lp_http_more(session->http, in, len);
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return lp_http_writable(&session->http);
	case LWS_CALLBACK_TIMER:
		return lp_http_look(session->http);
	default:
		lp_http_lost(&session->http);
		return 0;
	}
}

int lp_ws_server_event(struct lp_loop *loop, struct lws *wsi, enum lws_callback_reasons reason,
		       void *session, void *in, size_t len)
{
	struct lp_ws *ws = lws_get_opaque_user_data(wsi);

	switch (reason) {
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
		return filter_upgrade(loop, wsi);
	case LWS_CALLBACK_ESTABLISHED:
		return on_established(loop, wsi);
	case LWS_CALLBACK_RECEIVE:
		return ws ? lp_ws_received(ws, in, len) : -1;
	case LWS_CALLBACK_RECEIVE_PONG:
		if (ws)
			lp_ws_alive_heard(ws);
		return 0;
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return ws ? lp_ws_writable(ws) : -1;
	case LWS_CALLBACK_CLOSED:
		if (ws)
			lp_ws_gone(ws, "connection lost");
		return 0;
	case LWS_CALLBACK_HTTP:
	case LWS_CALLBACK_HTTP_BODY:
	case LWS_CALLBACK_HTTP_WRITEABLE:
	case LWS_CALLBACK_TIMER:
	case LWS_CALLBACK_CLOSED_HTTP:
	case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
		return on_http_event(loop, wsi, reason, session, in, len);
	case LWS_CALLBACK_FILTER_NETWORK_CONNECTION:
		return filter_peer((lws_sockfd_type)(intptr_t)in);
	default:
		return 0;
	}
}
