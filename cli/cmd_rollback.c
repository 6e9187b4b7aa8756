/* cli/cmd_rollback.c: livepush rollback: every instance back to an earlier revision. */
#include "cli/command.h"
#include "cli/names.h"
#include "cli/number.h"
#include "cli/observer.h"
#include "cli/output.h"
#include "cli/way_back.h"
#include "common/base/lp_mem.h"

#include <string.h>

#define DEFAULT_TIMEOUT_MS 60000u
#define HISTORY_MS         5000u

struct place {
	uint64_t to; /* 0: the last healthy one */
	bool rolled; /* the tree is there; the app follows */
	uint64_t revision;
	uint64_t files;
	uint64_t restart_us; /* 0: it was not restarted */
};

struct rollback {
	const struct lp_args *args;
	struct lp_way_wanted wanted;
	struct lp_way_place *ways; /* one an instance */
	struct place *places;
	struct lp_names names;
	bool failed;
};

static void on_up(void *ctx, struct lp_link *link, const char *instance)
{
	struct rollback *r = ctx;
	const struct place *p = &r->places[lp_link_index(link)];
	struct lp_msg msg = {.kind = LP_MSG_ROLLBACK};

	lp_names_set(&r->names, link, instance);
	msg.u.rollback.revision = p->to;
	if (lp_link_send(link, &msg) < 0)
		return; /* it went down, which is reported */
}

static void print_done(const struct rollback *r, const struct lp_link *link)
{
	const struct place *p = &r->places[lp_link_index(link)];
	const char *app = r->args->words[0];
	char ms[16], suffix[LP_NAMES_SUFFIX_BYTES];

	lp_out_ms(p->restart_us, ms);
	if (r->args->json)
		(void)lp_out_json(json_pack(
			"{s:s, s:s, s:s, s:I, s:I, s:f}", "event", "rolled", "app", app, "instance",
			lp_names_of(&r->names, link), "revision", (json_int_t)p->revision, "files",
			(json_int_t)p->files, "ms", (double)p->restart_us / 1000));
	else
		lp_out_say("%s✓%s %s%s back to revision %llu (%llu file%s)%s%s%s",
			   lp_out_colour(LP_GREEN), lp_out_colour(LP_PLAIN), app,
			   lp_names_suffix(&r->names, link, suffix),
			   (unsigned long long)p->revision, (unsigned long long)p->files,
			   p->files == 1 ? "" : "s", p->restart_us ? ", restarted " : "",
			   p->restart_us ? ms : "", p->restart_us ? " ms" : "");
}

static bool on_rolled(struct rollback *r, const struct lp_link *link, const struct lp_msg_rolled *m)
{
	struct place *p = &r->places[lp_link_index(link)];
	char text[LP_WIRE_TEXT_MAX_BYTES + 1], suffix[LP_NAMES_SUFFIX_BYTES];

	if (!m->asked)
		return false;
	if (m->done) {
		p->rolled = true;
		p->revision = m->revision;
		p->files = m->files;
		return false;
	}
	lp_bytes_text(&m->text, text, sizeof(text));
	(void)lp_out_fail(r->args->json, "%s%s: %s", r->args->words[0],
			  lp_names_suffix(&r->names, link, suffix), text);
	r->failed = true;
	return true;
}

static bool on_failed(struct rollback *r, const struct lp_link *link, const struct lp_msg_failed *m)
{
	char error[1024], suffix[LP_NAMES_SUFFIX_BYTES];

	/* What is told of a loop fails nothing: the start goes on. */
	if (m->resync || m->stage == LP_WIRE_STAGE_LOOP)
		return false;
	lp_bytes_text(&m->error, error, sizeof(error));
	(void)lp_out_fail(r->args->json, "%s%s: %s: %s", r->args->words[0],
			  lp_names_suffix(&r->names, link, suffix), lp_wire_stage_name(m->stage),
			  error);
	lp_out_excerpt(m->excerpt.p, m->excerpt.len);
	r->failed = true;
	return true;
}

static bool on_message(void *ctx, struct lp_link *link, const struct lp_msg *msg)
{
	struct rollback *r = ctx;
	struct place *p = &r->places[lp_link_index(link)];

	if (msg->kind == LP_MSG_ROLLED)
		return on_rolled(r, link, &msg->u.rolled);
	/* What comes before belongs to something else. */
	if (!p->rolled)
		return false;
	if (msg->kind == LP_MSG_RESTARTED)
		p->restart_us = msg->u.restarted.took_us ? msg->u.restarted.took_us : 1;
	if (msg->kind == LP_MSG_FAILED)
		return on_failed(r, link, &msg->u.failed);
	if (msg->kind != LP_MSG_SETTLED)
		return false;
	print_done(r, link);
	return true;
}

