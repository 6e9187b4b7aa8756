/* cli/cmd_status.c: livepush status: what runs, one app or all that are mirrored from here. */
#include "cli/command.h"
#include "cli/control.h"
#include "cli/observer.h"
#include "cli/output.h"
#include "cli/runtime.h"
#include "cli/status_timeline.h"
#include "common/base/lp_mem.h"
#include "wire/status.h"

#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 5000u
#define LOOKED_AT  16 /* newest revisions, to see past those that were taken back */

struct status {
	json_t *instances;
};

static void on_up(void *ctx, struct lp_link *link, const char *instance)
{
	struct status *s = ctx;
	const struct lp_msg ask = {.kind = LP_MSG_ASK};
	struct lp_msg history = {.kind = LP_MSG_HISTORY};
	json_t *o = json_array_get(s->instances, lp_link_index(link));

	(void)json_object_set_new(o, "instance", json_string(instance));
	history.u.history.most = LOOKED_AT;
	if (lp_link_send(link, &ask) < 0 || lp_link_send(link, &history) < 0)
		return; /* it went down, which is reported */
}

/* What the newest revisions tell beside the state: the one in the tree failed, and whatever is in
 * front of it was taken back, unless the tree has a newer number, because a save brought nothing
 * else. */
static void add_past(json_t *o, const struct lp_msg_revisions *m)
{
	size_t n = m->n_revisions;
	const struct lp_wire_revision *w;

	if (n > 0 && m->revisions[n - 1].state == LP_REVISION_UNDONE &&
	    m->revision < m->revisions[n - 1].revision)
		(void)json_object_set_new(o, "rolled_to", json_integer((json_int_t)m->revision));
	while (n > 0 && m->revisions[n - 1].state == LP_REVISION_UNDONE)
		n--;
	w = n > 0 ? &m->revisions[n - 1] : NULL;
	if (w && w->state == LP_REVISION_FAILED)
		(void)json_object_set_new(o, "failed",
					  json_pack("{s:I, s:o}", "revision",
						    (json_int_t)w->revision, "error",
						    lp_out_text(w->error.p, w->error.len)));
}

static bool on_message(void *ctx, struct lp_link *link, const struct lp_msg *msg)
{
	struct status *s = ctx;
	const struct lp_msg_status *m = &msg->u.status;
	struct lp_status_number numbers[LP_STATUS_NUMBERS];
	char hex[LP_DIGEST_HEX_BYTES];
	struct lp_digest root;
	json_t *o = json_array_get(s->instances, lp_link_index(link));

	/* The answers come in the order of the questions. */
	if (msg->kind == LP_MSG_REVISIONS) {
		add_past(o, &msg->u.revisions);
		return true;
	}
	if (msg->kind != LP_MSG_STATUS)
		return false;
	memcpy(root.b, m->root, sizeof(root.b));
	lp_digest_hex(&root, hex);
	lp_status_numbers(m, numbers);
	(void)json_object_set_new(o, "state", lp_out_text(m->state.p, m->state.len));
	for (size_t i = 0; i < LP_STATUS_NUMBERS; i++)
		(void)json_object_set_new(o, numbers[i].name,
					  json_integer((json_int_t)numbers[i].value));
	(void)json_object_set_new(o, "root", json_string(hex));
	(void)json_object_set_new(o, "owner", lp_out_text(m->owner.p, m->owner.len));
	return false;
}

static void on_down(void *ctx, struct lp_link *link, const char *reason)
{
	struct status *s = ctx;
	json_t *o = json_array_get(s->instances, lp_link_index(link));

	(void)json_object_set_new(o, "state", json_string("unreachable"));
	(void)json_object_set_new(o, "error", lp_out_text(reason, strlen(reason)));
}

