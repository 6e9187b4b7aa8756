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
	while (m->fleet && !m->stopping && lp_fleet_wants(m->fleet)) {
		uint64_t before = lp_workspace_files(m->ws);
		struct lp_changeset *cs = lp_workspace_take(m->ws);

		if (!cs)
			break;
		if (lp_mirror_may_push(m, cs, before)) {
			lp_report_saved(m->report, cs);
			lp_timeline_add(m->timeline, cs->revision, cs->saved_us, lp_now_us(),
					cs->n_ops > 0 ? cs->ops[0].path : "", cs->n_ops);
			lp_carried_add(m->carried, cs);
			lp_fleet_push(m->fleet, cs);
		}
		lp_changeset_unref(cs);
	}
	lp_mirror_watch_hold(m);
	lp_mirror_check_waits(m);
}

/* What changed in the directory before it was watched nobody has told the mount of. */
static int on_dir(void *ctx, const char *path, int fd, struct lp_err *err)
{
	struct lp_mirror *m = ctx;
	int r = m->watch ? lp_watch_add(m->watch, path, fd, err) : 0;

	if (m->mount && path[0] != '\0')
		lp_fsmount_invalidate(m->mount, path);
	return r;
}

static int on_file(void *ctx, const char *path, int fd)
{
	struct lp_mirror *m = ctx;

	return m->watch ? lp_watch_add_file(m->watch, path, fd) : -ENOSYS;
}

static bool is_being_written(void *ctx, const char *path)
{
	struct lp_mirror *m = ctx;

	return m->mount && lp_fsmount_is_writing(m->mount, path);
}

static void on_dirty(void *ctx)
{
	struct lp_mirror *m = ctx;

	/* Whoever drains pumps at the end. */
	if (m->pump_posted || m->draining)
		return;
	m->pump_posted = true;
	m->pump_post.run = run_pump;
	lp_loop_post(m->loop, &m->pump_post);
}

void lp_mirror_notice(struct lp_mirror *m, const char *text)
{
	if (m->json)
		(void)lp_out_json(json_pack("{s:s, s:o}", "event", "notice", "text",
					    lp_out_text(text, strlen(text))));
	else
		lp_out_say("livepush: %s", text);
}

static void on_notice(void *ctx, const char *text)
{
	lp_mirror_notice(ctx, text);
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

	m->draining = true;
	lp_workspace_note(m->ws, ev, false);
	if (!m->mount)
		return;
	if (ev->kind == LP_EVENT_LOST) {
		lp_fsmount_invalidate(m->mount, "");
		return;
	}
	if (ev->from)
		lp_fsmount_invalidate(m->mount, ev->from);
	lp_fsmount_invalidate(m->mount, ev->path);
}

static void on_drained(void *ctx)
{
	struct lp_mirror *m = ctx;

	m->draining = false;
	lp_mirror_pump(m);
}

/* With --sync a file that was closed or synced goes out as it is, whoever has it open: the caller
 * waits for that. */
static void take_fuse_events(struct lp_mirror *m)
{
	struct lp_fuse_event *e, *next;

	(void)pthread_mutex_lock(&m->fuse_lock);
	e = m->fuse_first;
	m->fuse_first = m->fuse_last = NULL;
	m->fuse_posted = false;
	(void)pthread_mutex_unlock(&m->fuse_lock);
	for (; e; e = next) {
		const struct lp_event ev = {
			.kind = e->kind, .path = e->path, .at_us = e->at_us, .written = e->written};

		next = e->next;
		lp_workspace_note(m->ws, &ev, m->sync && ev.kind == LP_EVENT_CLOSED);
		free(e->written);
		free(e);
	}
}

static void take_known_events(struct lp_mirror *m)
{
	take_fuse_events(m);
	if (m->watch)
		lp_watch_drain(m->watch);
}

static void run_fuse_events(struct lp_post *post)
{
	struct lp_mirror *m = LP_CONTAINER_OF(post, struct lp_mirror, fuse_post);

	take_known_events(m);
	lp_mirror_pump(m);
}

void lp_mirror_drain(struct lp_mirror *m)
{
	if (m->mount)
		lp_fsmount_drain(m->mount);
	take_known_events(m);
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
	if (ev->written) {
		e->written = lp_xcalloc(1, sizeof(*e->written));
		*e->written = *ev->written;
	}
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
		.barrier = m->sync ? lp_mirror_barrier : NULL,
		.barrier_us = (uint64_t)m->sync_timeout_ms * 1000,
		.barrier_strict = m->sync_errors,
		.ctx = m,
	};
	int r;

	m->fuse_post.run = run_fuse_events;
	m->fuse_ended_post.run = run_fuse_ended;
	m->mount_at = realpath(opts.mountpoint, NULL);
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
	static const struct lp_workspace_ops ws_ops = {.on_dir = on_dir,
						       .on_file = on_file,
						       .on_dirty = on_dirty,
						       .on_conf = on_conf,
						       .on_notice = on_notice,
						       .is_being_written = is_being_written};
	static const struct lp_watch_ops watch_ops = {.on_event = on_event,
						      .on_drained = on_drained};
	int r = lp_workspace_open(&m->ws, m->loop, m->dir, &ws_ops, m, err);

	if (r < 0)
		return r;
	r = lp_workspace_set_ignore(m->ws, m->conf.ignore, m->conf.n_ignore);
	if (r < 0)
		return lp_err_set(err, -r, "%s: ignore rules", m->dir);
	lp_workspace_remember(m->ws);
	if (m->mode == LP_MIRROR_MOUNT)
		r = start_mount(m, err);
	if (r < 0)
		return r;
	if (m->mode == LP_MIRROR_MOUNT || m->mode == LP_MIRROR_WATCH) {
		r = lp_watch_create(&m->watch, m->loop, &watch_ops, m, err);
		if (r < 0 && !m->mount)
			return r;
	}
	r = lp_workspace_scan(m->ws, err);
	if (r == 0 && m->mount && m->watch)
		lp_fsmount_set_told(m->mount, true);
	return r;
}

void lp_mirror_close_sources(struct lp_mirror *m)
{
	struct lp_err who = {0};

	if (m->mount && lp_fsmount_stop_explain(m->mount, &who) == -EBUSY) {
		LP_AUTO_FREE char *text = lp_xasprintf(
			"the mount is still in use (%s); it is detached and goes away with its "
			"last user",
			who.msg[0] ? who.msg : "by a process that cannot be looked at");

		lp_mirror_notice(m, text);
	}
	m->mount = NULL;
	free(m->mount_at);
	m->mount_at = NULL;
	take_fuse_events(m);
	lp_watch_destroy(m->watch);
	m->watch = NULL;
	lp_workspace_close(m->ws);
	m->ws = NULL;
}
