/* cli/mirror_links.c: the instances of a session: what they say and what follows from it. */
#include "cli/mirror_internal.h"

#include "cli/output.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "link/canary.h"

#include <stdio.h>
#include <string.h>

#define PROGRESS_AFTER_US 1000000u

/* What stands for itself in a JSON string. */
static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 "
			    "!#$%&'()*+,-./:;<=>?@[]^_`{|}~";

static struct lp_index *source_index(void *ctx)
{
	struct lp_mirror *m = ctx;

	return lp_workspace_index(m->ws);
}

static struct lp_index *source_sketch(void *ctx)
{
	struct lp_mirror *m = ctx;

	return lp_workspace_sketch(m->ws);
}

static bool source_fill(void *ctx)
{
	struct lp_mirror *m = ctx;

	return lp_workspace_fill(m->ws);
}

static void source_follow(void *ctx, struct lp_changeset *cs)
{
	struct lp_mirror *m = ctx;

	lp_workspace_follow(m->ws, cs);
}

static int source_read_blank(void *ctx, const char *path, struct lp_entry *e, void *to)
{
	struct lp_mirror *m = ctx;

	return lp_workspace_read_blank(m->ws, path, e, to);
}

static int source_open(void *ctx, const char *path)
{
	struct lp_mirror *m = ctx;

	return lp_workspace_open_file(m->ws, path);
}

static long source_read_link(void *ctx, const char *path, char *out, size_t out_bytes)
{
	struct lp_mirror *m = ctx;

	return lp_workspace_read_link(m->ws, path, out, out_bytes);
}

static void source_stale(void *ctx, const char *path, int cause)
{
	struct lp_mirror *m = ctx;

	if (cause < 0)
		lp_workspace_unread(m->ws, path, cause);
	else
		lp_workspace_resend(m->ws, path);
}

static uint64_t source_revision(void *ctx)
{
	struct lp_mirror *m = ctx;

	return lp_workspace_revision(m->ws);
}

static void source_raise(void *ctx, uint64_t floor)
{
	struct lp_mirror *m = ctx;
	struct lp_changeset *nothing;

	if (lp_workspace_revision(m->ws) >= floor)
		return;
	lp_workspace_raise_revision(m->ws, floor);
	/* The other instances would be behind that until the next save. */
	nothing = lp_changeset_create();
	nothing->revision = floor;
	/* Of a sketch it gets its root when that is known, which is before it is sent. */
	if (lp_workspace_sketch(m->ws))
		lp_workspace_follow(m->ws, nothing);
	else
		nothing->root = lp_index_root(lp_workspace_index(m->ws));
	lp_fleet_push(m->fleet, nothing);
	lp_changeset_unref(nothing);
}

/* A name may have come from the instance, and could drive a terminal. */
static void print_line(const char *what, const struct lp_op *op, const char *instance)
{
	LP_AUTO_FREE char *plain_path =
		isatty(STDOUT_FILENO) == 1 ? lp_out_printable(op->path) : NULL;

	(void)printf("%s%s%s %s%s\n", instance ? instance : "", instance ? ": " : "", what,
		     plain_path ? plain_path : op->path, op->e.kind == LP_KIND_DIR ? "/" : "");
}

/* instance: NULL when there is only one. There may be a hundred thousand of them before anything is
 * sent: they are printed together, and a path that needs no escaping is not made a JSON value. */
static void print_change(struct lp_mirror *m, const struct lp_op *op, const char *instance)
{
	const char *what = op->kind == LP_OP_DELETE ? "DEL" : op->is_new ? "NEW" : "MOD";

	m->differed = true;
	if (m->json && !instance && op->path[strspn(op->path, plain)] == '\0')
		(void)printf("{\"event\":\"change\",\"change\":\"%s\",\"path\":\"%s\"}\n", what,
			     op->path);
	else if (m->json)
		(void)lp_out_json(json_pack("{s:s, s:s, s:o, s:s*}", "event", "change", "change",
					    what, "path", lp_out_text(op->path, strlen(op->path)),
					    "instance", instance));
	else
		print_line(what, op, instance);
}

