/* cli/cmd_verify.c: livepush verify: every file of every instance is read and compared. */
#include "cli/control.h"
#include "cli/mirror.h"
#include "cli/number.h"
#include "cli/output.h"

#include <stdio.h>
#include <string.h>

#define MARGIN_MS 5000u /* for the session to answer that the time is over */

static void print_one(const char *app, const json_t *in)
{
	const char *state = lp_json_text(in, "state");
	long long files = (long long)json_integer_value(json_object_get(in, "files")),
		  drifted = (long long)json_integer_value(json_object_get(in, "drifted"));
	const json_t *paths = json_object_get(in, "paths");
	size_t i;

	(void)printf("%s  %s: ", app,
		     lp_json_text(in, "instance")[0] ? lp_json_text(in, "instance")
						     : lp_json_text(in, "url"));
	if (strcmp(state, "equal") == 0)
		(void)printf("%lld files checked, all equal\n", files);
	else if (strcmp(state, "mended") == 0)
		(void)printf("%lld files checked, %lld had drifted and are mended\n", files,
			     drifted);
	else if (strcmp(state, "behind") == 0 && drifted == 0)
		(void)printf("%lld files checked, behind on purpose: %s\n", files,
			     lp_json_text(in, "error"));
	else if (drifted > 0)
		(void)printf("%lld files checked, %lld have drifted, not mended: %s\n", files,
			     drifted, lp_json_text(in, "error"));
	else
		(void)printf("not checked: %s\n", lp_json_text(in, "error"));
	for (i = 0; i < json_array_size(paths); i++) {
		LP_AUTO_FREE char *path =
			lp_out_printable(json_string_value(json_array_get(paths, i)));

		(void)printf("  DRIFT %s\n", path);
	}
	if (drifted > (long long)i && i > 0)
		(void)printf("  and %lld more\n", drifted - (long long)i);
}

int lp_verify_print(const char *app, const json_t *instances, bool json)
{
	bool failed = false, behind = false;
	const json_t *in;
	size_t i;

	json_array_foreach(instances, i, in)
	{
		failed |= strcmp(lp_json_text(in, "state"), "failed") == 0;
		behind |= strcmp(lp_json_text(in, "state"), "behind") == 0;
		if (json) {
			json_t *o = json_pack("{s:s, s:o}", "event", "verified", "app",
					      lp_out_text(app, strlen(app)));

			(void)json_object_update(o, (json_t *)(uintptr_t)in);
			(void)lp_out_json(o);
		} else {
			print_one(app, in);
		}
	}
	if (failed)
		return lp_out_fail(json, "%s: not every instance could be verified and mended",
				   app);
	if (behind)
		return lp_out_fail(json, "%s: not every instance is as the workspace is", app);
	return LP_EXIT_OK;
}

/* Without a session: equal to DIR first, as by push, then verified. */
static int by_itself(const struct lp_args *args, const struct lp_err *err)
{
	if (args->n_words < 2)
		return lp_out_fail(args->json,
				   "%s, or name its workspace: 'livepush verify %s DIR'", err->msg,
				   args->words[0]);
	return lp_mirror_run(args, args->words[1], args->words[0], LP_MIRROR_VERIFY);
}

int lp_cmd_verify(const struct lp_args *args)
{
	uint32_t timeout_ms = LP_VERIFY_DEFAULT_MS;
	const char *timeout = lp_arg(args, "timeout");
	struct lp_err err = {0};
	json_t *answer = NULL;
	int r;

	if (timeout && lp_parse_seconds(timeout, &timeout_ms) < 0)
		return lp_out_misuse(args, "timeout", LP_SECONDS);
	r = lp_control_ask(
		&answer, args->words[0],
		json_pack("{s:s, s:I}", "cmd", "verify", "timeout_ms", (json_int_t)timeout_ms),
		timeout_ms + MARGIN_MS, &err);
	if (r == -ENOENT)
		return by_itself(args, &err);
	if (r < 0)
		return lp_out_fail(args->json, "%s", err.msg);
	if (lp_control_is_ok(answer, args->words[0], &err))
		r = lp_verify_print(args->words[0], json_object_get(answer, "instances"),
				    args->json);
	else
		r = lp_out_fail(args->json, "%s", err.msg);
	json_decref(answer);
	return r;
}
