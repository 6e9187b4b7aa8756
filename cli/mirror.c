/* cli/mirror.c: the life of a session, from its lock to the last process that it started. */
#include "cli/mirror.h"

#include "cli/mirror_internal.h"
#include "cli/number.h"
#include "cli/output.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"

#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define TAKE_OVER_US    30000000u /* for the other session to end */
#define DEFAULT_SYNC_MS 5000u

void lp_mirror_end(struct lp_mirror *m, int exit_status)
{
	if (m->stopping)
		return;
	m->stopping = true;
	m->exit_status = exit_status;
	lp_mirror_close_syncs(m);
	if (m->drone && !m->drone_ended)
		lp_drone_stop(m->drone,
			      m->conf.restart.grace_ms); /* the loop stops when it is gone */
	else
		lp_loop_stop(m->loop);
}

static void on_signal(void *ctx, int signo)
{
	struct lp_mirror *m = ctx;

	(void)signo;
	/* The second one does not wait for the app to end: the controller sees to that alone. */
	if (m->stopping)
		lp_loop_stop(m->loop);
	else
		lp_mirror_end(m, lp_mirror_stays(m) ? LP_EXIT_OK : LP_EXIT_INTERRUPTED);
}

static void on_listening(void *ctx, const char *url)
{
	struct lp_mirror *m = ctx;
	struct lp_err err = {0};

	free(m->target.urls);
	m->target.urls = lp_xcalloc(1, sizeof(char *));
	m->target.urls[0] = lp_xstrdup(url);
	m->target.n_urls = 1;
	if (lp_mirror_connect(m, &err) < 0)
		lp_mirror_end(m, lp_out_fail(m->json, "%s", err.msg));
}

static void on_drone_ended(void *ctx, const char *reason)
{
	struct lp_mirror *m = ctx;

	m->drone_ended = true;
	if (m->stopping)
		lp_loop_stop(m->loop);
	else
		lp_mirror_end(m, lp_out_fail(m->json, "%s: %s", m->app, reason));
}

static void name_holder(struct lp_mirror *m)
{
	const struct passwd *pw = getpwuid(geteuid());
	char host[128] = "";

	(void)gethostname(host, sizeof(host) - 1);
	(void)snprintf(m->holder, sizeof(m->holder), "%.60s@%.100s pid %d",
		       pw ? pw->pw_name : "somebody", host, (int)getpid());
	lp_random(m->workspace_id, sizeof(m->workspace_id));
}

/* Becomes the app's session on this machine, asking the present one to end first when that is
 * wanted. */
static int take_name(struct lp_mirror *m, struct lp_err *err)
{
	uint64_t deadline_us = lp_now_us() + TAKE_OVER_US;
	json_t *answer = NULL;
	int r = lp_mirror_serve_control(m, err);

	if (r != -EADDRINUSE || !lp_arg(m->args, "take-over"))
		return r;
	/* One that does not answer may be ending already; the name tells. */
	if (lp_control_ask(&answer, m->app, json_pack("{s:s}", "cmd", "stop"), 5000, NULL) == 0)
		json_decref(answer);
	while (r == -EADDRINUSE && lp_now_us() < deadline_us) {
		(void)poll(NULL, 0, 10);
		r = lp_mirror_serve_control(m, err);
	}
	return r;
}

static int read_conf(struct lp_mirror *m, const char *dir, struct lp_err *err)
{
	LP_AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return lp_err_set(err, errno, "%s: cannot open the workspace", m->dir);
	lp_conf_finish(&m->conf);
	r = lp_conf_load(&m->conf, fd, "livepush.yml", err);
	if (r == -ENOENT)
		lp_conf_init(&m->conf);
	else if (r < 0)
		return lp_err_wrap(err, r, "%s", m->dir);
	lp_conf_apply_environment(&m->conf);
	return 0;
}

static int start(struct lp_mirror *m, struct lp_err *err)
{
	const struct lp_drone_ops drone_ops = {
		.on_listening = on_listening, .on_ended = on_drone_ended, .ctx = m};
	sigset_t signals;
	int r;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGHUP);
	if ((r = lp_loop_create(&m->loop, err)) < 0 ||
	    (r = lp_loop_on_signals(m->loop, &signals, on_signal, m, err)) < 0 ||
	    (r = take_name(m, err)) < 0)
		return r;
	/* First of all, so that it comes up while the workspace is read. */
	if (m->target.embedded) {
		r = lp_drone_start(&m->drone, m->loop, m->target.secret, &drone_ops, err);
		if (r < 0)
			return r;
	}
	r = lp_mirror_open_sources(m, err);
	if (r == 0 && !m->target.embedded)
		r = lp_mirror_connect(m, err);
	return r;
}