static long long number_of(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

/* What keeps changes from going out. */
static void print_waiting(const json_t *app)
{
	const json_t *withheld = json_object_get(app, "withheld"),
		     *holds = json_object_get(app, "holds"), *hold;
	size_t i;

	json_array_foreach(holds, i, hold)
	{
		(void)printf("  held by %s", lp_json_text(hold, "by"));
		if (json_object_get(hold, "left_ms"))
			(void)printf(", for %.0f s more at most",
				     (double)number_of(hold, "left_ms") / 1000);
		(void)printf("\n");
	}
	if (json_object_get(app, "held") && json_array_size(holds) == 0)
		(void)printf("  held by %s\n", lp_json_text(app, "held"));
	if (withheld)
		(void)printf(
			"  held back: %lld of %lld files would be deleted; bring them back, or "
			"start again with --allow-mass-delete\n",
			number_of(withheld, "deletes"), number_of(withheld, "of"));
}

/* What is behind an instance's state, when not all is well. */
static void print_trouble(const json_t *in)
{
	const json_t *failed = json_object_get(in, "failed");
	const char *error = failed ? lp_json_text(failed, "error") : "";
	long long settled = number_of(in, "settled");
	char text[512];

	if (failed) {
		const struct lp_bytes line = {(const uint8_t *)error, strcspn(error, "\n")};

		lp_bytes_text(&line, text, sizeof(text));
		(void)printf("     revision %lld failed: %s", number_of(failed, "revision"), text);
		if (number_of(in, "pid") > 0 && settled > 0 &&
		    settled < number_of(failed, "revision"))
			(void)printf("; %lld runs", settled);
		(void)printf("\n");
	}
	if (json_object_get(in, "rolled_to"))
		(void)printf("     rolled back to %lld until the next save\n",
			     number_of(in, "rolled_to"));
}

static void print_app(const json_t *app)
{
	const json_t *instances = json_object_get(app, "instances"), *in;
	size_t i;

	(void)printf("%s", lp_json_text(app, "app"));
	if (json_object_get(app, "dir"))
		(void)printf("  %s of %s, revision %lld, pid %lld", lp_json_text(app, "mode"),
			     lp_json_text(app, "dir"), number_of(app, "revision"),
			     number_of(app, "pid"));
	(void)printf("\n");
	print_waiting(app);
	json_array_foreach(instances, i, in)
	{
		LP_AUTO_FREE char *url = lp_target_http_url(lp_json_text(in, "url"));

		if (json_object_get(in, "error"))
			(void)printf("  %zu  %-11s %s  %s\n", i, lp_json_text(in, "state"), url,
				     lp_json_text(in, "error"));
		else
			(void)printf("  %zu  %-11s %s  generation %lld, revision %lld, %lld files, "
				     "%lld crash%s\n",
				     i, lp_json_text(in, "state"), url, number_of(in, "generation"),
				     number_of(in, "revision"), number_of(in, "files"),
				     number_of(in, "crashes"),
				     number_of(in, "crashes") == 1 ? "" : "es");
		print_trouble(in);
	}
}

/* Asks every instance of one app and prints it. session: taken; NULL: not mirrored from here. */
static int show(const struct lp_target *target, json_t *session, bool json)
{
	struct status s = {.instances = json_array()};
	const struct lp_observer_ops ops = {
		.on_up = on_up, .on_message = on_message, .on_down = on_down, .ctx = &s};
	struct lp_err err = {0};
	json_t *app = session ? session : json_pack("{s:s}", "app", target->app);
	int missing = 0;

	for (size_t i = 0; i < target->n_urls; i++)
		(void)json_array_append_new(
			s.instances,
			json_pack("{s:s, s:s}", "url", target->urls[i], "state", "silent"));
	if (target->n_urls > 0)
		missing = lp_observer_run(target, TIMEOUT_MS, &ops, NULL, &err);
	(void)json_object_del(app, "secret");
	(void)json_object_del(app, "ca_file");
	(void)json_object_del(app, "pins");
	(void)json_object_del(app, "urls");
	(void)json_object_del(app, "ok");
	(void)json_object_set_new(app, "instances", s.instances);
	if (json) {
		(void)lp_out_json(app);
	} else {
		print_app(app);
		json_decref(app);
	}
	if (missing < 0)
		return lp_out_fail(json, "%s", err.msg);
	return missing > 0 ? LP_EXIT_FAILED : LP_EXIT_OK;
}

static int show_one(const char *app, const char *secret_file, bool json)
{
	struct lp_target target;
	struct lp_err err = {0};
	json_t *session;
	int r;

	if (lp_observer_find(&target, &session, app, secret_file, &err) < 0)
		return lp_out_err(json, &err);
	r = show(&target, session, json);
	lp_target_finish(&target);
	return r;
}

struct all {
	bool json;
	int status;
	size_t shown;
};

static void show_session(void *ctx, const struct lp_session_addr *addr)
{
	struct all *all = ctx;
	json_t *answer = NULL;

	if (lp_control_ask_at(&answer, addr, "session", json_pack("{s:s}", "cmd", "endpoints"),
			      TIMEOUT_MS, NULL) < 0)
		return; /* it ended meanwhile */
	all->shown++;
	if (show_one(lp_json_text(answer, "app"), NULL, all->json) != LP_EXIT_OK)
		all->status = LP_EXIT_FAILED;
	json_decref(answer);
}

static int show_all(bool json)
{
	struct all all = {.json = json};

	lp_runtime_each(show_session, &all);
	if (all.shown == 0 && !json)
		lp_out_say("nothing is mirrored from this machine");
	return all.status;
}

int lp_cmd_status(const struct lp_args *args)
{
	if (lp_arg(args, "timeline") && args->n_words == 0) {
		(void)lp_out_fail(args->json, "status: --timeline needs APP");
		return LP_EXIT_USAGE;
	}
	if (lp_arg(args, "timeline"))
		return lp_status_timeline(args->words[0], args->json);
	if (args->n_words == 0)
		return show_all(args->json);
	return show_one(args->words[0], lp_arg(args, "secret-file"), args->json);
}
