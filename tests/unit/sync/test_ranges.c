/* test_ranges.c: sets of ranges against a bitmap. The seed is printed; TEST_SEED and TEST_ROUNDS
 * choose others. */
#include "sync/ranges.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BYTES          4096
#define DEFAULT_SEED   20240229
#define DEFAULT_ROUNDS 400

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static bool has(const struct lp_ranges *set, uint64_t at)
{
	return lp_ranges_meet(set, at, 1);
}

static void assert_in_order(const struct lp_ranges *set)
{
	assert_true(set->n <= LP_RANGES_MAX);
	for (uint32_t i = 0; i < set->n; i++) {
		assert_true(set->r[i].len > 0);
		assert_true(set->r[i].len <= UINT64_MAX - set->r[i].at);
		if (i > 0)
			assert_true(set->r[i - 1].at + set->r[i - 1].len < set->r[i].at);
	}
}

/* How many runs of set bytes the bitmap has. */
static size_t runs(const bool *map)
{
	size_t n = 0;

	for (size_t i = 0; i < BYTES; i++)
		n += map[i] && (i == 0 || !map[i - 1]);
	return n;
}

/* While there are few ranges the set is exact; afterwards it may say more, never less. */
static void ranges__agree_with_a_bitmap(void **state)
{
	uint64_t seed = from_environment("TEST_SEED", DEFAULT_SEED);
	uint64_t rounds = from_environment("TEST_ROUNDS", DEFAULT_ROUNDS), exact = 0, joined = 0;

	(void)state;
	print_message("TEST_SEED=%" PRIu64 " TEST_ROUNDS=%" PRIu64 "\n", seed, rounds);
	seed = seed ? seed : 1;
	for (uint64_t round = 0; round < rounds; round++) {
		struct lp_ranges set = {0};
		bool map[BYTES] = {false}, overflowed = false;
		uint64_t most = 1 + next_random(&seed) % (round % 2 ? 400 : 8);

		for (unsigned step = 0; step < 150; step++) {
			uint64_t at = next_random(&seed) % BYTES, len = next_random(&seed) % most;

			len = len < BYTES - at ? len : BYTES - at;
			lp_ranges_add(&set, at, len);
			for (uint64_t i = at; i < at + len; i++)
				map[i] = true;
			assert_in_order(&set);
			overflowed = overflowed || runs(map) > LP_RANGES_MAX;
			if (!overflowed)
				assert_int_equal(set.n, runs(map));
		}
		exact += !overflowed;
		joined += overflowed;
		for (uint64_t i = 0; i < BYTES; i++) {
			assert_true(!map[i] || has(&set, i));
			assert_true(overflowed || map[i] == has(&set, i));
		}
	}
	assert_true(exact > 0 && joined > 0);
}

static void meet__sees_the_edges(void **state)
{
	struct lp_ranges set = {0};

	(void)state;
	assert_false(lp_ranges_meet(&set, 0, UINT64_MAX));
	lp_ranges_add(&set, 10, 5);
	assert_false(lp_ranges_meet(&set, 0, 10));
	assert_true(lp_ranges_meet(&set, 0, 11));
	assert_true(lp_ranges_meet(&set, 14, 1));
	assert_false(lp_ranges_meet(&set, 15, UINT64_MAX));
	assert_false(lp_ranges_meet(&set, 12, 0));
	assert_true(lp_ranges_meet(&set, 0, UINT64_MAX));
}

static void add__stops_at_the_end_of_numbers(void **state)
{
	struct lp_ranges set = {0};

	(void)state;
	lp_ranges_add(&set, UINT64_MAX - 10, 100);
	assert_int_equal(set.n, 1);
	assert_true(set.r[0].len == 10);
	lp_ranges_add(&set, UINT64_MAX, 1);
	assert_int_equal(set.n, 1);
	lp_ranges_add(&set, 0, UINT64_MAX);
	assert_int_equal(set.n, 1);
	assert_true(set.r[0].at == 0 && set.r[0].len == UINT64_MAX);
	assert_in_order(&set);
}

static void add__joins_the_nearest_when_there_are_too_many(void **state)
{
	struct lp_ranges set = {0};

	(void)state;
	for (uint64_t i = 0; i < LP_RANGES_MAX; i++)
		lp_ranges_add(&set, i * 1000, 10);
	lp_ranges_add(&set, 5030, 10);
	assert_int_equal(set.n, LP_RANGES_MAX);
	assert_in_order(&set);
	assert_true(has(&set, 5035));
	for (uint64_t i = 0; i < LP_RANGES_MAX; i++)
		assert_true(has(&set, i * 1000));
}

static void join__adds_all_of_another(void **state)
{
	struct lp_ranges a = {0}, b = {0}, none = {0};

	(void)state;
	lp_ranges_add(&a, 0, 10);
	lp_ranges_add(&b, 5, 10);
	lp_ranges_add(&b, 100, 1);
	lp_ranges_join(&a, &b);
	lp_ranges_join(&a, &none);
	assert_int_equal(a.n, 2);
	assert_true(a.r[0].at == 0 && a.r[0].len == 15);
	assert_true(a.r[1].at == 100 && a.r[1].len == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges__agree_with_a_bitmap),
		cmocka_unit_test(meet__sees_the_edges),
		cmocka_unit_test(add__stops_at_the_end_of_numbers),
		cmocka_unit_test(add__joins_the_nearest_when_there_are_too_many),
		cmocka_unit_test(join__adds_all_of_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
