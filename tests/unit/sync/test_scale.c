/* test_scale.c: a hundred thousand files, in one directory and in many: index, comparison and
 * changesets hold them, and what grows with the square of their number would not come to an end
 * before the test is stopped. */
#include "common/base/lp_mem.h"
#include "sync/changeset.h"
#include "sync/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FILES 100000

/* Which file comes i-th. */
static size_t ascending(size_t i)
{
	return i;
}

static size_t descending(size_t i)
{
	return FILES - 1 - i;
}

static size_t scattered(size_t i)
{
	return i * 7919 % FILES; /* a prime that does not divide FILES: each comes once */
}

static struct lp_entry file_entry(size_t which)
{
	return (struct lp_entry){.kind = LP_KIND_FILE,
				 .mode = 0644,
				 .size = which,
				 .digest = lp_digest_of(&which, sizeof(which))};
}

/* Files in that order, per_dir of them in each directory. */
static struct lp_index *build(size_t (*order)(size_t i), size_t per_dir)
{
	static const struct lp_entry dir_entry = {.kind = LP_KIND_DIR, .mode = 0755};
	struct lp_index *ix = lp_index_create_lean();
	struct lp_node *top = lp_index_get(ix, "");

	for (size_t i = 0; i < FILES; i++) {
		size_t which = order(i);
		struct lp_entry e = file_entry(which);
		struct lp_node *dir;
		char name[32];

		(void)snprintf(name, sizeof(name), "directory%05zu", which / per_dir);
		dir = lp_node_child(top, name);
		if (!dir)
			dir = lp_node_put(ix, top, name, &dir_entry, NULL);
		(void)snprintf(name, sizeof(name), "file%06zu.c", which);
		(void)lp_node_put(ix, dir, name, &e, NULL);
	}
	return ix;
}

static void index__does_not_mind_the_order(void **state)
{
	static size_t (*const orders[])(size_t) = {ascending, descending, scattered};
	static const size_t per_dir[] = {10, FILES};

	(void)state;
	for (size_t p = 0; p < LP_COUNT_OF(per_dir); p++) {
		struct lp_digest first = {{0}};

		for (size_t o = 0; o < LP_COUNT_OF(orders); o++) {
			struct lp_index *ix = build(orders[o], per_dir[p]);
			struct lp_digest root = lp_index_root(ix);

			if (o == 0)
				first = root;
			assert_true(lp_digest_equal(&root, &first));
			assert_int_equal(lp_index_files(ix), FILES);
			assert_int_equal(lp_index_count(ix), FILES + FILES / per_dir[p]);
			lp_index_destroy(ix);
		}
	}
}

/* A change among very many siblings, again and again, and the root after each. */
static void root__follows_each_change(void **state)
{
	struct lp_index *ix = build(ascending, FILES);
	struct lp_digest before = lp_index_root(ix), root;
	struct lp_node *dir = lp_node_at(lp_index_get(ix, ""), 0);

	(void)state;
	for (size_t i = 0; i < FILES; i++) {
		const char *name = lp_node_at(dir, (uint32_t)i)->name;
		struct lp_entry e = file_entry(i);

		e.mode = 0600;
		(void)lp_node_put(ix, dir, name, &e, NULL);
		root = lp_index_root(ix);
		assert_false(lp_digest_equal(&root, &before));
		e.mode = 0644;
		(void)lp_node_put(ix, dir, name, &e, NULL);
	}
	root = lp_index_root(ix);
	assert_true(lp_digest_equal(&root, &before));
	lp_index_destroy(ix);
}

static void changeset__sorts_very_many(void **state)
{
	struct lp_index *ix = build(ascending, 100);
	struct lp_changeset *cs = lp_changeset_create();
	struct lp_loss loss;
	uint64_t bytes;

	(void)state;
	(void)lp_index_root(ix);
	assert_int_equal(lp_diff_add_subtree(cs, lp_index_get(ix, "")), 0);
	assert_int_equal(cs->n_ops, FILES + FILES / 100);
	bytes = cs->bytes;
	for (size_t i = 0; i < cs->n_ops; i++) {
		size_t k = i * 7919 % cs->n_ops;
		struct lp_op op = cs->ops[i];

		cs->ops[i] = cs->ops[k];
		cs->ops[k] = op;
	}
	lp_changeset_sort(cs);
	assert_int_equal(cs->n_ops, FILES + FILES / 100);
	assert_int_equal(cs->bytes, bytes);
	for (size_t i = 1; i < cs->n_ops; i++)
		assert_true(strcmp(cs->ops[i - 1].path, cs->ops[i].path) < 0);
	loss = lp_changeset_loss(cs, 10, lp_index_files(ix));
	assert_int_equal(loss.files, 10);
	lp_changeset_unref(cs);
	lp_index_destroy(ix);
}

static void never(void *ctx, const char *path)
{
	(void)ctx;
	fail_msg("'%s' is listed", path);
}

static void diff_listing__compares_very_many(void **state)
{
	struct lp_index *ix = build(ascending, FILES);
	struct lp_node *dir = lp_node_at(lp_index_get(ix, ""), 0);
	struct lp_peer_entry *entries = lp_xcalloc(FILES, sizeof(*entries));
	struct lp_changeset *cs = lp_changeset_create();

	(void)state;
	(void)lp_index_root(ix);
	for (size_t i = 0; i < FILES; i++) {
		const struct lp_node *n = lp_node_at(dir, (uint32_t)scattered(i));

		entries[i] = (struct lp_peer_entry){
			.name = n->name, .e = lp_node_entry(n), .owned = true};
	}
	entries[4711].e.mode = 0;
	entries[815].e.digest.b[0] ^= 1;
	assert_int_equal(lp_diff_listing(cs, dir, &(struct lp_peer_dir){dir->name, entries, FILES},
					 never, NULL),
			 0);
	assert_int_equal(cs->n_ops, 2);
	lp_changeset_unref(cs);
	free(entries);
	lp_index_destroy(ix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(index__does_not_mind_the_order),
		cmocka_unit_test(root__follows_each_change),
		cmocka_unit_test(changeset__sorts_very_many),
		cmocka_unit_test(diff_listing__compares_very_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
