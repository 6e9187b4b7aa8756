/* cli/mirror_links.c: the instances of a session: what they say and what follows from it. */
#include "cli/mirror_internal.h"

#include "cli/output.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"

#include <stdio.h>
#include <string.h>

#define PROGRESS_AFTER_US 1000000u

static struct lp_index *source_index(void *ctx)
{
	struct lp_mirror *m = ctx;

	return lp_workspace_index(m->ws);
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

static void source_stale(void *ctx, const char *path)
{
	struct lp_mirror *m = ctx;

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
	nothing->root = lp_index_root(lp_workspace_index(m->ws));
	lp_fleet_push(m->fleet, nothing);
	lp_changeset_unref(nothing);
}

static void print_change(struct lp_mirror *m, const struct lp_op *op)
{
	const char *what = op->kind == LP_OP_DELETE ? "DEL" : op->is_new ? "NEW" : "MOD";

	if (m->json)
		(void)lp_out_json(json_pack("{s:s, s:s, s:o}", "event", "change", "change", what,
					    "path", lp_out_text(op->path, strlen(op->path))));
	else
		(void)printf("%s %s%s\n", what, op->path, op->e.kind == LP_KIND_DIR ? "/" : "");
}

/* An instance of a push has come to its end; the push ends with the last one, or with a failure. */
static void push_done(struct lp_mirror *m, const struct lp_link *link, int exit_status)
{
	m->done[lp_link_index(link)] = true;
	for (size_t i = 0; exit_status == LP_EXIT_OK && i < lp_fleet_size(m->fleet); i++)
		if (!m->done[i])
			return;
	if (m->json && exit_status == LP_EXIT_OK)
		(void)lp_out_json(json_pack("{s:s, s:s, s:I, s:b}", "event", "pushed", "app",
					    m->app, "revision",
					    (json_int_t)lp_workspace_revision(m->ws), "dry_run",
					    lp_arg(m->args, "dry-run") != NULL));
	lp_mirror_end(m, exit_status);
}

static bool on_difference(void *ctx, struct lp_link *link, const struct lp_changeset *cs)
{
	struct lp_mirror *m = ctx;

	m->sync_began_us = lp_now_us();
	if (m->mode != LP_MIRROR_PUSH)
		return true;
	for (size_t i = 0; i < cs->n_ops && lp_link_index(link) == 0; i++)
		if (!cs->ops[i].is_adopted)
			print_change(m, &cs->ops[i]);
	if (!lp_arg(m->args, "dry-run"))
		return true;
	push_done(m, link, LP_EXIT_OK);
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
	struct lp_msg tail = {.kind = LP_MSG_TAIL};
	char id[64];

	lp_bytes_text(&welcome->instance, id, sizeof(id));
	lp_report_connected(m->report, lp_link_index(link), id);
	tail.u.tail.follow = true;
	if (m->mode != LP_MIRROR_PUSH && lp_link_send(link, &tail) < 0)
		lp_out_say("livepush: %s: its output cannot be followed", m->app);
}

static void on_caught_up(void *ctx, struct lp_link *link)
{
	(void)ctx;
	(void)link;
	lp_out_progress_end();
}

/* The first time that all instances have come to an end, good or bad. */
static void check_ready(struct lp_mirror *m)
{
	char *url;

	for (size_t i = 0; i < lp_fleet_size(m->fleet); i++)
		if (!lp_link_is_streaming(lp_fleet_link(m->fleet, i)) ||
		    !lp_report_has_outcome(m->report, (unsigned)i))
			return;
	m->ready = true;
	if (m->mode == LP_MIRROR_PUSH)
		return;
	url = lp_target_http_url(lp_link_url(lp_fleet_link(m->fleet, 0)));
	lp_report_ready(m->report, url, m->dir, lp_workspace_revision(m->ws));
	free(url);
}

static void on_message(void *ctx, struct lp_link *link, const struct lp_msg *msg)
{
	struct lp_mirror *m = ctx;
	bool settled = msg->kind == LP_MSG_SETTLED, failed = msg->kind == LP_MSG_FAILED;

	lp_report_message(m->report, lp_link_index(link), msg);
	if (m->mode == LP_MIRROR_PUSH) {
		if (settled && msg->u.settled.revision >= lp_workspace_revision(m->ws))
			push_done(m, link, LP_EXIT_OK);
		else if (failed)
			push_done(m, link, LP_EXIT_FAILED);
		return;
	}
	if ((settled || failed) && !m->ready)
		check_ready(m);
	if (settled || failed)
		lp_mirror_check_waits(m);
}

static void on_idle(void *ctx, struct lp_link *link)
{
	(void)link;
	lp_mirror_pump(ctx);
}

static void on_down(void *ctx, struct lp_link *link, const char *reason, bool final)
{
	struct lp_mirror *m = ctx;

	if (m->stopping)
		return;
	if (final) {
		lp_mirror_end(m, lp_out_fail(m->json, "%s: %s", m->app, reason));
		return;
	}
	lp_report_disconnected(m->report, lp_link_index(link), reason);
	lp_mirror_check_waits(m);
}

int lp_mirror_connect(struct lp_mirror *m, char *const *urls, size_t n, struct lp_err *err)
{
	const struct lp_fleet_opts opts = {
		.common = {.secret = m->target.secret,
			   .ca_file = m->target.ca_file,
			   .app = m->app,
			   .holder = m->holder,
			   .workspace = m->workspace_id,
			   .role = LP_ROLE_OWNER,
			   .take_over = lp_arg(m->args, "take-over") != NULL,
			   .compress = m->target.compress == LP_COMPRESS_ALWAYS,
			   .reconnect = m->mode != LP_MIRROR_PUSH},
		.urls = urls,
		.n_urls = n,
		.compress_auto = m->target.compress == LP_COMPRESS_AUTO,
	};
	const struct lp_link_ops ops = {
		.on_up = on_up,
		.on_caught_up = on_caught_up,
		.on_message = on_message,
		.on_idle = on_idle,
		.on_down = on_down,
		.on_difference = on_difference,
		.on_progress = on_progress,
		.ctx = m,
	};
	const struct lp_source source = {
		.index = source_index,
		.open = source_open,
		.read_link = source_read_link,
		.stale = source_stale,
		.revision = source_revision,
		.raise_revision = source_raise,
		.ctx = m,
	};

	m->done = lp_xcalloc(n, sizeof(bool));
	m->report = lp_report_create(m->app, n, m->json, m->mode != LP_MIRROR_PUSH);
	return lp_fleet_create(&m->fleet, m->loop, &opts, &ops, &source, err);
}
