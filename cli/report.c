/* cli/report.c: events into lines. */
#include "cli/report.h"

#include "cli/log_print.h"
#include "cli/output.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAVES_MAX   256
#define CAUSE_BYTES 256

/* A changeset on its way, to know how long it took. */
struct save {
	uint64_t revision;
	uint64_t saved_us;
};

struct instance {
	char id[64];
	char down_reason[256];
	bool connected;
	bool lost;
	uint64_t applied;
	uint64_t settled;
	uint64_t failed;
	uint64_t config_failed;
	uint64_t generation;
	bool mending;   /* its last failure made it compare trees */
	bool unhealthy; /* since its last failure no generation came up */
	char error[512];
	uint64_t files;      /* applied since the last line */
	uint64_t applied_us; /* latency of the last one applied */
	uint64_t restart_us; /* 0: no restart since the last line */
};

struct lp_report {
	const char *app;
	bool json;
	bool follows;
	bool ready;
	struct instance *instances;
	size_t n;
	struct save saves[SAVES_MAX];
	size_t next_save;
	struct lp_log_print *logs; /* owned */
};

struct lp_report *lp_report_create(const char *app, size_t n_instances, bool json, bool follows)
{
	struct lp_report *r = lp_xcalloc(1, sizeof(*r));

	r->app = app;
	r->json = json;
	r->follows = follows;
	r->n = n_instances;
	r->instances = lp_xcalloc(n_instances, sizeof(*r->instances));
	r->logs = lp_log_print_create(n_instances, json, false);
	for (size_t i = 0; i < n_instances; i++)
		(void)snprintf(r->instances[i].id, sizeof(r->instances[i].id), "%zu", i);
	return r;
}

void lp_report_destroy(struct lp_report *r)
{
	if (!r)
		return;
	lp_log_print_destroy(r->logs);
	free(r->instances);
	free(r);
}

void lp_report_saved(struct lp_report *r, const struct lp_changeset *cs)
{
	r->saves[r->next_save++ % SAVES_MAX] = (struct save){cs->revision, cs->saved_us};
}

static uint64_t latency_us(const struct lp_report *r, uint64_t revision, uint64_t otherwise)
{
	for (size_t i = 0; i < SAVES_MAX; i++)
		if (r->saves[i].revision == revision && r->saves[i].saved_us)
			return lp_now_us() - r->saves[i].saved_us;
	return otherwise;
}

static double to_ms(uint64_t us)
{
	return (double)us / 1000;
}

void lp_report_ready(struct lp_report *r, const char *url, const char *dir, uint64_t revision)
{
	char why[640];
	bool healthy = lp_report_outcome(r, revision, why, sizeof(why)) == 1;

	r->ready = true;
	if (r->json) {
		(void)lp_out_json(json_pack("{s:s, s:o, s:s, s:I, s:I, s:b}", "event", "ready",
					    "app", lp_out_text(r->app, strlen(r->app)), "url", url,
					    "instances", (json_int_t)r->n, "revision",
					    (json_int_t)revision, "healthy", healthy));
		return;
	}
	(void)printf("%s\n", url);
	(void)fflush(stdout);
	if (healthy)
		lp_out_say("%s✓%s %s is live; edit and save in %s", lp_out_colour(LP_GREEN),
			   lp_out_colour(LP_PLAIN), r->app, dir);
	else
		lp_out_say("%s✗%s %s does not serve yet; edit and save in %s",
			   lp_out_colour(LP_RED), lp_out_colour(LP_PLAIN), r->app, dir);
}

static void on_applied(struct lp_report *r, struct instance *in, const struct lp_msg_applied *a)
{
	uint64_t us = latency_us(r, a->revision, a->took_us);

	if (in->mending)
		in->failed = 0;
	in->mending = false;
	in->applied = a->revision;
	in->files += a->files;
	in->applied_us = us;
	if (r->json)
		(void)lp_out_json(json_pack("{s:s, s:I, s:s, s:I, s:I, s:f}", "event", "applied",
					    "revision", (json_int_t)a->revision, "instance", in->id,
					    "files", (json_int_t)a->files, "bytes",
					    (json_int_t)a->bytes, "ms", to_ms(us)));
}

static void on_restarted(struct lp_report *r, struct instance *in, const struct lp_msg_restarted *m)
{
	in->restart_us = m->took_us ? m->took_us : 1;
	in->generation = m->generation;
	in->unhealthy = false;
	if (r->json)
		(void)lp_out_json(json_pack("{s:s, s:I, s:s, s:I, s:f}", "event", "restarted",
					    "revision", (json_int_t)m->revision, "instance", in->id,
					    "generation", (json_int_t)m->generation, "ms",
					    to_ms(m->took_us)));
}

