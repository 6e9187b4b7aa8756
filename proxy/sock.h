/* proxy/sock.h: one end of a connection: a non-blocking stream socket in the proxy's epoll with its
 * two buffers, bare or below TLS. Knows nothing of HTTP. Proxy thread only.
 *
 * Sockets are watched edge-triggered, so each keeps what it knows: readable and writable stay set
 * until the kernel says EAGAIN or takes or gives less than it was asked for. */
#ifndef LP_PROXY_SOCK_H
#define LP_PROXY_SOCK_H

#include "proxy/buf.h"
#include "proxy/flow.h"
#include "proxy/proxy.h"
#include "proxy/tls.h"

struct lp_px_sock {
	int fd; /* owned; -1 when closed */
	int epoll_fd;
	bool readable;
	bool writable;
	bool hup;    /* the peer sends no more; what it sent is still to be read */
	bool eof;    /* everything was read */
	bool reset;  /* the connection broke while reading (eof is set too) */
	bool broken; /* the connection broke while writing */
	bool shut;   /* our sending side is closed */
	bool bulk;   /* the last read filled its buffer: take larger ones */
	bool wants_out;
	bool refused_tls; /* the peer spoke HTTP where TLS was due; tls is gone */
	uint64_t sent;    /* bytes since it was connected */
	struct lp_px_buf in;
	struct lp_px_buf out;
	struct lp_px_tls *tls; /* owned; NULL: the bytes go as they are */
	void (*on_event)(struct lp_px_sock *s, uint32_t events);
};

/* Takes fd (non-blocking, closed even on failure) and watches it. connecting: a connect is under
 * way, wait for its end. on_event and the caches of the buffers are set before. Returns 0 or
 * -errno. */
int lp_px_sock_open(struct lp_px_sock *s, int epoll_fd, int fd, bool connecting) LP_MUST_USE;

/* Closes the descriptor and gives the buffers back; harmless when closed. */
void lp_px_sock_close(struct lp_px_sock *s);

/* Closes so that the peer sees an error, not an end. */
void lp_px_sock_abort(struct lp_px_sock *s);

/* Takes note of what epoll reported. */
void lp_px_sock_note(struct lp_px_sock *s, uint32_t events);

/* Reads once, keeping at most max bytes waiting. Returns whether something was found: bytes, the
 * end or an error. */
bool lp_px_sock_fill(struct lp_px_sock *s, size_t max);

/* Sends s->out and then the first *cleared bytes of `more` (NULL: none), dropping what went out.
 * Returns whether something went out or the connection turned out broken. */
bool lp_px_sock_send(struct lp_px_sock *s, struct lp_px_buf *more, size_t *cleared);

/* Says to the peer that nothing follows. Where TLS cannot say so yet, `shut` stays unset and epoll
 * tells when to call again. */
void lp_px_sock_shutdown(struct lp_px_sock *s);

/* Whether closing takes nothing from the peer of what was sent and said: TLS has to say an end of
 * its own before. */
bool lp_px_sock_may_close(struct lp_px_sock *s);

/* How the input stands, for lp_px_flow_scan. */
enum lp_px_input lp_px_sock_input(const struct lp_px_sock *s);

/* Whether nothing waits to be read, asking the kernel if need be. */
bool lp_px_sock_is_quiet(struct lp_px_sock *s);

/* Whether the peer's kernel may have handed any of the bytes sent after the first `before` to its
 * program. */
bool lp_px_sock_delivered(const struct lp_px_sock *s, uint64_t before);

/* Starts a connection to addr. Returns an owned non-blocking descriptor with *connecting set, or
 * -errno; -EAGAIN: the unix socket's queue is full. */
int lp_px_sock_connect(const struct lp_proxy_addr *addr, bool *connecting) LP_MUST_USE;

/* The error that a connect ended with: 0 or -errno. */
int lp_px_sock_connect_result(const struct lp_px_sock *s);

/* Switches off Nagle's delay on a TCP socket and has the kernel look after dead peers. */
void lp_px_sock_tune(int fd, sa_family_t family);

#endif
