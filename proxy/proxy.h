/* proxy/proxy.h: an HTTP/1.1 reverse proxy in a thread of its own (epoll). A routing table maps a
 * host and a path prefix to upstreams; the table is swapped as a whole while requests run. It knows
 * nothing of controllers, generations or clusters: an upstream is an address with a number.
 *
 * Answers of its own carry X-Livepush-Error with the cause. A request is sent a second time, on a
 * fresh connection, only where a pooled one turned out closed and the upstream cannot have run it,
 * or its method may run twice; where the upstream itself is gone, it waits a moment (next_ms) for a
 * table that names another (so once per request). Upgraded connections become tunnels, and so does
 * a whole connection that begins as HTTP/2 with prior knowledge: it goes by the route of "/"
 * without host. A client that closes its sending side gets the response if that comes, and goes on,
 * within five seconds.
 */
#ifndef LP_PROXY_PROXY_H
#define LP_PROXY_PROXY_H

#include "common/base/lp_err.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct lp_proxy; /* opaque: owns the listening socket, the thread and all connections */

/* Address of an upstream or a listener. */
struct lp_proxy_addr {
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} u;
	socklen_t len;
};

/* id: chosen by the caller, not 0, names the upstream in the calls below; connections are pooled
 * and requests counted by it. weight: share of new requests among the upstreams of a route, at
 * least 1.
 */
struct lp_proxy_upstream {
	uint64_t id;
	struct lp_proxy_addr addr;
	uint32_t weight;
};

enum lp_proxy_route_kind {
	LP_ROUTE_FORWARD, /* to one of its upstreams */
	LP_ROUTE_HOLD,    /* wait for a table that says something else, at most hold_ms, then 503 */
	LP_ROUTE_REFUSE,  /* answer `status` with `text` */
	LP_ROUTE_KIND_COUNT_,
};

/* host: lower-case name without port, "" for any. prefix: of the path, by whole segments: "/a"
 * covers "/a" and "/a/b", "/a/" covers "/a/b", "/" everything. A slash, two
 * asterisks and "/a" stand for every path with a segment "a", escapes undone. The longest host
 * match wins, then the longest prefix; where none matches the answer is 404. status: of REFUSE, 400
 * to 599. text: plain text, NULL for the standard phrase. inject: of FORWARD, a piece of HTML that
 * is put into the head of every page that goes through (proxy/inject.h says which); NULL for none.
 * hands_over: of FORWARD, requests for a WebSocket go to on_handover rather than to an upstream.
 * All borrowed until the call that takes the table returns. */
struct lp_proxy_route {
	const char *host;
	const char *prefix;
	const struct lp_proxy_upstream *upstreams;
	size_t n_upstreams;
	const char *text;
	const char *inject;
	enum lp_proxy_route_kind kind;
	int status;
	bool hands_over;
};

/* Limits and two options; a zero takes the default in brackets. */
struct lp_proxy_limits {
	uint32_t hold_ms;             /* [30000] longest wait at a HOLD route */
	uint32_t next_ms;             /* [500] for the table that says what follows an upstream
					 that is gone: who starts upstreams notices their ends */
	uint32_t max_held;            /* [1024] requests waiting at once; more get 503 */
	uint32_t max_conns;           /* [10000] client connections; the one that is without a
					 request for longest makes room for the next */
	uint32_t max_header_bytes;    /* [65536] request line and headers: 431 beyond, 414 for the
					 target */
	uint32_t header_timeout_ms;   /* [30000] first byte to end of headers: 408 */
	uint32_t idle_timeout_ms;     /* [90000] keep-alive connection without a request */
	uint32_t body_timeout_ms;     /* [60000] without a byte of a request's body: 408 */
	uint32_t write_timeout_ms;    /* [60000] a client that takes no byte of what waits for it is
					 closed */
	uint32_t connect_timeout_ms;  /* [5000] 504 */
	uint32_t response_timeout_ms; /* [900000] end of the request to the head of its response, or
					 an upstream that takes none of the body: 504 */
	uint32_t max_idle_upstream;   /* [64] pooled idle connections per upstream */
	uint64_t max_body_bytes;      /* [0: any] of a request: 413 beyond */
	bool via;   /* [false] add "Via: 1.1 livepush" to requests and responses */
	bool no_h2; /* [false] HTTP/2 with prior knowledge is answered with 505 */
};

