/* controller/instance.c: puts an instance together, runs it and takes it apart. */
#include "controller/instance_internal.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_hex.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "controller/cert.h"
#include "controller/echo.h"
#include "controller/fastpush.h"
#include "controller/live.h"
#include "controller/page.h"
#include "controller/past.h"
#include "controller/web_internal.h"

#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define CONF_NAME "livepush.yml"

static void stop(struct lp_instance *in, const char *why)
{
	if (in->stopping) {
		lp_loop_stop(in->loop);
		return;
	}
	lp_log(LP_INFO, "instance", "stopping: %s", why);
	in->stopping = true;
	lp_sessions_close(in, "the instance is going down");
	lp_sup_stop(in->sup);
}

static void on_signal(void *ctx, int signo)
{
	stop(ctx, strsignal(signo));
}

static void on_parent(struct lp_fd_src *src, uint32_t ready)
{
	struct lp_instance *in = LP_CONTAINER_OF(src, struct lp_instance, parent_src);
	char byte;
	ssize_t n = read(src->fd, &byte, 1);

	(void)ready;
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	lp_loop_fd_remove(src);
	stop(in, "whoever started it is gone");
}

static void on_output(void *ctx, uint64_t generation, enum lp_sup_stream stream, const char *data,
		      size_t len)
{
	struct lp_instance *in = ctx;
	const struct lp_output piece = {.generation = generation,
					.stream = stream,
					.at_ms = lp_wall_us() / 1000,
					.data = data,
					.len = len};

	lp_history_add(in->history, &piece);
	lp_live_log(in->live, &piece);
	lp_sessions_log(in, &piece);
	if (stream != LP_STREAM_CONTROLLER)
		lp_echo_add(in->echo, data, len);
}

static void on_restarted(void *ctx, uint64_t revision, uint64_t generation, uint64_t took_us)
{
	struct lp_instance *in = ctx;
	struct lp_msg msg = {.kind = LP_MSG_RESTARTED};
	struct lp_sup_status app;

	lp_sup_status(in->sup, &app);
	msg.u.restarted = (struct lp_msg_restarted){.revision = revision,
						    .generation = generation,
						    .took_us = took_us,
						    .spawned_us = app.spawned_us};
	lp_live_restarted(in->live, took_us);
	lp_sessions_tell(in, &msg);
}

static void on_settled(void *ctx, uint64_t revision)
{
	struct lp_instance *in = ctx;
	struct lp_msg msg = {.kind = LP_MSG_SETTLED};

	msg.u.settled.revision = revision;
	lp_live_settled(in->live, revision);
	lp_past_settled(ctx, revision);
	lp_sessions_tell(ctx, &msg);
}

static void on_failed(void *ctx, const struct lp_sup_failure *f)
{
	struct lp_msg msg = {.kind = LP_MSG_FAILED};

	lp_log(LP_WARN, "instance", "%s failed: %s", lp_wire_stage_name(f->stage), f->error);
	msg.u.failed.revision = f->revision;
	msg.u.failed.generation = f->generation;
	msg.u.failed.stage = f->stage;
	msg.u.failed.error = lp_bytes_of(f->error);
	msg.u.failed.excerpt = lp_bytes_of(f->excerpt);
	if (msg.u.failed.error.len > LP_WIRE_TEXT_MAX_BYTES)
		msg.u.failed.error.len = LP_WIRE_TEXT_MAX_BYTES;
	if (msg.u.failed.excerpt.len > LP_WIRE_EXCERPT_MAX_BYTES)
		msg.u.failed.excerpt.len = LP_WIRE_EXCERPT_MAX_BYTES;
	msg.u.failed.path = lp_bytes_of(f->path ? f->path : "");
	msg.u.failed.files = f->n_paths;
	lp_sessions_tell(ctx, &msg);
	lp_past_failed(ctx, f);
	lp_live_failed(((struct lp_instance *)ctx)->live, f);
}

