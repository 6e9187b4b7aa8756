/* cli/cmd_flush.c: livepush flush: returns when what was saved before is live. */
#include "cli/command.h"
#include "cli/control.h"
#include "cli/number.h"
#include "cli/output.h"

#define DEFAULT_TIMEOUT_MS 30000u
#define MARGIN_MS          2000u /* for the session to answer that the time is over */

int lp_cmd_flush(const struct lp_args *args)
{
	uint32_t timeout_ms = DEFAULT_TIMEOUT_MS;
	struct lp_err err = {0};
	json_t *answer = NULL;
	int status = LP_EXIT_OK;

	if (lp_arg(args, "timeout") && lp_parse_seconds(lp_arg(args, "timeout"), &timeout_ms) < 0)
		return lp_out_misuse(args, "timeout", LP_SECONDS);
	if (lp_control_ask(
		    &answer, args->words[0],
		    json_pack("{s:s, s:I}", "cmd", "flush", "timeout_ms", (json_int_t)timeout_ms),
		    timeout_ms + MARGIN_MS, &err) < 0)
		return lp_out_fail(args->json, "%s", err.msg);
	if (!lp_control_is_ok(answer, args->words[0], &err)) {
		status = lp_out_fail(args->json, "%s", err.msg);
	} else if (args->json) {
		(void)lp_out_json(json_pack("{s:s, s:s, s:O}", "event", "flushed", "app",
					    args->words[0], "revision",
					    json_object_get(answer, "revision")));
	}
	json_decref(answer);
	return status;
}