/* One line a save, once the last instance has settled it. */
static void on_settled(struct lp_report *r, struct instance *in, uint64_t revision)
{
	char applied_ms[16], restart_ms[16];
	uint64_t files = 0, applied_us = 0, restart_us = 0;

	in->settled = revision;
	for (size_t i = 0; i < r->n; i++) {
		const struct instance *other = &r->instances[i];

		if (other->settled < revision && other->connected)
			return;
		files = other->files > files ? other->files : files;
		applied_us = other->applied_us > applied_us ? other->applied_us : applied_us;
		restart_us = other->restart_us > restart_us ? other->restart_us : restart_us;
	}
	for (size_t i = 0; i < r->n; i++)
		r->instances[i].files = r->instances[i].restart_us = 0;
	if (r->json || !r->ready || (files == 0 && restart_us == 0))
		return;
	lp_out_ms(applied_us, applied_ms);
	lp_out_ms(restart_us, restart_ms);
	if (files == 0) {
		lp_out_say("%s✓%s %s restarted %s ms", lp_out_colour(LP_GREEN),
			   lp_out_colour(LP_PLAIN), r->app, restart_ms);
		return;
	}
	lp_out_say("%s✓%s %llu file%s → %s  %s ms%s%s%s", lp_out_colour(LP_GREEN),
		   lp_out_colour(LP_PLAIN), (unsigned long long)files, files == 1 ? "" : "s",
		   r->app, applied_ms, restart_us ? ", restarted " : "",
		   restart_us ? restart_ms : "", restart_us ? " ms" : "");
}

/* " (app.py and 3 more changed)", "" when nothing did. */
static const char *cause_of(const struct lp_msg_failed *f, char out[CAUSE_BYTES])
{
	char path[200], more[32] = "";

	out[0] = '\0';
	if (f->path.len == 0 || f->stage == LP_WIRE_STAGE_LOOP)
		return out;
	lp_bytes_text(&f->path, path, sizeof(path));
	if (f->files > 1)
		(void)snprintf(more, sizeof(more), " and %llu more",
			       (unsigned long long)(f->files - 1));
	(void)snprintf(out, CAUSE_BYTES, " (%s%s changed)", path, more);
	return out;
}

/* It is behind the workspace from now on, and that is meant to be. */
static void on_rolled(struct lp_report *r, struct instance *in, const struct lp_msg_rolled *m)
{
	if (!m->done)
		return;
	if (m->from >= in->failed)
		in->failed = m->from;
	if (m->asked || !in->error[0])
		(void)snprintf(in->error, sizeof(in->error),
			       "it went back to revision %llu; the next save brings it forward",
			       (unsigned long long)m->revision);
	in->settled = 0;
	in->mending = false;
	in->files = in->restart_us = 0;
	if (r->json)
		(void)lp_out_json(json_pack("{s:s, s:s, s:I, s:I, s:I, s:b}", "event", "rolled",
					    "instance", in->id, "revision", (json_int_t)m->revision,
					    "from", (json_int_t)m->from, "files",
					    (json_int_t)m->files, "asked", m->asked));
	else
		lp_out_say("%s↩%s %s: back to revision %llu (%llu file%s) until the next save",
			   lp_out_colour(LP_RED), lp_out_colour(LP_PLAIN), r->app,
			   (unsigned long long)m->revision, (unsigned long long)m->files,
			   m->files == 1 ? "" : "s");
}

static void on_failed(struct lp_report *r, struct instance *in, const struct lp_msg_failed *f)
{
	const char *stage = lp_wire_stage_name(f->stage);
	char cause[CAUSE_BYTES];

	lp_bytes_text(&f->error, in->error, sizeof(in->error));
	/* What is told of a loop fails nothing: the start goes on. */
	if (f->stage != LP_WIRE_STAGE_LOOP && f->revision >= in->failed)
		in->failed = f->revision;
	in->mending = f->resync;
	in->unhealthy = f->stage == LP_WIRE_STAGE_CRASH || in->unhealthy;
	/* The app may settle with its old configuration; what was saved is not in force all the
	 * same. */
	if (f->stage == LP_WIRE_STAGE_CONFIG)
		in->config_failed = f->revision;
	in->files = in->restart_us = 0;
	if (r->json) {
		(void)lp_out_json(json_pack(
			"{s:s, s:I, s:s, s:s, s:I, s:o, s:o, s:o, s:I}", "event", "failed",
			"revision", (json_int_t)f->revision, "instance", in->id, "stage", stage,
			"generation", (json_int_t)f->generation, "error",
			lp_out_text(f->error.p, f->error.len), "excerpt",
			lp_out_text(f->excerpt.p, f->excerpt.len), "path",
			lp_out_text(f->path.p, f->path.len), "files", (json_int_t)f->files));
		return;
	}
	lp_out_say("%s✗%s %s: %s: %s%s", lp_out_colour(LP_RED), lp_out_colour(LP_PLAIN), r->app,
		   stage, in->error, cause_of(f, cause));
	if (r->follows)
		return;
	lp_out_excerpt(f->excerpt.p, f->excerpt.len);
}