/* An instance of a push has come to its end; the push ends with the last one. */
static void push_done(struct lp_mirror *m, unsigned instance, int exit_status)
{
	if (m->stopping)
		return; /* it was told already */
	m->instances[instance].done = true;
	if (exit_status != LP_EXIT_OK)
		m->exit_status = exit_status;
	for (size_t i = 0; i < lp_fleet_size(m->fleet); i++)
		if (!m->instances[i].done)
			return;
	if (m->json && m->exit_status == LP_EXIT_OK)
		(void)lp_out_json(json_pack("{s:s, s:s, s:I, s:b}", "event", "pushed", "app",
					    m->app, "revision",
					    (json_int_t)lp_workspace_revision(m->ws), "dry_run",
					    lp_arg(m->args, "dry-run") != NULL));
	else if (m->exit_status == LP_EXIT_OK && !m->differed)
		lp_out_say("%s is equal already", m->app);
	lp_mirror_end(m, m->exit_status);
}

static bool on_difference(void *ctx, struct lp_link *link, const struct lp_changeset *cs)
{
	struct lp_mirror *m = ctx;
	const struct lp_mirror_instance *in = &m->instances[lp_link_index(link)];
	bool dry = m->mode == LP_MIRROR_PUSH && lp_arg(m->args, "dry-run");

	m->sync_began_us = lp_now_us();
	/* What changed while an instance was connected was judged when it was taken. */
	if (!dry && !in->fresh && m->guard.deletes > 0)
		return false;
	if (!dry && in->fresh && !lp_mirror_may_catch_up(m, cs, in))
		return false;
	lp_carried_add(m->carried, cs);
	if (m->mode != LP_MIRROR_PUSH)
		return true;
	for (size_t i = 0; i < cs->n_ops; i++)
		if (!cs->ops[i].is_adopted)
			print_change(m, &cs->ops[i], lp_fleet_size(m->fleet) > 1 ? in->id : NULL);
	(void)fflush(stdout);
	if (!dry)
		return true;
	push_done(m, lp_link_index(link), LP_EXIT_OK);
	return false;
}

static void on_progress(void *ctx, struct lp_link *link, uint64_t sent, uint64_t total)
{
	struct lp_mirror *m = ctx;

	(void)link;
	if (!m->json && lp_now_us() - m->sync_began_us > PROGRESS_AFTER_US)
		lp_out_progress(m->app, sent, total);
}

static void on_up(void *ctx, struct lp_link *link, const struct lp_msg_welcome *welcome)
{
	struct lp_mirror *m = ctx;
	struct lp_mirror_instance *in = &m->instances[lp_link_index(link)];
	struct lp_msg tail = {.kind = LP_MSG_TAIL};

	lp_fleet_up(m->fleet, link);
	lp_bytes_text(&welcome->instance, in->id, sizeof(in->id));
	lp_report_connected(m->report, lp_link_index(link), in->id);
	in->files = welcome->files;
	in->fresh = true;
	in->known = lp_link_has_led_to(link, welcome->root) ||
		    (!lp_digest_is_none(&in->root) &&
		     memcmp(welcome->root, in->root.b, sizeof(in->root.b)) == 0);
	lp_mirror_tell(m, true);
	tail.u.tail.follow = true;
	if (lp_mirror_stays(m) && lp_link_send(link, &tail) < 0)
		lp_out_say("livepush: %s: its output cannot be followed", m->app);
}

static void on_caught_up(void *ctx, struct lp_link *link)
{
	struct lp_mirror *m = ctx;

	lp_out_progress_end();
	lp_mirror_guard_passed(m);
	m->instances[lp_link_index(link)].fresh = false;
	lp_mirror_verify_caught_up(m, lp_link_index(link));
}