static void on_stopped(void *ctx)
{
	struct lp_instance *in = ctx;

	lp_loop_stop(in->loop);
}

/* Reads the configuration; the command line and the environment go before it. */
static int load_conf(struct lp_instance *in, struct lp_conf *out, struct lp_err *err)
{
	const char *path = in->opts->config;
	int r = path ? lp_conf_load(out, AT_FDCWD, path, err)
		     : lp_conf_load(out, lp_apply_tree_fd(in->apply), CONF_NAME, err);

	if (r == -ENOENT && !path) {
		lp_conf_init(out);
		r = 0;
	}
	if (r < 0)
		return r;
	lp_conf_apply_environment(out);
	if (in->opts->command)
		lp_conf_set_command(out, (const char *const *)in->opts->command);
	r = lp_fastpush_configure(in, out, err);
	if (r < 0)
		lp_conf_finish(out);
	return r;
}

/* A broken livepush.yml in the tree came from a workspace and goes away by the next save there, so
 * the instance has to be there for it. One that was named on the command line is a mistake to mend
 * first. */
static int first_conf(struct lp_instance *in, struct lp_err *err)
{
	int r = load_conf(in, in->conf, err);

	if (r == 0)
		lp_fastpush_adopt(in);
	if (r == 0 || in->opts->config)
		return r;
	/* Whatever is in the tree. */
	lp_past_failed(in, &(struct lp_sup_failure){
				   .stage = LP_STAGE_CONFIG, .error = err->msg, .excerpt = ""});
	lp_log(LP_ERROR, "instance", "%s; waiting for a better one", err->msg);
	lp_conf_init(in->conf);
	lp_conf_apply_environment(in->conf);
	if (in->opts->command)
		lp_conf_set_command(in->conf, (const char *const *)in->opts->command);
	return 0;
}

/* The tree's own livepush.yml changed. One that is broken, or names a certificate that cannot be
 * used, leaves all of the old in force. */
static void reload_conf(struct lp_instance *in, uint64_t revision)
{
	struct lp_conf *conf = lp_xcalloc(1, sizeof(*conf)), *old = in->conf;
	struct lp_err err = {0};
	int r;

	r = load_conf(in, conf, &err);
	if (r == 0 && (r = lp_cert_reconfigure(in, conf, &err)) < 0)
		lp_conf_finish(conf);
	if (r < 0) {
		const struct lp_sup_failure f = {.revision = revision,
						 .stage = LP_STAGE_CONFIG,
						 .error = err.msg,
						 .excerpt = ""};

		free(conf);
		on_failed(in, &f);
		return;
	}
	in->conf = conf;
	lp_fastpush_adopt(in);
	lp_past_conf_good(in, revision);
	lp_sup_reconfigure(in->sup, conf);
	lp_live_reconfigure(in->live, conf);
	lp_door_configure(in);
	lp_door_retag(in);
	if (conf->command.n == 0)
		lp_door_mirror(in);
	lp_conf_finish(old);
	free(old);
}

static void on_reply(void *ctx, uint64_t epoch, const struct lp_buf *bytes)
{
	if (!lp_fastpush_reply(ctx, epoch, bytes))
		lp_sessions_reply(ctx, epoch, bytes);
}

static void on_consumed(void *ctx, uint64_t epoch, size_t bytes, bool content)
{
	lp_sessions_consumed(ctx, epoch, bytes, content);
}

static void on_greeted(void *ctx, uint64_t epoch)
{
	lp_sessions_greeted(ctx, epoch);
}

static void on_mute(void *ctx, uint64_t epoch)
{
	if (!lp_fastpush_mute(ctx, epoch))
		lp_sessions_mute(ctx, epoch);
}

