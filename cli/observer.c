/* cli/observer.c: short-lived connections to instances. */
#include "cli/observer.h"

#include "cli/control.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "link/fleet.h"

#include <stdio.h>
#include <string.h>

struct observer {
	const struct lp_observer_ops *ops;
	struct lp_loop *loop;
	struct lp_fleet *fleet;
	struct lp_timer deadline;
	bool *done; /* per instance */
	size_t n;
	size_t n_done;
	size_t n_down;
	bool interrupted;
};

static void take_session(struct lp_target *out, const char *app, const json_t *session)
{
	const json_t *urls = json_object_get(session, "urls");
	const char *secret = json_string_value(json_object_get(session, "secret"));
	const char *ca = json_string_value(json_object_get(session, "ca_file"));
	const char *pins = json_string_value(json_object_get(session, "pins"));

	*out = (struct lp_target){.app = lp_xstrdup(app), .n_urls = json_array_size(urls)};
	out->urls = lp_xcalloc(out->n_urls, sizeof(char *));
	for (size_t i = 0; i < out->n_urls; i++)
		out->urls[i] = lp_xstrdup(json_string_value(json_array_get(urls, i)));
	out->secret = lp_xstrdup(secret ? secret : "");
	out->ca_file = ca ? lp_xstrdup(ca) : NULL;
	out->pins = pins ? lp_xstrdup(pins) : NULL;
}

int lp_observer_find(struct lp_target *out, struct json_t **session, const char *app,
		     const char *secret_file, struct lp_err *err)
{
	struct lp_conf conf;
	json_t *answer = NULL;
	int r = lp_control_ask(&answer, app, json_pack("{s:s}", "cmd", "endpoints"), 5000, err);

	*session = NULL;
	if (r == 0) {
		take_session(out, app, answer);
		*session = answer;
		return 0;
	}
	if (r != -ENOENT)
		return r;
	r = lp_conf_load(&conf, AT_FDCWD, "livepush.yml", err);
	if (r == -ENOENT)
		lp_conf_init(&conf);
	else if (r < 0)
		return lp_err_as(err, EBADMSG); /* it is not the command line that is wrong */
	r = lp_target_resolve(out, &conf, app, secret_file, false, err);
	lp_conf_finish(&conf);
	return r;
}

static void check_end(struct observer *o)
{
	if (o->n_done + o->n_down >= o->n)
		lp_loop_stop(o->loop);
}

static void on_up(void *ctx, struct lp_link *link, const struct lp_msg_welcome *welcome)
{
	struct observer *o = ctx;
	char id[64];

	lp_bytes_text(&welcome->instance, id, sizeof(id));
	if (o->ops->on_up)
		o->ops->on_up(o->ops->ctx, link, id);
}

static void on_message(void *ctx, struct lp_link *link, const struct lp_msg *msg)
{
	struct observer *o = ctx;
	unsigned i = lp_link_index(link);

	if (o->done[i] || !o->ops->on_message(o->ops->ctx, link, msg))
		return;
	o->done[i] = true;
	o->n_done++;
	check_end(o);
}

static void on_down(void *ctx, struct lp_link *link, const char *reason, bool final)
{
	struct observer *o = ctx;

	(void) final;
	if (o->done[lp_link_index(link)])
		return;
	o->n_down++;
	if (o->ops->on_down)
		o->ops->on_down(o->ops->ctx, link, reason);
	check_end(o);
}

static void on_deadline(struct lp_timer *timer)
{
	lp_loop_stop(LP_CONTAINER_OF(timer, struct observer, deadline)->loop);
}

static void on_signal(void *ctx, int signo)
{
	struct observer *o = ctx;

	(void)signo;
	o->interrupted = true;
	lp_loop_stop(o->loop);
}

static int start(struct observer *o, const struct lp_target *t, const uint8_t *id,
		 struct lp_err *err)
{
	const struct lp_fleet_opts opts = {
		.common = {.secret = t->secret,
			   .ca_file = t->ca_file,
			   .pins = t->pins,
			   .app = t->app,
			   .holder = "observer",
			   .workspace = id,
			   .role = LP_ROLE_OBSERVER},
		.urls = t->urls,
		.n_urls = t->n_urls,
	};
	const struct lp_link_ops ops = {
		.on_up = on_up, .on_message = on_message, .on_down = on_down, .ctx = o};
	sigset_t signals;
	int r;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	r = lp_loop_create(&o->loop, err);
	if (r == 0)
		r = lp_loop_on_signals(o->loop, &signals, on_signal, o, err);
	return r == 0 ? lp_fleet_create(&o->fleet, o->loop, &opts, &ops, NULL, err) : r;
}

int lp_observer_run(const struct lp_target *target, uint32_t timeout_ms,
		    const struct lp_observer_ops *ops, bool *interrupted, struct lp_err *err)
{
	struct observer o = {.ops = ops, .n = target->n_urls};
	uint8_t id[LP_WIRE_ID_BYTES];
	int r;

	if (target->n_urls == 0)
		return lp_err_say(err, ENOTCONN, "%s: its instance is not up yet", target->app);
	lp_random(id, sizeof(id));
	o.done = lp_xcalloc(o.n, sizeof(bool));
	o.deadline.on_fire = on_deadline;
	r = start(&o, target, id, err);
	if (r == 0 && timeout_ms > 0)
		lp_timer_set(o.loop, &o.deadline, lp_now_us() + (uint64_t)timeout_ms * 1000);
	if (r == 0)
		r = lp_loop_run(o.loop, err);
	lp_timer_clear(&o.deadline);
	lp_fleet_destroy(o.fleet);
	lp_loop_destroy(o.loop);
	free(o.done);
	if (interrupted)
		*interrupted = o.interrupted;
	return r < 0 ? r : (int)(o.n - o.n_done);
}
