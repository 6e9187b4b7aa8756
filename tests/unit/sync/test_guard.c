/* test_guard.c: how much a changeset takes away. */
#include "sync/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void put(struct lp_index *ix, const char *path, enum lp_kind kind)
{
	const struct lp_entry e = {.kind = kind, .mode = 0644, .size = strlen(path)};

	assert_int_equal(lp_index_put(ix, path, &e, NULL, NULL), 0);
}

/* 100 files in src, 10 in other, a link. */
static struct lp_index *build(void)
{
	struct lp_index *ix = lp_index_create();
	char path[32];

	put(ix, "src", LP_KIND_DIR);
	put(ix, "other", LP_KIND_DIR);
	put(ix, "link", LP_KIND_LINK);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(path, sizeof(path), "src/%d", i);
		put(ix, path, LP_KIND_FILE);
	}
	for (int i = 0; i < 10; i++) {
		(void)snprintf(path, sizeof(path), "other/%d", i);
		put(ix, path, LP_KIND_FILE);
	}
	return ix;
}

/* Changes the index as a workspace changes, and writes down how. */
static void put_op(struct lp_index *ix, struct lp_changeset *cs, const char *path,
		   enum lp_kind kind)
{
	const struct lp_entry e = {.kind = kind};

	lp_changeset_add(cs, LP_OP_PUT, path, &e, NULL)->is_new = !lp_index_get(ix, path);
	put(ix, path, kind);
}

static void delete_op(struct lp_index *ix, struct lp_changeset *cs, const char *path)
{
	assert_true(lp_index_remove(ix, path));
	lp_changeset_add(cs, LP_OP_DELETE, path, NULL, NULL);
}

static void move_op(struct lp_index *ix, struct lp_changeset *cs, const char *from, const char *to)
{
	struct lp_node *n = lp_index_get(ix, from);
	const struct lp_entry e = lp_node_entry(n);

	assert_int_equal(lp_node_move(ix, n, to), 0);
	lp_changeset_add_move(cs, from, to, &e);
}

static void delete_directory(struct lp_index *ix, struct lp_changeset *cs)
{
	delete_op(ix, cs, "src");
}

static void delete_all(struct lp_index *ix, struct lp_changeset *cs)
{
	delete_op(ix, cs, "src");
	delete_op(ix, cs, "other");
	delete_op(ix, cs, "link");
}

static void delete_small(struct lp_index *ix, struct lp_changeset *cs)
{
	delete_op(ix, cs, "other");
	delete_op(ix, cs, "link");
}

static void rename_directory(struct lp_index *ix, struct lp_changeset *cs)
{
	move_op(ix, cs, "src", "lib");
	put_op(ix, cs, "lib/5", LP_KIND_FILE);
}

static void rename_over_directory(struct lp_index *ix, struct lp_changeset *cs)
{
	move_op(ix, cs, "other", "src");
}

static void replace_by_file(struct lp_index *ix, struct lp_changeset *cs)
{
	put_op(ix, cs, "src", LP_KIND_FILE);
}

static void replace_by_directory(struct lp_index *ix, struct lp_changeset *cs)
{
	put_op(ix, cs, "link", LP_KIND_DIR);
	put_op(ix, cs, "link/in it", LP_KIND_FILE);
}

static void exchange_trees(struct lp_index *ix, struct lp_changeset *cs)
{
	char path[32];

	delete_op(ix, cs, "src");
	put_op(ix, cs, "new", LP_KIND_DIR);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(path, sizeof(path), "new/%d", i);
		put_op(ix, cs, path, LP_KIND_FILE);
	}
}

static void rewrite_all(struct lp_index *ix, struct lp_changeset *cs)
{
	char path[32];

	for (int i = 0; i < 100; i++) {
		(void)snprintf(path, sizeof(path), "src/%d", i);
		put_op(ix, cs, path, LP_KIND_FILE);
	}
}

