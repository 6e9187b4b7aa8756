/* test_buf.c: the byte buffer and its ceiling. */
#include "common/base/lp_buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void add__appends(void **state)
{
	struct lp_buf b = {0};

	(void)state;
	assert_int_equal(lp_buf_add(&b, NULL, 0), 0);
	assert_int_equal(b.len, 0);
	assert_int_equal(lp_buf_add(&b, "a\0b", 3), 0);
	assert_int_equal(lp_buf_add_str(&b, "cd"), 0);
	assert_int_equal(lp_buf_addf(&b, "%s-%d", "e", 7), 0);
	assert_int_equal(lp_buf_addf(&b, "%s", ""), 0);
	assert_int_equal(b.len, 8);
	assert_memory_equal(b.data, "a\0bcde-7", 8);
	lp_buf_finish(&b);
	assert_null(b.data);
	assert_int_equal(b.len, 0);
	lp_buf_finish(&b);
}

static void add__grows_over_many_steps(void **state)
{
	struct lp_buf b = {0};

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		uint8_t byte = (uint8_t)(i * 7);

		assert_int_equal(lp_buf_add(&b, &byte, 1), 0);
	}
	assert_int_equal(b.len, 100000);
	for (unsigned i = 0; i < 100000; i++)
		if (b.data[i] != (uint8_t)(i * 7))
			fail_msg("byte %u", i);
	lp_buf_finish(&b);
}

/* At the ceiling everything fits; one byte more fails and changes nothing. */
static void add__keeps_to_the_ceiling(void **state)
{
	static const size_t ceilings[] = {1, 2, 10, 255, 256, 257, 1000};
	char text[1100];

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < LP_COUNT_OF(ceilings); i++) {
		size_t max = ceilings[i];
		struct lp_buf b;

		lp_buf_init(&b, max);
		assert_int_equal(lp_buf_add(&b, text, max + 1), -EMSGSIZE);
		assert_int_equal(b.len, 0);
		assert_int_equal(lp_buf_add(&b, text, max), 0);
		assert_int_equal(lp_buf_add(&b, text, 0), 0);
		assert_int_equal(lp_buf_add(&b, text, 1), -EMSGSIZE);
		assert_int_equal(lp_buf_add_str(&b, "x"), -EMSGSIZE);
		assert_int_equal(lp_buf_addf(&b, "x"), -EMSGSIZE);
		assert_int_equal(lp_buf_reserve(&b, SIZE_MAX), -EMSGSIZE);
		assert_int_equal(b.len, max);
		b.len = 0;
		text[max] = '\0';
		assert_int_equal(lp_buf_addf(&b, "%s", text), 0);
		assert_int_equal(b.len, max);
		assert_memory_equal(b.data, text, max);
		text[max] = 'x';
		lp_buf_finish(&b);
		assert_int_equal(b.max, max);
	}
}

static void reserve__refuses_more_than_a_gibibyte_by_default(void **state)
{
	struct lp_buf b = {0};

	(void)state;
	assert_int_equal(lp_buf_reserve(&b, ((size_t)1 << 30) + 1), -EMSGSIZE);
	assert_null(b.data);
	lp_buf_finish(&b);
}

static void drop__takes_from_the_front(void **state)
{
	static const struct {
		size_t n;
		const char *left;
	} cases[] = {{0, "abcdef"}, {1, "bcdef"}, {5, "f"}, {6, ""}, {7, ""}, {SIZE_MAX, ""}};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_buf b = {0};

		assert_int_equal(lp_buf_add_str(&b, "abcdef"), 0);
		lp_buf_drop(&b, cases[i].n);
		assert_int_equal(b.len, strlen(cases[i].left));
		assert_string_equal(lp_buf_text(&b), cases[i].left);
		lp_buf_finish(&b);
	}
}

static void text__terminates_without_counting(void **state)
{
	struct lp_buf b;

	(void)state;
	lp_buf_init(&b, 256);
	assert_string_equal(lp_buf_text(&b), "");
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(lp_buf_add(&b, "y", 1), 0);
	assert_int_equal(strlen(lp_buf_text(&b)), 256);
	assert_int_equal(b.len, 256);
	assert_int_equal(b.max, 256);
	lp_buf_finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(add__appends),
		cmocka_unit_test(add__grows_over_many_steps),
		cmocka_unit_test(add__keeps_to_the_ceiling),
		cmocka_unit_test(reserve__refuses_more_than_a_gibibyte_by_default),
		cmocka_unit_test(drop__takes_from_the_front),
		cmocka_unit_test(text__terminates_without_counting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
