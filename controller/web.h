/* controller/web.h: every HTTP request to the control endpoint as a row of one table: what it is,
 * who may ask, and who answers. web.c checks Host, Origin, attempts and scope before a handler is
 * called; a handler checks nothing of that. */
#ifndef LP_CONTROLLER_WEB_H
#define LP_CONTROLLER_WEB_H

#include "common/loop/http.h"
#include "common/loop/ws.h"
#include "controller/instance_internal.h"

/* What a request has to show. A link (web_link.h) gives a cookie for its scope; the secret as a
 * bearer gives any. */
enum lp_web_scope {
	LP_WEB_ADMIN = 1, /* sees and does everything */
	LP_WEB_RELOAD,    /* the browser's reload script and its events, and nothing else */
	LP_WEB_OWN,       /* the row's own check */
	LP_WEB_SCOPE_COUNT_,
};

/* method: "GET" takes HEAD, too. path: the whole path, or with is_prefix what it begins with.
 * body_max_bytes: of the request; 413 beyond (LP_HTTP_BODY_ANY at most). allow: of LP_WEB_OWN,
 * called before the body is read; answers itself and returns false to refuse. handle: answers
 * (common/loop/http.h), now or later; may stream. */
struct lp_web_route {
	const char *method;
	const char *path;
	bool is_prefix;
	enum lp_web_scope scope;
	size_t body_max_bytes;
	bool (*allow)(struct lp_instance *in, struct lp_http *http);
	void (*handle)(struct lp_instance *in, struct lp_http *http);
};

/* web_routes.c: the table, ended by a row without a method. The first that fits counts. */
extern const struct lp_web_route lp_web_routes[];

/* The row for a request, or NULL; then *other is a row of the path for another method, or NULL. */
const struct lp_web_route *lp_web_find(const struct lp_web_route *routes, const char *method,
				       const char *path, const struct lp_web_route **other);

/* The callbacks for lp_ws_serve; ctx: the instance. */
size_t lp_web_on_head(void *ctx, struct lp_http *http);
void lp_web_on_request(void *ctx, struct lp_http *http);
int lp_web_on_upgrade(void *ctx, struct lp_http *http);

#endif
