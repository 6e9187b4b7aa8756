/* common/loop/ws.h: WebSocket connections, both sides, and the few HTTP answers beside them. The
 * only interface to libwebsockets. Loop thread only. Moves whole binary messages; knows nothing of
 * what is in them. */
#ifndef LP_COMMON_LOOP_WS_H
#define LP_COMMON_LOOP_WS_H

#include "common/loop/loop.h"

#include <stddef.h>

#define LP_WS_SUBPROTOCOL "livepush.v1"
#define LP_WS_MESSAGE_MAX_BYTES                                                                    \
	((size_t)512 * 1024) /* a longer one closes the connection (1009)                          \
			      */

struct lp_ws; /* one connection */

/* What happens to a connection; all in the loop's thread.
 * on_open: the handshake is done. on_message: one whole message, borrowed until it returns.
 * on_writable: after lp_ws_want_write; may call lp_ws_send once. on_close: it is over, or never
 * came about (reason says why); ws is released when it returns. */
struct lp_ws_ops {
	void (*on_open)(struct lp_ws *ws);
	void (*on_message)(struct lp_ws *ws, const uint8_t *data, size_t len);
	void (*on_writable)(struct lp_ws *ws);
	void (*on_close)(struct lp_ws *ws, const char *reason);
};

/* url: ws:// or wss://, host, optional port, optional path (default /_livepush/ws). ca_file: extra
 * certificate authority for wss, or NULL. pins: public keys, "sha256//BASE64" with ';' between
 * them, one of which a wss server must have besides; NULL: any. address: where the host of the URL
 * is (common/loop/resolve.h); NULL: it is numeric, or may be looked up here, which blocks. user:
 * what lp_ws_user returns. On both sides a connection is dropped when the peer is silent for 9 s
 * (it is pinged after 4.5 s), unless what it is sent still moves. */
struct lp_ws_connect_opts {
	const char *url;
	const char *ca_file;
	const char *pins; /* copied */
	const char *address;
	const struct lp_ws_ops *ops;
	void *user;
};

/* Starts to connect. Returns 0 and the connection (owned by the loop, valid until on_close), or
 * -EINVAL for a url that is none, or -errno. on_close is never called from inside. */
int lp_ws_connect(struct lp_loop *loop, struct lp_ws **out, const struct lp_ws_connect_opts *opts,
		  struct lp_err *err) LP_MUST_USE;

struct lp_http; /* common/loop/http.h */

/* Listens on an abstract unix socket (name without the leading NUL); takes connections of this very
 * process only. A connection that asks for LP_WS_SUBPROTOCOL at path /_livepush/ws is shown to
 * on_upgrade, which returns 0 or the HTTP status to refuse it with (NULL: all are taken; it may
 * answer with text and headers of its own), then
 * offered to on_accept, which returns the ops and sets *user, or NULL to refuse. Everything else
 * goes to on_head when its head is there: it returns how long a body may be (NULL: there may be
 * none), or answers at once; and to on_request, when all of it is there and nothing was answered.
 */
struct lp_ws_serve_opts {
	const char *abstract_name;
	int (*on_upgrade)(void *ctx, struct lp_http *http);
	const struct lp_ws_ops *(*on_accept)(void *ctx, struct lp_ws *ws, void **user);
	size_t (*on_head)(void *ctx, struct lp_http *http);
	void (*on_request)(void *ctx, struct lp_http *http);
	void *ctx;
};

int lp_ws_serve(struct lp_loop *loop, const struct lp_ws_serve_opts *opts,
		struct lp_err *err) LP_MUST_USE;

#define LP_WS_ADOPT_MAX_BYTES ((size_t)8 * 1024)

/* Takes over a connection that was accepted elsewhere, after lp_ws_serve: fd (taken in any case) is
 * a stream socket, bytes is what was read from it, at most LP_WS_ADOPT_MAX_BYTES with the whole
 * head of the first request. It goes on as if it had come to the abstract socket. */
void lp_ws_adopt(struct lp_loop *loop, int fd, const void *bytes, size_t len);

/* The `user` of the connection. */
void *lp_ws_user(const struct lp_ws *ws);

/* At the server side: what X-Forwarded-For said when it was opened; "" for nothing. Borrowed. */
const char *lp_ws_forwarded_for(const struct lp_ws *ws);

/* Asks for on_writable. Any number of times. */
void lp_ws_want_write(struct lp_ws *ws);

/* The peer may be gone without a word (the network changed, the machine slept): it is pinged now,
 * and the connection is dropped when nothing comes for 2 s. Harmless when it is not open. */
void lp_ws_probe(struct lp_ws *ws);

/* Whether what was sent last has been repeated by TCP without an answer (tcp(7), TCP_INFO), so that
 * the next try may be seconds away. False for what is not TCP, or not open. */
bool lp_ws_is_stuck(const struct lp_ws *ws);

/* Sends one binary message of at most LP_WS_MESSAGE_MAX_BYTES; data is copied. Only in on_writable,
 * once. Returns 0 or -EPIPE (the connection is about to close). */
int lp_ws_send(struct lp_ws *ws, const void *data, size_t len) LP_MUST_USE;

/* Closes with a WebSocket close code and a short reason; on_close follows. Harmless when it is
 * closing already. */
void lp_ws_close(struct lp_ws *ws, int code, const char *reason);

/* Closes without telling the peer why and without on_close: for an owner that goes away. */
void lp_ws_abandon(struct lp_ws *ws);

#endif
