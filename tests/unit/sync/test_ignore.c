/* test_ignore.c: rule files, their precedence, the built-in rules and glob lists, case by case.
 * What git says about random ones is in test_ignore_oracle.c. */
#include "sync/ignore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void set(struct lp_ignore *ig, const char *dir, enum lp_ignore_level level, const char *text)
{
	char source[64];

	(void)snprintf(source, sizeof(source), "%s:%d", dir, (int)level);
	assert_int_equal(lp_ignore_set(ig, dir, level, source, text, strlen(text)), 0);
}

static void lp_ignore_check__follows_gitignore(void **state)
{
	static const struct {
		const char *rules, *path;
		bool is_dir, expected;
	} cases[] = {
		{"", "a", false, false},
		{"a", "a", false, true},
		{"a", "b/a", false, true},
		{"a", "ab", false, false},
		{"/a", "a", false, true},
		{"/a", "b/a", false, false},
		{"a/b", "a/b", false, true},
		{"a/b", "x/a/b", false, false},
		{"**/a/b", "x/a/b", false, true},
		{"a/", "a", false, false},
		{"a/", "a", true, true},
		{"a/", "x/a/b", false, true},
		{"a/\n!a/b", "a/b", false, true},
		{"a/*\n!a/b", "a/b", false, false},
		{"*.o\n!x.o", "x.o", false, false},
		{"!x.o\n*.o", "x.o", false, true},
		{"*", "a/b/c", false, true},
		{"*\n!*/", "a", true, false},
		{"*\n!*/", "a/b", false, true},
		{"# a\na", "# a", false, false},
		{"\\#a", "#a", false, true},
		{"\\!a", "!a", false, true},
		{"a   ", "a", false, true},
		{"a\\ ", "a ", false, true},
		{"a\\ ", "a", false, false},
		{"a\t", "a", false, false},
		{"a\r\nb\r\n", "b", false, true},
		{"\xef\xbb\xbf"
		 "a",
		 "a", false, true},
		{"\xff\xfe*", "\xff\xfe\xfd", false, true},
		{"[a", "[a", false, false},
		{"a\\", "a\\", false, false},
		{"/", "a", true, false},
		{"!", "a", false, false},
		{"//a", "a", false, false},
		{"a**b", "axxb", false, true},
		{"d/a**", "d/ax/y", false, true},
		{"\n\n\n", "a", false, false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_ignore *ig = lp_ignore_create();

		assert_non_null(ig);
		set(ig, "", LP_IGNORE_GITIGNORE, cases[i].rules);
		if (lp_ignore_check(ig, cases[i].path, cases[i].is_dir, NULL) != cases[i].expected)
			fail_msg("case %zu: '%s' with '%s'", i, cases[i].path, cases[i].rules);
		lp_ignore_destroy(ig);
	}
}

static void lp_ignore_check__prefers_deeper_then_later_rules(void **state)
{
	struct lp_ignore *ig = lp_ignore_create();
	struct lp_ignore_match m;

	(void)state;
	set(ig, "", LP_IGNORE_GITIGNORE, "# first\n*.log\n!keep.log\n");
	set(ig, "", LP_IGNORE_CFIGNORE, "keep.log");
	assert_true(lp_ignore_check(ig, "keep.log", false, &m));
	assert_string_equal(m.source, ":4");
	assert_int_equal(m.line, 1);
	set(ig, "", LP_IGNORE_CONFIG, "!keep.log");
	set(ig, "", LP_IGNORE_LIVEPUSHIGNORE, "keep.log");
	assert_false(lp_ignore_check(ig, "keep.log", false, &m));
	assert_string_equal(m.source, ":6");
	assert_string_equal(m.pattern, "!keep.log");
	assert_true(m.negated);
	assert_true(lp_ignore_check(ig, "x/y/a.log", false, &m));
	assert_string_equal(m.pattern, "*.log");
	assert_int_equal(m.line, 2);
	set(ig, "x/y", LP_IGNORE_GITIGNORE, "!*.log");
	assert_false(lp_ignore_check(ig, "x/y/a.log", false, &m));
	assert_string_equal(m.source, "x/y:3");
	assert_true(lp_ignore_check(ig, "x/yy/a.log", false, NULL));
	assert_true(lp_ignore_check(ig, "x/a.log", false, NULL));
	assert_false(lp_ignore_check(ig, "x/y/z/a.log", false, NULL));
	set(ig, "x/y/z", LP_IGNORE_GITIGNORE, "/a.log");
	assert_true(lp_ignore_check(ig, "x/y/z/a.log", false, NULL));
	assert_false(lp_ignore_check(ig, "x/y/z/w/a.log", false, NULL));
	assert_false(lp_ignore_check(ig, "other", false, &m));
	assert_null(m.source);
	lp_ignore_destroy(ig);
}

static void lp_ignore_set__replaces_and_removes(void **state)
{
	struct lp_ignore *ig = lp_ignore_create();

	(void)state;
	set(ig, "a/b/c", LP_IGNORE_GITIGNORE, "x");
	set(ig, "a/b", LP_IGNORE_GITIGNORE, "y");
	assert_true(lp_ignore_check(ig, "a/b/c/x", false, NULL));
	set(ig, "a/b/c", LP_IGNORE_GITIGNORE, "z");
	assert_false(lp_ignore_check(ig, "a/b/c/x", false, NULL));
	assert_true(lp_ignore_check(ig, "a/b/c/z", false, NULL));
	set(ig, "a/b/c", LP_IGNORE_GITIGNORE, "");
	assert_false(lp_ignore_check(ig, "a/b/c/z", false, NULL));
	assert_true(lp_ignore_check(ig, "a/b/c/y", false, NULL));
	set(ig, "never/was", LP_IGNORE_GITIGNORE, "");
	set(ig, "a/b", LP_IGNORE_GITIGNORE, "");
	assert_false(lp_ignore_check(ig, "a/b/c/y", false, NULL));
	lp_ignore_destroy(ig);
	lp_ignore_destroy(NULL);
}

static void lp_ignore_set__finds_each_of_many_directories(void **state)
{
	struct lp_ignore *ig = lp_ignore_create();
	char dir[32], path[40];

	(void)state;
	/* 7919 is prime to 1000: all of them, out of order. */
	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(dir, sizeof(dir), "d%u", i * 7919 % 1000);
		set(ig, dir, LP_IGNORE_GITIGNORE, dir);
	}
	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(path, sizeof(path), "d%u/d%u", i, i);
		assert_true(lp_ignore_check(ig, path, false, NULL));
		(void)snprintf(path, sizeof(path), "d%u/d%u", i, i + 1);
		assert_false(lp_ignore_check(ig, path, false, NULL));
	}
	lp_ignore_destroy(ig);
}

