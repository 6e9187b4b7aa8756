/* test_timeline.c: which step of which save a time belongs to, and the percentiles. */
#include "cli/timeline.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define BASE 1000000u /* the clock at the beginning */

static struct lp_timeline *timeline;

static int set_up(void **state)
{
	(void)state;
	timeline = lp_timeline_create();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	lp_timeline_destroy(timeline);
	return 0;
}

/* Milliseconds of a step of the i-th save; -1 without it. */
static double step_ms(size_t i, const char *step)
{
	json_t *o = lp_timeline_json(timeline);
	json_t *value = json_object_get(json_array_get(json_object_get(o, "saves"), i), step);
	double ms = value ? json_number_value(value) : -1;

	json_decref(o);
	return ms;
}

static void save(uint64_t revision, uint64_t written_ms)
{
	lp_timeline_add(timeline, revision, BASE + written_ms * 1000,
			BASE + written_ms * 1000 + 500, "a.py", 1);
}

static void step(uint64_t revision, enum lp_step_of_save what, uint64_t at_ms, bool upto)
{
	lp_timeline_step(timeline, revision, what, BASE + at_ms * 1000, upto);
}

static void timeline__has_every_step_since_the_writing(void **state)
{
	static const char *const keys[] = {"read_ms",    "sent_ms",   "applied_ms", "restarted_ms",
					   "healthy_ms", "served_ms", "reloaded_ms"};

	(void)state;
	save(7, 100);
	for (int i = LP_SAVE_SENT; i < LP_SAVE_STEP_COUNT_; i++)
		step(7, (enum lp_step_of_save)i, 100 + (uint64_t)i * 10, true);
	assert_true(step_ms(0, keys[0]) == 0.5);
	for (int i = LP_SAVE_SENT; i < LP_SAVE_STEP_COUNT_; i++)
		assert_true(step_ms(0, keys[i - 1]) == i * 10);
	for (int i = 0; i < LP_SAVE_STEP_COUNT_; i++)
		assert_non_null(lp_save_step_name((enum lp_step_of_save)i));
}

static void timeline__takes_the_last_instance_and_the_first_browser(void **state)
{
	(void)state;
	save(1, 0);
	step(1, LP_SAVE_APPLIED, 20, false);
	step(1, LP_SAVE_APPLIED, 10, false);
	step(1, LP_SAVE_RELOADED, 25, false); /* of what was there before it is served */
	step(1, LP_SAVE_SERVED, 30, true);
	step(1, LP_SAVE_RELOADED, 40, false);
	step(1, LP_SAVE_RELOADED, 50, false);
	assert_true(step_ms(0, "applied_ms") == 20);
	assert_true(step_ms(0, "reloaded_ms") == 40);
}

static void timeline__gives_one_restart_to_all_that_wait_for_it(void **state)
{
	(void)state;
	save(1, 0);
	step(1, LP_SAVE_SERVED, 5, true);
	save(2, 10);
	save(3, 20);
	save(4, 30);
	step(3, LP_SAVE_HEALTHY, 50, true);
	assert_true(step_ms(0, "healthy_ms") < 0); /* was done before */
	assert_true(step_ms(1, "healthy_ms") == 40);
	assert_true(step_ms(2, "healthy_ms") == 30);
	assert_true(step_ms(3, "healthy_ms") < 0);
	/* Somebody asked for a restart later. */
	step(3, LP_SAVE_SERVED, 60, true);
	step(3, LP_SAVE_HEALTHY, 900, true);
	assert_true(step_ms(2, "healthy_ms") == 30);
}

static void timeline__knows_no_time_before_the_writing(void **state)
{
	(void)state;
	lp_timeline_add(timeline, 1, 0, BASE, "a", 1);
	lp_timeline_add(timeline, 2, BASE + 10, BASE, "b", 1);
	assert_true(step_ms(0, "read_ms") == 0);
	assert_true(step_ms(1, "read_ms") == 0);
}

static void timeline__has_percentiles_of_what_it_remembers(void **state)
{
	json_t *o, *p;

	(void)state;
	for (uint64_t i = 1; i <= LP_TIMELINE_SAVES + 100; i++) {
		save(i, i);
		step(i, LP_SAVE_APPLIED, i + i % 100, false);
	}
	o = lp_timeline_json(timeline);
	p = json_object_get(json_object_get(o, "percentiles"), "applied");
	assert_int_equal(json_array_size(json_object_get(o, "saves")), LP_TIMELINE_SAVES);
	assert_int_equal(json_integer_value(json_object_get(p, "n")), LP_TIMELINE_SAVES);
	assert_true(json_number_value(json_object_get(p, "p50")) >= 40);
	assert_true(json_number_value(json_object_get(p, "p50")) <= 60);
	assert_true(json_number_value(json_object_get(p, "p99")) >= 97);
	assert_null(json_object_get(json_object_get(o, "percentiles"), "healthy"));
	json_decref(o);
}

static void timeline__starts_nothing_before_it_is_sent(void **state)
{
	(void)state;
	save(1, 0);
	step(1, LP_SAVE_SENT, 10, false);
	step(1, LP_SAVE_RESTARTED, 2, true);
	assert_true(step_ms(0, "restarted_ms") == 10);
}

static void timeline__knows_what_failed(void **state)
{
	(void)state;
	save(1, 0);
	step(1, LP_SAVE_SERVED, 10, true);
	save(2, 100);
	save(3, 200);
	step(3, LP_SAVE_APPLIED, 205, false);
	lp_timeline_fail(timeline, 3, BASE + 250000);
	/* Its repair is another save. */
	save(4, 300);
	step(4, LP_SAVE_HEALTHY, 380, true);
	step(4, LP_SAVE_SERVED, 390, true);
	lp_timeline_fail(timeline, 4, BASE + 500000); /* of what is served already */
	assert_true(step_ms(0, "failed_ms") == -1);
	assert_true(step_ms(1, "failed_ms") == 150);
	assert_true(step_ms(2, "failed_ms") == 50);
	assert_true(step_ms(2, "applied_ms") == 5);
	assert_true(step_ms(2, "healthy_ms") == -1);
	assert_true(step_ms(2, "served_ms") == -1);
	assert_true(step_ms(3, "served_ms") == 90);
	assert_true(step_ms(3, "failed_ms") == -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(timeline__has_every_step_since_the_writing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			timeline__takes_the_last_instance_and_the_first_browser, set_up, tear_down),
		cmocka_unit_test_setup_teardown(timeline__gives_one_restart_to_all_that_wait_for_it,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(timeline__knows_no_time_before_the_writing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(timeline__has_percentiles_of_what_it_remembers,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(timeline__starts_nothing_before_it_is_sent, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(timeline__knows_what_failed, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
