/* test_changeset.c: changesets and blobs as data: counting, order, references. */
#include "common/base/lp_mem.h"
#include "sync/changeset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void blob__lives_as_long_as_its_references(void **state)
{
	struct lp_blob *b = lp_blob_create(5);

	(void)state;
	assert_non_null(b);
	assert_int_equal(b->len, 5);
	memcpy(b->data, "hello", 5);
	assert_ptr_equal(lp_blob_ref(b), b);
	lp_blob_unref(b);
	assert_memory_equal(b->data, "hello", 5);
	lp_blob_unref(b);
	lp_blob_unref(NULL);
	b = lp_blob_create(0);
	assert_non_null(b);
	lp_blob_unref(b);
}

static void add__copies_the_path_and_takes_the_blob(void **state)
{
	const struct lp_entry e = {.kind = LP_KIND_FILE, .mode = 0644, .size = 5};
	struct lp_changeset *cs = lp_changeset_create();
	struct lp_blob *b = lp_blob_create(5);
	char path[] = "a/b";
	struct lp_op *op;

	(void)state;
	op = lp_changeset_add(cs, LP_OP_PUT, path, &e, lp_blob_ref(b));
	path[0] = 'x';
	assert_string_equal(op->path, "a/b");
	assert_int_equal(op->kind, LP_OP_PUT);
	assert_true(lp_entry_equal(&op->e, &e));
	assert_ptr_equal(op->blob, b);
	assert_false(op->is_new);
	assert_int_equal(b->refs, 2);
	assert_ptr_equal(lp_changeset_ref(cs), cs);
	lp_changeset_unref(cs);
	assert_int_equal(b->refs, 2);
	lp_changeset_unref(cs);
	assert_int_equal(b->refs, 1);
	lp_blob_unref(b);
	lp_changeset_unref(NULL);
}

static void add__counts_what_has_to_be_sent(void **state)
{
	static const struct {
		enum lp_op_kind op;
		struct lp_entry e;
		uint64_t bytes;
	} cases[] = {
		{LP_OP_PUT, {.kind = LP_KIND_FILE, .size = 100}, 100},
		{LP_OP_PUT, {.kind = LP_KIND_LINK, .size = 7}, 7},
		{LP_OP_PUT, {.kind = LP_KIND_DIR, .size = 5}, 0},
		{LP_OP_PUT, {.kind = LP_KIND_FILE, .size = 0}, 0},
		{LP_OP_KEEP, {.kind = LP_KIND_FILE, .size = 100}, 0},
		{LP_OP_DELETE, {.kind = LP_KIND_FILE, .size = 100}, 0},
	};
	struct lp_changeset *cs = lp_changeset_create();
	uint64_t sum = 0;

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		lp_changeset_add(cs, cases[i].op, "p", &cases[i].e, NULL);
		sum += cases[i].bytes;
		assert_int_equal(cs->bytes, sum);
		assert_int_equal(cs->n_ops, i + 1);
	}
	lp_changeset_add(cs, LP_OP_DELETE, "p", NULL, NULL);
	assert_int_equal(cs->ops[cs->n_ops - 1].e.kind, LP_KIND_NONE);
	lp_changeset_unref(cs);
}

static void sort__puts_directories_before_what_is_in_them(void **state)
{
	static const char *const shuffled[] = {"b/c", "a/b",   "b",    "a.b",
					       "a",   "a/b/c", "\xff", "a-b"};
	static const char *const sorted[] = {"a", "a-b", "a.b", "a/b", "a/b/c", "b", "b/c", "\xff"};
	struct lp_changeset *cs = lp_changeset_create();

	(void)state;
	lp_changeset_sort(cs);
	for (size_t i = 0; i < LP_COUNT_OF(shuffled); i++)
		lp_changeset_add(cs, LP_OP_DELETE, shuffled[i], NULL, NULL);
	lp_changeset_sort(cs);
	assert_int_equal(cs->n_ops, LP_COUNT_OF(sorted));
	for (size_t i = 0; i < LP_COUNT_OF(sorted); i++)
		assert_string_equal(cs->ops[i].path, sorted[i]);
	lp_changeset_unref(cs);
}

static void sort__puts_moves_first_in_their_order(void **state)
{
	static const char *const expected[] = {"z", "b", "z", "a", "m"};
	const struct lp_entry dir = {.kind = LP_KIND_DIR, .mode = 0755};
	struct lp_changeset *cs = lp_changeset_create();
	char from[] = "y";

	(void)state;
	lp_changeset_add(cs, LP_OP_DELETE, "m", NULL, NULL);
	lp_changeset_add_move(cs, from, "z", &dir);
	lp_changeset_add(cs, LP_OP_DELETE, "a", NULL, NULL);
	lp_changeset_add_move(cs, "a", "b", &dir);
	lp_changeset_add_move(cs, "b", "z", &dir); /* none replaces another */
	from[0] = 'x';
	lp_changeset_sort(cs);
	assert_int_equal(cs->n_ops, LP_COUNT_OF(expected));
	for (size_t i = 0; i < LP_COUNT_OF(expected); i++) {
		assert_string_equal(cs->ops[i].path, expected[i]);
		assert_int_equal(cs->ops[i].kind == LP_OP_MOVE, i < 3);
		assert_int_equal(cs->ops[i].from != NULL, i < 3);
	}
	assert_string_equal(cs->ops[0].from, "y");
	assert_true(lp_entry_equal(&cs->ops[0].e, &dir));
	assert_int_equal(cs->bytes, 0);
	lp_changeset_unref(cs);
}