static void on_down(void *ctx, struct lp_link *link, const char *reason)
{
	struct rollback *r = ctx;
	char suffix[LP_NAMES_SUFFIX_BYTES];

	(void)lp_out_fail(r->args->json, "%s%s: %s", r->args->words[0],
			  lp_names_suffix(&r->names, link, suffix), reason);
	r->failed = true;
}

static int usage(const struct lp_args *args, const char *what, const char *text)
{
	(void)lp_out_fail(args->json, "rollback: '%s' is no %s", text, what);
	return LP_EXIT_USAGE;
}

/* Runs an observer. Returns the exit status; what failed has been told. */
static int observe(struct rollback *r, const struct lp_target *target, uint32_t timeout_ms,
		   const struct lp_observer_ops *ops)
{
	bool interrupted = false;
	struct lp_err err = {0};
	int missing = lp_observer_run(target, timeout_ms, ops, &interrupted, &err);

	if (missing < 0)
		return lp_out_fail(r->args->json, "%s", err.msg);
	if (interrupted)
		return LP_EXIT_INTERRUPTED;
	if (missing > 0 && !r->failed)
		return lp_out_fail(r->args->json, "%s: not done within %u s", r->args->words[0],
				   timeout_ms / 1000);
	return r->failed ? LP_EXIT_FAILED : LP_EXIT_OK;
}

static void on_up_for_history(void *ctx, struct lp_link *link, const char *instance)
{
	struct rollback *r = ctx;
	struct lp_msg msg = {.kind = LP_MSG_HISTORY};

	lp_names_set(&r->names, link, instance);
	msg.u.history.most = LP_WIRE_REVISIONS_MAX;
	if (lp_link_send(link, &msg) < 0)
		return; /* it went down, which is reported */
}

static bool on_history(void *ctx, struct lp_link *link, const struct lp_msg *msg)
{
	struct rollback *r = ctx;

	if (msg->kind != LP_MSG_REVISIONS)
		return false;
	lp_way_take(&r->ways[lp_link_index(link)], &msg->u.revisions);
	return true;
}

/* Asks all where they were, and decides where each goes. Leaves those in target that go anywhere.
 * All have to answer: one that came back later with another tree would be the worst of all. */
static int plan(struct rollback *r, struct lp_target *target)
{
	const struct lp_observer_ops ops = {
		.on_up = on_up_for_history, .on_message = on_history, .on_down = on_down, .ctx = r};
	struct lp_err err = {0};
	size_t n = target->n_urls, kept = 0;
	int status;

	r->ways = lp_xcalloc(n, sizeof(*r->ways));
	status = observe(r, target, HISTORY_MS, &ops);
	if (status == LP_EXIT_OK && lp_way_choose(r->ways, n, &r->wanted, &err) < 0)
		status = lp_out_fail(r->args->json, "%s: %s", r->args->words[0], err.msg);
	for (size_t i = 0; i < n; i++) {
		uint64_t goal = r->ways[i].goal;

		lp_way_finish(&r->ways[i]);
		if (status != LP_EXIT_OK)
			continue;
		if (goal == 0) {
			free(target->urls[i]);
			continue;
		}
		r->places[kept].to = goal;
		target->urls[kept++] = target->urls[i];
	}
	if (status == LP_EXIT_OK)
		target->n_urls = kept;
	free(r->ways);
	return status;
}

static int run(struct rollback *r, struct lp_target *target, uint32_t timeout_ms)
{
	const struct lp_observer_ops ops = {
		.on_up = on_up, .on_message = on_message, .on_down = on_down, .ctx = r};
	size_t n = target->n_urls;
	int status = LP_EXIT_OK;

	r->places = lp_xcalloc(n, sizeof(*r->places));
	lp_names_init(&r->names, n);
	if (n > 1 || r->wanted.n_digits > 0)
		status = plan(r, target);
	else if (n == 1)
		r->places[0].to = r->wanted.revision;
	/* Those that stay where they are have been left out. */
	lp_names_finish(&r->names);
	lp_names_init(&r->names, n);
	if (status == LP_EXIT_OK)
		status = observe(r, target, timeout_ms ? timeout_ms : 1, &ops);
	lp_names_finish(&r->names);
	free(r->places);
	return status;
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
	if (args->n_words > 1 && lp_way_parse(&r.wanted, args->words[1]) < 0)
		return usage(args, "number of a revision, nor the name of a tree like @1a2b3c4d",
			     args->words[1]);
	if (lp_observer_find(&target, &session, args->words[0], lp_arg(args, "secret-file"), &err) <
	    0)
		return lp_out_err(args->json, &err);
	json_decref(session);
	status = run(&r, &target, timeout_ms);
	lp_target_finish(&target);
	return status;
}
