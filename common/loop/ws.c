/* common/loop/ws.c: the libwebsockets context of a loop, its protocol callback and the client side.
 * Rules obeyed here (libwebsockets' README.coding.md): write only in the WRITEABLE callback, one
 * write each, one thread. */
#include "common/loop/ws.h"

#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "common/loop/loop_internal.h"
#include "common/loop/ws_internal.h"

#include <assert.h>
#include <string.h>

/* As good as never: libwebsockets would spin for a millisecond before each ping, and ping those who
 * speak as well. ws_alive.c does it instead. */
static const lws_retry_bo_t idle_policy = {.secs_since_valid_ping = UINT16_MAX,
					   .secs_since_valid_hangup = UINT16_MAX};

static int on_ws_event(struct lws *wsi, enum lws_callback_reasons reason, void *session, void *in,
		       size_t len);
static int on_epoll_event(struct lws *wsi, enum lws_callback_reasons reason, void *session,
			  void *in, size_t len);

/* The first entry takes plain HTTP and upgrades without a subprotocol. */
static const struct lws_protocols protocols[] = {
	{.name = "http",
	 .callback = on_ws_event,
	 .per_session_data_size = sizeof(struct lp_ws_http_session)},
	{.name = LP_WS_SUBPROTOCOL,
	 .callback = on_ws_event,
	 .per_session_data_size = sizeof(struct lp_ws_http_session),
	 .rx_buffer_size = (size_t)256 * 1024,
	 .tx_packet_size = LP_WS_MESSAGE_MAX_BYTES + 64},
	{.name = "lp-epoll", .callback = on_epoll_event},
	{.name = NULL},
};

static void log_line(int level, const char *line)
{
	(void)level;
	lp_log(LP_DEBUG, "websockets", "%.*s", (int)strcspn(line, "\n"), line);
}

static int service(struct lp_loop *loop)
{
	return lws_service(loop->ws->context, 0) < 0 ? -EIO : 0;
}

static void run_late_close(struct lp_post *post);

static void finish(struct lp_loop *loop)
{
	struct lp_ws_host *host = loop->ws;
	struct lp_post *next;

	loop->driver = NULL;
	lp_timer_clear(&host->beat);
	lws_context_destroy(host->context);
	/* Failures that were still to be reported: their owners wait for on_close. */
	for (struct lp_post *post = loop->post_first; post; post = next) {
		next = post->next;
		if (post->run == run_late_close)
			post->run(post);
	}
	loop->epoll_fd = -1; /* closed with its wsi */
	while (host->tls) {
		struct lp_ws_tls *tls = host->tls;

		host->tls = tls->next;
		free(tls->ca_file);
		free(tls);
	}
	while (host->n_names > 0)
		free(host->names[--host->n_names]);
	free(host->names);
	free(host->scratch);
	free(host->serve_iface);
	free(host);
	loop->ws = NULL;
}

static const struct lp_loop_driver driver = {.service = service, .finish = finish};

struct lws_vhost *lp_ws_vhost(struct lp_loop *loop, const char *listen_iface, const char *ca_file)
{
	struct lws_context_creation_info info = {0};
	struct lp_ws_host *host = loop->ws;

	lp_grow(&host->names, &host->cap_names, host->n_names + 1, sizeof(*host->names));
	info.vhost_name = host->names[host->n_names] = lp_xasprintf("vh%zu", host->n_names);
	host->n_names++;
	info.protocols = protocols;
	info.retry_and_idle_policy = &idle_policy;
	info.user = loop;
	info.port = CONTEXT_PORT_NO_LISTEN;
	info.options = LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
	if (listen_iface) {
		info.port = 0;
		info.iface = listen_iface;
		info.options |= LWS_SERVER_OPTION_UNIX_SOCK;
	}
	if (ca_file) {
		info.client_ssl_ca_filepath = ca_file;
		info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
	}
	return lws_create_vhost(loop->ws->context, &info);
}

static int adopt_epoll(struct lp_loop *loop)
{
	lws_sock_file_fd_type fd = {.filefd = loop->epoll_fd};

	loop->ws->base = lp_ws_vhost(loop, NULL, NULL);
	if (!loop->ws->base)
		return -ENOMEM;
	loop->ws->epoll_wsi = lws_adopt_descriptor_vhost(loop->ws->base, LWS_ADOPT_RAW_FILE_DESC,
							 fd, "lp-epoll", NULL);
	return loop->ws->epoll_wsi ? 0 : -ENOMEM;
}

