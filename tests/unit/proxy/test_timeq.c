/* tests/unit/proxy/test_timeq.c: queues of equal deadlines. */
#include "proxy/timeq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void timeq__fires_in_order_and_not_before(void **state)
{
	struct lp_px_timeq q;
	struct lp_px_timer a = {0};
	struct lp_px_timer b = {0};
	struct lp_px_timer c = {0};

	(void)state;
	lp_px_timeq_init(&q, 100);
	assert_int_equal(lp_px_timeq_wait_ms(&q, 0), -1);
	lp_px_timer_set(&q, &a, 1000);
	lp_px_timer_set(&q, &b, 1010);
	lp_px_timer_set(&q, &c, 1020);
	lp_px_timer_set(&q, &a, 1030); /* again: now the last */
	lp_px_timer_clear(&c);
	assert_null(lp_px_timeq_due(&q, 1109));
	assert_int_equal(lp_px_timeq_wait_ms(&q, 1100), 10);
	assert_ptr_equal(lp_px_timeq_due(&q, 1110), &b);
	assert_null(lp_px_timeq_due(&q, 1129));
	assert_int_equal(lp_px_timeq_wait_ms(&q, 2000), 0);
	assert_ptr_equal(lp_px_timeq_due(&q, 1130), &a);
	assert_null(lp_px_timeq_due(&q, 9999));
}

static void timer__moves_between_queues(void **state)
{
	struct lp_px_timeq slow;
	struct lp_px_timeq fast;
	struct lp_px_timer t = {0};

	(void)state;
	lp_px_timeq_init(&slow, 100);
	lp_px_timeq_init(&fast, 10);
	lp_px_timer_clear(&t);
	lp_px_timer_set(&slow, &t, 0);
	lp_px_timer_set(&fast, &t, 0);
	assert_int_equal(lp_px_timeq_wait_ms(&slow, 0), -1);
	assert_ptr_equal(lp_px_timeq_due(&fast, 10), &t);
}

static void change__shortens_what_is_set_and_keeps_the_order(void **state)
{
	struct lp_px_timeq q;
	struct lp_px_timer early = {0};
	struct lp_px_timer late = {0};
	struct lp_px_timer after = {0};

	(void)state;
	lp_px_timeq_init(&q, 100);
	lp_px_timer_set(&q, &early, 0);
	lp_px_timer_set(&q, &late, 80);
	lp_px_timeq_change(&q, 50, 90);
	lp_px_timer_set(&q, &after, 90);
	assert_ptr_equal(lp_px_timeq_due(&q, 100), &early);
	assert_null(lp_px_timeq_due(&q, 139));
	assert_ptr_equal(lp_px_timeq_due(&q, 140), &late);
	assert_ptr_equal(lp_px_timeq_due(&q, 140), &after);
	lp_px_timer_set(&q, &early, 200);
	lp_px_timeq_change(&q, 1000, 210);
	assert_ptr_equal(lp_px_timeq_due(&q, 250), &early);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timeq__fires_in_order_and_not_before),
		cmocka_unit_test(timer__moves_between_queues),
		cmocka_unit_test(change__shortens_what_is_set_and_keeps_the_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
