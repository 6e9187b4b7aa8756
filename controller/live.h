/* controller/live.h: what people see of an instance as it happens: the newest changes, what failed,
 * how the other instances are, and the browsers that are told of it by server-sent events (HTML,
 * section 9.2). Loop thread only. Knows no sessions and no tree. */
#ifndef LP_CONTROLLER_LIVE_H
#define LP_CONTROLLER_LIVE_H

#include "common/conf/conf.h"
#include "common/loop/http.h"
#include "common/loop/loop.h"
#include "controller/history.h"
#include "controller/metrics.h"
#include "controller/supervise.h"
#include "wire/msg.h"

struct json_t;
struct lp_live; /* opaque */

/* status: appends the JSON object that
 * pages are shown, or returns -errno. backlog: calls lp_live_log_to for the newest output.
 * on_announced: browsers were told that `revision` is served. on_shown: a browser shows it,
 * took_us later; once for each. All come from the loop. */
struct lp_live_opts {
	struct lp_loop *loop;
	const struct lp_conf *conf; /* borrowed until lp_live_reconfigure */
	int (*status)(void *ctx, struct lp_buf *out);
	void (*backlog)(void *ctx, struct lp_http *http);
	void (*on_announced)(void *ctx, uint64_t revision);
	void (*on_shown)(void *ctx, uint64_t revision, uint64_t took_us);
	void *ctx;
};

struct lp_live *lp_live_create(const struct lp_live_opts *opts);
/* NULL is allowed. Streams that still run are forgotten. */
void lp_live_destroy(struct lp_live *live);

/* Other rules decide from now on which changes browsers are told of. */
void lp_live_reconfigure(struct lp_live *live, const struct lp_conf *conf);

/* What happened. applied: the paths (clean, relative; borrowed) changed. A failure is shown until a
 * newer revision has settled, or the app serves again. */
void lp_live_applied(struct lp_live *live, uint64_t revision, const char *const *paths, size_t n);
void lp_live_restarted(struct lp_live *live, uint64_t took_us);
void lp_live_settled(struct lp_live *live, uint64_t revision);
void lp_live_failed(struct lp_live *live, const struct lp_sup_failure *failure);

/* The owner says how all instances are. Borrowed. */
void lp_live_fleet(struct lp_live *live, const struct lp_msg_fleet *fleet);

/* The owner is gone: nobody says what all serve, so it is what has settled here, until the next
 * lp_live_fleet. It is so at the beginning, too. */
void lp_live_orphaned(struct lp_live *live);

/* Output of the app, for those who watch; to one of them (a struct lp_http). */
void lp_live_log(struct lp_live *live, const struct lp_output *piece);
void lp_live_log_to(void *http, const struct lp_output *piece);

/* Streams events to a browser. page: of the instance's own page, with status and output; otherwise
 * what reload.js needs. Answers 503 when too many listen. */
void lp_live_listen(struct lp_live *live, struct lp_http *http, bool page);

/* A browser shows a revision that it was told of. */
void lp_live_shown(struct lp_live *live, uint64_t revision);

/* The newest revision that browsers were told of. */
uint64_t lp_live_served(const struct lp_live *live);
size_t lp_live_listeners(const struct lp_live *live);

/* Adds "served", "failure", "changes" and "instances" to a status object. Returns 0 or -ENOMEM. */
int lp_live_describe(const struct lp_live *live, struct json_t *o) LP_MUST_USE;

/* What was counted; borrowed. */
const struct lp_live_counts *lp_live_counts(const struct lp_live *live);

#endif