/* Whether the tree's own configuration changed. */
static void check_conf(struct lp_instance *in, const struct lp_applied *a)
{
	for (size_t i = 0; i < a->n_paths && !in->opts->config; i++)
		if (strcmp(a->paths[i], CONF_NAME) == 0)
			reload_conf(in, a->revision);
}

static void on_rolled(void *ctx, const struct lp_rollback *r)
{
	struct lp_instance *in = ctx;
	const struct lp_applied *a = &r->applied;

	if (in->stopping)
		return;
	lp_past_rolled(in, r);
	if (r->error.code != 0 && a->n_paths == 0)
		return;
	check_conf(in, a);
	lp_live_applied(in->live, a->revision, (const char *const *)a->paths, a->n_paths);
	lp_sup_rolled(in->sup, a->revision, (const char *const *)a->paths, a->n_paths, r->asked);
}

static void on_applied(void *ctx, const struct lp_applied *a)
{
	struct lp_instance *in = ctx;
	bool is_quiet;

	if (in->stopping)
		return;
	lp_past_applied(in, a);
	check_conf(in, a);
	is_quiet = lp_fastpush_applied(in, a);
	/* What the app writes whenever somebody looks must not reload who does. */
	if (lp_sup_applied(in->sup, a->revision, (const char *const *)a->paths,
			   is_quiet ? 0 : a->n_paths))
		lp_live_applied(in->live, a->revision, (const char *const *)a->paths, a->n_paths);
}

static int settle_listen(struct lp_instance *in, struct lp_err *err)
{
	const char *port = getenv("PORT"), *said = in->opts->listen;

	if (!said)
		said = lp_fastpush_listen(in);
	if (said)
		in->listen = lp_xstrdup(said);
	else if (port && port[0])
		in->listen = lp_xasprintf(":%s", port);
	else
		return lp_err_say(err, EDESTADDRREQ,
				  "no address to listen on: set PORT or give --listen ADDR:PORT");
	return 0;
}

static void tell_listening(struct lp_instance *in)
{
	char address[160];
	const char *colon = strrchr(in->listen, ':');
	int host_len = colon ? (int)(colon - in->listen) : 0;

	if (strncmp(in->listen, "unix:", 5) == 0)
		(void)snprintf(address, sizeof(address), "%s", in->listen);
	else
		(void)snprintf(address, sizeof(address), "%.*s:%u", host_len, in->listen,
			       lp_proxy_port(in->proxy));
	in->opts->on_listening(address);
}

/* The app gets our environment, but neither our secret nor our own settings. */
static void make_env(struct lp_instance *in)
{
	size_t n = 0;

	for (size_t i = 0; environ[i]; i++)
		n++;
	in->envp = lp_xcalloc(n + 1, sizeof(char *));
	n = 0;
	for (size_t i = 0; environ[i]; i++)
		if (strncmp(environ[i], "LIVEPUSH_", 9) != 0)
			in->envp[n++] = environ[i];
}

static void name_instance(struct lp_instance *in)
{
	const char *given = getenv("CF_INSTANCE_GUID");
	char id[LP_HEX_BYTES(4)], socket[LP_HEX_BYTES(4)];
	uint8_t random[8];

	lp_random(in->boot, sizeof(in->boot));
	lp_random(random, sizeof(random));
	lp_hex(id, random, 4);
	lp_hex(socket, random + 4, 4);
	(void)snprintf(in->id, sizeof(in->id), "%.60s", given && given[0] ? given : id);
	(void)snprintf(in->control_name, sizeof(in->control_name), "livepush-%d-%s", (int)getpid(),
		       socket);
}

static int start_sup(struct lp_instance *in, struct lp_err *err)
{
	const struct lp_sup_opts opts = {
		.loop = in->loop,
		.conf = in->conf,
		.tree_fd = lp_apply_tree_fd(in->apply),
		.envp = in->envp,
		.nofile = in->nofile,
		.ops = {.on_output = on_output,
			.on_restarted = on_restarted,
			.on_settled = on_settled,
			.on_failed = on_failed,
			.on_stopped = on_stopped},
		.ctx = in,
		.door = lp_door_of(in),
	};

	return lp_sup_create(&in->sup, &opts, err);
}