int lp_ws_host_get(struct lp_loop *loop, struct lp_ws_host **out, struct lp_err *err)
{
	struct lws_context_creation_info info = {0};
	struct lp_ws_host *host;

	if (loop->ws) {
		*out = loop->ws;
		return 0;
	}
	/* It words each line in one place for all threads, so it is asked only where we show them.
	 */
	lws_set_log_level(lp_log_on(LP_DEBUG) ? LLL_ERR | LLL_WARN : 0, log_line);
	/* SSL_GLOBAL_INIT is for wss:// targets; it must be said when the context is made. */
	info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
	info.port = CONTEXT_PORT_NO_LISTEN;
	info.fd_limit_per_thread = 1024;
	info.pt_serv_buf_size = 256 * 1024;
	/* Browsers send the cookies of the app behind the same host, too. */
	info.max_http_header_data2 = 16 * 1024;
	host = lp_xcalloc(1, sizeof(*host));
	host->scratch = lp_xcalloc(1, LWS_PRE + LP_WS_MESSAGE_MAX_BYTES);
	host->context = lws_create_context(&info);
	if (!host->context) {
		free(host->scratch);
		free(host);
		return lp_err_say(err, ENOMEM, "libwebsockets cannot start");
	}
	loop->ws = host;
	loop->driver = &driver;
	if (adopt_epoll(loop) < 0)
		return lp_err_say(err, ENOMEM, "libwebsockets does not take the event loop");
	*out = host;
	return 0;
}

static int on_epoll_event(struct lws *wsi, enum lws_callback_reasons reason, void *session,
			  void *in, size_t len)
{
	struct lp_loop *loop;

	(void)session;
	(void)in;
	(void)len;
	if (reason == LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION)
		return -1; /* a peer that asks for this "protocol" by its name */
	if (reason != LWS_CALLBACK_RAW_RX_FILE)
		return 0;
	loop = lws_vhost_user(lws_get_vhost(wsi));
	if (lp_loop_dispatch(loop, 0) < 0)
		lp_loop_stop(loop);
	return 0;
}

struct lp_ws *lp_ws_new(struct lp_loop *loop)
{
	struct lp_ws *ws = lp_xcalloc(1, sizeof(*ws));

	ws->loop = loop;
	lp_buf_init(&ws->rx, LP_WS_MESSAGE_MAX_BYTES);
	ws->next = loop->ws->all;
	if (ws->next)
		ws->next->prev = ws;
	loop->ws->all = ws;
	return ws;
}

void lp_ws_free(struct lp_ws *ws)
{
	if (ws->next)
		ws->next->prev = ws->prev;
	if (ws->prev)
		ws->prev->next = ws->next;
	else
		ws->loop->ws->all = ws->next;
	lp_buf_finish(&ws->rx);
	free(ws->forwarded_for);
	free(ws->pins);
	free(ws->where);
	free(ws->cause);
	free(ws);
}

int lp_ws_received(struct lp_ws *ws, const void *in, size_t len)
{
	bool whole = lws_is_final_fragment(ws->wsi) && lws_remaining_packet_payload(ws->wsi) == 0;

	if (ws->closing)
		return 0;
	lp_ws_alive_came(ws, len, whole);
	if (!lws_frame_is_binary(ws->wsi)) {
		lp_ws_close(ws, LWS_CLOSE_STATUS_UNACCEPTABLE_OPCODE, "binary messages only");
		return 0;
	}
	if (whole && ws->rx.len == 0) {
		ws->ops->on_message(ws, in, len);
		return 0;
	}
	/* What the frame promises counts as if it was there. */
	if (lws_remaining_packet_payload(ws->wsi) + len > LP_WS_MESSAGE_MAX_BYTES - ws->rx.len ||
	    lp_buf_add(&ws->rx, in, len) < 0) {
		lp_ws_close(ws, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE, "message too large");
		return 0;
	}
	if (whole) {
		ws->ops->on_message(ws, ws->rx.data, ws->rx.len);
		ws->rx.len = 0;
	}
	return 0;
}

