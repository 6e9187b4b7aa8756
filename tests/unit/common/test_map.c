/* test_map.c: a hash map against an array, with keys that come and go. */
#include "common/base/lp_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEYS 5000

static char keys[KEYS][16];
static bool there[KEYS];

static void map__holds_what_was_put(void **state)
{
	struct lp_map map = {0};
	unsigned seed = 1;
	size_t n = 0, at = 0, seen = 0;

	(void)state;
	assert_null(lp_map_get(&map, "none"));
	assert_null(lp_map_remove(&map, "none"));
	for (size_t i = 0; i < KEYS; i++)
		(void)snprintf(keys[i], sizeof(keys[i]), "%zu", i * 7);
	for (int step = 0; step < 100000; step++) {
		size_t i;

		seed = seed * 1664525u + 1013904223u;
		i = (seed >> 8) % KEYS;
		assert_ptr_equal(lp_map_get(&map, keys[i]), there[i] ? keys[i] : NULL);
		if (seed >> 31)
			assert_ptr_equal(lp_map_put(&map, keys[i], keys[i]),
					 there[i] ? keys[i] : NULL);
		else
			assert_ptr_equal(lp_map_remove(&map, keys[i]), there[i] ? keys[i] : NULL);
		n -= there[i] ? 1 : 0;
		there[i] = seed >> 31;
		n += there[i] ? 1 : 0;
		assert_int_equal(map.n, n);
	}
	for (char(*key)[16]; (key = lp_map_next(&map, &at)); seen++)
		assert_true(there[key - keys]);
	assert_int_equal(seen, n);
	for (size_t i = 0; i < KEYS; i++)
		assert_ptr_equal(lp_map_get(&map, keys[i]), there[i] ? keys[i] : NULL);
	lp_map_finish(&map);
	assert_int_equal(map.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(map__holds_what_was_put),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
