/* controller/metrics.c: numbers into lines. */
#include "controller/metrics.h"

#include "wire/msg.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const uint64_t lp_times_bounds_us[LP_TIMES_BUCKETS] = {
	5000,   10000,   25000,   50000,   100000,   250000,
	500000, 1000000, 2500000, 5000000, 10000000, 30000000,
};

void lp_times_add(struct lp_times *t, uint64_t us)
{
	t->count++;
	t->sum_us += us;
	for (size_t i = 0; i < LP_TIMES_BUCKETS; i++) {
		if (us <= lp_times_bounds_us[i]) {
			t->bucket[i]++;
			return;
		}
	}
}

/* Microseconds as seconds, exactly. */
static int put_seconds(struct lp_buf *out, uint64_t us)
{
	return lp_buf_addf(out, "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
}

static int put_head(struct lp_buf *out, const char *name, const char *type, const char *help)
{
	return lp_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and line feed are escaped. */
static int put_label(struct lp_buf *out, const char *text)
{
	int r = 0;

	for (; *text && r == 0; text++) {
		if (*text == '\n')
			r = lp_buf_add_str(out, "\\n");
		else if (*text == '\\' || *text == '"')
			r = lp_buf_addf(out, "\\%c", *text);
		else
			r = lp_buf_add(out, text, 1);
	}
	return r;
}

static int put_times(struct lp_buf *out, const char *name, const char *help,
		     const struct lp_times *t)
{
	uint64_t upto = 0;
	int r = put_head(out, name, "histogram", help);

	for (size_t i = 0; i < LP_TIMES_BUCKETS && r == 0; i++) {
		upto += t->bucket[i];
		r = lp_buf_addf(out, "%s_bucket{le=\"", name);
		if (r == 0)
			r = put_seconds(out, lp_times_bounds_us[i]);
		if (r == 0)
			r = lp_buf_addf(out, "\"} %" PRIu64 "\n", upto);
	}
	if (r == 0)
		r = lp_buf_addf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum ", name, t->count,
				name);
	if (r == 0)
		r = put_seconds(out, t->sum_us);
	return r == 0 ? lp_buf_addf(out, "\n%s_count %" PRIu64 "\n", name, t->count) : r;
}

static int put_numbers(struct lp_buf *out, const struct lp_metrics *m)
{
	const struct {
		const char *name;
		const char *type;
		const char *help;
		uint64_t value;
	} rows[] = {
		{"livepush_revision", "gauge", "Newest revision applied.", m->revision},
		{"livepush_settled_revision", "gauge",
		 "Newest revision whose restart, signal or nothing has ended well.", m->settled},
		{"livepush_served_revision", "gauge",
		 "Newest revision that browsers were told of: every instance serves it.",
		 m->served},
		{"livepush_generation", "gauge", "Start of the app that serves; 0: none does.",
		 m->app.generation},
		{"livepush_tree_files", "gauge", "Entries of the tree, directories included.",
		 m->files},
		{"livepush_tree_bytes", "gauge", "Content of the tree's files.", m->bytes},
		{"livepush_owner_connected", "gauge", "Whether a workspace is mirrored here.",
		 m->owned},
		{"livepush_sessions", "gauge", "Connections to the control endpoint.", m->sessions},
		{"livepush_listeners", "gauge", "Browsers that listen for events.", m->listeners},
		{"livepush_changesets_total", "counter", "Changesets applied.", m->counts->applied},
		{"livepush_changed_paths_total", "counter", "Paths changed by them.",
		 m->counts->paths},
		{"livepush_app_crashes_total", "counter", "Ends of the app while it served.",
		 m->app.crashes},
		{"livepush_app_output_bytes_total", "counter", "Output of the app.",
		 m->counts->log_bytes},
		{"livepush_app_output_dropped_bytes_total", "counter",
		 "Output of the app that the controller's standard output did not take.",
		 m->echo_dropped},
		{"livepush_requests_total", "counter", "Requests at the front door.",
		 m->front.requests},
		{"livepush_front_errors_total", "counter",
		 "Requests that the front door itself answered with 5xx.", m->front.failed},
		{"livepush_connections", "gauge", "Client connections at the front door.",
		 m->front.conns},
		{"livepush_requests_held", "gauge", "Requests that wait for the app.",
		 m->front.held},
		{"livepush_requests_active", "gauge", "Requests and tunnels that the app has.",
		 m->front.active},
	};
	int r = 0;

	for (size_t i = 0; i < LP_COUNT_OF(rows) && r == 0; i++) {
		r = put_head(out, rows[i].name, rows[i].type, rows[i].help);
		if (r == 0)
			r = lp_buf_addf(out, "%s %" PRIu64 "\n", rows[i].name, rows[i].value);
	}
	return r;
}

static int put_states(struct lp_buf *out, const struct lp_metrics *m)
{
	int r = put_head(out, "livepush_app_state", "gauge", "1 for the state that the app is in.");

	for (int s = 0; s < LP_SUP_STATE_COUNT_ && r == 0; s++)
		r = lp_buf_addf(out, "livepush_app_state{state=\"%s\"} %d\n",
				lp_sup_state_name((enum lp_sup_state)s), (int)m->app.state == s);
	if (r == 0)
		r = put_head(out, "livepush_failures_total", "counter",
			     "Changes that did not come to serve, by what failed.");
	for (int s = LP_STAGE_CONFIG; s < LP_STAGES_MAX && r == 0; s++)
		if (s != LP_WIRE_STAGE_APPLY) /* the sender is told of that one alone */
			r = lp_buf_addf(out, "livepush_failures_total{stage=\"%s\"} %" PRIu64 "\n",
					lp_wire_stage_name((uint64_t)s), m->counts->failures[s]);
	return r;
}

int lp_metrics_write(struct lp_buf *out, const struct lp_metrics *m)
{
	int r = put_head(out, "livepush_info", "gauge", "Which controller this is.");

	if (r == 0)
		r = lp_buf_add_str(out, "livepush_info{version=\"" LP_VERSION "\",instance=\"");
	if (r == 0)
		r = put_label(out, m->instance);
	if (r == 0)
		r = lp_buf_add_str(out, "\"} 1\n");
	if (r == 0)
		r = put_head(out, "livepush_uptime_seconds", "gauge",
			     "Since the controller was started.");
	if (r == 0)
		r = lp_buf_add_str(out, "livepush_uptime_seconds ");
	if (r == 0)
		r = put_seconds(out, m->uptime_us);
	if (r == 0)
		r = lp_buf_add_str(out, "\n");
	if (r == 0)
		r = put_numbers(out, m);
	if (r == 0)
		r = put_states(out, m);
	if (r == 0)
		r = put_times(out, "livepush_restart_seconds",
			      "From the cause of a restart to the new app serving.",
			      &m->counts->restarted);
	return r == 0 ? put_times(out, "livepush_browser_seconds",
				  "From the announcement of a revision until a browser shows it.",
				  &m->counts->shown)
		      : r;
}
