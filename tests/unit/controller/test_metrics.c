/* test_metrics.c: numbers as Prometheus reads them. */
#include "controller/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct lp_buf text;

static const char *write_all(const struct lp_metrics *m)
{
	lp_buf_finish(&text);
	assert_int_equal(lp_metrics_write(&text, m), 0);
	return lp_buf_text(&text);
}

static void times__fall_into_buckets(void **state)
{
	struct lp_times t = {0};

	(void)state;
	lp_times_add(&t, 0);
	lp_times_add(&t, 5000);
	lp_times_add(&t, 5001);
	lp_times_add(&t, 3600000000u);
	assert_int_equal(t.bucket[0], 2);
	assert_int_equal(t.bucket[1], 1);
	assert_int_equal(t.count, 4);
	assert_int_equal(t.sum_us, 3600010001u);
	for (size_t i = 1; i < LP_TIMES_BUCKETS; i++)
		assert_true(lp_times_bounds_us[i] > lp_times_bounds_us[i - 1]);
}

static void write__says_every_number_once(void **state)
{
	struct lp_live_counts counts = {.applied = 11, .paths = 12, .log_bytes = 13};
	struct lp_metrics m = {.instance = "a\"b\\c\nd",
			       .uptime_us = 61000001,
			       .revision = 21,
			       .echo_dropped = 22,
			       .owned = true,
			       .app = {.state = LP_SUP_SERVING, .generation = 31, .crashes = 32},
			       .front = {.requests = UINT64_MAX, .conns = 41},
			       .counts = &counts};
	const char *page, *line, *next;

	(void)state;
	counts.failures[LP_STAGE_HEALTH] = 5;
	lp_times_add(&counts.restarted, 84000);
	page = write_all(&m);
	assert_non_null(strstr(page, ",instance=\"a\\\"b\\\\c\\nd\"} 1\n"));
	assert_non_null(strstr(page, "\nlivepush_uptime_seconds 61.000001\n"));
	assert_non_null(strstr(page, "\nlivepush_revision 21\n"));
	assert_non_null(strstr(page, "\nlivepush_owner_connected 1\n"));
	assert_non_null(strstr(page, "\nlivepush_app_output_dropped_bytes_total 22\n"));
	assert_non_null(strstr(page, "\nlivepush_requests_total 18446744073709551615\n"));
	assert_non_null(strstr(page, "\nlivepush_app_state{state=\"serving\"} 1\n"));
	assert_non_null(strstr(page, "\nlivepush_app_state{state=\"failed\"} 0\n"));
	assert_non_null(strstr(page, "\nlivepush_failures_total{stage=\"health\"} 5\n"));
	assert_non_null(strstr(page, "\nlivepush_restart_seconds_bucket{le=\"0.050000\"} 0\n"));
	assert_non_null(strstr(page, "\nlivepush_restart_seconds_bucket{le=\"0.100000\"} 1\n"));
	assert_non_null(strstr(page, "\nlivepush_restart_seconds_bucket{le=\"+Inf\"} 1\n"));
	assert_non_null(strstr(page, "\nlivepush_restart_seconds_sum 0.084000\n"));
	assert_null(strstr(page, "unknown"));
	/* A line is a comment, or a name, perhaps labels, and a value. */
	for (line = page; *line; line = next + 1) {
		next = strchr(line, '\n');
		assert_non_null(next);
		assert_true(strncmp(line, "# ", 2) == 0 || strncmp(line, "livepush_", 9) == 0);
	}
}

static void write__keeps_to_the_limit(void **state)
{
	struct lp_live_counts counts = {0};
	struct lp_metrics m = {.instance = "i", .counts = &counts};

	(void)state;
	for (size_t max = 1; max < 4000; max += 61) {
		struct lp_buf small;

		lp_buf_init(&small, max);
		assert_int_equal(lp_metrics_write(&small, &m), -EMSGSIZE);
		lp_buf_finish(&small);
	}
	lp_buf_finish(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times__fall_into_buckets),
		cmocka_unit_test(write__says_every_number_once),
		cmocka_unit_test(write__keeps_to_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
