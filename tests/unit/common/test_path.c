/* test_path.c: what counts as a clean path, which links stay inside, and the pieces of paths. */
#include "common/base/lp_path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define TEXT(s) (s), sizeof(s) - 1

static void is_clean__takes_relative_paths_without_tricks(void **state)
{
	static const struct {
		const char *path;
		size_t len;
		bool clean;
	} cases[] = {
		{TEXT("a"), true},        {TEXT("a/b/c"), true},   {TEXT(".a"), true},
		{TEXT("..a"), true},      {TEXT("a.."), true},     {TEXT("..."), true},
		{TEXT("a/.../b"), true},  {TEXT(" "), true},       {TEXT("a b"), true},
		{TEXT("\xff\x01"), true}, {TEXT("~"), true},       {TEXT("-rf"), true},
		{TEXT("C:\\x"), true},    {TEXT(""), false},       {TEXT("/"), false},
		{TEXT("/a"), false},      {TEXT("a/"), false},     {TEXT("a//b"), false},
		{TEXT("."), false},       {TEXT(".."), false},     {TEXT("./a"), false},
		{TEXT("../a"), false},    {TEXT("a/."), false},    {TEXT("a/.."), false},
		{TEXT("a/../b"), false},  {TEXT("a/./b"), false},  {TEXT("a\0b"), false},
		{TEXT("\0"), false},      {TEXT("a/\0/b"), false}, {TEXT("a\0"), false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++)
		if (lp_path_is_clean(cases[i].path, cases[i].len) != cases[i].clean)
			fail_msg("case %zu: '%s'", i, cases[i].path);
	assert_true(lp_path_is_clean("ab/..", 2)); /* only len counts, not the NUL */
}

static void is_clean__bounds_names_and_paths(void **state)
{
	char path[LP_PATH_MAX_BYTES + 2];

	(void)state;
	memset(path, 'n', sizeof(path));
	assert_true(lp_path_is_clean(path, LP_NAME_MAX_BYTES));
	assert_false(lp_path_is_clean(path, LP_NAME_MAX_BYTES + 1));
	path[255] = '/';
	assert_true(lp_path_is_clean(path, 511));
	assert_false(lp_path_is_clean(path, 512));
	path[0] = '/';
	path[255] = 'n';
	assert_false(lp_path_is_clean(path + 1, 256));
	for (size_t i = 0; i < sizeof(path); i++)
		path[i] = i % 2 ? '/' : 'p';
	assert_true(lp_path_is_clean(path, LP_PATH_MAX_BYTES));
	assert_false(lp_path_is_clean(path, LP_PATH_MAX_BYTES + 1));
	assert_false(lp_path_is_clean(path, LP_PATH_MAX_BYTES - 1)); /* ends with a slash */
}

static void link_is_inside__follows_the_depth_of_the_link(void **state)
{
	static const struct {
		const char *path;
		const char *target;
		size_t len;
		bool inside;
	} cases[] = {
		{"l", TEXT("a"), true},
		{"l", TEXT("a/b"), true},
		{"l", TEXT("./a"), true},
		{"l", TEXT("."), true},
		{"l", TEXT("a/"), true},
		{"l", TEXT("a//b"), true},
		{"l", TEXT("..."), true},
		{"l", TEXT("..a"), true},
		{"l", TEXT(".."), false},
		{"l", TEXT("../"), false},
		{"l", TEXT("./.."), false},
		{"l", TEXT("../a"), false},
		{"l", TEXT("a/.."), false},
		{"l", TEXT("a/../b"), false},
		{"l", TEXT("a/../../b"), false},
		{"d/l", TEXT(".."), true},
		{"d/l", TEXT("../"), true},
		{"d/l", TEXT("../a"), true},
		{"d/l", TEXT(".././a"), true},
		{"d/l", TEXT("..//a"), true},
		{"d/l", TEXT("../.."), false},
		{"d/l", TEXT(".././.."), false},
		{"d/l", TEXT("../../a"), false},
		{"d/l", TEXT("a/.."), false},
		{"d/l", TEXT("../a/.."), false},
		{"d/e/l", TEXT("../../a"), true},
		{"d/e/l", TEXT("../../../a"), false},
		{"l", TEXT(""), false},
		{"l", TEXT("/"), false},
		{"l", TEXT("/etc/passwd"), false},
		{"d/l", TEXT("//a"), false},
		{"l", TEXT("a\0b"), false},
		{"l", TEXT("\0"), false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++)
		if (lp_path_link_is_inside(cases[i].path, cases[i].target, cases[i].len) !=
		    cases[i].inside)
			fail_msg("'%s' -> '%s'", cases[i].path, cases[i].target);
}

static void link_is_inside__bounds_the_target(void **state)
{
	char target[LP_PATH_MAX_BYTES + 1];

	(void)state;
	memset(target, 't', sizeof(target));
	assert_true(lp_path_link_is_inside("l", target, LP_PATH_MAX_BYTES));
	assert_false(lp_path_link_is_inside("l", target, LP_PATH_MAX_BYTES + 1));
}

static void join__fits_or_fails(void **state)
{
	static const struct {
		const char *dir, *name;
		size_t room;
		const char *out; /* NULL: too long */
	} cases[] = {
		{"", "a", 8, "a"},        {"d", "a", 8, "d/a"},  {"d/e", "a", 8, "d/e/a"},
		{"d/e", "a", 6, "d/e/a"}, {"d/e", "a", 5, NULL}, {"", "a", 2, "a"},
		{"", "a", 1, NULL},       {"", "a", 0, NULL},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		char out[8];
		int r = lp_path_join(out, cases[i].room, cases[i].dir, cases[i].name);

		assert_int_equal(r, cases[i].out ? 0 : -ENAMETOOLONG);
		if (cases[i].out)
			assert_string_equal(out, cases[i].out);
	}
}

static void pieces__are_what_they_say(void **state)
{
	static const struct {
		const char *path;
		size_t dir_len;
		const char *base;
	} cases[] = {
		{"a", 0, "a"},         {"d/a", 1, "a"}, {"dir/a", 3, "a"},
		{"d/e/f.c", 3, "f.c"}, {"", 0, ""},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		assert_int_equal(lp_path_dir_len(cases[i].path), cases[i].dir_len);
		assert_string_equal(lp_path_base(cases[i].path), cases[i].base);
	}
}

static void is_below__compares_whole_components(void **state)
{
	static const struct {
		const char *path, *dir;
		bool below;
	} cases[] = {
		{"a", "", true},     {"", "", true},       {"a", "a", true},
		{"a/b", "a", true},  {"a/b/c", "a", true}, {"a/b/c", "a/b", true},
		{"ab", "a", false},  {"a.b", "a", false},  {"a", "a/b", false},
		{"b/a", "a", false}, {"", "a", false},     {"a/bc", "a/b", false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++)
		if (lp_path_is_below(cases[i].path, cases[i].dir) != cases[i].below)
			fail_msg("'%s' in '%s'", cases[i].path, cases[i].dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_clean__takes_relative_paths_without_tricks),
		cmocka_unit_test(is_clean__bounds_names_and_paths),
		cmocka_unit_test(link_is_inside__follows_the_depth_of_the_link),
		cmocka_unit_test(link_is_inside__bounds_the_target),
		cmocka_unit_test(join__fits_or_fails),
		cmocka_unit_test(pieces__are_what_they_say),
		cmocka_unit_test(is_below__compares_whole_components),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
