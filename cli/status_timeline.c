/* cli/status_timeline.c: a table of saves and their percentiles. */
#include "cli/status_timeline.h"

#include "cli/command.h"
#include "cli/control.h"
#include "cli/output.h"
#include "cli/timeline.h"

#include <stdio.h>

#define TIMEOUT_MS 5000u
#define SHOWN      12 /* saves in the table */

/* A cell of milliseconds, empty without a value. */
static void print_cell(const json_t *value)
{
	if (!json_is_number(value))
		(void)printf("%10s", "");
	else if (json_number_value(value) < 100)
		(void)printf("%10.1f", json_number_value(value));
	else
		(void)printf("%10.0f", json_number_value(value));
}

static void print_head(const char *app, size_t n)
{
	(void)printf("%s: %zu save%s; milliseconds since the file was written\n%10s", app, n,
		     n == 1 ? "" : "s", "");
	for (int i = LP_SAVE_READ; i < LP_SAVE_STEP_COUNT_; i++)
		(void)printf("%10s", lp_save_step_name((enum lp_step_of_save)i));
	(void)printf("\n");
}

static void print_save(const json_t *save)
{
	json_int_t files = json_integer_value(json_object_get(save, "files"));
	LP_AUTO_FREE char *path = lp_out_printable(lp_json_text(save, "path"));
	const json_t *failed = json_object_get(save, "failed_ms");
	char key[32];

	(void)printf("#%-9lld", (long long)json_integer_value(json_object_get(save, "revision")));
	for (int i = LP_SAVE_READ; i < LP_SAVE_STEP_COUNT_; i++) {
		(void)snprintf(key, sizeof(key), "%s_ms",
			       lp_save_step_name((enum lp_step_of_save)i));
		print_cell(json_object_get(save, key));
	}
	(void)printf("  %s", path);
	if (files > 1)
		(void)printf(" and %lld more", (long long)files - 1);
	if (json_is_number(failed))
		(void)printf(" (failed after %.0f)", json_number_value(failed));
	(void)printf("\n");
}

static void print_percentile(const json_t *percentiles, const char *name)
{
	(void)printf("%-10s", name);
	for (int i = LP_SAVE_READ; i < LP_SAVE_STEP_COUNT_; i++)
		print_cell(json_object_get(
			json_object_get(percentiles, lp_save_step_name((enum lp_step_of_save)i)),
			name));
	(void)printf("\n");
}

static void print_timeline(const char *app, const json_t *timeline)
{
	const json_t *saves = json_object_get(timeline, "saves"),
		     *percentiles = json_object_get(timeline, "percentiles");
	size_t n = json_array_size(saves);

	if (n == 0) {
		(void)printf("%s: nothing was saved yet\n", app);
		return;
	}
	print_head(app, n);
	for (size_t i = n > SHOWN ? n - SHOWN : 0; i < n; i++)
		print_save(json_array_get(saves, i));
	print_percentile(percentiles, "p50");
	print_percentile(percentiles, "p90");
	print_percentile(percentiles, "p99");
}

int lp_status_timeline(const char *app, bool json)
{
	struct lp_err err = {0};
	json_t *answer = NULL;
	int r = lp_control_ask(&answer, app, json_pack("{s:s}", "cmd", "timeline"), TIMEOUT_MS,
			       &err);

	if (r == -ENOENT)
		return lp_out_fail(json, "%s: no mount or watch of it runs on this machine", app);
	if (r < 0 || !lp_control_is_ok(answer, app, &err)) {
		json_decref(answer);
		return lp_out_fail(json, "%s", err.msg);
	}
	(void)json_object_del(answer, "ok");
	(void)json_object_set_new(answer, "app", json_string(app));
	if (json) {
		(void)lp_out_json(answer);
		return LP_EXIT_OK;
	}
	print_timeline(app, answer);
	json_decref(answer);
	return LP_EXIT_OK;
}
