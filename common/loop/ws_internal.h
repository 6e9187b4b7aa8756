/* common/loop/ws_internal.h: what ws.c (host, client side) and ws_server.c share. */
#ifndef LP_COMMON_LOOP_WS_INTERNAL_H
#define LP_COMMON_LOOP_WS_INTERNAL_H

#include "common/base/lp_buf.h"
#include "common/loop/http.h"
#include "common/loop/ws.h"

#include <libwebsockets.h>

/* What connections over TLS with one certificate authority share. */
struct lp_ws_tls {
	struct lp_ws_tls *next;
	char *ca_file;           /* owned */
	struct lws_vhost *vhost; /* the context's */
};

/* Everything libwebsockets of one loop. base: the vhost without a listener, for the adopted epoll
 * descriptor. scratch: room for one outgoing message behind LWS_PRE bytes. beat: the timer that
 * looks after all connections (ws_alive.c). */
struct lp_ws_host {
	struct lws_context *context;
	struct lws_vhost *base;
	struct lws *epoll_wsi;
	uint8_t *scratch;
	struct lp_ws_serve_opts serve;
	size_t n_discarding; /* requests whose body nobody wants and which still comes */
	char *serve_iface;   /* owned; "@name" */
	char **names;        /* of the virtual hosts, which only point to them; owned */
	size_t n_names;
	size_t cap_names;
	struct lp_ws_tls *tls; /* by authority */
	struct lp_ws *all;
	struct lp_timer beat;
};

struct lp_ws {
	struct lp_ws *next; /* of the host's */
	struct lp_ws *prev;
	struct lp_loop *loop;
	struct lws *wsi; /* NULL once it is gone */
	const struct lp_ws_ops *ops;
	void *user;
	struct lp_buf rx; /* the beginning of a message that came in pieces */
	bool is_client;
	bool is_tls; /* at the client side */
	bool open;
	bool closing;
	bool close_sent;
	bool reported; /* on_close is done or posted */
	int close_code;
	char close_reason[124]; /* the limit of RFC 6455, 5.5 */
	struct lp_post late_close;
	bool wants_write;  /* the owner does */
	bool pong_due;     /* a pong that nobody asked for is to be written before the ping */
	bool ping_due;     /* a ping is to be written */
	bool pinged;       /* since it was heard of last */
	uint64_t heard_us; /* when a sign of life came from the peer */
	size_t unheard;    /* bytes that came since, of a message that is not complete */
	uint64_t written;  /* bytes given to libwebsockets */
	uint64_t written_before;
	int unread_before;   /* bytes that the peer's kernel had not taken, at the last look */
	char *forwarded_for; /* owned */
	char *pins;          /* owned */
	char *where;         /* "host:port" that is connected to, owned; NULL at the server side */
	char *cause;         /* why it did not come about, owned */
};

/* The host of the loop, made at the first call. Returns 0 or -errno. */
int lp_ws_host_get(struct lp_loop *loop, struct lp_ws_host **out, struct lp_err *err) LP_MUST_USE;

/* Makes a vhost with the protocol callbacks of this module. listen_iface: "@name" of the abstract
 * socket to listen on, NULL for a client. Returns NULL when libwebsockets refuses. */
struct lws_vhost *lp_ws_vhost(struct lp_loop *loop, const char *listen_iface, const char *ca_file);

struct lp_ws *lp_ws_new(struct lp_loop *loop);
void lp_ws_free(struct lp_ws *ws);

/* ws_pin.c. Whether the peer of a TLS connection has one of the keys, as in lp_ws_connect_opts. */
bool lp_ws_is_pinned(struct lws *wsi, const char *pins);

/* ws_tls.c. The vhost with the TLS context of a file of authorities, made at its first use: a
 * reconnect finds it again. Returns 0, or -errno when the file is not there or holds none. */
int lp_ws_tls_vhost(struct lws_vhost **out, struct lp_loop *loop, const char *ca_file,
		    struct lp_err *err) LP_MUST_USE;
/* Why TLS failed: what is wrong and what helps, for people. Owned by the caller. */
char *lp_ws_tls_explain(const struct lp_ws *ws, struct lws *wsi);

/* ws_cause.c. The connection did not come about: puts why, for people, into ws->cause. text: what
 * libwebsockets says; it may be empty and has no NUL. wsi: while the answer's head is there. */
void lp_ws_explain(struct lp_ws *ws, struct lws *wsi, const char *text, size_t len);

/* ws_alive.c. It is open from now on; it was heard of; what is due is written (returns 0, or -1 to
 * close). */
void lp_ws_alive_begin(struct lp_ws *ws);
void lp_ws_alive_heard(struct lp_ws *ws);
/* A piece of a message came, or all of it (whole). */
void lp_ws_alive_came(struct lp_ws *ws, size_t len, bool whole);
int lp_ws_alive_ping(struct lp_ws *ws);

/* Steps of a connection's life, for both sides. They return what the libwebsockets callback has to
 * return: 0 to go on, -1 to close. */
int lp_ws_received(struct lp_ws *ws, const void *in, size_t len);
int lp_ws_writable(struct lp_ws *ws);
void lp_ws_gone(struct lp_ws *ws, const char *reason);

/* The server's part of the protocol callback; same contract as lws_callback_function. */
int lp_ws_server_event(struct lp_loop *loop, struct lws *wsi, enum lws_callback_reasons reason,
		       void *session, void *in, size_t len);

/* What a connection that speaks plain HTTP remembers between callbacks; zeroed by libwebsockets. */
struct lp_ws_http_session {
	struct lp_http *http; /* the request under way, owned */
};

/* http.c. The head of a request is there; a piece of its body; it may be written to; it is over or
 * the connection is. Those with a result return what the libwebsockets callback has to return. */
int lp_http_begin(struct lp_loop *loop, struct lws *wsi, struct lp_http **at, const char *path);
int lp_http_more(struct lp_http *h, const void *data, size_t len);
int lp_http_writable(struct lp_http **at);
/* It waits for an answer, or streams: libwebsockets does not look at the connection meanwhile. Or a
 * body that nobody wants does not come to its end. */
int lp_http_look(struct lp_http *h);
void lp_http_lost(struct lp_http **at);
/* What the owner says about an upgrade: 0, or the HTTP status that it has been refused with. */
int lp_http_upgrade_status(struct lp_loop *loop, struct lws *wsi, const char *path);

#endif
