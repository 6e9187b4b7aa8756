/* proxy/route.h: the routing table as a value: built whole, looked up, never changed but for the
 * turns of the round robin. Does no I/O; the upstream pointers are the server's. */
#ifndef LP_PROXY_ROUTE_H
#define LP_PROXY_ROUTE_H

#include "proxy/http.h"
#include "proxy/inject.h"
#include "proxy/proxy.h"

struct lp_px_upstream;

/* An upstream in a route. */
struct lp_px_target {
	uint64_t id;
	struct lp_proxy_addr addr;
	uint32_t weight;
	int64_t current;                 /* of the smooth weighted round robin */
	struct lp_px_upstream *upstream; /* set when the table comes into force */
};

struct lp_px_route {
	char *host;   /* owned */
	char *prefix; /* owned */
	size_t host_len;
	size_t prefix_len;
	enum lp_proxy_route_kind kind;
	bool hands_over;
	struct lp_px_target *targets; /* owned */
	size_t n_targets;
	int status;
	char *text;            /* owned, NULL for the standard phrase */
	struct lp_px_tag *tag; /* one reference, NULL for none */
};

struct lp_px_table {
	struct lp_px_route *routes; /* owned; by host, then the longest prefix first */
	size_t n_routes;
	struct lp_px_table *next; /* in the queue to the proxy's thread */
	uint64_t number;
};

/* Checks and copies the routes. Returns 0, -EINVAL (the text names the route) or -ENOMEM. */
int lp_px_table_create(struct lp_px_table **out, const struct lp_proxy_route *routes, size_t n,
		       struct lp_err *err) LP_MUST_USE;

/* NULL is allowed. */
void lp_px_table_destroy(struct lp_px_table *t);

/* The route of a request: host as in the Host header (port and case are ignored), path with or
 * without query. NULL when none matches. */
struct lp_px_route *lp_px_table_find(const struct lp_px_table *t, struct lp_px_span host,
				     struct lp_px_span path);

/* Whose turn it is among the targets of a FORWARD route. */
struct lp_px_target *lp_px_route_pick(struct lp_px_route *route);

#endif
