/* proxy/route.c: checking, sorting and searching routes. */
#include "proxy/route.h"

#include "proxy/addr.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define MAX_WEIGHT 1000000U
#define ANYWHERE   "/**/"

static int check_targets(const struct lp_proxy_route *r, struct lp_err *err)
{
	if (!r->n_upstreams)
		return lp_err_say(err, EINVAL, "route '%s%s' forwards to no upstream", r->host,
				  r->prefix);
	for (size_t i = 0; i < r->n_upstreams; i++) {
		const struct lp_proxy_upstream *u = &r->upstreams[i];
		sa_family_t family = u->addr.u.any.sa_family;

		if (!u->id)
			return lp_err_say(err, EINVAL, "route '%s%s' has an upstream without id",
					  r->host, r->prefix);
		if (!u->weight || u->weight > MAX_WEIGHT)
			return lp_err_say(err, EINVAL,
					  "route '%s%s': weight %u is not within 1 to %u", r->host,
					  r->prefix, u->weight, MAX_WEIGHT);
		if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
			return lp_err_say(err, EINVAL,
					  "route '%s%s' has an upstream without "
					  "address",
					  r->host, r->prefix);
	}
	return 0;
}

static int check_route(const struct lp_proxy_route *r, struct lp_err *err)
{
	if (!r->host || !r->prefix || r->prefix[0] != '/')
		return lp_err_say(err, EINVAL,
				  "the path prefix '%s' of a route does not start "
				  "with '/'",
				  r->prefix ? r->prefix : "");
	switch (r->kind) {
	case LP_ROUTE_FORWARD:
		return check_targets(r, err);
	case LP_ROUTE_HOLD:
		return 0;
	case LP_ROUTE_REFUSE:
		if (r->status >= 400 && r->status <= 599)
			return 0;
		return lp_err_say(err, EINVAL,
				  "route '%s%s' refuses with status %d, not within "
				  "400 to 599",
				  r->host, r->prefix, r->status);
	case LP_ROUTE_KIND_COUNT_:
		break;
	}
	return lp_err_say(err, EINVAL, "route '%s%s' has no known kind", r->host, r->prefix);
}

static void finish_route(struct lp_px_route *r)
{
	free(r->host);
	free(r->prefix);
	free(r->targets);
	free(r->text);
	lp_px_tag_unref(r->tag);
}

void lp_px_table_destroy(struct lp_px_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_routes; i++)
		finish_route(&t->routes[i]);
	free(t->routes);
	free(t);
}