static int start(struct lp_instance *in, struct lp_err *err)
{
	static const struct lp_apply_ops apply_ops = {.on_reply = on_reply,
						      .on_consumed = on_consumed,
						      .on_applied = on_applied,
						      .on_rolled = on_rolled,
						      .on_greeted = on_greeted,
						      .on_mute = on_mute};
	sigset_t signals;
	int r;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGHUP);
	if ((r = lp_loop_create(&in->loop, err)) < 0 ||
	    (r = lp_loop_on_signals(in->loop, &signals, on_signal, in, err)) < 0 ||
	    (r = lp_apply_create(&in->apply, in->loop, in->opts->tree, &apply_ops, in, err)) < 0)
		return r;
	if (in->opts->echo && (r = lp_echo_create(&in->echo, in->loop, STDOUT_FILENO, err)) < 0)
		return r;
	in->revisions = lp_revisions_open(lp_apply_tree_fd(in->apply));
	if ((r = first_conf(in, err)) < 0 || (r = settle_listen(in, err)) < 0)
		return r;
	lp_page_create(in);
	if ((r = lp_door_open(in, err)) < 0 || (r = lp_sessions_serve(in, err)) < 0 ||
	    (r = start_sup(in, err)) < 0)
		return r;
	if (in->opts->parent_fd >= 0) {
		in->parent_src = (struct lp_fd_src){
			.fd = in->opts->parent_fd, .events = EPOLLIN, .on_ready = on_parent};
		r = lp_loop_fd_add(in->loop, &in->parent_src, err);
		if (r < 0)
			return r;
	}
	if (in->conf->command.n == 0) {
		lp_door_mirror(in);
	} else if (in->opts->wait) {
		lp_door_of(in).hold(in);
	} else {
		struct lp_tree_state tree;

		lp_apply_state(in->apply, &tree);
		lp_sup_start(in->sup, tree.revision);
	}
	tell_listening(in);
	return 0;
}

static void finish(struct lp_instance *in)
{
	/* Threads first: they post to the loop. */
	lp_door_stop(in);
	lp_sup_destroy(in->sup);
	in->sup = NULL;
	lp_echo_destroy(in->echo);
	in->echo = NULL;
	lp_apply_stop(in->apply);
	lp_fastpush_stop(in);
	lp_page_destroy(in);
	lp_loop_destroy(in->loop);
	lp_door_close(in);
	lp_apply_destroy(in->apply);
	lp_history_destroy(in->history);
	lp_revisions_close(in->revisions);
	lp_web_destroy(in);
	lp_fastpush_destroy(in);
	free(in->listen);
	lp_conf_finish(in->conf);
	free(in->conf);
	free(in->envp);
	if (in->opts->ephemeral && lp_remove_tree(AT_FDCWD, in->opts->tree) < 0)
		lp_log(LP_WARN, "instance", "%s: cannot be removed", in->opts->tree);
}

int lp_instance_run(const struct lp_instance_opts *opts, struct lp_err *err)
{
	struct lp_instance in = {.opts = opts, .started_us = lp_now_us()};
	int r;

	in.conf = lp_xcalloc(1, sizeof(*in.conf));
	lp_conf_init(in.conf);
	in.history = lp_history_create();
	in.nofile = lp_raise_nofile();
	make_env(&in);
	name_instance(&in);
	lp_web_create(&in);
	lp_fastpush_create(&in);
	if (!opts->secret)
		lp_log(LP_WARN, "instance",
		       "no secret: nobody can push here; set LIVEPUSH_SECRET or --secret-file");
	r = start(&in, err);
	if (r == 0)
		r = lp_loop_run(in.loop, err);
	finish(&in);
	return r;
}
