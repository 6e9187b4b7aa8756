/* test_utf8.c: what is text, where a cut text ends, and what terminals must not get. */
#include "common/base/lp_utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void utf8_len__knows_characters(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{"a", 1},
		{"\xc3\xa9", 2},
		{"\xe2\x9c\x93", 3},
		{"\xf0\x9f\x98\x80", 4},
		{"\xc0\x80", 0},         /* too long for what it says */
		{"\xe0\x9f\xbf", 0},     /* the same */
		{"\xed\xa0\x80", 0},     /* a half of a pair of UTF-16 */
		{"\xf4\x90\x80\x80", 0}, /* beyond U+10FFFF */
		{"\x80", 0},
		{"\xff", 0},
		{"\xe2\x9c", 0},
		{"\xe2\x28\xa1", 0},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		size_t len = strlen(cases[i].bytes);

		assert_int_equal(lp_utf8_len(cases[i].bytes, len), cases[i].len);
		assert_int_equal(lp_utf8_is_text(cases[i].bytes, len), cases[i].len == len);
	}
	assert_int_equal(lp_utf8_len("a", 0), 0);
	assert_true(lp_utf8_is_text("", 0));
	assert_int_equal(lp_utf8_len("\0", 1), 1);
}

static void utf8_whole__leaves_only_a_begun_character_out(void **state)
{
	static const struct {
		const char *bytes;
		size_t whole;
	} cases[] = {
		{"", 0},
		{"ab", 2},
		{"a\xc3\xa9", 3},
		{"a\xc3", 1},
		{"a\xe2", 1},
		{"a\xe2\x9c", 1},
		{"a\xe2\x9c\x93", 4},
		{"a\xf0\x9f\x98", 1},
		{"a\xf0\x9f\x98\x80", 5},
		/* What is none however it goes on stays. */
		{"a\x80\x80", 3},
		{"a\xff", 2},
		{"a\xe0\x80", 3},
		{"\xf0\x9f", 0},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++)
		assert_int_equal(lp_utf8_whole(cases[i].bytes, strlen(cases[i].bytes)),
				 cases[i].whole);
}

static void utf8_add__replaces_what_is_none(void **state)
{
	struct lp_buf out = {0};

	(void)state;
	assert_int_equal(lp_utf8_add(&out, "x\xc3\xa9\xff\xe2\x9cy\x80", 8), 0);
	assert_string_equal(lp_buf_text(&out), "x\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdy"
					       "\xef\xbf\xbd");
	lp_buf_finish(&out);
	lp_buf_init(&out, 4);
	assert_int_equal(lp_utf8_add(&out, "ab\xff", 3), -EMSGSIZE);
	lp_buf_finish(&out);
}

static void utf8_plain__takes_controls_of_both_sets_away(void **state)
{
	static const struct {
		const char *text, *plain;
	} cases[] = {
		{"plain \xc3\xa9 \xe2\x9c\x93", "plain \xc3\xa9 \xe2\x9c\x93"},
		{"\x1b[2J\n\x7f", "?[2J??"},
		{"\xc2\x9b"
		 "2J",
		 "??2J"},
		{"\x9b"
		 "2J",
		 "?2J"},
		/* 0x9b within a character is none. */
		{"\xe2\x9b\x84", "\xe2\x9b\x84"},
		{"\xc2\xa0", "\xc2\xa0"},
		{"\xe9t\xe9 \x85", "\xe9t\xe9 ?"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		char text[32];

		memcpy(text, cases[i].text, strlen(cases[i].text) + 1);
		lp_utf8_plain(text);
		assert_string_equal(text, cases[i].plain);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(utf8_len__knows_characters),
		cmocka_unit_test(utf8_whole__leaves_only_a_begun_character_out),
		cmocka_unit_test(utf8_add__replaces_what_is_none),
		cmocka_unit_test(utf8_plain__takes_controls_of_both_sets_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