int lp_ws_writable(struct lp_ws *ws)
{
	if (ws->close_sent)
		return 0; /* a second close would cut the peer off before it has read the first */
	if (ws->closing) {
		ws->close_sent = true;
		lws_close_reason(ws->wsi, (enum lws_close_status)ws->close_code,
				 (unsigned char *)ws->close_reason, strlen(ws->close_reason));
		return -1;
	}
	if (ws->ping_due)
		return lp_ws_alive_ping(ws);
	ws->wants_write = false;
	ws->ops->on_writable(ws);
	return 0;
}

void lp_ws_gone(struct lp_ws *ws, const char *reason)
{
	if (ws->wsi)
		lws_set_opaque_user_data(ws->wsi, NULL);
	ws->wsi = NULL;
	ws->open = false;
	ws->closing = true;
	if (ws->reported)
		return;
	ws->reported = true;
	if (ws->cause)
		reason = ws->cause;
	ws->ops->on_close(ws, ws->close_reason[0] ? ws->close_reason : reason);
	lp_ws_free(ws);
}

/* The peer's close frame: two bytes of code, then its reason. */
static void remember_peer_close(struct lp_ws *ws, const uint8_t *in, size_t len)
{
	if (ws->close_reason[0])
		return;
	if (len > 2)
		(void)lws_snprintf(ws->close_reason, sizeof(ws->close_reason), "%.*s",
				   (int)(len - 2), (const char *)in + 2);
	else
		(void)lws_snprintf(ws->close_reason, sizeof(ws->close_reason),
				   "closed by the peer");
}

static void run_late_close(struct lp_post *post)
{
	struct lp_ws *ws = LP_CONTAINER_OF(post, struct lp_ws, late_close);

	ws->reported = false;
	lp_ws_gone(ws, "cannot connect");
}

static int on_client_event(struct lp_ws *ws, struct lws *wsi, enum lws_callback_reasons reason,
			   void *in, size_t len)
{
	switch (reason) {
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		ws->wsi = wsi;
		if (ws->closing) /* closed while the peer's answer was on its way */
			return -1;
		if (ws->pins && !lp_ws_is_pinned(wsi, ws->pins)) {
			(void)lws_snprintf(
				ws->close_reason, sizeof(ws->close_reason),
				"TLS failed: the server's public key is not one that was "
				"pinned (--pin)");
			return -1;
		}
		ws->open = true;
		lp_ws_alive_begin(ws);
		ws->ops->on_open(ws);
		return 0;
	case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
		lp_ws_alive_heard(ws);
		return 0;
	case LWS_CALLBACK_CLIENT_RECEIVE:
		return lp_ws_received(ws, in, len);
	case LWS_CALLBACK_CLIENT_WRITEABLE:
		return lp_ws_writable(ws);
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		if (in && len > 0)
			lp_ws_explain(ws, wsi, in, len);
		/* May come from inside lws_client_connect_via_info, where nobody expects a call. */
		if (!ws->wsi && !ws->reported) {
			ws->reported = true;
			lws_set_opaque_user_data(wsi, NULL);
			ws->late_close.run = run_late_close;
			lp_loop_post(ws->loop, &ws->late_close);
			return 0;
		}
		lp_ws_gone(ws, "cannot connect");
		return 0;
	case LWS_CALLBACK_CLIENT_CLOSED:
		lp_ws_gone(ws, "connection lost");
		return 0;
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		remember_peer_close(ws, in, len);
		return 0;
	default:
		return 0;
	}
}

static int on_ws_event(struct lws *wsi, enum lws_callback_reasons reason, void *session, void *in,
		       size_t len)
{
	struct lws_vhost *vhost = lws_get_vhost(wsi);
	struct lp_ws *ws = lws_get_opaque_user_data(wsi);
	struct lp_loop *loop;

	switch (reason) {
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
	case LWS_CALLBACK_CLIENT_RECEIVE:
	case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
	case LWS_CALLBACK_CLIENT_WRITEABLE:
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
	case LWS_CALLBACK_CLIENT_CLOSED:
		return ws ? on_client_event(ws, wsi, reason, in, len) : 0;
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		if (ws)
			remember_peer_close(ws, in, len);
		return 0;
	case LWS_CALLBACK_WSI_DESTROY:
		/* Killed before it was open, it comes to its end without any other word. */
		if (ws)
			return on_client_event(ws, wsi, LWS_CALLBACK_CLIENT_CONNECTION_ERROR, NULL,
					       0);
		return 0;
	default:
		break;
	}
	loop = vhost ? lws_vhost_user(vhost) : NULL;
	return loop ? lp_ws_server_event(loop, wsi, reason, session, in, len) : 0;
}

