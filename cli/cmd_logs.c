/* cli/cmd_logs.c: livepush logs: what the app prints. */
#include "cli/command.h"
#include "cli/log_print.h"
#include "cli/number.h"
#include "cli/observer.h"
#include "cli/output.h"
#include "common/base/lp_mem.h"

#define DEFAULT_LINES 100
#define MAX_LINES     1000
#define TIMEOUT_MS    10000u

struct logs {
	struct lp_log_print *print;
	uint64_t lines;
	bool follow;
	bool failed;
	bool json;
	const char *app;
};

static void on_up(void *ctx, struct lp_link *link, const char *instance)
{
	struct logs *l = ctx;
	struct lp_msg msg = {.kind = LP_MSG_TAIL};

	lp_log_print_name(l->print, lp_link_index(link), instance);
	msg.u.tail.backlog = l->lines;
	msg.u.tail.follow = l->follow;
	if (lp_link_send(link, &msg) < 0)
		return; /* it went down, which is reported */
}

static bool on_message(void *ctx, struct lp_link *link, const struct lp_msg *msg)
{
	struct logs *l = ctx;

	if (msg->kind != LP_MSG_LOG)
		return false;
	/* The empty one ends the back-log. */
	if (msg->u.log.content.len == 0) {
		if (!l->follow)
			lp_log_print_end(l->print, lp_link_index(link));
		return !l->follow;
	}
	lp_log_print_take(l->print, lp_link_index(link), &msg->u.log);
	return false;
}

static void on_down(void *ctx, struct lp_link *link, const char *reason)
{
	struct logs *l = ctx;

	(void)link;
	(void)lp_out_fail(l->json, "%s: %s", l->app, reason);
	l->failed = true;
}

int lp_cmd_logs(const struct lp_args *args)
{
	struct logs l = {.lines = DEFAULT_LINES,
			 .follow = lp_arg(args, "follow") != NULL,
			 .json = args->json,
			 .app = args->words[0]};
	const struct lp_observer_ops ops = {
		.on_up = on_up, .on_message = on_message, .on_down = on_down, .ctx = &l};
	struct lp_target target;
	struct lp_err err = {0};
	bool interrupted = false;
	json_t *session;
	int missing;

	if (lp_arg(args, "lines") && lp_parse_count(lp_arg(args, "lines"), MAX_LINES, &l.lines) < 0)
		return lp_out_misuse(args, "lines", "number of lines (0 to %d)", MAX_LINES);
	if (lp_observer_find(&target, &session, args->words[0], lp_arg(args, "secret-file"), &err) <
	    0)
		return lp_out_err(args->json, &err);
	json_decref(session);
	l.print =
		lp_log_print_create(target.n_urls, args->json, lp_arg(args, "timestamps") != NULL);
	missing = lp_observer_run(&target, l.follow ? 0 : TIMEOUT_MS, &ops, &interrupted, &err);
	lp_log_print_destroy(l.print);
	lp_target_finish(&target);
	if (missing < 0)
		return lp_out_fail(args->json, "%s", err.msg);
	if (interrupted)
		return LP_EXIT_OK;
	if (missing > 0 && !l.failed)
		return lp_out_fail(args->json, "%s: does not answer", args->words[0]);
	return l.failed ? LP_EXIT_FAILED : LP_EXIT_OK;
}
