/* test_rate.c: a bucket lets through what it says, whatever the messages are. */
#include "common/base/lp_util.h"
#include "link/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void rate__lets_through_what_it_says(void **state)
{
	static const struct {
		uint64_t bytes_per_s, message;
	} cases[] = {{1000, 10},        {1000, 5000},        {5, 3},
		     {1000000, 262144}, {125000000, 262144}, {1000000007, 99999}};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		uint64_t now_us = 1000, sent = 0, end_us = now_us + 20000000u;
		uint64_t allowed = cases[i].bytes_per_s * 20, slack;
		struct lp_rate rate;

		lp_rate_init(&rate, cases[i].bytes_per_s, now_us);
		while (now_us < end_us) {
			uint64_t wait_us = lp_rate_wait_us(&rate, now_us);

			if (wait_us == 0) {
				lp_rate_spend(&rate, cases[i].message);
				sent += cases[i].message;
			}
			now_us += wait_us;
			assert_true(wait_us < 30000000u);
		}
		slack = cases[i].bytes_per_s / 10 + cases[i].message + 1;
		assert_true(sent <= allowed + slack);
		assert_true(sent + slack >= allowed);
	}
}

static void rate__saves_up_little(void **state)
{
	struct lp_rate rate;
	uint64_t sent = 0;

	(void)state;
	lp_rate_init(&rate, 1000000, 0);
	while (lp_rate_wait_us(&rate, 3600u * (uint64_t)1000000) == 0) {
		lp_rate_spend(&rate, 1000);
		sent += 1000;
	}
	assert_int_equal(sent, 100000);
}

static void rate__of_nothing_is_no_limit(void **state)
{
	struct lp_rate rate = {0};

	(void)state;
	lp_rate_spend(&rate, UINT64_MAX);
	assert_int_equal(lp_rate_wait_us(&rate, 5), 0);
	lp_rate_init(&rate, UINT64_MAX, 5); /* more than can be counted */
	lp_rate_spend(&rate, UINT64_MAX / 4);
	assert_int_equal(lp_rate_wait_us(&rate, 5), 0);
}

static void rate__does_not_mind_a_clock_that_stands(void **state)
{
	struct lp_rate rate;

	(void)state;
	lp_rate_init(&rate, 1000, 5000000);
	lp_rate_spend(&rate, 1000);
	assert_true(lp_rate_wait_us(&rate, 5000000) > 0);
	assert_true(lp_rate_wait_us(&rate, 4000000) > 0);
	assert_int_equal(lp_rate_wait_us(&rate, 6000000), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rate__lets_through_what_it_says),
		cmocka_unit_test(rate__saves_up_little),
		cmocka_unit_test(rate__of_nothing_is_no_limit),
		cmocka_unit_test(rate__does_not_mind_a_clock_that_stands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