/* After a start that failed, the drone (if there is one) still has to end. */
static int run(struct lp_mirror *m)
{
	struct lp_err err = {0};
	int r = start(m, &err);

	if (r < 0) {
		m->exit_status = lp_out_fail(m->json, "%s", err.msg);
		m->stopping = true;
		lp_mirror_close_syncs(m);
		if (!m->drone)
			return r;
		lp_drone_stop(m->drone, m->conf.restart.grace_ms);
	}
	r = lp_loop_run(m->loop, &err);
	if (r < 0)
		m->exit_status = lp_out_fail(m->json, "%s", err.msg);
	return r;
}

static void finish(struct lp_mirror *m)
{
	lp_out_progress_end();
	lp_mirror_close_syncs(m);
	if (m->control)
		lp_mirror_close_control(m);
	lp_mirror_guard_close(m);
	lp_fleet_destroy(m->fleet);
	if (m->ws)
		lp_mirror_close_sources(m);
	lp_drone_destroy(m->drone);
	lp_loop_destroy(m->loop);
	lp_report_destroy(m->report);
	free(m->instances);
	lp_carried_destroy(m->carried);
	lp_timeline_destroy(m->timeline);
	lp_target_finish(&m->target);
	lp_conf_finish(&m->conf);
	(void)pthread_mutex_destroy(&m->fuse_lock);
	lp_mirror_sync_finish(m);
}

/* Whether the option is not given or a number of seconds; says so when it is not. */
static bool read_seconds(const struct lp_mirror *m, const char *option, uint32_t *out_ms)
{
	const char *value = lp_arg(m->args, option);

	if (!value || lp_parse_seconds(value, out_ms) == 0)
		return true;
	(void)lp_out_misuse(m->args, option, LP_SECONDS);
	return false;
}

/* Returns false when a value is none, which has been said. */
static bool read_options(struct lp_mirror *m)
{
	const char *rate = lp_arg(m->args, "max-rate");

	m->sync = lp_arg(m->args, "sync");
	m->sync_errors = lp_arg(m->args, "sync-errors");
	m->sync_timeout_ms = DEFAULT_SYNC_MS;
	m->verify_timeout_ms = LP_VERIFY_DEFAULT_MS;
	m->guard.allowed = lp_arg(m->args, "allow-mass-delete");
	if (rate && lp_parse_rate(rate, &m->rate) < 0) {
		(void)lp_out_misuse(m->args, "max-rate",
				    "rate: bytes a second, from 1k on, like 500k or 2M");
		return false;
	}
	return read_seconds(m, "sync-timeout", &m->sync_timeout_ms) &&
	       read_seconds(m, "timeout", &m->verify_timeout_ms);
}

int lp_mirror_run(const struct lp_args *args, const char *dir, const char *app,
		  enum lp_mirror_mode mode)
{
	struct lp_mirror m = {
		.args = args,
		.mode = mode,
		.dir = dir,
		.app = app,
		.json = args->json,
	};
	struct lp_err err = {0};

	if (!read_options(&m))
		return LP_EXIT_USAGE;
	(void)pthread_mutex_init(&m.fuse_lock, NULL);
	lp_mirror_sync_init(&m);
	m.carried = lp_carried_create();
	m.timeline = lp_timeline_create();
	(void)lp_raise_nofile();
	lp_conf_init(&m.conf);
	name_holder(&m);
	/* A mount whose process was killed together with its guard would keep DIR from being
	 * opened. */
	if (lp_fsmount_heal(m.dir, &err) < 0 || read_conf(&m, m.dir, &err) < 0)
		m.exit_status = lp_out_fail(m.json, "%s", err.msg);
	else if (lp_target_resolve(&m.target, &m.conf, m.app, lp_arg(args, "secret-file"), true,
				   &err) < 0)
		m.exit_status = lp_out_err(m.json, &err);
	else
		(void)run(&m);
	finish(&m);
	return m.exit_status;
}

int lp_cmd_mount(const struct lp_args *args)
{
	return lp_mirror_run(args, args->words[0], args->words[1], LP_MIRROR_MOUNT);
}

int lp_cmd_watch(const struct lp_args *args)
{
	return lp_mirror_run(args, args->words[0], args->words[1], LP_MIRROR_WATCH);
}

int lp_cmd_push(const struct lp_args *args)
{
	return lp_mirror_run(args, args->words[0], args->words[1], LP_MIRROR_PUSH);
}