static int copy_route(struct lp_px_route *to, const struct lp_proxy_route *from)
{
	to->host = strdup(from->host);
	to->prefix = strdup(from->prefix);
	to->text = from->text ? strdup(from->text) : NULL;
	to->kind = from->kind;
	to->status = from->status;
	if (!to->host || !to->prefix || (from->text && !to->text))
		return -ENOMEM;
	to->host_len = strlen(to->host);
	to->prefix_len = strlen(to->prefix);
	for (char *c = to->host; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (from->kind != LP_ROUTE_FORWARD)
		return 0;
	to->hands_over = from->hands_over;
	to->tag = lp_px_tag_create(from->inject);
	if (from->inject && !to->tag)
		return -ENOMEM;
	to->targets = calloc(from->n_upstreams, sizeof(*to->targets));
	if (!to->targets)
		return -ENOMEM;
	to->n_targets = from->n_upstreams;
	for (size_t i = 0; i < to->n_targets; i++) {
		to->targets[i].id = from->upstreams[i].id;
		to->targets[i].addr = from->upstreams[i].addr;
		to->targets[i].weight = from->upstreams[i].weight;
	}
	return 0;
}

/* The order of routes: by host, the longest prefix first, then by its bytes. */
static int compare_routes(const void *a, const void *b)
{
	const struct lp_px_route *x = a;
	const struct lp_px_route *y = b;
	int order = strcmp(x->host, y->host);

	if (order)
		return order;
	if (x->prefix_len != y->prefix_len)
		return x->prefix_len > y->prefix_len ? -1 : 1;
	return strcmp(x->prefix, y->prefix);
}

static int compare_ids(const void *a, const void *b)
{
	const struct lp_px_target *x = *(struct lp_px_target *const *)a;
	const struct lp_px_target *y = *(struct lp_px_target *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* Whether no id stands for two addresses. */
static int check_ids(const struct lp_px_table *t, struct lp_err *err)
{
	LP_AUTO_FREE struct lp_px_target **all = NULL;
	size_t n = 0;

	for (size_t i = 0; i < t->n_routes; i++)
		n += t->routes[i].n_targets;
	all = calloc(n ? n : 1, sizeof(struct lp_px_target *));
	if (!all)
		return lp_err_set(err, ENOMEM, "check %zu upstreams", n);
	n = 0;
	for (size_t i = 0; i < t->n_routes; i++) {
		for (size_t k = 0; k < t->routes[i].n_targets; k++)
			all[n++] = &t->routes[i].targets[k];
	}
	qsort(all, n, sizeof(struct lp_px_target *), compare_ids);
	for (size_t i = 1; i < n; i++) {
		if (all[i]->id == all[i - 1]->id &&
		    !lp_px_addr_same(&all[i]->addr, &all[i - 1]->addr))
			return lp_err_say(err, EINVAL, "upstream %llu has two addresses",
					  (unsigned long long)all[i]->id);
	}
	return 0;
}

static int fill_table(struct lp_px_table *t, const struct lp_proxy_route *routes, size_t n,
		      struct lp_err *err)
{
	for (size_t i = 0; i < n; i++) {
		int r = check_route(&routes[i], err);

		if (r < 0)
			return r;
		t->n_routes = i + 1;
		if (copy_route(&t->routes[i], &routes[i]) < 0)
			return lp_err_set(err, ENOMEM, "copy %zu routes", n);
	}
	if (n)
		qsort(t->routes, n, sizeof(*t->routes), compare_routes);
	for (size_t i = 1; i < n; i++) {
		if (compare_routes(&t->routes[i - 1], &t->routes[i]) == 0)
			return lp_err_say(err, EINVAL, "there are two routes for '%s%s'",
					  t->routes[i].host, t->routes[i].prefix);
	}
	return check_ids(t, err);
}

int lp_px_table_create(struct lp_px_table **out, const struct lp_proxy_route *routes, size_t n,
		       struct lp_err *err)
{
	struct lp_px_table *t = calloc(1, sizeof(*t));
	int r;

	if (t)
		t->routes = calloc(n ? n : 1, sizeof(*t->routes));
	if (!t || !t->routes) {
		lp_px_table_destroy(t);
		return lp_err_set(err, ENOMEM, "build a table of %zu routes", n);
	}
	r = fill_table(t, routes, n, err);
	if (r < 0) {
		lp_px_table_destroy(t);
		return r;
	}
	*out = t;
	return 0;
}

/* Host without port and without the dot of a full name. */
static struct lp_px_span bare_host(struct lp_px_span host)
{
	size_t end = host.len;

	while (end && isdigit((unsigned char)host.at[end - 1]))
		end--;
	if (end && host.at[end - 1] == ':')
		host.len = end - 1;
	if (host.len > 1 && host.at[host.len - 1] == '.')
		host.len--;
	return host;
}

static struct lp_px_span bare_path(struct lp_px_span path)
{
	for (size_t i = 0; i < path.len; i++) {
		if (path.at[i] == '?' || path.at[i] == '#')
			path.len = i;
	}
	return path;
}

/* The next byte of the path, an escape undone; *at moves behind it. */
static char next_byte(struct lp_px_span path, size_t *at)
{
	const char *p = path.at + *at;

	if (p[0] == '%' && path.len - *at >= 3 && isxdigit((unsigned char)p[1]) &&
	    isxdigit((unsigned char)p[2])) {
		char hex[3] = {p[1], p[2], '\0'};

		*at += 3;
		return (char)strtol(hex, NULL, 16);
	}
	(*at)++;
	return p[0];
}

/* Whether one of the path's segments is `name`, however it is written: what serves files undoes
 * escapes and goes through "..", and so may see it there. */
static bool has_segment(struct lp_px_span path, const char *name)
{
	const char *left = name; /* of the name, NULL: this segment is another */

	for (size_t at = 0; at < path.len;) {
		char c = next_byte(path, &at);

		/* For whoever writes C, a NUL ends the name; for whoever writes Java, parameters
		 * of the segment do (RFC 3986, 3.3). */
		if ((c == '/' || c == '\0' || c == ';') && left && !*left)
			return true;
		if (c == '/')
			left = name;
		else
			left = left && *left && *left == c ? left + 1 : NULL;
	}
	return left && !*left;
}

static bool covers(const struct lp_px_route *r, struct lp_px_span path)
{
	size_t n = r->prefix_len;

	if (strncmp(r->prefix, ANYWHERE, sizeof(ANYWHERE) - 1) == 0)
		return has_segment(path, r->prefix + sizeof(ANYWHERE) - 1);
	if (n == 1) /* "/": everything, "*" included */
		return true;
	if (path.len < n || memcmp(path.at, r->prefix, n) != 0)
		return false;
	return path.len == n || r->prefix[n - 1] == '/' || path.at[n] == '/';
}

static int compare_host(const struct lp_px_route *r, struct lp_px_span host)
{
	size_t n = r->host_len < host.len ? r->host_len : host.len;
	int order = strncasecmp(r->host, host.at, n);

	if (order)
		return order;
	return r->host_len < host.len ? -1 : r->host_len > host.len;
}

/* The first route whose host is exactly `host`, by binary search; n_routes when there is none. */
static size_t first_of_host(const struct lp_px_table *t, struct lp_px_span host)
{
	size_t low = 0;
	size_t high = t->n_routes;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare_host(&t->routes[mid], host) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct lp_px_route *find_within(const struct lp_px_table *t, struct lp_px_span host,
				       struct lp_px_span path)
{
	for (size_t i = first_of_host(t, host);
	     i < t->n_routes && compare_host(&t->routes[i], host) == 0; i++) {
		if (covers(&t->routes[i], path))
			return &t->routes[i];
	}
	return NULL;
}

struct lp_px_route *lp_px_table_find(const struct lp_px_table *t, struct lp_px_span host,
				     struct lp_px_span path)
{
	struct lp_px_span name = bare_host(host);
	struct lp_px_route *r = NULL;

	path = bare_path(path);
	if (name.len)
		r = find_within(t, name, path);
	return r ? r : find_within(t, (struct lp_px_span){"", 0}, path);
}

struct lp_px_target *lp_px_route_pick(struct lp_px_route *route)
{
	struct lp_px_target *best = &route->targets[0];
	int64_t total = 0;

	if (route->n_targets == 1)
		return best;
	for (size_t i = 0; i < route->n_targets; i++) {
		struct lp_px_target *t = &route->targets[i];

		t->current += t->weight;
		total += t->weight;
		if (t->current > best->current)
			best = t;
	}
	best->current -= total;
	return best;
}
