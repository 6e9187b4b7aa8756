/* proxy/tls.h: the TLS side of client connections, on OpenSSL: a certificate with its key, and per
 * connection reading, writing and the end, all without waiting. It moves bytes between a socket and
 * a buffer and knows nothing of HTTP. Proxy thread only, but for lp_px_tls_load.
 *
 * TLS 1.2 (forward secrecy and AEAD only) and 1.3, ALPN http/1.1, no renegotiation, no early data.
 * Sessions are resumed by tickets, which the client keeps. A connection without traffic holds no
 * record buffers.
 */
#ifndef LP_PROXY_TLS_H
#define LP_PROXY_TLS_H

#include "common/base/lp_err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ssl_ctx_st; /* OpenSSL's: a certificate chain, its key and the settings */
struct lp_px_tls;  /* opaque: one connection's side of TLS */

/* Reads a certificate chain (PEM, the server's own first) and its private key (PEM, not encrypted),
 * and checks that they belong together. *out is owned. Any thread. Returns 0, -errno of a file that
 * cannot be read, -EINVAL or -ENOMEM. */
int lp_px_tls_load(struct ssl_ctx_st **out, const char *cert, const char *key,
		   struct lp_err *err) LP_MUST_USE;

/* Lets go of what lp_px_tls_load made; connections that use it keep it. NULL is allowed. */
void lp_px_tls_unload(struct ssl_ctx_st *ctx);

/* The server's side of a connection on a non-blocking socket, which stays the caller's. Returns
 * NULL when there is no memory. */
struct lp_px_tls *lp_px_tls_create(struct ssl_ctx_st *ctx, int fd) LP_MUST_USE;

/* Releases it and sends nothing. NULL is allowed. */
void lp_px_tls_destroy(struct lp_px_tls *t);

/* Whether the peer begins with a letter, as HTTP does and TLS never. Looks at the socket without
 * taking anything, until something has come. */
bool lp_px_tls_is_refused(struct lp_px_tls *t);

/* Whether the first byte was seen, and is one of TLS: from then on it holds the memory of a
 * handshake. */
bool lp_px_tls_has_begun(const struct lp_px_tls *t);

/* Whether the handshake is over. */
bool lp_px_tls_is_up(const struct lp_px_tls *t);

/* Goes on with the handshake and reads at most len bytes. Returns their number; 0: the peer sends
 * no more; -EAGAIN: the socket holds nothing more; -ENOBUFS: it has to take something first;
 * -EINPROGRESS: there is more to do, for another turn; -EPROTO: this is over. */
ssize_t lp_px_tls_read(struct lp_px_tls *t, void *to, size_t len) LP_MUST_USE;

/* Whether bytes wait to be read, or the end: 1, 0 (the socket holds nothing more) or -EPROTO. */
int lp_px_tls_has_input(struct lp_px_tls *t) LP_MUST_USE;

/* Sends one record from the front of from[0..len). Returns how much that took; -EAGAIN: the socket
 * is full, the same bytes have to come again; -EPROTO. */
ssize_t lp_px_tls_write(struct lp_px_tls *t, const void *from, size_t len) LP_MUST_USE;

/* Says that nothing follows (close_notify). Returns 0, also where there is nobody to say it to, or
 * -EAGAIN: the socket is full, call again. */
int lp_px_tls_end(struct lp_px_tls *t);

#endif