/* The first time that all instances have come to an end, good or bad. */
static void check_ready(struct lp_mirror *m)
{
	const char *at;
	char *url;

	for (size_t i = 0; i < lp_fleet_size(m->fleet); i++) {
		const struct lp_link *link = lp_fleet_link(m->fleet, i);

		if (!lp_link_has_ended(link) && !lp_link_is_held(link) &&
		    (!lp_link_is_streaming(link) || !lp_report_has_outcome(m->report, (unsigned)i)))
			return;
	}
	m->ready = true;
	if (!lp_mirror_stays(m))
		return;
	at = lp_arg(m->args, "at");
	url = lp_target_http_url(lp_link_url(lp_fleet_link(m->fleet, 0)));
	lp_report_ready(m->report, url, m->mount && at ? at : m->dir, lp_workspace_revision(m->ws));
	free(url);
}

/* An instance for people: its name, or where it is. */
static const char *name_of(const struct lp_mirror *m, const struct lp_link *link)
{
	const char *id = m->instances[lp_link_index(link)].id;

	return id[0] ? id : lp_link_url(link);
}

/* The one that was to be tried first failed: nobody else gets it. */
static void end_trial(struct lp_mirror *m)
{
	lp_mirror_notice(m, "the other instances were left as they are (canary)");
	lp_mirror_end(m, LP_EXIT_FAILED);
}

static void on_push_failed(struct lp_mirror *m, const struct lp_link *link,
			   const struct lp_msg_failed *f)
{
	if (!lp_fleet_tries(m->fleet, link))
		push_done(m, lp_link_index(link), LP_EXIT_FAILED);
	else if (!lp_canary_undoes(f->stage)) /* otherwise it was of something before */
		end_trial(m);
}

static void on_push_message(struct lp_mirror *m, struct lp_link *link, const struct lp_msg *msg)
{
	unsigned i = lp_link_index(link);

	if (m->instances[i].going_back) {
		if (msg->kind == LP_MSG_ROLLED)
			end_trial(m);
	} else if (msg->kind == LP_MSG_SETTLED &&
		   msg->u.settled.revision >= lp_workspace_revision(m->ws)) {
		push_done(m, i, LP_EXIT_OK);
	} else if (msg->kind == LP_MSG_FAILED && msg->u.failed.stage != LP_WIRE_STAGE_LOOP &&
		   (!msg->u.failed.resync || lp_link_keeps_failing(link))) {
		on_push_failed(m, link, &msg->u.failed);
	}
}

static void note_root(struct lp_mirror_instance *in, const struct lp_msg *msg)
{
	if (msg->kind == LP_MSG_APPLIED)
		memcpy(in->root.b, msg->u.applied.root, sizeof(in->root.b));
	else if (msg->kind == LP_MSG_ROLLED && msg->u.rolled.done)
		memcpy(in->root.b, msg->u.rolled.root, sizeof(in->root.b));
}

static void on_message(void *ctx, struct lp_link *link, const struct lp_msg *msg)
{
	struct lp_mirror *m = ctx;
	unsigned i = lp_link_index(link);

	note_root(&m->instances[i], msg);
	if (lp_fleet_heard(m->fleet, link, msg))
		m->instances[i].going_back = true;
	lp_report_message(m->report, i, msg);
	lp_mirror_time_message(m, msg);
	lp_mirror_verify_message(m, link, msg);
	if (m->mode == LP_MIRROR_PUSH)
		on_push_message(m, link, msg);
	if (!lp_mirror_stays(m))
		return;
	if (msg->kind != LP_MSG_SETTLED && msg->kind != LP_MSG_FAILED &&
	    msg->kind != LP_MSG_APPLIED && msg->kind != LP_MSG_ROLLED)
		return;
	if (!m->ready && msg->kind != LP_MSG_APPLIED)
		check_ready(m);
	lp_mirror_check_waits(m);
}

static void on_idle(void *ctx, struct lp_link *link)
{
	(void)link;
	lp_mirror_pump(ctx);
}

/* Whatever refused the last one is the end; one of several is left out. */
static void on_lost(struct lp_mirror *m, unsigned i, const char *reason)
{
	bool push = !lp_mirror_stays(m);

	lp_mirror_verify_lost(m, i, reason);
	if (m->stopping)
		return;
	if (lp_fleet_size(m->fleet) == 1 || (!push && lp_fleet_live(m->fleet) == 0)) {
		lp_mirror_end(m, lp_out_fail(m->json, "%s: %s", m->app, reason));
		return;
	}
	lp_report_lost(m->report, i, reason);
	lp_mirror_tell(m, false);
	if (m->mode == LP_MIRROR_PUSH && m->instances[i].going_back)
		end_trial(m);
	else if (m->mode == LP_MIRROR_PUSH)
		push_done(m, i, LP_EXIT_FAILED);
	if (push)
		return;
	if (!m->ready)
		check_ready(m);
	lp_mirror_guard_passed(m);
	lp_mirror_pump(m);
}

