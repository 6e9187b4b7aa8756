/* test_number.c: numbers, seconds, rates and bytes as digits. */
#include "cli/hex.h"
#include "cli/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void lp_parse_seconds__takes_what_a_person_writes(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint32_t ms;
	} rows[] = {
		{"0", 0, 0},         {"30", 0, 30000},       {"0.5", 0, 500},
		{".25", 0, 250},     {"86400", 0, 86400000}, {"86401", -EINVAL, 0},
		{"", -EINVAL, 0},    {"-1", -EINVAL, 0},     {"+1", -EINVAL, 0},
		{"1s", -EINVAL, 0},  {" 1", -EINVAL, 0},     {"nan", -EINVAL, 0},
		{"inf", -EINVAL, 0}, {"1e99", -EINVAL, 0},   {".", -EINVAL, 0},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
		uint32_t ms = 0;

		assert_int_equal(lp_parse_seconds(rows[i].text, &ms), rows[i].r);
		assert_int_equal(ms, rows[i].ms);
	}
}

static void lp_parse_count__takes_whole_numbers_up_to_the_most(void **state)
{
	uint64_t n = 7;

	(void)state;
	assert_int_equal(lp_parse_count("1000", 1000, &n), 0);
	assert_int_equal(n, 1000);
	assert_int_equal(lp_parse_count("1001", 1000, &n), -EINVAL);
	assert_int_equal(lp_parse_count("-1", 1000, &n), -EINVAL);
	assert_int_equal(lp_parse_count("", 1000, &n), -EINVAL);
	assert_int_equal(lp_parse_count("1.5", 1000, &n), -EINVAL);
	assert_int_equal(lp_parse_count("99999999999999999999", UINT64_MAX, &n), -EINVAL);
	assert_int_equal(n, 1000);
}

static void lp_parse_rate__takes_bytes_and_units(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t rate;
	} rows[] = {
		{"1024", 0, 1024},
		{"500000", 0, 500000},
		{"500k", 0, 512000},
		{"2M", 0, 2097152},
		{"2.5m", 0, 2621440},
		{"1k", 0, 1024},
		{"1048576M", 0, UINT64_C(1) << 40},
		{"1048577M", -EINVAL, 0},
		{"1023", -EINVAL, 0},
		{"0", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"-5k", -EINVAL, 0},
		{"k", -EINVAL, 0},
		{"5kb", -EINVAL, 0},
		{"5 k", -EINVAL, 0},
		{"0x1000", -EINVAL, 0},
		{"1e400", -EINVAL, 0},
		{"nan", -EINVAL, 0},
		{"5G", -EINVAL, 0},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
		uint64_t rate = 0;

		assert_int_equal(lp_parse_rate(rows[i].text, &rate), rows[i].r);
		assert_int_equal(rate, rows[i].rate);
	}
}

static void lp_hex__goes_there_and_back(void **state)
{
	static const char *const texts[] = {"", "a", "src/app.py", "\xff\x01\x80\n"};
	static const char *const wrong[] = {"6", "6g", "61zz", "00", "6100", "FF"};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
		LP_AUTO_FREE char *digits = lp_hex_encode(texts[i]);
		LP_AUTO_FREE char *back = lp_hex_decode(digits);

		assert_int_equal(strlen(digits), 2 * strlen(texts[i]));
		assert_string_equal(back, texts[i]);
	}
	for (size_t i = 0; i < LP_COUNT_OF(wrong); i++)
		assert_null(lp_hex_decode(wrong[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lp_parse_seconds__takes_what_a_person_writes),
		cmocka_unit_test(lp_parse_count__takes_whole_numbers_up_to_the_most),
		cmocka_unit_test(lp_parse_rate__takes_bytes_and_units),
		cmocka_unit_test(lp_hex__goes_there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
