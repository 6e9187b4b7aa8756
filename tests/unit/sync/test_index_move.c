/* test_index_move.c: what goes with an entry when it moves, the chunks that it keeps, and the
 * bounds of what it holds. */
#include "tests/unit/sync/index_rig.h"

static struct lp_chunks *some_chunks(void)
{
	const struct lp_chunk c[] = {{.len = 20000, .digest = {{1}}}, {.len = 30000}};

	return lp_chunks_create(c, LP_COUNT_OF(c), NULL);
}

static void chunks__stay_as_long_as_the_content(void **state)
{
	struct lp_index *ix = lp_index_create();
	struct lp_chunks *chunks = some_chunks();
	struct lp_node *n;

	(void)state;
	put(ix, "d", LP_KIND_DIR, "");
	put_large(ix, "d/f", "one");
	n = lp_index_get(ix, "d/f");
	assert_null(lp_node_chunks(n));
	assert_null(lp_node_chunks(lp_index_get(ix, "d")));
	lp_node_set_chunks(n, chunks);
	lp_node_set_chunks(n, chunks);
	assert_int_equal(chunks->refs, 2);
	assert_ptr_equal(lp_node_chunks(n), chunks);
	put_large(ix, "d/f", "one");
	assert_ptr_equal(lp_node_chunks(n), chunks);
	put_large(ix, "d/f", "two");
	assert_null(lp_node_chunks(n));
	assert_int_equal(chunks->refs, 1);
	lp_node_set_chunks(n, chunks);
	lp_node_set_chunks(n, NULL);
	assert_null(lp_node_chunks(n));
	/* What else forgets them: another kind, removal, the end. */
	lp_node_set_chunks(n, chunks);
	put(ix, "d/f", LP_KIND_LINK, "two");
	assert_null(lp_node_chunks(lp_index_get(ix, "d/f")));
	lp_node_set_chunks(lp_index_get(ix, "d/f"), chunks); /* of files only */
	lp_node_set_chunks(lp_index_get(ix, "d"), chunks);
	assert_int_equal(chunks->refs, 1);
	put(ix, "d/f", LP_KIND_FILE, "two");
	lp_node_set_chunks(lp_index_get(ix, "d/f"), chunks); /* of large ones only */
	assert_int_equal(chunks->refs, 1);
	put_large(ix, "d/f", "two");
	lp_node_set_chunks(lp_index_get(ix, "d/f"), chunks);
	assert_true(lp_index_remove(ix, "d"));
	assert_int_equal(chunks->refs, 1);
	put_large(ix, "f", "three");
	lp_node_set_chunks(lp_index_get(ix, "f"), chunks);
	lp_index_destroy(ix);
	assert_int_equal(chunks->refs, 1);
	lp_chunks_unref(chunks);
}

static void move__takes_everything_along(void **state)
{
	const struct lp_stat_sig sig = {.ino = 7, .size = 5};
	struct lp_index *ix = lp_index_create(), *other = lp_index_create();
	struct lp_chunks *chunks = some_chunks();
	struct lp_digest root;
	struct lp_node *n;

	(void)state;
	put(ix, "a", LP_KIND_DIR, "");
	put(ix, "a/b", LP_KIND_DIR, "");
	put_large(ix, "a/b/f", "12345");
	put(ix, "c", LP_KIND_DIR, "");
	put(ix, "c/old", LP_KIND_FILE, "gone");
	n = lp_index_get(ix, "a/b/f");
	lp_node_set_sig(n, &sig);
	lp_node_set_chunks(n, chunks);
	n->mark = 42;
	lp_index_get(ix, "a/b")->mark = 43;
	assert_int_equal(lp_node_move(ix, lp_index_get(ix, "a/b"), "a longer name"), 0);
	assert_null(lp_index_get(ix, "a/b"));
	assert_ptr_equal(lp_index_get(ix, "a longer name/f"), n);
	assert_ptr_equal(lp_node_parent(n), lp_index_get(ix, "a longer name"));
	assert_int_equal(lp_node_parent(n)->mark, 43);
	assert_int_equal(lp_node_move(ix, n, "c/old"), 0);
	n = lp_index_get(ix, "c/old");
	assert_int_equal(n->e.size, LP_INLINE_MAX_BYTES + 5);
	assert_int_equal(n->mark, 42);
	assert_memory_equal(lp_node_sig(n), &sig, sizeof(sig));
	assert_ptr_equal(lp_node_chunks(n), chunks);
	assert_int_equal(chunks->refs, 2);
	assert_int_equal(lp_index_count(ix), 4);
	assert_int_equal(lp_index_bytes(ix), LP_INLINE_MAX_BYTES + 5);
	put(other, "a", LP_KIND_DIR, "");
	put(other, "a longer name", LP_KIND_DIR, "");
	put(other, "c", LP_KIND_DIR, "");
	put_large(other, "c/old", "12345");
	root = lp_index_root(other);
	assert_root_is(ix, &root, true);
	assert_int_equal(lp_node_move(ix, n, "c/old"), 0); /* where it is */
	assert_ptr_equal(lp_index_get(ix, "c/old"), n);
	lp_index_destroy(ix);
	lp_index_destroy(other);
	lp_chunks_unref(chunks);
}

static void move__goes_only_where_it_can(void **state)
{
	struct lp_index *ix = lp_index_create();
	struct lp_digest before;

	(void)state;
	put(ix, "a", LP_KIND_DIR, "");
	put(ix, "a/b", LP_KIND_DIR, "");
	put(ix, "f", LP_KIND_FILE, "f");
	before = lp_index_root(ix);
	assert_int_equal(lp_node_move(ix, lp_index_get(ix, "f"), "x/f"), -ENOENT);
	assert_int_equal(lp_node_move(ix, lp_index_get(ix, "a"), "f/a"), -ENOTDIR);
	assert_int_equal(lp_node_move(ix, lp_index_get(ix, "a"), "a/b/c"), -EINVAL);
	assert_int_equal(lp_node_move(ix, lp_index_get(ix, "a"), "a/c"), -EINVAL);
	assert_int_equal(lp_node_move(ix, lp_index_get(ix, "a/b"), "a"), -EINVAL);
	assert_root_is(ix, &before, true);
	assert_int_equal(lp_index_count(ix), 3);
	lp_index_destroy(ix);
}

/* Nobody has such a file, but a peer may say so. */
static void put__keeps_sizes_in_bounds(void **state)
{
	static const uint64_t sizes[] = {LP_NODE_SIZE_MAX, LP_NODE_SIZE_MAX + 1, INT64_MAX};
	struct lp_index *ix = lp_index_create_lean();

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
		const struct lp_entry e = {.kind = LP_KIND_FILE, .mode = 0777, .size = sizes[i]};
		struct lp_node *n;

		assert_int_equal(lp_index_put(ix, "f", &e, NULL, &n), 0);
		assert_true(n->e.size == LP_NODE_SIZE_MAX);
		assert_int_equal(lp_node_entry(n).mode, 0777);
		assert_true(lp_index_bytes(ix) == LP_NODE_SIZE_MAX);
		assert_int_equal(lp_node_equal(n, &e), sizes[i] == LP_NODE_SIZE_MAX);
	}
	assert_true(lp_index_remove(ix, "f"));
	assert_int_equal(lp_index_bytes(ix), 0);
	lp_index_destroy(ix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put__keeps_sizes_in_bounds),
		cmocka_unit_test(chunks__stay_as_long_as_the_content),
		cmocka_unit_test(move__takes_everything_along),
		cmocka_unit_test(move__goes_only_where_it_can),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