static void loss__counts_what_is_gone(void **state)
{
	static const struct {
		const char *name;
		void (*change)(struct lp_index *ix, struct lp_changeset *cs);
		size_t files;
		bool is_mass;
	} cases[] = {
		{"a directory", delete_directory, 100, true},
		{"everything", delete_all, 111, true},
		{"a small directory", delete_small, 11, false},
		{"renaming", rename_directory, 0, false},
		{"renaming over another", rename_over_directory, 100, true},
		{"a file in its place", replace_by_file, 99, true}, /* it makes up for one */
		{"a directory in the place of a link", replace_by_directory, 1, false},
		{"other files instead", exchange_trees, 100, true},
		{"all files written", rewrite_all, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_index *ix = build();
		struct lp_changeset *cs = lp_changeset_create();
		struct lp_loss loss;

		cases[i].change(ix, cs);
		loss = lp_changeset_loss(cs, 111, lp_index_files(ix));
		if (loss.files != cases[i].files || loss.of != 111 ||
		    lp_loss_is_mass(&loss) != cases[i].is_mass)
			fail_msg("%s: %zu of %zu", cases[i].name, loss.files, loss.of);
		lp_changeset_unref(cs);
		lp_index_destroy(ix);
	}
}

/* An instance that holds more than the workspace: comparing says how much more. */
static void loss__is_known_when_catching_up(void **state)
{
	const struct lp_peer_entry peer[] = {
		{.name = "src", .e = {.kind = LP_KIND_DIR}, .owned = true},
		{.name = "mine", .e = {.kind = LP_KIND_FILE, .size = 4}, .owned = false},
	};
	struct lp_index *ix = lp_index_create();
	struct lp_changeset *cs = lp_changeset_create();
	struct lp_loss loss;

	(void)state;
	put(ix, "mine", LP_KIND_FILE);
	put(ix, "new", LP_KIND_FILE);
	(void)lp_index_root(ix);
	assert_int_equal(lp_diff_listing(cs, lp_index_get(ix, ""),
					 &(struct lp_peer_dir){"", peer, 2}, NULL, NULL),
			 0);
	loss = lp_changeset_loss(cs, 5000, lp_index_files(ix));
	assert_int_equal(loss.files, 5000);
	assert_int_equal(loss.of, 5000);
	lp_changeset_unref(cs);
	lp_index_destroy(ix);
}

static void loss__is_mass_beyond_half_and_twenty(void **state)
{
	static const struct {
		struct lp_loss loss;
		bool is_mass;
	} cases[] = {
		{{0, 0}, false},   {{20, 20}, false},  {{21, 21}, true},  {{21, 41}, true},
		{{21, 42}, false}, {{50, 100}, false}, {{51, 100}, true}, {{50000, 100000}, false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++)
		if (lp_loss_is_mass(&cases[i].loss) != cases[i].is_mass)
			fail_msg("%zu of %zu", cases[i].loss.files, cases[i].loss.of);
}

/* Numbers that do not fit each other, as from an instance that does not count: never more than
 * there was, never below nothing. */
static void loss__stays_in_bounds(void **state)
{
	struct lp_changeset *cs = lp_changeset_create();
	const struct lp_entry e = {.kind = LP_KIND_FILE};
	struct lp_loss loss = lp_changeset_loss(cs, 0, 100);

	(void)state;
	assert_int_equal(loss.files, 0);
	for (int i = 0; i < 50; i++)
		lp_changeset_add(cs, LP_OP_PUT, "f", &e, NULL)->is_new = true;
	loss = lp_changeset_loss(cs, 0, 1);
	assert_int_equal(loss.files, 0);
	assert_false(lp_loss_is_mass(&loss));
	lp_changeset_unref(cs);
}

static void loss__goes_by_numbers_when_that_is_asked(void **state)
{
	struct lp_loss loss = lp_loss_net(36, 24);

	(void)state;
	assert_int_equal(loss.files, 12);
	assert_int_equal(loss.of, 36);
	loss = lp_loss_net(36, 40);
	assert_int_equal(loss.files, 0);
	assert_false(lp_loss_is_mass(&loss));
	loss = lp_loss_net(36, 0);
	assert_true(lp_loss_is_mass(&loss));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loss__counts_what_is_gone),
		cmocka_unit_test(loss__is_known_when_catching_up),
		cmocka_unit_test(loss__is_mass_beyond_half_and_twenty),
		cmocka_unit_test(loss__stays_in_bounds),
		cmocka_unit_test(loss__goes_by_numbers_when_that_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