void lp_report_message(struct lp_report *r, unsigned i, const struct lp_msg *msg)
{
	struct instance *in = &r->instances[i];

	switch (msg->kind) {
	case LP_MSG_APPLIED:
		on_applied(r, in, &msg->u.applied);
		break;
	case LP_MSG_RESTARTED:
		on_restarted(r, in, &msg->u.restarted);
		break;
	case LP_MSG_SETTLED:
		on_settled(r, in, msg->u.settled.revision);
		break;
	case LP_MSG_FAILED:
		on_failed(r, in, &msg->u.failed);
		break;
	case LP_MSG_ROLLED:
		on_rolled(r, in, &msg->u.rolled);
		break;
	case LP_MSG_LOG:
		lp_log_print_take(r->logs, i, &msg->u.log);
		break;
	default:
		break;
	}
}

static void name_instance(struct lp_report *r, unsigned i, const char *instance_id)
{
	(void)snprintf(r->instances[i].id, sizeof(r->instances[i].id), "%.63s", instance_id);
	lp_log_print_name(r->logs, i, instance_id);
}

void lp_report_connected(struct lp_report *r, unsigned i, const char *instance_id)
{
	struct instance *in = &r->instances[i];

	name_instance(r, i, instance_id);
	in->connected = true;
	if (in->down_reason[0] && !r->json)
		lp_out_say("%s✓%s %s: connected again", lp_out_colour(LP_GREEN),
			   lp_out_colour(LP_PLAIN), r->app);
	if (r->json)
		(void)lp_out_json(json_pack("{s:s, s:s, s:s}", "event", "state", "instance", in->id,
					    "state", "connected"));
	in->down_reason[0] = '\0';
}

void lp_report_disconnected(struct lp_report *r, unsigned i, const char *reason)
{
	struct instance *in = &r->instances[i];
	bool first = in->connected || !in->down_reason[0];

	in->connected = false;
	(void)snprintf(in->down_reason, sizeof(in->down_reason), "%.255s", reason);
	if (!first)
		return;
	if (r->json)
		(void)lp_out_json(json_pack("{s:s, s:s, s:s, s:o}", "event", "state", "instance",
					    in->id, "state", "disconnected", "reason",
					    lp_out_text(reason, strlen(reason))));
	else
		lp_out_say("%s…%s %s: not connected: %s; trying again", lp_out_colour(LP_RED),
			   lp_out_colour(LP_PLAIN), r->app, reason);
}

void lp_report_lost(struct lp_report *r, unsigned i, const char *reason)
{
	struct instance *in = &r->instances[i];

	in->connected = false;
	in->lost = true;
	(void)snprintf(in->error, sizeof(in->error), "%.511s", reason);
	if (r->json)
		(void)lp_out_json(json_pack("{s:s, s:s, s:s, s:o}", "event", "state", "instance",
					    in->id, "state", "failed", "reason",
					    lp_out_text(reason, strlen(reason))));
	else
		lp_out_say("%s✗%s %s: instance %s is left out from now on: %s",
			   lp_out_colour(LP_RED), lp_out_colour(LP_PLAIN), r->app, in->id, reason);
}

bool lp_report_has_outcome(const struct lp_report *r, unsigned i)
{
	return r->instances[i].settled > 0 || r->instances[i].failed > 0;
}

int lp_report_outcome(const struct lp_report *r, uint64_t revision, char *why, size_t why_bytes)
{
	int result = 1;

	for (size_t i = 0; i < r->n; i++) {
		const struct instance *in = &r->instances[i];

		if (in->lost ||
		    (in->failed >= revision && (in->failed > in->settled || in->unhealthy)) ||
		    (in->config_failed && in->config_failed >= revision)) {
			(void)snprintf(why, why_bytes, "instance %s: %s", in->id, in->error);
			return -1;
		}
		if (!in->connected) {
			(void)snprintf(why, why_bytes, "instance %s is not connected: %s", in->id,
				       in->down_reason);
			result = 0;
		} else if (in->applied < revision || in->settled < revision) {
			(void)snprintf(why, why_bytes, "instance %s has %s revision %llu, not %llu",
				       in->id, in->applied < revision ? "applied" : "settled",
				       (unsigned long long)(in->applied < revision ? in->applied
										   : in->settled),
				       (unsigned long long)revision);
			result = 0;
		}
	}
	return result;
}

uint64_t lp_report_served(const struct lp_report *r)
{
	uint64_t served = UINT64_MAX;
	bool any = false;

	for (size_t i = 0; i < r->n; i++) {
		const struct instance *in = &r->instances[i];

		if (!in->connected)
			continue;
		any = true;
		served = in->settled < served ? in->settled : served;
	}
	return any ? served : 0;
}

void lp_report_member(const struct lp_report *r, unsigned i, struct lp_wire_member *out)
{
	const struct instance *in = &r->instances[i];

	*out = (struct lp_wire_member){.name = lp_bytes_of(in->id),
				       .applied = in->applied,
				       .settled = in->settled,
				       .generation = in->generation};
	if (!in->connected)
		out->state = LP_MEMBER_AWAY;
	else if (in->failed > in->settled || in->unhealthy)
		out->state = LP_MEMBER_FAILED;
	else
		out->state = in->settled < in->applied ? LP_MEMBER_BEHIND : LP_MEMBER_SERVING;
}
