/* cli/cmd_restart.c: livepush restart: a new generation on every instance. */
#include "cli/command.h"
#include "cli/names.h"
#include "cli/number.h"
#include "cli/observer.h"
#include "cli/output.h"

#include <string.h>

#define DEFAULT_TIMEOUT_MS 60000u

struct restart {
	const struct lp_args *args;
	struct lp_names names;
	bool failed;
};

static void on_up(void *ctx, struct lp_link *link, const char *instance)
{
	const struct lp_msg msg = {.kind = LP_MSG_RESTART};
	struct restart *r = ctx;

	lp_names_set(&r->names, link, instance);
	if (lp_link_send(link, &msg) < 0)
		return; /* it went down, which is reported */
}

static void print_restarted(const struct restart *r, const struct lp_link *link,
			    const struct lp_msg_restarted *m)
{
	char ms[16], suffix[LP_NAMES_SUFFIX_BYTES];

	if (r->args->json) {
		(void)lp_out_json(
			json_pack("{s:s, s:s, s:s, s:I, s:I, s:f}", "event", "restarted", "app",
				  r->args->words[0], "instance", lp_names_of(&r->names, link),
				  "revision", (json_int_t)m->revision, "generation",
				  (json_int_t)m->generation, "ms", (double)m->took_us / 1000));
		return;
	}
	lp_out_ms(m->took_us, ms);
	lp_out_say("%s✓%s %s%s restarted %s ms", lp_out_colour(LP_GREEN), lp_out_colour(LP_PLAIN),
		   r->args->words[0], lp_names_suffix(&r->names, link, suffix), ms);
}

static bool on_message(void *ctx, struct lp_link *link, const struct lp_msg *msg)
{
	struct restart *r = ctx;
	char error[512], suffix[LP_NAMES_SUFFIX_BYTES];

	(void)lp_names_suffix(&r->names, link, suffix);
	if (msg->kind == LP_MSG_RESTARTED) {
		print_restarted(r, link, &msg->u.restarted);
		return true;
	}
	if (msg->kind == LP_MSG_SETTLED) {
		lp_out_say("livepush: %s%s: a mirror; there is nothing to restart",
			   r->args->words[0], suffix);
		if (r->args->json)
			(void)lp_out_json(json_pack("{s:s, s:s, s:s}", "event", "mirror", "app",
						    r->args->words[0], "instance",
						    lp_names_of(&r->names, link)));
		return true;
	}
	/* What is told of a loop fails nothing: the start goes on. */
	if (msg->kind != LP_MSG_FAILED || msg->u.failed.resync ||
	    msg->u.failed.stage == LP_WIRE_STAGE_LOOP)
		return false;
	lp_bytes_text(&msg->u.failed.error, error, sizeof(error));
	(void)lp_out_fail(r->args->json, "%s%s: %s: %s", r->args->words[0], suffix,
			  lp_wire_stage_name(msg->u.failed.stage), error);
	lp_out_excerpt(msg->u.failed.excerpt.p, msg->u.failed.excerpt.len);
	r->failed = true;
	return true;
}

static void on_down(void *ctx, struct lp_link *link, const char *reason)
{
	struct restart *r = ctx;
	char suffix[LP_NAMES_SUFFIX_BYTES];

	(void)lp_out_fail(r->args->json, "%s%s: %s", r->args->words[0],
			  lp_names_suffix(&r->names, link, suffix), reason);
	r->failed = true;
}

int lp_cmd_restart(const struct lp_args *args)
{
	struct restart r = {.args = args};
	const struct lp_observer_ops ops = {
		.on_up = on_up, .on_message = on_message, .on_down = on_down, .ctx = &r};
	uint32_t timeout_ms = DEFAULT_TIMEOUT_MS;
	struct lp_target target;
	struct lp_err err = {0};
	bool interrupted = false;
	json_t *session;
	int missing;

	if (lp_arg(args, "timeout") && lp_parse_seconds(lp_arg(args, "timeout"), &timeout_ms) < 0)
		return lp_out_misuse(args, "timeout", LP_SECONDS);
	if (lp_observer_find(&target, &session, args->words[0], lp_arg(args, "secret-file"), &err) <
	    0)
		return lp_out_err(args->json, &err);
	json_decref(session);
	lp_names_init(&r.names, target.n_urls);
	missing = lp_observer_run(&target, timeout_ms ? timeout_ms : 1, &ops, &interrupted, &err);
	lp_names_finish(&r.names);
	lp_target_finish(&target);
	if (missing < 0)
		return lp_out_fail(args->json, "%s", err.msg);
	if (interrupted)
		return LP_EXIT_INTERRUPTED;
	if (missing > 0 && !r.failed)
		return lp_out_fail(args->json, "%s: not restarted within %u s", args->words[0],
				   timeout_ms / 1000);
	return r.failed ? LP_EXIT_FAILED : LP_EXIT_OK;
}
