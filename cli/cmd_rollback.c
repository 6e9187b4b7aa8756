/* cli/cmd_rollback.c: livepush rollback: every instance back to an earlier revision. */
#include "cli/command.h"
#include "cli/number.h"
#include "cli/observer.h"
#include "cli/output.h"
#include "common/base/lp_mem.h"

#include <string.h>

#define DEFAULT_TIMEOUT_MS 60000u

struct place {
	char *name;  /* of the instance, owned */
	bool rolled; /* the tree is there; the app follows */
	uint64_t revision;
	uint64_t files;
	uint64_t restart_us; /* 0: it was not restarted */
};

struct rollback {
	const struct lp_args *args;
	uint64_t revision; /* 0: the last healthy one */
	struct place *places;
	bool failed;
};

static void on_up(void *ctx, struct lp_link *link, const char *instance)
{
	struct rollback *r = ctx;
	struct place *p = &r->places[lp_link_index(link)];
	struct lp_msg msg = {.kind = LP_MSG_ROLLBACK};

	free(p->name);
	p->name = lp_xstrdup(instance);
	msg.u.rollback.revision = r->revision;
	if (lp_link_send(link, &msg) < 0)
		return; /* it went down, which is reported */
}

static void print_done(const struct rollback *r, const struct place *p)
{
	const char *app = r->args->words[0];
	char ms[16];

	lp_out_ms(p->restart_us, ms);
	if (r->args->json)
		(void)lp_out_json(json_pack("{s:s, s:s, s:s, s:I, s:I, s:f}", "event", "rolled",
					    "app", app, "instance", p->name, "revision",
					    (json_int_t)p->revision, "files", (json_int_t)p->files,
					    "ms", (double)p->restart_us / 1000));
	else
		lp_out_say("%s✓%s %s back to revision %llu (%llu file%s)%s%s%s",
			   lp_out_colour(LP_GREEN), lp_out_colour(LP_PLAIN), app,
			   (unsigned long long)p->revision, (unsigned long long)p->files,
			   p->files == 1 ? "" : "s", p->restart_us ? ", restarted " : "",
			   p->restart_us ? ms : "", p->restart_us ? " ms" : "");
}

static bool on_rolled(struct rollback *r, struct place *p, const struct lp_msg_rolled *m)
{
	char text[LP_WIRE_TEXT_MAX_BYTES + 1];

	if (!m->asked)
		return false;
	if (m->done) {
		p->rolled = true;
		p->revision = m->revision;
		p->files = m->files;
		return false;
	}
	lp_bytes_text(&m->text, text, sizeof(text));
	(void)lp_out_fail(r->args->json, "%s: %s", r->args->words[0], text);
	r->failed = true;
	return true;
}

static bool on_failed(struct rollback *r, const struct lp_msg_failed *m)
{
	char error[1024];

	if (m->resync)
		return false;
	lp_bytes_text(&m->error, error, sizeof(error));
	(void)lp_out_fail(r->args->json, "%s: %s: %s", r->args->words[0],
			  lp_wire_stage_name(m->stage), error);
	lp_out_excerpt(m->excerpt.p, m->excerpt.len);
	r->failed = true;
	return true;
}

static bool on_message(void *ctx, struct lp_link *link, const struct lp_msg *msg)
{
	struct rollback *r = ctx;
	struct place *p = &r->places[lp_link_index(link)];

	if (msg->kind == LP_MSG_ROLLED)
		return on_rolled(r, p, &msg->u.rolled);
	/* What comes before belongs to something else. */
	if (!p->rolled)
		return false;
	if (msg->kind == LP_MSG_RESTARTED)
		p->restart_us = msg->u.restarted.took_us ? msg->u.restarted.took_us : 1;
	if (msg->kind == LP_MSG_FAILED)
		return on_failed(r, &msg->u.failed);
	if (msg->kind != LP_MSG_SETTLED)
		return false;
	print_done(r, p);
	return true;
}

static void on_down(void *ctx, struct lp_link *link, const char *reason)
{
	struct rollback *r = ctx;

	(void)link;
	(void)lp_out_fail(r->args->json, "%s: %s", r->args->words[0], reason);
	r->failed = true;
}

static int usage(const struct lp_args *args, const char *what, const char *text)
{
	(void)lp_out_fail(args->json, "rollback: '%s' is no %s", text, what);
	return LP_EXIT_USAGE;
}

static int run(struct rollback *r, const struct lp_target *target, uint32_t timeout_ms)
{
	const struct lp_observer_ops ops = {
		.on_up = on_up, .on_message = on_message, .on_down = on_down, .ctx = r};
	struct lp_err err = {0};
	int missing;

	r->places = lp_xcalloc(target->n_urls, sizeof(*r->places));
	missing = lp_observer_run(target, timeout_ms ? timeout_ms : 1, &ops, NULL, &err);
	for (size_t i = 0; i < target->n_urls; i++)
		free(r->places[i].name);
	free(r->places);
	if (missing < 0)
		return lp_out_fail(r->args->json, "%s", err.msg);
	if (missing > 0 && !r->failed)
		return lp_out_fail(r->args->json, "%s: not done within %u s", r->args->words[0],
				   timeout_ms / 1000);
	return r->failed ? LP_EXIT_FAILED : LP_EXIT_OK;
}

int lp_cmd_rollback(const struct lp_args *args)
{
	struct rollback r = {.args = args};
	const char *timeout = lp_arg(args, "timeout");
	uint32_t timeout_ms = DEFAULT_TIMEOUT_MS;
	struct lp_target target;
	struct lp_err err = {0};
	json_t *session;
	int status;

	if (timeout && lp_parse_seconds(timeout, &timeout_ms) < 0)
		return lp_out_misuse(args, "timeout", LP_SECONDS);
	if (args->n_words > 1 &&
	    (lp_parse_count(args->words[1], INT64_MAX, &r.revision) < 0 || r.revision == 0))
		return usage(args, "number of a revision", args->words[1]);
	if (lp_observer_find(&target, &session, args->words[0], lp_arg(args, "secret-file"), &err) <
	    0)
		return lp_out_fail(args->json, "%s", err.msg);
	json_decref(session);
	status = run(&r, &target, timeout_ms);
	lp_target_finish(&target);
	return status;
}