static void sort__keeps_the_last_of_one_path(void **state)
{
	const struct lp_entry one = {.kind = LP_KIND_FILE, .size = 1};
	const struct lp_entry two = {.kind = LP_KIND_FILE, .size = 20};
	struct lp_changeset *cs = lp_changeset_create();

	(void)state;
	lp_changeset_add(cs, LP_OP_PUT, "b", &one, lp_blob_create(1));
	lp_changeset_add(cs, LP_OP_PUT, "a", &one, lp_blob_create(1));
	lp_changeset_add(cs, LP_OP_PUT, "b", &two, lp_blob_create(20));
	lp_changeset_add(cs, LP_OP_PUT, "a", &two, NULL);
	lp_changeset_add(cs, LP_OP_DELETE, "a", NULL, NULL);
	lp_changeset_sort(cs);
	assert_int_equal(cs->n_ops, 2);
	assert_int_equal(cs->ops[0].kind, LP_OP_DELETE);
	assert_int_equal(cs->ops[1].e.size, 20);
	assert_int_equal(cs->bytes, 20);
	lp_changeset_unref(cs);
}

/* A list of n chunks of 20,000 bytes, the i-th named `first` + i. */
static struct lp_chunks *numbered_chunks(uint8_t first, uint8_t n)
{
	struct lp_chunk c[16] = {{0}};

	for (uint8_t i = 0; i < n; i++)
		c[i] = (struct lp_chunk){.len = 20000, .digest = {{(uint8_t)(first + i)}}};
	return lp_chunks_create(c, n, NULL);
}

/* It is asked for when changesets are sorted, and by every link. */
static void op_recipe__is_made_once(void **state)
{
	const struct lp_entry e = {.kind = LP_KIND_FILE, .size = 200000};
	struct lp_changeset *cs = lp_changeset_create();
	struct lp_op *op = lp_changeset_add(cs, LP_OP_PUT, "large", &e, NULL);
	const struct lp_segment *one, *other;
	size_t n;

	(void)state;
	op->chunks = numbered_chunks(10, 10);
	op->base.chunks = numbered_chunks(13, 16);
	lp_changeset_sort(cs);
	op = &cs->ops[0];
	n = lp_op_recipe(op, &one);
	assert_int_equal(n,
			 2); /* three chunks that the base does not have, and seven that it has */
	assert_int_equal(lp_op_recipe(op, &other), n);
	assert_ptr_equal(one, other);
	lp_changeset_unref(cs);
}

static void op_bytes__are_what_the_base_does_not_have(void **state)
{
	const struct lp_entry e = {.kind = LP_KIND_FILE, .size = 200000};
	struct lp_changeset *cs = lp_changeset_create();
	struct lp_op *op = lp_changeset_add(cs, LP_OP_PUT, "large", &e, NULL);

	(void)state;
	assert_int_equal(lp_op_bytes(op), 200000);
	op->chunks = numbered_chunks(10, 10);
	assert_int_equal(lp_op_bytes(op), 200000);
	op->base.chunks = numbered_chunks(13, 16);
	assert_int_equal(lp_op_bytes(op), 60000);
	lp_changeset_sort(cs);
	assert_int_equal(cs->bytes, 60000);
	op->kind = LP_OP_KEEP;
	assert_int_equal(lp_op_bytes(op), 0);
	op = lp_changeset_add(cs, LP_OP_PUT, "written", &e, NULL);
	op->chunks = numbered_chunks(10, 10);
	op->base.chunks = numbered_chunks(13, 16);
	op->base.written = lp_xcalloc(1, sizeof(*op->base.written));
	lp_ranges_add(op->base.written, 70000, 4096);
	assert_int_equal(lp_op_bytes(op), 4096);
	lp_changeset_unref(cs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blob__lives_as_long_as_its_references),
		cmocka_unit_test(add__copies_the_path_and_takes_the_blob),
		cmocka_unit_test(add__counts_what_has_to_be_sent),
		cmocka_unit_test(sort__puts_directories_before_what_is_in_them),
		cmocka_unit_test(sort__puts_moves_first_in_their_order),
		cmocka_unit_test(sort__keeps_the_last_of_one_path),
		cmocka_unit_test(op_recipe__is_made_once),
		cmocka_unit_test(op_bytes__are_what_the_base_does_not_have),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
