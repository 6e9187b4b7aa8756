/* common/loop/ws_server.c: the accepting side of WebSockets, and plain HTTP answers beside it. */
#include "common/base/lp_mem.h"
#include "common/loop/loop_internal.h"
#include "common/loop/ws_internal.h"

#include <string.h>

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

static void copy_header(struct lws *wsi, enum lws_token_indexes token, char *out, size_t out_bytes)
{
	out[0] = '\0';
	if (lws_hdr_copy(wsi, out, (int)out_bytes, token) < 0)
		out[0] = '\0';
}

/* An upgrade is taken only with our subprotocol and at our path. */
static int filter_upgrade(struct lws *wsi)
{
	const struct lws_protocols *protocol = lws_get_protocol(wsi);
	char path[64];

	copy_header(wsi, WSI_TOKEN_GET_URI, path, sizeof(path));
	return strcmp(path, WS_PATH) == 0 && protocol &&
			       strcmp(protocol->name, LP_WS_SUBPROTOCOL) == 0
		       ? 0
		       : -1;
}

static int on_established(struct lp_loop *loop, struct lws *wsi)
{
	struct lp_ws_host *host = loop->ws;
	struct lp_ws *ws = lp_ws_new(loop);

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

static int on_http(struct lp_loop *loop, struct lws *wsi, struct lp_ws_http_session *session,
		   const char *path)
{
	struct lp_ws_host *host = loop->ws;
	uint8_t head[LWS_PRE + 1024], *p = head + LWS_PRE, *end = head + sizeof(head);
	char authorization[512];
	struct lp_http_request req = {.path = path, .status = 404, .content_type = "text/plain"};

	copy_header(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, authorization, sizeof(authorization));
	lp_buf_finish(&session->body);
	req.authorization = authorization;
	req.body = &session->body;
	host->serve.on_request(host->serve.ctx, &req);
	if (lws_add_http_common_headers(wsi, (unsigned)req.status, req.content_type,
					session->body.len, &p, end) ||
	    lws_finalize_write_http_header(wsi, head + LWS_PRE, &p, end))
		return -1;
	if (session->body.len == 0)
		return lws_http_transaction_completed(wsi) ? -1 : 0;
	(void)lws_callback_on_writable(wsi);
	return 0;
}

static int on_http_writable(struct lp_loop *loop, struct lws *wsi,
			    struct lp_ws_http_session *session)
{
	uint8_t *out = loop->ws->scratch + LWS_PRE;
	size_t len = session->body.len;

	if (len == 0)
		return 0;
	if (len > LP_WS_MESSAGE_MAX_BYTES)
		return -1;
	memcpy(out, session->body.data, len);
	lp_buf_finish(&session->body);
	if (lws_write(wsi, out, len, LWS_WRITE_HTTP_FINAL) < (int)len)
		return -1;
	return lws_http_transaction_completed(wsi) ? -1 : 0;
}

int lp_ws_server_event(struct lp_loop *loop, struct lws *wsi, enum lws_callback_reasons reason,
		       void *session, void *in, size_t len)
{
	struct lp_ws *ws = lws_get_opaque_user_data(wsi);

	switch (reason) {
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
		return filter_upgrade(wsi);
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
		return on_http(loop, wsi, session, in);
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return session ? on_http_writable(loop, wsi, session) : 0;
	case LWS_CALLBACK_CLOSED_HTTP:
	case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
		if (session)
			lp_buf_finish(&((struct lp_ws_http_session *)session)->body);
		return 0;
	default:
		return 0;
	}
}
