/* proxy/upstream.h: the upstreams by id, and their pools of connections. Proxy thread only. */
#ifndef LP_PROXY_UPSTREAM_H
#define LP_PROXY_UPSTREAM_H

#include "proxy/list.h"
#include "proxy/sock.h"

struct lp_px_conn;
struct lp_px_table;

/* An upstream. It lives from the first table that names its id until on_drained has been told. */
struct lp_px_upstream {
	struct lp_px_link link;    /* in its bucket */
	struct lp_px_link drained; /* in the list of those to report */
	struct lp_px_link running; /* the requests it serves (struct lp_px_conn) */
	struct lp_px_link idle;    /* connections without a request, the last used at the end */
	uint64_t id;
	struct lp_proxy_addr addr;
	uint64_t table; /* number of the last table that names it */
	uint32_t moves; /* how often its address has changed */
	size_t n_running;
	size_t n_idle;
	bool retired;
};

/* A connection to an upstream. */
struct lp_px_upconn {
	struct lp_px_sock s;
	struct lp_px_link link; /* in idle, or in the list of the dead */
	struct lp_proxy *proxy;
	struct lp_px_upstream *upstream;
	struct lp_px_conn *conn; /* whose request it serves; NULL while idle */
	uint32_t moves;          /* of the upstream when this was opened */
	bool connecting;
	bool reused;          /* it served a request before this one */
	uint64_t sent_before; /* bytes sent before the current request */
	size_t replay_len;    /* of s.out: the request up to where its body is not kept */
};

/* All upstreams: buckets by id. */
struct lp_px_upstreams {
	struct lp_px_link buckets[256];
	struct lp_px_link drained;
};

void lp_px_upstreams_init(struct lp_px_upstreams *u);

/* Frees everything, without reports. Their connections must be gone. */
void lp_px_upstreams_finish(struct lp_px_upstreams *u);

/* NULL when there is none. */
struct lp_px_upstream *lp_px_upstreams_find(struct lp_px_upstreams *u, uint64_t id);

/* Finds or makes the upstreams of a table and points its targets at them. */
void lp_px_upstreams_bind(struct lp_proxy *p, struct lp_px_table *t);

/* Retires all that the table with that number does not name. */
void lp_px_upstreams_retire(struct lp_proxy *p, uint64_t table);

/* Closes the idle connections. */
void lp_px_upstream_drop_idle(struct lp_px_upstream *up);

/* Counts a request in or out. The last one out of a retired upstream makes it drained. */
void lp_px_upstream_enter(struct lp_px_upstream *up, struct lp_px_conn *conn);
void lp_px_upstream_leave(struct lp_proxy *p, struct lp_px_conn *conn);

/* Closes one idle connection of any upstream to free a descriptor. Returns whether there was one.
 */
bool lp_px_upstreams_evict(struct lp_px_upstreams *u);

/* Takes an idle connection, or NULL. */
struct lp_px_upconn *lp_px_upconn_take(struct lp_px_upstream *up);

/* Starts a new connection; *r is -errno when NULL is returned. */
struct lp_px_upconn *lp_px_upconn_open(struct lp_proxy *p, struct lp_px_upstream *up, int *r);

/* Gives a connection back after its request: into the pool when it is reusable and there is room,
 * otherwise it is closed. */
void lp_px_upconn_put(struct lp_px_upconn *uc, bool reusable);

/* Closes it; the memory is freed after the current events. */
void lp_px_upconn_close(struct lp_px_upconn *uc);

#endif