/* on_drained: the upstream `id` is in no route any more and its last request has ended (tunnels
 * count as requests). Called from the proxy's thread, once per id that was retired and not named
 * again before. It may call lp_proxy_set_routes and lp_proxy_cut, but not lp_proxy_destroy, and it
 * delays all requests while it runs.
 *
 * on_handover: a client asks for a WebSocket on a route that hands over. fd is its socket (not
 * blocking, O_CLOEXEC), bytes the request as an upstream would get it with what came behind it,
 * borrowed until the call returns. True: fd is taken; the proxy has forgotten the connection, it
 * counts for no limit and has no deadline any more. False: it goes to an upstream like others.
 * NULL: all do. From the proxy's thread, under the same rules as on_drained.
 *
 * tls_cert, tls_key: files (proxy/tls.h); clients have to speak TLS, and no socket is handed over.
 * NULL: clients speak plain HTTP. Borrowed until lp_proxy_create returns. */
struct lp_proxy_opts {
	struct lp_proxy_addr listen;
	struct lp_proxy_limits limits;
	void (*on_drained)(void *ctx, uint64_t id);
	bool (*on_handover)(void *ctx, int fd, const void *bytes, size_t len);
	void *ctx;
	const char *tls_cert;
	const char *tls_key;
};

/* Parses "127.0.0.1:8080", "[::1]:8080", ":8080" (all addresses) or "unix:/path". Returns 0 or
 * -EINVAL. */
int lp_proxy_addr_parse(struct lp_proxy_addr *addr, const char *text,
			struct lp_err *err) LP_MUST_USE;

/* Binds, listens and starts the thread. Every request is held until the first table. Returns 0 or
 * -errno (-EADDRINUSE names the address). */
int lp_proxy_create(struct lp_proxy **out, const struct lp_proxy_opts *opts,
		    struct lp_err *err) LP_MUST_USE;

/* The port that it listens on (for listen port 0); 0 for a unix socket. */
uint16_t lp_proxy_port(const struct lp_proxy *p);

/* Replaces the routing table. Requests that already have an upstream keep it; held ones and new
 * ones go by the new table at once. Upstreams that are in no route any more are retired: their idle
 * connections are closed, on_drained follows when nothing runs there. The call returns when the new
 * table is in force. Any thread. Returns 0, -EINVAL or -ENOMEM. */
int lp_proxy_set_routes(struct lp_proxy *p, const struct lp_proxy_route *routes, size_t n,
			struct lp_err *err) LP_MUST_USE;

/* Other limits in place of all that there are, a zero for the default again. Deadlines that are set
 * already are at most shortened; nothing that runs is refused by a new limit. They are in force
 * soon after the call. Any thread. */
void lp_proxy_set_limits(struct lp_proxy *p, const struct lp_proxy_limits *limits);

/* Of a proxy that was created with TLS: another certificate and key for the connections that come
 * from now on. On failure the old ones stay. Any thread. Returns 0 or -errno. */
int lp_proxy_set_tls(struct lp_proxy *p, const char *cert, const char *key,
		     struct lp_err *err) LP_MUST_USE;

/* Closes what still runs on a retired upstream: requests without a response get 502, others are
 * cut. on_drained follows. Any thread. */
void lp_proxy_cut(struct lp_proxy *p, uint64_t id);

/* The same for plain requests only: upgraded connections, HTTP/2 and event streams go on. */
void lp_proxy_cut_requests(struct lp_proxy *p, uint64_t id);

/* Ends what goes on for long on a retired upstream, each at its next boundary: WebSockets get Close
 * 1012 (service restart), event streams their last chunk, HTTP/2 connections GOAWAY (they end with
 * their last stream), other tunnels the end of the stream. Plain requests go on. Any thread. */
void lp_proxy_end_streams(struct lp_proxy *p, uint64_t id);

struct lp_proxy_stats {
	uint64_t requests;
	uint64_t failed; /* answered 5xx by the proxy itself */
	uint32_t conns;
	uint32_t held;
	uint32_t active; /* requests and tunnels with an upstream */
};

void lp_proxy_stats(const struct lp_proxy *p, struct lp_proxy_stats *out);

/* Stops accepting, closes everything, joins the thread. NULL is allowed. */
void lp_proxy_destroy(struct lp_proxy *p);

#endif