static void lp_ignore_check_leaf__asks_no_parent(void **state)
{
	struct lp_ignore *ig = lp_ignore_create();

	(void)state;
	set(ig, "", LP_IGNORE_GITIGNORE, "a/");
	assert_true(lp_ignore_check(ig, "a/b", false, NULL));
	assert_false(lp_ignore_check_leaf(ig, "a/b", false, NULL));
	assert_true(lp_ignore_check_leaf(ig, "a", true, NULL));
	set(ig, "c/d", LP_IGNORE_GITIGNORE, "/e");
	assert_true(lp_ignore_check_leaf(ig, "c/d/e", false, NULL));
	lp_ignore_destroy(ig);
}

static void lp_ignore_add_builtin__leaves_out_what_is_nobodys_work(void **state)
{
	static const struct {
		const char *path;
		bool is_dir, expected;
	} cases[] = {
		{".git", true, true},
		{".git", false, true},
		{".git/config", false, true},
		{"sub/.git/HEAD", false, true},
		{".livepush/index", false, true},
		{".hg/store", false, true},
		{".svn/entries", false, true},
		{"a/.DS_Store", false, true},
		{"a.txt~", false, true},
		{".a.txt.swp", false, true},
		{".a.txt.swpx", false, true},
		{"4913", false, true},
		{"4913", true, false},
		{"4913/a", false, false},
		{"#a.txt#", false, true},
		{".#a.txt", false, true},
		{".goutputstream-ABC", false, true},
		{"app.py___jb_tmp___", false, true},
		{".gitignore", false, false},
		{".github/workflows/ci.yml", false, false},
		{".env", false, false},
		{"#notes", false, false},
		{"app.swp", false, false},
	};
	struct lp_ignore *ig = lp_ignore_create();
	struct lp_ignore_match m;

	(void)state;
	assert_int_equal(lp_ignore_add_builtin(ig), 0);
	assert_int_equal(lp_ignore_add_builtin(ig), 0);
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		if (lp_ignore_check(ig, cases[i].path, cases[i].is_dir, NULL) != cases[i].expected)
			fail_msg("%s", cases[i].path);
	}
	set(ig, "", LP_IGNORE_CONFIG, "!*~\n!.git\n!.livepush\n");
	set(ig, "sub", LP_IGNORE_CONFIG, "!.git\n");
	assert_false(lp_ignore_check(ig, "a.txt~", false, NULL));
	assert_true(lp_ignore_check(ig, ".git", true, &m));
	assert_string_equal(m.pattern, ".git");
	assert_true(lp_ignore_check(ig, "sub/.git", true, NULL));
	assert_true(lp_ignore_check(ig, ".livepush", true, NULL));
	lp_ignore_destroy(ig);
}

