/* test_guard.c: the look over msgpack bytes before the library allocates for them. */
#include "tests/unit/wire/wire_raw.h"
#include "wire/guard.h"
#include "wire/msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool check_exact(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	bool ok;

	assert_non_null(copy);
	if (len > 0)
		memcpy(copy, data, len);
	ok = lp_guard_check(copy, len);
	free(copy);
	return ok;
}

/* Every type byte followed by zeros: with 0 to 16 of them, exactly the right number passes. */
static void check__knows_the_size_of_every_type(void **state)
{
	/* first and last type byte, bytes of a value whose further bytes are all zero; 0: refused
	 */
	static const struct {
		uint8_t from, to;
		size_t len;
	} types[] = {
		{0x00, 0x7f, 1}, {0x80, 0x8f, 0}, {0x90, 0x90, 1}, {0xa0, 0xa0, 1}, {0xc0, 0xc0, 1},
		{0xc1, 0xc1, 0}, {0xc2, 0xc3, 1}, {0xc4, 0xc4, 2}, {0xc5, 0xc5, 3}, {0xc6, 0xc6, 5},
		{0xc7, 0xcb, 0}, {0xcc, 0xcc, 2}, {0xcd, 0xcd, 3}, {0xce, 0xce, 5}, {0xcf, 0xcf, 9},
		{0xd0, 0xd8, 0}, {0xd9, 0xd9, 2}, {0xda, 0xda, 3}, {0xdb, 0xdb, 5}, {0xdc, 0xdc, 3},
		{0xdd, 0xdd, 5}, {0xde, 0xdf, 0}, {0xe0, 0xff, 1},
	};
	size_t seen = 0;

	(void)state;
	for (size_t t = 0; t < LP_COUNT_OF(types); t++) {
		for (unsigned b = types[t].from; b <= types[t].to; b++, seen++) {
			uint8_t data[17] = {(uint8_t)b};

			for (size_t len = 1; len <= sizeof(data); len++)
				if (check_exact(data, len) != (len == types[t].len))
					fail_msg("0x%02x and %zu zeros", b, len - 1);
		}
	}
	for (unsigned n = 1; n < 16; n++) { /* fixarrays of zeros */
		uint8_t data[17] = {(uint8_t)(0x90 | n)};

		for (size_t len = 1; len <= sizeof(data); len++)
			assert_int_equal(check_exact(data, len), len == 1 + n);
		seen++;
	}
	for (unsigned n = 1; n < 32; n++) { /* fixstrs */
		uint8_t data[40] = {(uint8_t)(0xa0 | n)};

		for (size_t len = 1; len <= sizeof(data); len++)
			assert_int_equal(check_exact(data, len), len == 1 + n);
		seen++;
	}
	assert_int_equal(seen, 256);
}

static void check__allows_four_levels(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		bool ok;
	} cases[] = {
		{"\x91\x91\x91\x91\x01", 5, true},
		{"\x91\x91\x91\x91\x91\x01", 6, false},
		{"\x91\x91\x91\x91\x90", 5, true}, /* an empty array opens no level */
		{"\x92\x91\x91\x91\x01\x91\x91\x91\x01", 9, true},
		{"\x92\x91\x91\x91\x01\x91\x91\x91\x91\x01", 10, false},
		{"\x92\x90\x91\x90", 4, true},
		{"\x92\x90\x91", 3, false},
		{"", 0, false},
		{"\x01\x01", 2, false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++)
		if (check_exact((const uint8_t *)cases[i].bytes, cases[i].len) != cases[i].ok)
			fail_msg("case %zu", i);
}

static void check__refuses_promises_near_the_end_of_the_range(void **state)
{
	static const uint8_t types[] = {0xc4, 0xc5, 0xc6, 0xd9, 0xda, 0xdb, 0xdc, 0xdd};

	(void)state;
	for (size_t t = 0; t < LP_COUNT_OF(types); t++) {
		for (size_t room = 0; room < 300; room++) {
			uint8_t data[320];

			memset(data, 0xff, sizeof(data));
			data[0] = types[t];
			/* 0xff is a length of 255 that 255 bytes satisfy; all others promise more.
			 */
			bool one_byte = types[t] == 0xc4 || types[t] == 0xd9;

			assert_int_equal(check_exact(data, 1 + room), one_byte && room == 256);
		}
	}
}

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* What passes is a value for the library too: it may be no message, but not a malformed one. */
static void check__agrees_with_the_library(void **state)
{
	static const uint8_t likely[] = {0x91, 0x92, 0x93, 0xa1, 0xc0, 0xc2, 0xc3, 0xc4, 0xcc,
					 0xcd, 0xd9, 0xdc, 0x01, 0x00, 0x02, 0x90, 0x05};
	uint64_t seed = 88172645463325252u;
	size_t passed = 0;

	(void)state;
	for (size_t round = 0; round < 200000; round++) {
		uint8_t data[24];
		size_t len = 1 + next_random(&seed) % sizeof(data);
		struct lp_err err = {0};
		struct lp_msg msg;

		for (size_t i = 0; i < len; i++) {
			uint64_t r = next_random(&seed);

			data[i] = r % 8 ? likely[(r >> 8) % sizeof(likely)] : (uint8_t)(r >> 16);
		}
		if (!check_exact(data, len))
			continue;
		passed++;
		if (lp_msg_decode(&msg, data, len, &err) == 0)
			lp_msg_finish(&msg);
		assert_string_not_equal(err.msg, "malformed message");
	}
	assert_true(passed > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check__knows_the_size_of_every_type),
		cmocka_unit_test(check__allows_four_levels),
		cmocka_unit_test(check__refuses_promises_near_the_end_of_the_range),
		cmocka_unit_test(check__agrees_with_the_library),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
