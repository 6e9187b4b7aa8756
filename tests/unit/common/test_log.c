/* test_log.c: how many lines strangers can cause. */
#include "common/base/lp_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void log_may__counts_what_it_leaves_out(void **state)
{
	struct lp_log_limit limit = {0};
	const uint64_t begin_us = 5;
	unsigned left_out = 99;

	(void)state;
	for (unsigned i = 0; i < LP_LOG_LIMIT_LINES; i++) {
		assert_true(lp_log_may(&limit, begin_us + i, &left_out));
		assert_int_equal(left_out, 0);
	}
	for (unsigned i = 0; i < 1000; i++)
		assert_false(lp_log_may(&limit, begin_us + LP_LOG_LIMIT_US - 1, &left_out));
	assert_true(lp_log_may(&limit, begin_us + LP_LOG_LIMIT_US, &left_out));
	assert_int_equal(left_out, 1000);
	assert_true(lp_log_may(&limit, begin_us + LP_LOG_LIMIT_US, &left_out));
	assert_int_equal(left_out, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(log_may__counts_what_it_leaves_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