static void on_down(void *ctx, struct lp_link *link, const char *reason, bool final)
{
	struct lp_mirror *m = ctx;

	if (m->stopping)
		return;
	lp_fleet_lost(m->fleet, link);
	if (final) {
		on_lost(m, lp_link_index(link), reason);
		return;
	}
	lp_report_disconnected(m->report, lp_link_index(link), reason);
	lp_mirror_tell(m, false);
	lp_mirror_verify_lost(m, lp_link_index(link), reason);
	/* The others may have waited for it. */
	lp_mirror_pump(m);
}

static void on_sent(void *ctx, struct lp_link *link, uint64_t revision)
{
	struct lp_mirror *m = ctx;

	(void)link;
	lp_timeline_step(m->timeline, revision, LP_SAVE_SENT, lp_now_us(), false);
}

static void on_canary_moved(void *ctx, const struct lp_link *from, const struct lp_link *to)
{
	struct lp_mirror *m = ctx;
	LP_AUTO_FREE char *text = lp_xasprintf(
		"%s has been away for %u s with what it was to try; %s%s gets it first now "
		"(canary)",
		name_of(m, from), LP_CANARY_AWAY_US / 1000000u,
		to ? "" : "the next that is connected", to ? name_of(m, to) : "");

	lp_mirror_notice(m, text);
}

static int connect_all(struct lp_mirror *m, bool take_over, struct lp_err *err)
{
	const struct lp_fleet_opts opts = {
		.common = {.secret = m->target.secret,
			   .ca_file = m->target.ca_file,
			   .pins = m->target.pins,
			   .app = m->app,
			   .holder = m->holder,
			   .workspace = m->workspace_id,
			   .role = LP_ROLE_OWNER,
			   .take_over = take_over,
			   .compress = m->target.compress == LP_COMPRESS_ALWAYS,
			   .reconnect = lp_mirror_stays(m)},
		.urls = m->target.urls,
		.n_urls = m->target.n_urls,
		.rate_bytes_per_s = m->rate,
		.compress_auto = m->target.compress == LP_COMPRESS_AUTO,
		.canary = m->conf.canary &&
			  !(m->mode == LP_MIRROR_PUSH && lp_arg(m->args, "dry-run")),
		.on_moved = on_canary_moved,
	};
	const struct lp_link_ops ops = {
		.on_up = on_up,
		.on_caught_up = on_caught_up,
		.on_message = on_message,
		.on_idle = on_idle,
		.on_down = on_down,
		.on_difference = on_difference,
		.on_progress = on_progress,
		.on_sent = on_sent,
		.ctx = m,
	};
	const struct lp_source source = {
		.index = source_index,
		.open = source_open,
		.read_link = source_read_link,
		.stale = source_stale,
		.revision = source_revision,
		.raise_revision = source_raise,
		.sketch = source_sketch,
		.fill = source_fill,
		.follow = source_follow,
		.read_blank = source_read_blank,
		.ctx = m,
	};

	return lp_fleet_create(&m->fleet, m->loop, &opts, &ops, &source, err);
}

int lp_mirror_connect(struct lp_mirror *m, struct lp_err *err)
{
	size_t n = m->target.n_urls;

	m->instances = lp_xcalloc(n, sizeof(*m->instances));
	m->report = lp_report_create(m->app, n, m->json, lp_mirror_stays(m));
	return connect_all(m, lp_arg(m->args, "take-over") != NULL, err);
}

int lp_mirror_reconnect(struct lp_mirror *m, struct lp_err *err)
{
	lp_fleet_destroy(m->fleet);
	m->fleet = NULL;
	/* The same session comes back: nothing is taken over again. */
	return connect_all(m, false, err);
}
