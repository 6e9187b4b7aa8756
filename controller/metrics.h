/* controller/metrics.h: what an instance counts, and how Prometheus reads it (text format 0.0.4).
 * Pure: gets all numbers as arguments. */
#ifndef LP_CONTROLLER_METRICS_H
#define LP_CONTROLLER_METRICS_H

#include "common/base/lp_buf.h"
#include "controller/supervise.h"
#include "proxy/proxy.h"

#define LP_TIMES_BUCKETS 12
#define LP_STAGES_MAX    8

/* How long things took, by upper bounds (lp_times_bounds_us). */
struct lp_times {
	uint64_t bucket[LP_TIMES_BUCKETS]; /* not cumulated; beyond the last bound: in none */
	uint64_t count;
	uint64_t sum_us;
};

extern const uint64_t lp_times_bounds_us[LP_TIMES_BUCKETS];

void lp_times_add(struct lp_times *t, uint64_t us);

/* What has happened since the instance started. failures: by enum lp_sup_stage. */
struct lp_live_counts {
	uint64_t applied; /* changesets */
	struct lp_times restarted;
	struct lp_times shown; /* from the announcement until a browser shows it */
	uint64_t paths;
	uint64_t log_bytes;
	uint64_t failures[LP_STAGES_MAX];
};

/* Everything that is shown. */
struct lp_metrics {
	const char *instance;
	uint64_t uptime_us;
	uint64_t revision;
	uint64_t settled;
	uint64_t served;
	uint64_t files;
	uint64_t bytes;
	uint64_t sessions;
	uint64_t listeners;
	uint64_t echo_dropped; /* bytes */
	bool owned;
	struct lp_sup_status app;
	struct lp_proxy_stats front;
	const struct lp_live_counts *counts;
};

/* Appends the page. Returns 0, -EMSGSIZE or -ENOMEM. */
int lp_metrics_write(struct lp_buf *out, const struct lp_metrics *m) LP_MUST_USE;

#endif
