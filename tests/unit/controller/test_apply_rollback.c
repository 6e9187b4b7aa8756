/* test_apply_rollback.c: the apply thread takes revisions back, in its turn. */
#include "tests/unit/controller/apply_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void roll_back(uint64_t before, uint64_t expected)
{
	const struct lp_rollback what = {.before = before, .expected = expected};

	submitted++;
	lp_apply_rollback(apply, &what);
}

/* What the sender builds on is gone: nothing is applied before it has looked. */
static void rollback__wants_the_tree_to_be_listed(void **state)
{
	(void)state;
	job_put(1, 1, "a", "one");
	job_put(1, 2, "a", "two");
	job_put(1, 3, "b", "three");
	roll_back(2, 0);
	job_put(1, 4, "c", "four");
	job_put(1, 5, "c", "five");
	job_list(1, "");
	job_put(1, 6, "d", "six");
	expect_log("A1 + A2 + A3 + R1 F4 L. A6 + ");
	assert_string_equal(app_reads(&rig, "a"), "one");
	assert_false(app_sees(&rig, "b"));
	assert_false(app_sees(&rig, "c"));
	assert_string_equal(app_reads(&rig, "d"), "six");
}

static void rollback__fails_what_is_under_way(void **state)
{
	struct lp_wire_op op = op_file("b", "two", 0644);

	(void)state;
	job_put(1, 1, "a", "one");
	job_put(1, 2, "a", "two");
	job_change(1, 3, LP_CHANGE_FIRST, &op);
	roll_back(2, 0);
	job_change(1, 3, LP_CHANGE_LAST, NULL);
	job_list(1, "");
	expect_log("A1 + A2 + R1 F3 L. ");
	assert_string_equal(app_reads(&rig, "a"), "one");
	assert_false(app_sees(&rig, "b"));
}

/* Nobody asked for it: then it is for what was there when it was decided. */
static void rollback__leaves_what_is_newer(void **state)
{
	struct lp_wire_op op = op_file("b", "two", 0644);

	(void)state;
	job_put(1, 1, "a", "one");
	job_put(1, 2, "a", "two");
	job_put(1, 3, "a", "three");
	roll_back(2, 2);
	job_change(1, 4, LP_CHANGE_FIRST, &op);
	roll_back(2, 3);
	job_change(1, 4, LP_CHANGE_LAST, NULL);
	roll_back(3, 4);
	job_put(1, 5, "c", "five");
	job_list(1, "");
	expect_log("A1 + A2 + A3 + r r A4 + R2 F5 L. ");
	assert_string_equal(app_reads(&rig, "a"), "two");
}

static void rollback__says_what_is_not_kept(void **state)
{
	(void)state;
	job_put(1, 1, "a", "one");
	roll_back(7, 0);
	job_put(1, 2, "a", "two");
	expect_log("A1 + r A2 + ");
	assert_non_null(strstr(failure, "revision 7 is not kept here"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rollback__wants_the_tree_to_be_listed, apply_set_up,
						apply_tear_down),
		cmocka_unit_test_setup_teardown(rollback__fails_what_is_under_way, apply_set_up,
						apply_tear_down),
		cmocka_unit_test_setup_teardown(rollback__leaves_what_is_newer, apply_set_up,
						apply_tear_down),
		cmocka_unit_test_setup_teardown(rollback__says_what_is_not_kept, apply_set_up,
						apply_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
