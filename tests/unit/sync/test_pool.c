/* test_pool.c: memory for very many small things: nobody gets what another has. */
#include "sync/pool.h"

#include "common/base/lp_util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#define THINGS 20000

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static bool is_filled(const uint8_t *p, size_t size, uint8_t with)
{
	for (size_t i = 0; i < size; i++)
		if (p[i] != with)
			return false;
	return true;
}

/* Things of all sizes come and go; each is zeroed when it is taken and keeps what is in it. */
static void churn(bool tight)
{
	static struct {
		uint8_t *p;
		size_t size;
		uint8_t with;
	} things[THINGS];
	struct lp_pool pool = {.tight = tight};
	uint64_t seed = 42;

	for (size_t round = 0; round < (size_t)10 * THINGS; round++) {
		size_t i = next_random(&seed) % THINGS;

		if (things[i].p) {
			assert_true(is_filled(things[i].p, things[i].size, things[i].with));
			lp_pool_give(&pool, things[i].p, things[i].size);
			things[i].p = NULL;
			continue;
		}
		things[i].size = 1 + next_random(&seed) % LP_POOL_MAX_BYTES;
		things[i].with = (uint8_t)(1 + round % 255);
		things[i].p = lp_pool_take(&pool, things[i].size);
		assert_int_equal((uintptr_t)things[i].p % (tight ? 4 : 8), 0);
		assert_true(is_filled(things[i].p, things[i].size, 0));
		memset(things[i].p, things[i].with, things[i].size);
	}
	for (size_t i = 0; i < THINGS; i++)
		if (things[i].p)
			lp_pool_give(&pool, things[i].p, things[i].size);
	lp_pool_finish(&pool);
	lp_pool_finish(&pool);
	assert_int_equal(pool.tight, tight);
	memset(things, 0, sizeof(things));
}

static void take__gives_everyone_their_own(void **state)
{
	(void)state;
	churn(false);
	churn(true);
}

/* What was given back is taken again: memory does not grow with coming and going. */
static void give__makes_room_for_the_next(void **state)
{
	struct lp_pool pool = {0};
	size_t next;

	(void)state;
	lp_pool_give(&pool, lp_pool_take(&pool, 100), 100);
	next = pool.next;
	for (size_t i = 0; i < 100000; i++)
		lp_pool_give(&pool, lp_pool_take(&pool, 100), 100);
	assert_int_equal(pool.next, next);
	lp_pool_finish(&pool);
}

/* A process that may not have that much address space does with less. */
static void take__works_with_little_address_space(void **state)
{
	const struct rlimit little = {.rlim_cur = (rlim_t)600 << 20, .rlim_max = RLIM_INFINITY};
	struct lp_pool pool = {0};
	void *other = NULL;
	struct rlimit before;

	(void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip(); /* they need more themselves */
#endif
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	if (setrlimit(RLIMIT_AS, &little) < 0)
		skip();
	for (size_t i = 0; i < 100000; i++)
		memset(lp_pool_take(&pool, 100), 1, 100);
	assert_in_range(pool.space_bytes, (uintmax_t)100 << 20, (uintmax_t)300 << 20);
	/* And leaves some to whatever else is needed. */
	other = malloc((size_t)200 << 20);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_non_null(other);
	free(other);
	lp_pool_finish(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(take__gives_everyone_their_own),
		cmocka_unit_test(give__makes_room_for_the_next),
		cmocka_unit_test(take__works_with_little_address_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
