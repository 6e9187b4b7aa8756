/* cli/mirror_sources.c: where changes come from: the workspace, inotify over it, FUSE in front. */
#include "cli/mirror_internal.h"

#include "cli/output.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"

#include <string.h>
#include <sys/stat.h>

static void run_pump(struct lp_post *post)
{
	struct lp_mirror *m = LP_CONTAINER_OF(post, struct lp_mirror, pump_post);

	m->pump_posted = false;
	lp_mirror_pump(m);
}

void lp_mirror_pump(struct lp_mirror *m)
{
	struct lp_changeset *cs;

	while (m->fleet && !m->stopping && lp_fleet_wants(m->fleet) &&
	       (cs = lp_workspace_take(m->ws))) {
		lp_report_saved(m->report, cs);
		lp_fleet_push(m->fleet, cs);
		lp_changeset_unref(cs);
	}
	lp_mirror_check_waits(m);
}

static int on_dir(void *ctx, const char *path, int fd, struct lp_err *err)
{
	struct lp_mirror *m = ctx;

	return m->watch ? lp_watch_add(m->watch, path, fd, err) : 0;
}

static void on_dirty(void *ctx)
{
	struct lp_mirror *m = ctx;

	if (m->pump_posted)
		return;
	m->pump_posted = true;
	m->pump_post.run = run_pump;
	lp_loop_post(m->loop, &m->pump_post);
}

static void on_notice(void *ctx, const char *text)
{
	struct lp_mirror *m = ctx;

	if (m->json)
		(void)lp_out_json(json_pack("{s:s, s:o}", "event", "notice", "text",
					    lp_out_text(text, strlen(text))));
	else
		lp_out_say("livepush: %s", text);
}

static void on_conf(void *ctx)
{
	struct lp_mirror *m = ctx;
	struct lp_conf conf;
	struct lp_err err = {0};
	int r = lp_conf_load(&conf, lp_workspace_fd(m->ws), "livepush.yml", &err);

	if (r == -ENOENT)
		lp_conf_init(&conf);
	else if (r < 0) {
		on_notice(m, err.msg);
		return;
	}
	if (lp_workspace_set_ignore(m->ws, conf.ignore, conf.n_ignore) < 0)
		on_notice(m, "the ignore rules of livepush.yml do not fit into memory");
	lp_conf_finish(&m->conf);
	m->conf = conf;
}

static void on_event(void *ctx, const struct lp_event *ev)
{
	struct lp_mirror *m = ctx;

	lp_workspace_note(m->ws, ev, false);
}

static void on_root_gone(void *ctx)
{
	struct lp_mirror *m = ctx;

	lp_mirror_end(m, lp_out_fail(m->json,
				     "%s: the workspace was removed or moved away; %s keeps "
				     "what it has",
				     m->dir, m->app));
}

static void on_drained(void *ctx)
{
	lp_mirror_pump(ctx);
}

static void run_fuse_events(struct lp_post *post)
{
	struct lp_mirror *m = LP_CONTAINER_OF(post, struct lp_mirror, fuse_post);

	lp_mirror_drain(m);
	lp_mirror_pump(m);
}

static void take_fuse_events(struct lp_mirror *m)
{
	struct lp_fuse_event *e, *next;

	(void)pthread_mutex_lock(&m->fuse_lock);
	e = m->fuse_first;
	m->fuse_first = m->fuse_last = NULL;
	m->fuse_posted = false;
	(void)pthread_mutex_unlock(&m->fuse_lock);
	for (; e; e = next) {
		const struct lp_event ev = {.kind = e->kind, .path = e->path, .at_us = e->at_us};

		next = e->next;
		lp_workspace_note(m->ws, &ev, true);
		free(e);
	}
}

void lp_mirror_drain(struct lp_mirror *m)
{
	take_fuse_events(m);
	if (m->watch)
		lp_watch_drain(m->watch);
}