static void lp_ignore_check__takes_the_longest_names(void **state)
{
	struct lp_ignore *ig = lp_ignore_create();
	char name[256], line[5002], path[4096];
	size_t len = 0;

	(void)state;
	memset(name, 'n', 255);
	name[255] = '\0';
	set(ig, "", LP_IGNORE_GITIGNORE, name);
	assert_true(lp_ignore_check(ig, name, false, NULL));
	memset(line, 'n', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	line[sizeof(line) - 2] = '*';
	/* Too long a line is skipped, the next one still counts. */
	assert_int_equal(lp_ignore_set(ig, "", LP_IGNORE_GITIGNORE, "x", line, sizeof(line) - 1),
			 0);
	assert_false(lp_ignore_check(ig, name, false, NULL));
	line[5000] = '\n';
	line[5001] = 'q';
	assert_int_equal(lp_ignore_set(ig, "", LP_IGNORE_GITIGNORE, "x", line, sizeof(line)), 0);
	assert_true(lp_ignore_check(ig, "q", false, NULL));
	for (; len + 2 < sizeof(path); len += 2)
		memcpy(path + len, "d/", 2);
	path[len] = 'q';
	path[len + 1] = '\0';
	assert_true(lp_ignore_check(ig, path, false, NULL));
	lp_ignore_destroy(ig);
}

static void lp_ignore_level_of__knows_the_rule_files(void **state)
{
	(void)state;
	assert_int_equal(lp_ignore_level_of(".gitignore"), LP_IGNORE_GITIGNORE);
	assert_int_equal(lp_ignore_level_of(".cfignore"), LP_IGNORE_CFIGNORE);
	assert_int_equal(lp_ignore_level_of(".livepushignore"), LP_IGNORE_LIVEPUSHIGNORE);
	assert_int_equal(lp_ignore_level_of("livepush.yml"), -1);
	assert_int_equal(lp_ignore_level_of(""), -1);
}

static void lp_globs_match__looks_at_the_path_and_its_parents(void **state)
{
	static const char *const patterns[] = {
		"*.css", "/static/", "docs/**/*.md", "build/ ", "!odd", "#hash", "",
	};
	static const struct {
		const char *path;
		bool expected;
	} cases[] = {
		{"a.css", true},     {"x/y/a.css", true},   {"a.css/inner", true},
		{"static", false},   {"static/a", true},    {"x/static/a", false},
		{"docs/a.md", true}, {"docs/x/a.md", true}, {"x/docs/a.md", false},
		{"build/x/y", true}, {"x/build/y", true},   {"build", false},
		{"!odd", true},      {"odd", false},        {"#hash", true},
		{"app.py", false},
	};
	struct lp_globs *globs = lp_globs_create(patterns, LP_COUNT_OF(patterns));
	struct lp_globs *none = lp_globs_create(NULL, 0);

	(void)state;
	assert_non_null(globs);
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		if (lp_globs_match(globs, cases[i].path) != cases[i].expected)
			fail_msg("%s", cases[i].path);
		assert_false(lp_globs_match(none, cases[i].path));
	}
	lp_globs_destroy(globs);
	lp_globs_destroy(none);
	lp_globs_destroy(NULL);
}

