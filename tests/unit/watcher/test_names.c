/* test_names.c: names that tools use for a moment, and a tree of watched names. */
#include "watcher/names.h"

#include "common/base/lp_util.h"
#include "watcher/watch_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void transient__knows_the_names_of_tools(void **state)
{
	static const char *const transient[] = {
		"sedqW3xYz",
		".main.c.AbC12d",
		"tmpab_1x9qz",
		"x.tmp",
		"a.vsctmp",
		"main.c___jb_tmp___",
		"main.c___jb_old___",
		".goutputstream-X1Y2Z3",
		".subl4f.tmp",
		"notes.txt.AbCdEf",
		"4913",
		".main.c.swp",
		".merge_file_a1B2c3",
	};
	static const char *const plain[] = {
		"main.c",   "sedation",         "sediment", "tmp",        "tmpl.html",
		"template", ".eslintrc.config", "x.tmp.c",  "app.module", ".gitignore",
		"4914",     "index.html",       "a.config", "",
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(transient); i++)
		if (!lp_name_is_transient(transient[i]))
			fail_msg("%s is not known", transient[i]);
	for (size_t i = 0; i < LP_COUNT_OF(plain); i++)
		if (lp_name_is_transient(plain[i]))
			fail_msg("%s is taken for a transient one", plain[i]);
}

static bool has_origin(const char *name, const char *origin)
{
	char out[256];

	for (size_t i = 0, len; (len = lp_name_origin(name, i, out)) > 0; i++) {
		assert_int_equal(strlen(out), len);
		assert_true(len < strlen(name));
		if (strcmp(out, origin) == 0)
			return true;
	}
	return false;
}

static void origin__is_among_the_candidates(void **state)
{
	static const struct {
		const char *name, *origin;
	} cases[] = {
		{"x~", "x"},        {"x.bak", "x"},
		{".x.AbC123", "x"}, {"#x#", "x"},
		{"a.c.new", "a.c"}, {"a.c.tmp.4711.17", "a.c"},
		{"a.c-tmp", "a.c"}, {"a.c___jb_tmp___", "a.c"},
		{".#a.c", "a.c"},   {"a.json.1234567890", "a.json"},
		{"_a.c", "a.c"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++)
		if (!has_origin(cases[i].name, cases[i].origin))
			fail_msg("%s: %s is no candidate", cases[i].name, cases[i].origin);
	assert_false(has_origin("x", "x"));
	assert_false(has_origin("x.c", "y"));
	assert_false(has_origin("", ""));
	assert_true(lp_name_is_made_of("a.c~", "a.c"));
	assert_true(lp_name_is_made_of(".#a.c", "a.c"));
	assert_false(lp_name_is_made_of("a.c", "a.c"));
	assert_false(lp_name_is_made_of("b.c", "a.c"));
	assert_false(lp_name_is_made_of("data.c.old", "a.c"));
}

static int dropped[16];
static size_t n_dropped;

static void on_drop(void *ctx, int wd)
{
	(void)ctx;
	assert_true(n_dropped < LP_COUNT_OF(dropped));
	dropped[n_dropped++] = wd;
}

static void is_at(const struct lp_wtree *t, int wd, const char *path)
{
	char out[4096];
	struct lp_wdir *d = lp_wtree_find(t, wd);

	if (!d)
		fail_msg("%d (%s) is not known", wd, path);
	assert_int_equal(lp_wtree_path(t, d, NULL, out, sizeof(out)), 0);
	assert_string_equal(out, path);
	assert_ptr_equal(lp_wtree_get(t, path), d);
}

static void tree__moves_with_all_below(void **state)
{
	struct lp_wtree t = {0};
	struct lp_wdir *a;
	char out[16];

	(void)state;
	n_dropped = 0;
	lp_wtree_put(&t, "", 1, on_drop, NULL);
	lp_wtree_put(&t, "a", 2, on_drop, NULL);
	lp_wtree_put(&t, "a/b", 3, on_drop, NULL);
	lp_wtree_put(&t, "a/b/c", 4, on_drop, NULL);
	is_at(&t, 4, "a/b/c");
	is_at(&t, 1, "");
	/* In two steps, with nothing in between. */
	a = lp_wtree_get(&t, "a");
	lp_wtree_detach(&t, a);
	assert_null(lp_wtree_get(&t, "a"));
	assert_int_equal(lp_wtree_path(&t, lp_wtree_find(&t, 4), "f", out, sizeof(out)), -ENOENT);
	for (int i = 0; i < 1000; i++) { /* the tables grow meanwhile */
		char name[16];

		(void)snprintf(name, sizeof(name), "d%d", i);
		lp_wtree_put(&t, name, 100 + i, on_drop, NULL);
	}
	lp_wtree_attach(&t, a, lp_wtree_get(&t, "d7"), "z", on_drop, NULL);
	is_at(&t, 4, "d7/z/b/c");
	assert_int_equal(lp_wtree_path(&t, lp_wtree_find(&t, 3), "f", out, sizeof(out)), 0);
	assert_string_equal(out, "d7/z/b/f");
	assert_int_equal(lp_wtree_path(&t, lp_wtree_find(&t, 3), "too long", out, 8),
			 -ENAMETOOLONG);
	/* The kernel names a watch again: it moved while nobody was told. */
	lp_wtree_put(&t, "b", 3, on_drop, NULL);
	is_at(&t, 4, "b/c");
	is_at(&t, 2, "d7/z");
	assert_int_equal(n_dropped, 0);
	/* Another directory is where one was. */
	lp_wtree_put(&t, "b", 9, on_drop, NULL);
	is_at(&t, 9, "b");
	assert_int_equal(n_dropped, 2);
	assert_null(lp_wtree_find(&t, 3));
	assert_null(lp_wtree_find(&t, 4));
	/* What lies below takes its parent's place. */
	lp_wtree_put(&t, "b/x", 10, on_drop, NULL);
	lp_wtree_put(&t, "b", 10, on_drop, NULL);
	is_at(&t, 10, "b");
	assert_null(lp_wtree_find(&t, 9));
	/* Above what is watched something need not be. */
	n_dropped = 0;
	lp_wtree_put(&t, "p/q/r", 11, on_drop, NULL);
	is_at(&t, 11, "p/q/r");
	lp_wtree_unwatch(&t, lp_wtree_find(&t, 11));
	assert_null(lp_wtree_get(&t, "p"));
	assert_int_equal(n_dropped, 0);
	assert_int_equal(t.n, t.n_watched);
	assert_int_equal(t.n, 1 + 1000 + 2);
	/* A new root. */
	lp_wtree_put(&t, "", 12, NULL, NULL);
	assert_int_equal(t.n, 1);
	lp_wtree_finish(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transient__knows_the_names_of_tools),
		cmocka_unit_test(origin__is_among_the_candidates),
		cmocka_unit_test(tree__moves_with_all_below),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