/* In one of FUSE's threads. */
static void on_fuse_event(void *ctx, const struct lp_event *ev)
{
	struct lp_mirror *m = ctx;
	size_t len = strlen(ev->path) + 1;
	struct lp_fuse_event *e = lp_xcalloc(1, sizeof(*e) + len);
	bool post;

	e->kind = ev->kind;
	e->at_us = ev->at_us;
	memcpy(e->path, ev->path, len);
	(void)pthread_mutex_lock(&m->fuse_lock);
	if (m->fuse_last)
		m->fuse_last->next = e;
	else
		m->fuse_first = e;
	m->fuse_last = e;
	post = !m->fuse_posted;
	m->fuse_posted = true;
	(void)pthread_mutex_unlock(&m->fuse_lock);
	if (post)
		lp_loop_post(m->loop, &m->fuse_post);
}

static void run_fuse_ended(struct lp_post *post)
{
	struct lp_mirror *m = LP_CONTAINER_OF(post, struct lp_mirror, fuse_ended_post);

	if (m->stopping)
		return;
	lp_out_say("livepush: %s was unmounted; ending",
		   lp_arg(m->args, "at") ? lp_arg(m->args, "at") : m->dir);
	lp_mirror_end(m, LP_EXIT_OK);
}

static void on_fuse_ended(void *ctx)
{
	struct lp_mirror *m = ctx;

	lp_loop_post(m->loop, &m->fuse_ended_post);
}

/* Without FUSE the session goes on as a watch; a mount point that was asked for and cannot be used
 * is an error. */
static int start_mount(struct lp_mirror *m, struct lp_err *err)
{
	const char *at = lp_arg(m->args, "at");
	const struct lp_fsmount_opts opts = {
		.root_fd = lp_workspace_fd(m->ws),
		.root_path = lp_workspace_path(m->ws),
		.mountpoint = at ? at : lp_workspace_path(m->ws),
		.on_event = on_fuse_event,
		.on_ended = on_fuse_ended,
		.ctx = m,
	};
	int r;

	m->fuse_post.run = run_fuse_events;
	m->fuse_ended_post.run = run_fuse_ended;
	r = lp_fsmount_probe(err);
	if (r == 0) {
		r = lp_fsmount_start(&m->mount, &opts, err);
		if (r < 0)
			m->mount = NULL;
		if (r == 0 || at)
			return r;
	}
	lp_out_say("livepush: %s; going on with inotify", err->msg);
	return 0;
}

int lp_mirror_open_sources(struct lp_mirror *m, struct lp_err *err)
{
	static const struct lp_workspace_ops ws_ops = {
		.on_dir = on_dir, .on_dirty = on_dirty, .on_conf = on_conf, .on_notice = on_notice};
	static const struct lp_watch_ops watch_ops = {
		.on_event = on_event, .on_root_gone = on_root_gone, .on_drained = on_drained};
	int r = lp_workspace_open(&m->ws, m->loop, m->dir, &ws_ops, m, err);

	if (r < 0)
		return r;
	r = lp_workspace_set_ignore(m->ws, m->conf.ignore, m->conf.n_ignore);
	if (r < 0)
		return lp_err_set(err, -r, "%s: ignore rules", m->dir);
	if (m->mode == LP_MIRROR_MOUNT)
		r = start_mount(m, err);
	if (r < 0)
		return r;
	if (m->mode != LP_MIRROR_PUSH) {
		r = lp_watch_create(&m->watch, m->loop, &watch_ops, m, err);
		if (r < 0 && !m->mount)
			return r;
	}
	r = lp_workspace_scan(m->ws, err);
	if (r != -ENOSPC || !m->mount)
		return r;
	/* The mount sees everything that is done through it. */
	lp_out_say("livepush: %s; only changes through the mount are seen", err->msg);
	lp_watch_destroy(m->watch);
	m->watch = NULL;
	return lp_workspace_scan(m->ws, err);
}

void lp_mirror_close_sources(struct lp_mirror *m)
{
	if (m->mount && lp_fsmount_stop(m->mount) == -EBUSY)
		lp_out_say(
			"livepush: the mount was still in use; it is detached and goes away with "
			"its last user");
	m->mount = NULL;
	take_fuse_events(m);
	lp_watch_destroy(m->watch);
	m->watch = NULL;
	lp_workspace_close(m->ws);
	m->ws = NULL;
}
