/* test_carried.c: which revision had a path last. */
#include "cli/carried.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const struct lp_entry file = {.kind = LP_KIND_FILE, .mode = 0644};
static const struct lp_entry dir = {.kind = LP_KIND_DIR, .mode = 0755};

static void carry(struct lp_carried *c, uint64_t revision, const char *path)
{
	struct lp_changeset *cs = lp_changeset_create();

	cs->revision = revision;
	lp_changeset_add(cs, LP_OP_PUT, path, &file, NULL);
	lp_carried_add(c, cs);
	lp_changeset_unref(cs);
}

static void lp_carried_find__knows_the_newest_revision_of_a_path(void **state)
{
	struct lp_carried *c = lp_carried_create();

	(void)state;
	assert_int_equal(lp_carried_find(c, "a"), 0);
	carry(c, 3, "a");
	carry(c, 4, "dir/b");
	carry(c, 7, "a");
	assert_int_equal(lp_carried_find(c, "a"), 7);
	assert_int_equal(lp_carried_find(c, "dir/b"), 4);
	assert_int_equal(lp_carried_find(c, "dir"), 0);
	assert_int_equal(lp_carried_find(c, "dir/c"), 0);
	lp_carried_destroy(c);
}

static void lp_carried_find__counts_a_directory_that_moved(void **state)
{
	struct lp_carried *c = lp_carried_create();
	struct lp_changeset *cs = lp_changeset_create();

	(void)state;
	carry(c, 2, "new/x");
	carry(c, 2, "new");
	cs->revision = 5;
	lp_changeset_add_move(cs, "old", "new", &dir);
	lp_changeset_add(cs, LP_OP_PUT, "new", &dir, NULL);
	lp_carried_add(c, cs);
	lp_changeset_unref(cs);
	assert_int_equal(lp_carried_find(c, "new/x"), 5);
	assert_int_equal(lp_carried_find(c, "new/deep/y"), 5);
	assert_int_equal(lp_carried_find(c, "newer"), 0);
	carry(c, 6, "new/x");
	assert_int_equal(lp_carried_find(c, "new/x"), 6);
	lp_carried_destroy(c);
}

/* Twice what it remembers: the later half is there, the first ones are not, and never is one
 * answered with another's revision. */
static void lp_carried_add__forgets_what_is_oldest(void **state)
{
	struct lp_carried *c = lp_carried_create();
	const unsigned n = 1200000;
	char path[32];

	(void)state;
	for (unsigned i = 1; i <= n; i++) {
		(void)snprintf(path, sizeof(path), "d%u/f%u", i % 7, i);
		carry(c, i, path);
	}
	for (unsigned i = n - 1000; i <= n; i++) {
		(void)snprintf(path, sizeof(path), "d%u/f%u", i % 7, i);
		assert_int_equal(lp_carried_find(c, path), i);
	}
	assert_int_equal(lp_carried_find(c, "d1/f1"), 0);
	lp_carried_destroy(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lp_carried_find__knows_the_newest_revision_of_a_path),
		cmocka_unit_test(lp_carried_find__counts_a_directory_that_moved),
		cmocka_unit_test(lp_carried_add__forgets_what_is_oldest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
