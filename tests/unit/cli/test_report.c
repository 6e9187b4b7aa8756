/* test_report.c: when what was saved counts as live, and when as failed. */
#include "cli/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct lp_report *report;
static char why[640];

static int set_up(void **state)
{
	(void)state;
	report = lp_report_create("app", 2, false, true);
	lp_report_connected(report, 0, "one");
	lp_report_connected(report, 1, "two");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	lp_report_destroy(report);
	return 0;
}

static void applied(unsigned i, uint64_t revision)
{
	struct lp_msg msg = {.kind = LP_MSG_APPLIED};

	msg.u.applied.revision = revision;
	lp_report_message(report, i, &msg);
}

static void settled(unsigned i, uint64_t revision)
{
	struct lp_msg msg = {.kind = LP_MSG_SETTLED};

	msg.u.settled.revision = revision;
	lp_report_message(report, i, &msg);
}

static void failed(unsigned i, uint64_t revision, enum lp_wire_stage stage, bool resync)
{
	struct lp_msg msg = {.kind = LP_MSG_FAILED};

	msg.u.failed.revision = revision;
	msg.u.failed.stage = stage;
	msg.u.failed.resync = resync;
	msg.u.failed.error = lp_bytes_of("the cause");
	lp_report_message(report, i, &msg);
}

static int outcome(uint64_t revision)
{
	return lp_report_outcome(report, revision, why, sizeof(why));
}

static void outcome__is_good_when_all_have_settled(void **state)
{
	(void)state;
	assert_int_equal(outcome(7), 0);
	applied(0, 7);
	settled(0, 7);
	assert_int_equal(outcome(7), 0);
	assert_string_equal(why, "instance two has applied revision 0, not 7");
	applied(1, 8);
	assert_int_equal(outcome(7), 0);
	assert_string_equal(why, "instance two has settled revision 0, not 7");
	settled(1, 8);
	assert_int_equal(outcome(7), 1);
	assert_int_equal(outcome(8), 0);
}

static void outcome__is_bad_after_a_failure(void **state)
{
	(void)state;
	failed(0, 7, LP_WIRE_STAGE_CRASH, false);
	assert_int_equal(outcome(7), -1);
	assert_string_equal(why, "instance one: the cause");
	assert_int_equal(outcome(8), 0);
	/* What it wrote is there, and the app still does not run. */
	applied(0, 7);
	assert_int_equal(outcome(7), -1);
}

/* An instance that compares trees and then holds everything has not failed. */
static void outcome__is_good_when_a_comparison_has_mended_it(void **state)
{
	(void)state;
	applied(1, 7);
	settled(1, 7);
	failed(0, 7, LP_WIRE_STAGE_APPLY, true);
	assert_int_equal(outcome(7), -1);
	applied(0, 7);
	assert_int_equal(outcome(7), 0);
	settled(0, 7);
	assert_int_equal(outcome(7), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(outcome__is_good_when_all_have_settled, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(outcome__is_bad_after_a_failure, set_up, tear_down),
		cmocka_unit_test_setup_teardown(outcome__is_good_when_a_comparison_has_mended_it,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
