/* test_env.c: options in the environment. */
#include "common/base/lp_env.h"
#include "common/base/lp_util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void env_option__names_the_variable(void **state)
{
	(void)state;
	assert_int_equal(setenv("LIVEPUSH_SOME_LONG2_NAME", "value", 1), 0);
	assert_string_equal(lp_env_option("some-long2-name"), "value");
	assert_null(lp_env_option("some-long2"));
	assert_null(lp_env_option("some_long2_name-"));
	assert_int_equal(unsetenv("LIVEPUSH_SOME_LONG2_NAME"), 0);
	assert_null(lp_env_option("some-long2-name"));
}

static void env_option__takes_empty_for_not_set(void **state)
{
	(void)state;
	assert_int_equal(setenv("LIVEPUSH_X", "", 1), 0);
	assert_null(lp_env_option("x"));
	assert_int_equal(setenv("LIVEPUSH_X", "0", 1), 0);
	assert_string_equal(lp_env_option("x"), "0");
	assert_int_equal(unsetenv("LIVEPUSH_X"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(env_option__names_the_variable),
		cmocka_unit_test(env_option__takes_empty_for_not_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
