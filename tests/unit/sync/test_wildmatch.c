/* test_wildmatch.c: what wildcards match, and that no pattern takes for ever. */
#include "sync/wildmatch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static bool matches(const char *pattern, const char *text, bool is_path)
{
	struct lp_wild w;
	bool result;

	assert_int_equal(lp_wild_compile(&w, pattern, strlen(pattern), is_path), 0);
	result = lp_wild_match(&w, text, strlen(text));
	lp_wild_finish(&w);
	return result;
}

static void lp_wild_match__follows_git_in_paths(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool expected;
	} cases[] = {
		{"", "", true},
		{"", "a", false},
		{"a", "a", true},
		{"a", "ab", false},
		{"*", "", true},
		{"*", "abc", true},
		{"*", "a/b", false},
		{"*.c", "a.c", true},
		{"*.c", "a/b.c", false},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "aXb/Yc", false},
		{"*/*", "a/b", true},
		{"*/*", "a/b/c", false},
		{"?", "/", false},
		{"a?c", "abc", true},
		{"a[/]c", "a/c", false},
		{"a[!b]c", "a/c", false},
		{"**", "a/b/c", true},
		{"**/a", "a", true},
		{"**/a", "x/y/a", true},
		{"**/a", "xa", false},
		{"**/a", "x/ya", false},
		{"a/**", "a/b", true},
		{"a/**", "a/b/c", true},
		{"a/**", "a", false},
		{"a/**/b", "a/b", true},
		{"a/**/b", "a/x/b", true},
		{"a/**/b", "a/x/y/b", true},
		{"a/**/b", "ab", false},
		{"a/**/*.c", "a/x/y.c", true},
		{"a/**/x/**/b", "a/1/x/2/3/b", true},
		{"a/**/x/**/b", "a/1/y/2/3/b", false},
		{"a**b", "axb", true},
		{"a**b", "a/b", false},
		{"a/**b", "a/x/b", false},
		{"a/***/b", "a/x/y/b", true},
		{"**/*a*b/c", "x/1a2/3a4b/c", true},
		{"**\\/a", "x/y/a", true},
		{"**\\/a", "a", false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		if (matches(cases[i].pattern, cases[i].text, true) != cases[i].expected)
			fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].text);
	}
}

static void lp_wild_match__follows_git_in_brackets(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool expected;
	} cases[] = {
		{"[abc]", "b", true},
		{"[abc]", "d", false},
		{"[a-c]", "b", true},
		{"[c-a]", "b", false},
		{"[!a-c]", "b", false},
		{"[^a-c]", "d", true},
		{"[]]", "]", true},
		{"[!]]", "]", false},
		{"[]-a]", "^", true},
		{"[a-]", "-", true},
		{"[-a]", "-", true},
		{"[a-c-e]", "d", false},
		{"[a-c-e]", "-", true},
		{"[\\]]", "]", true},
		{"[\\a-\\c]", "b", true},
		{"[[]", "[", true},
		{"[[:digit:]]", "7", true},
		{"[[:digit:]x]", "x", true},
		{"[![:digit:]]", "7", false},
		{"[[:alpha:][:digit:]]", "z", true},
		{"[[:space:]]", "\t", true},
		{"[[:space:]]", "\v", false},
		{"[[:punct:]]", "`", true},
		{"[[:cntrl:]]", "\x7f", true},
		{"[[:alpha:]]", "\xc3", false},
		{"[[:alpha]", ":", true},
		{"[[:]", ":", true},
		{"[[:]]", ":]", true},
		{"[[::]]", ":", false},
		{"[[:none:]]", "n", false},
		{"[[:none:]a]", "a", false},
		{"[a", "a", false},
		{"[", "[", false},
		{"[a-", "a", false},
		{"[\\", "\\", false},
		{"[\xc0-\xff]", "\xe4", true},
		{"\\*", "*", true},
		{"\\*", "a", false},
		{"a\\", "a\\", false},
		{"a\\", "a", false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		if (matches(cases[i].pattern, cases[i].text, false) != cases[i].expected)
			fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].text);
	}
}

/* Fills out with as many `piece`s as fit. */
static void repeat(char *out, size_t out_bytes, const char *piece)
{
	size_t n = strlen(piece), len = 0;

	for (; len + n < out_bytes; len += n)
		memcpy(out + len, piece, n);
	out[len] = '\0';
}

static void lp_wild_match__never_takes_long(void **state)
{
	static const struct {
		const char *name, *text, *pattern, *ending;
	} cases[] = {
		{"stars in one name", "a", "*a", "b"},
		{"stars across directories", "a/", "**/*a", "b"},
		{"stars in long directories", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/", "**/*a*a", "b"},
		{"a directory each", "a/", "*/", "b"},
		{"questions behind a star", "a", "*?a", "b"},
		{"one wide star, many narrow", "aab/", "*a*", "/b"},
		{"escaped slashes", "a/", "**\\/*", "b"},
	};
	char text[4096], pattern[4000];
	struct timespec start, end;

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_wild w;
		double seconds;

		repeat(text, sizeof(text), cases[i].text);
		repeat(pattern, sizeof(pattern) - 8, cases[i].pattern);
		memcpy(pattern + strlen(pattern), cases[i].ending, strlen(cases[i].ending) + 1);
		assert_int_equal(lp_wild_compile(&w, pattern, strlen(pattern), true), 0);
		(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
		assert_false(lp_wild_match(&w, text, strlen(text)));
		(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
		lp_wild_finish(&w);
		seconds = (double)(end.tv_sec - start.tv_sec) +
			  (double)(end.tv_nsec - start.tv_nsec) / 1e9;
		if (seconds > 2)
			fail_msg("%s: %.1f s", cases[i].name, seconds);
	}
}

static void lp_wild_compile__refuses_only_what_is_too_long(void **state)
{
	size_t len = 70000;
	char *pattern = test_malloc(len);
	struct lp_wild w;

	(void)state;
	memset(pattern, 'a', len);
	assert_int_equal(lp_wild_compile(&w, pattern, len, false), 0);
	assert_false(lp_wild_match(&w, pattern, len));
	lp_wild_finish(&w);
	assert_int_equal(lp_wild_compile(&w, pattern, 65535, false), 0);
	assert_true(lp_wild_match(&w, pattern, 65535));
	lp_wild_finish(&w);
	test_free(pattern);
}

static void lp_wild_literal_len__stops_at_the_first_special_byte(void **state)
{
	(void)state;
	assert_int_equal(lp_wild_literal_len("abc", 3), 3);
	assert_int_equal(lp_wild_literal_len("ab*", 3), 2);
	assert_int_equal(lp_wild_literal_len("?", 1), 0);
	assert_int_equal(lp_wild_literal_len("a[", 2), 1);
	assert_int_equal(lp_wild_literal_len("a\\b", 3), 1);
	assert_int_equal(lp_wild_literal_len("a]b", 3), 3);
	assert_int_equal(lp_wild_literal_len("abc*", 3), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lp_wild_match__follows_git_in_paths),
		cmocka_unit_test(lp_wild_match__follows_git_in_brackets),
		cmocka_unit_test(lp_wild_match__never_takes_long),
		cmocka_unit_test(lp_wild_compile__refuses_only_what_is_too_long),
		cmocka_unit_test(lp_wild_literal_len__stops_at_the_first_special_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