/* Takes a URL apart; libwebsockets' parser writes NULs into its copy, cuts the leading '/' of the
 * path and gives "/" when there is none. */
static int connect_parsed(struct lp_ws_host *host, struct lp_ws *ws, char *url,
			  const struct lp_ws_connect_opts *opts, struct lp_err *err)
{
	const char *ca_file = opts->ca_file ? opts->ca_file : "/etc/ssl/certs/ca-certificates.crt";
	struct lws_client_connect_info info = {0};
	const char *scheme, *address, *path;
	LP_AUTO_FREE char *full_path = NULL;
	int port, tls;

	if (lws_parse_uri(url, &scheme, &address, &port, &path) != 0 || !address[0] || port < 1 ||
	    port > 65535 || (strcmp(scheme, "ws") != 0 && strcmp(scheme, "wss") != 0))
		return lp_err_say(err, EINVAL, "%s: not a ws:// or wss:// address", opts->url);
	tls = ws->is_tls = strcmp(scheme, "wss") == 0;
	full_path = path[0] && strcmp(path, "/") != 0 ? lp_xasprintf("/%s", path)
						      : lp_xstrdup("/_livepush/ws");
	ws->where = lp_xasprintf(strchr(address, ':') ? "[%s]:%d" : "%s:%d", address, port);
	info.context = host->context;
	info.vhost = host->base;
	if (tls) {
		int r = lp_ws_tls_vhost(&info.vhost, ws->loop, ca_file, err);

		if (r < 0)
			return r;
		info.ssl_connection = LCCSCF_USE_SSL;
	}
	info.address = opts->address ? opts->address : address;
	info.port = port;
	info.path = full_path;
	info.host = address;
	info.protocol = LP_WS_SUBPROTOCOL;
	info.ietf_version_or_minus_one = -1;
	info.opaque_user_data = ws;
	info.retry_and_idle_policy = &idle_policy;
	/* A failure comes as CLIENT_CONNECTION_ERROR, from inside this call too. */
	ws->wsi = lws_client_connect_via_info(&info);
	if (!ws->wsi && !ws->reported) {
		ws->reported = true;
		ws->late_close.run = run_late_close;
		lp_loop_post(ws->loop, &ws->late_close);
	}
	return 0;
}

int lp_ws_connect(struct lp_loop *loop, struct lp_ws **out, const struct lp_ws_connect_opts *opts,
		  struct lp_err *err)
{
	LP_AUTO_FREE char *url = lp_xstrdup(opts->url);
	struct lp_ws_host *host = NULL;
	struct lp_ws *ws;
	int r = lp_ws_host_get(loop, &host, err);

	if (r < 0)
		return r;
	assert(host);
	ws = lp_ws_new(loop);
	ws->is_client = true;
	ws->ops = opts->ops;
	ws->user = opts->user;
	ws->pins = opts->pins ? lp_xstrdup(opts->pins) : NULL;
	r = connect_parsed(host, ws, url, opts, err);
	if (r < 0) {
		lp_ws_free(ws);
		return r;
	}
	*out = ws;
	return 0;
}

void *lp_ws_user(const struct lp_ws *ws)
{
	return ws->user;
}

const char *lp_ws_forwarded_for(const struct lp_ws *ws)
{
	return ws->forwarded_for ? ws->forwarded_for : "";
}

void lp_ws_want_write(struct lp_ws *ws)
{
	ws->wants_write = true;
	if (ws->wsi && ws->open)
		(void)lws_callback_on_writable(ws->wsi);
}

void lp_ws_close(struct lp_ws *ws, int code, const char *reason)
{
	if (ws->closing || !ws->wsi)
		return;
	ws->closing = true;
	ws->close_code = code;
	(void)lws_snprintf(ws->close_reason, sizeof(ws->close_reason), "%s", reason);
	if (ws->open)
		(void)lws_callback_on_writable(ws->wsi);
	else
		lws_set_timeout(ws->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

static void ignore_close(struct lp_ws *ws, const char *reason)
{
	(void)ws;
	(void)reason;
}

void lp_ws_abandon(struct lp_ws *ws)
{
	static const struct lp_ws_ops nobody = {.on_close = ignore_close};

	ws->ops = &nobody;
	lp_ws_close(ws, LWS_CLOSE_STATUS_GOINGAWAY, "going away");
}