static void lp_ignore_level_at__knows_rule_files_by_their_path(void **state)
{
	static const struct {
		const char *path;
		int level;
		size_t dir_len;
	} rows[] = {
		{".gitignore", LP_IGNORE_GITIGNORE, 0},
		{"a/b/.gitignore", LP_IGNORE_GITIGNORE, 3},
		{"a/.cfignore", LP_IGNORE_CFIGNORE, 1},
		{".livepushignore", LP_IGNORE_LIVEPUSHIGNORE, 0},
		{".git/info/exclude", LP_IGNORE_EXCLUDE, 0},
		{"a/.git/info/exclude", -1, 11},
		{"exclude", -1, 0},
		{"a/gitignore", -1, 1},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
		size_t dir_len = 99;

		assert_int_equal(lp_ignore_level_at(rows[i].path, &dir_len), rows[i].level);
		assert_int_equal(dir_len, rows[i].dir_len);
		assert_int_equal(lp_ignore_level_at(rows[i].path, NULL), rows[i].level);
	}
}

static void lp_ignore_file_of__tells_where_to_read(void **state)
{
	(void)state;
	assert_string_equal(lp_ignore_file_of(LP_IGNORE_EXCLUDE, ""), ".git/info/exclude");
	assert_null(lp_ignore_file_of(LP_IGNORE_EXCLUDE, "sub"));
	assert_string_equal(lp_ignore_file_of(LP_IGNORE_GITIGNORE, "sub"), ".gitignore");
	assert_null(lp_ignore_file_of(LP_IGNORE_BUILTIN, ""));
	assert_null(lp_ignore_file_of(LP_IGNORE_CONFIG, ""));
	/* Each file that is named is found again by its path. */
	for (int i = 0; i < LP_IGNORE_LEVEL_COUNT_; i++) {
		const char *file = lp_ignore_file_of((enum lp_ignore_level)i, "");

		if (file)
			assert_int_equal(lp_ignore_level_at(file, NULL), i);
	}
}

static void lp_ignore_check__puts_exclude_below_gitignore(void **state)
{
	struct lp_ignore *ig = lp_ignore_create();
	struct lp_ignore_match m;

	(void)state;
	assert_int_equal(
		lp_ignore_set(ig, "", LP_IGNORE_EXCLUDE, ".git/info/exclude", "*.a\n*.b\n", 8), 0);
	assert_int_equal(lp_ignore_set(ig, "", LP_IGNORE_GITIGNORE, ".gitignore", "!x.b\n", 5), 0);
	assert_true(lp_ignore_check(ig, "sub/x.a", false, &m));
	assert_string_equal(m.source, ".git/info/exclude");
	assert_int_equal(m.line, 1);
	assert_false(lp_ignore_check(ig, "x.b", false, &m));
	assert_string_equal(m.source, ".gitignore");
	lp_ignore_destroy(ig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lp_ignore_level_at__knows_rule_files_by_their_path),
		cmocka_unit_test(lp_ignore_file_of__tells_where_to_read),
		cmocka_unit_test(lp_ignore_check__puts_exclude_below_gitignore),
		cmocka_unit_test(lp_ignore_check__follows_gitignore),
		cmocka_unit_test(lp_ignore_check__prefers_deeper_then_later_rules),
		cmocka_unit_test(lp_ignore_set__replaces_and_removes),
		cmocka_unit_test(lp_ignore_set__finds_each_of_many_directories),
		cmocka_unit_test(lp_ignore_check_leaf__asks_no_parent),
		cmocka_unit_test(lp_ignore_add_builtin__leaves_out_what_is_nobodys_work),
		cmocka_unit_test(lp_ignore_check__takes_the_longest_names),
		cmocka_unit_test(lp_ignore_level_of__knows_the_rule_files),
		cmocka_unit_test(lp_globs_match__looks_at_the_path_and_its_parents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
