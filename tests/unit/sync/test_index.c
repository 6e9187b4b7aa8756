/* test_index.c: the tree of entries, its digests, and random operations against a flat model. */
#include "common/base/lp_mem.h"
#include "tests/unit/sync/index_rig.h"

#include <inttypes.h>
#include <stdio.h>

static void index__begins_empty(void **state)
{
	struct lp_index *ix = lp_index_create();
	struct lp_digest root = lp_index_root(ix);
	struct lp_node *top = lp_index_get(ix, "");

	(void)state;
	assert_true(lp_digest_is_none(&root));
	assert_int_equal(lp_index_count(ix), 0);
	assert_int_equal(lp_index_bytes(ix), 0);
	assert_non_null(top);
	assert_int_equal(top->e.kind, LP_KIND_DIR);
	assert_null(lp_node_next(top, top));
	assert_false(lp_index_remove(ix, "a"));
	assert_null(lp_index_get(ix, "a"));
	lp_index_destroy(ix);
	lp_index_destroy(NULL);
}

static void put__stores_what_it_was_given(void **state)
{
	const struct lp_stat_sig sig = {.ino = 1, .size = 2, .mtime_ns = -3, .ctime_ns = 4};
	const struct lp_stat_sig unknown = {0};
	const struct lp_entry e = entry(LP_KIND_FILE, "12345");
	struct lp_index *ix = lp_index_create();
	struct lp_node *n = NULL;
	char path[16];

	(void)state;
	put(ix, "d", LP_KIND_DIR, "");
	assert_int_equal(lp_index_put(ix, "d/f", &e, &sig, &n), 0);
	assert_ptr_equal(n, lp_index_get(ix, "d/f"));
	assert_ptr_equal(n, lp_node_child(lp_index_get(ix, "d"), "f"));
	assert_ptr_equal(lp_node_parent(n), lp_index_get(ix, "d"));
	assert_true(lp_node_equal(n, &e));
	assert_memory_equal(lp_node_sig(n), &sig, sizeof(sig));
	assert_string_equal(n->name, "f");
	assert_int_equal(lp_node_path(n, path, sizeof(path)), 0);
	assert_string_equal(path, "d/f");
	assert_int_equal(lp_index_count(ix), 2);
	assert_int_equal(lp_index_bytes(ix), 5);
	put(ix, "d/f", LP_KIND_FILE, "123");
	assert_ptr_equal(n, lp_index_get(ix, "d/f"));
	assert_memory_equal(lp_node_sig(n), &unknown, sizeof(sig));
	lp_node_set_sig(n, &sig);
	assert_memory_equal(lp_node_sig(n), &sig, sizeof(sig));
	lp_node_set_sig(n, NULL);
	assert_memory_equal(lp_node_sig(n), &unknown, sizeof(sig));
	assert_int_equal(lp_index_count(ix), 2);
	assert_int_equal(lp_index_bytes(ix), 3);
	put(ix, "d/l", LP_KIND_LINK, "target");
	assert_int_equal(lp_index_bytes(ix), 3);
	lp_index_destroy(ix);
}

static void append__is_like_put_in_order(void **state)
{
	static const char *const names[] = {"a", "ab", "b", "b.c", "bb"};
	const struct lp_stat_sig sig = {.ino = 1, .size = 5};
	const struct lp_entry e = entry(LP_KIND_FILE, "12345");
	struct lp_index *ix = lp_index_create(), *other = lp_index_create();
	struct lp_digest root, wanted;
	struct lp_node *top = lp_index_get(ix, ""), *n;

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
		n = lp_node_append(ix, top, names[i], strlen(names[i]), &e, &sig);
		assert_non_null(n);
		assert_ptr_equal(n, lp_index_get(ix, names[i]));
		assert_memory_equal(lp_node_sig(n), &sig, sizeof(sig));
		put(other, names[LP_COUNT_OF(names) - 1 - i], LP_KIND_FILE, "12345");
		/* What is not behind all of them is refused. */
		assert_null(lp_node_append(ix, top, names[i], strlen(names[i]), &e, &sig));
		assert_null(lp_node_append(ix, top, "A", 1, &e, &sig));
	}
	root = lp_index_root(ix);
	wanted = lp_index_root(other);
	assert_true(lp_digest_equal(&root, &wanted));
	assert_int_equal(lp_index_count(ix), LP_COUNT_OF(names));
	assert_int_equal(lp_index_bytes(ix), 5 * LP_COUNT_OF(names));
	/* Also while some are not in their place yet. */
	put(ix, "aa", LP_KIND_FILE, "12345");
	assert_non_null(lp_node_append(ix, top, "c", 1, &e, &sig));
	assert_string_equal(lp_node_at(top, lp_node_count(top) - 1)->name, "c");
	lp_index_destroy(ix);
	lp_index_destroy(other);
}

static void lean_index__has_no_signatures(void **state)
{
	const struct lp_stat_sig sig = {.ino = 1, .size = 2}, unknown = {0};
	const struct lp_entry e = entry(LP_KIND_FILE, "12345");
	struct lp_index *ix = lp_index_create_lean(), *other = lp_index_create();
	struct lp_digest root;
	struct lp_node *n;

	(void)state;
	assert_int_equal(lp_index_put(ix, "f", &e, &sig, &n), 0);
	assert_memory_equal(lp_node_sig(n), &unknown, sizeof(sig));
	lp_node_set_sig(n, &sig);
	assert_memory_equal(lp_node_sig(n), &unknown, sizeof(sig));
	assert_true(lp_node_equal(n, &e));
	assert_int_equal(lp_index_put(other, "f", &e, &sig, NULL), 0);
	root = lp_index_root(other);
	assert_root_is(ix, &root, true);
	lp_index_destroy(ix);
	lp_index_destroy(other);
}

static void put__needs_a_parent(void **state)
{
	const struct lp_entry e = entry(LP_KIND_FILE, "");
	struct lp_index *ix = lp_index_create();

	(void)state;
	put(ix, "f", LP_KIND_FILE, "");
	put(ix, "l", LP_KIND_LINK, "f");
	assert_int_equal(lp_index_put(ix, "d/f", &e, NULL, NULL), -ENOENT);
	assert_int_equal(lp_index_put(ix, "d/e/f", &e, NULL, NULL), -ENOENT);
	assert_int_equal(lp_index_put(ix, "f/f", &e, NULL, NULL), -ENOTDIR);
	assert_int_equal(lp_index_put(ix, "l/f", &e, NULL, NULL), -ENOTDIR);
	assert_int_equal(lp_index_count(ix), 2);
	lp_index_destroy(ix);
}

/* Names of which one is the beginning of the other, and bytes above 127. */
static void get__tells_similar_names_apart(void **state)
{
	static const char *const names[] = {"a",  "ab",   "abc",  "abd", "b", "a.b",
					    "a ", "\xff", "\xc3", "aB",  "A", "ab\xff"};
	struct lp_index *ix = lp_index_create();
	struct lp_node *n = lp_index_get(ix, "");
	const char *before = "";

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(names); i++)
		put(ix, names[i], LP_KIND_FILE, names[i]);
	assert_int_equal(lp_index_count(ix), LP_COUNT_OF(names));
	for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
		struct lp_digest d = lp_digest_of(names[i], strlen(names[i]));

		assert_true(lp_digest_equal(&lp_index_get(ix, names[i])->e.digest, &d));
	}
	assert_null(lp_index_get(ix, "abcd"));
	assert_null(lp_index_get(ix, "ac"));
	assert_null(lp_index_get(ix, "a/b"));
	for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
		n = lp_node_next(lp_index_get(ix, ""), n);
		assert_true(strcmp(before, n->name) < 0);
		before = n->name;
	}
	assert_null(lp_node_next(lp_index_get(ix, ""), n));
	lp_index_destroy(ix);
}

static void put__replaces_what_was_below(void **state)
{
	static const enum lp_kind kinds[] = {LP_KIND_FILE, LP_KIND_LINK};
	struct lp_digest before;

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(kinds); i++) {
		struct lp_index *ix = lp_index_create();

		put(ix, "keep", LP_KIND_FILE, "k");
		put(ix, "x", LP_KIND_FILE, "first");
		before = lp_index_root(ix);
		put(ix, "x", LP_KIND_DIR, "");
		assert_int_equal(lp_index_bytes(ix), 1);
		put(ix, "x/y", LP_KIND_DIR, "");
		put(ix, "x/y/z", LP_KIND_FILE, "content");
		put(ix, "x", LP_KIND_DIR, "");
		assert_int_equal(lp_index_count(ix), 4); /* a directory that stays keeps its own */
		assert_int_equal(lp_index_bytes(ix), 8);
		assert_root_is(ix, &before, false);
		put(ix, "x", kinds[i], "first");
		assert_int_equal(lp_index_count(ix), 2);
		assert_null(lp_index_get(ix, "x/y"));
		assert_root_is(ix, &before, kinds[i] == LP_KIND_FILE);
		put(ix, "x", LP_KIND_DIR, "");
		assert_null(lp_index_get(ix, "x/y"));
		assert_int_equal(lp_index_bytes(ix), 1);
		lp_index_destroy(ix);
	}
}

static void remove__takes_all_below(void **state)
{
	struct lp_index *ix = lp_index_create();
	struct lp_digest empty = lp_index_root(ix), one;

	(void)state;
	put(ix, "a", LP_KIND_FILE, "a");
	one = lp_index_root(ix);
	put(ix, "d", LP_KIND_DIR, "");
	put(ix, "d/e", LP_KIND_DIR, "");
	put(ix, "d/e/f", LP_KIND_FILE, "123");
	put(ix, "d/g", LP_KIND_FILE, "45");
	assert_int_equal(lp_index_bytes(ix), 6);
	(void)lp_index_root(ix);
	assert_true(lp_index_remove(ix, "d"));
	assert_false(lp_index_remove(ix, "d"));
	assert_int_equal(lp_index_count(ix), 1);
	assert_int_equal(lp_index_bytes(ix), 1);
	assert_root_is(ix, &one, true);
	assert_true(lp_index_remove(ix, ""));
	assert_int_equal(lp_index_count(ix), 0);
	assert_int_equal(lp_index_bytes(ix), 0);
	assert_root_is(ix, &empty, true);
	put(ix, "a", LP_KIND_FILE, "a");
	assert_root_is(ix, &one, true);
	lp_index_destroy(ix);
}

struct row {
	const char *path;
	enum lp_kind kind;
	const char *content;
};

static const struct row rows[] = {
	{"a", LP_KIND_DIR, ""},      {"a/x", LP_KIND_FILE, "same"},  {"a/y", LP_KIND_FILE, "y"},
	{"b", LP_KIND_DIR, ""},      {"b/x", LP_KIND_FILE, "same"},  {"b/l", LP_KIND_LINK, "x"},
	{"b/deep", LP_KIND_DIR, ""}, {"b/deep/z", LP_KIND_FILE, ""}, {"c", LP_KIND_FILE, "c"},
	{"empty", LP_KIND_DIR, ""},
};

static struct lp_index *build_rows(void)
{
	struct lp_index *ix = lp_index_create();

	for (size_t i = 0; i < LP_COUNT_OF(rows); i++)
		put(ix, rows[i].path, rows[i].kind, rows[i].content);
	return ix;
}

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static void root__does_not_depend_on_the_order(void **state)
{
	struct lp_index *first = build_rows();
	struct lp_digest expected = lp_index_root(first);
	uint64_t seed = 42;

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		struct lp_index *ix = lp_index_create();
		bool done[LP_COUNT_OF(rows)] = {false};
		size_t left = LP_COUNT_OF(rows);

		while (left > 0) {
			size_t i = next_random(&seed) % LP_COUNT_OF(rows);
			struct lp_entry e = entry(rows[i].kind, rows[i].content);

			if (done[i] || lp_index_put(ix, rows[i].path, &e, NULL, NULL) < 0)
				continue;
			done[i] = true;
			left--;
			if (round % 2)
				(void)lp_index_root(ix); /* asking on the way changes nothing */
		}
		assert_root_is(ix, &expected, true);
		lp_index_destroy(ix);
	}
	lp_index_destroy(first);
}

/* Single changes: each must be seen, and none may look like another. */
static struct lp_index *build_changed(unsigned change)
{
	struct lp_index *ix = build_rows();
	struct lp_entry e;

	(void)lp_index_root(ix); /* so that the change has to find its way up */
	switch (change) {
	case 1: /* content */
		put(ix, "b/deep/z", LP_KIND_FILE, "z");
		break;
	case 2: /* permission */
		e = entry(LP_KIND_FILE, "");
		e.mode = 0755;
		assert_int_equal(lp_index_put(ix, "b/deep/z", &e, NULL, NULL), 0);
		break;
	case 3: /* a directory's permission */
		e = entry(LP_KIND_DIR, "");
		e.mode = 0700;
		assert_int_equal(lp_index_put(ix, "b/deep", &e, NULL, NULL), 0);
		break;
	case 4: /* kind, and nothing else */
		e = entry(LP_KIND_LINK, "x");
		e.kind = LP_KIND_FILE;
		assert_int_equal(lp_index_put(ix, "b/l", &e, NULL, NULL), 0);
		break;
	case 5: /* name */
		assert_true(lp_index_remove(ix, "b/deep/z"));
		put(ix, "b/deep/zz", LP_KIND_FILE, "");
		break;
	case 6: /* moved to another directory */
		assert_true(lp_index_remove(ix, "a/y"));
		put(ix, "b/y", LP_KIND_FILE, "y");
		break;
	case 7: /* moved up */
		assert_true(lp_index_remove(ix, "b/deep/z"));
		put(ix, "b/z", LP_KIND_FILE, "");
		break;
	case 8: /* an empty directory less */
		assert_true(lp_index_remove(ix, "empty"));
		break;
	case 9: /* an empty directory more */
		put(ix, "a/empty", LP_KIND_DIR, "");
		break;
	case 10: /* an empty file in the place of an empty directory */
		put(ix, "empty", LP_KIND_FILE, "");
		break;
	case 11: /* where a link leads */
		put(ix, "b/l", LP_KIND_LINK, "deep");
		break;
	case 12: /* a file less */
		assert_true(lp_index_remove(ix, "b/deep/z"));
		break;
	case 13: /* contents of two files exchanged */
		put(ix, "c", LP_KIND_FILE, "y");
		put(ix, "a/y", LP_KIND_FILE, "c");
		break;
	case 14: /* directories of the same names exchanged */
		put(ix, "a/x", LP_KIND_FILE, "y");
		put(ix, "a/y", LP_KIND_FILE, "same");
		break;
	default:
		break;
	}
	return ix;
}

static void root__sees_every_single_change(void **state)
{
	struct lp_digest roots[15];

	(void)state;
	for (unsigned i = 0; i < LP_COUNT_OF(roots); i++) {
		struct lp_index *ix = build_changed(i);

		roots[i] = lp_index_root(ix);
		for (unsigned k = 0; k < i; k++)
			if (lp_digest_equal(&roots[i], &roots[k]))
				fail_msg("changes %u and %u have the same root", k, i);
		lp_index_destroy(ix);
	}
}

/* The same child twice in a sum would cancel out in an exclusive or. */
static void root__counts_equal_children_apart(void **state)
{
	struct lp_digest seen[40];

	(void)state;
	for (size_t n = 0; n < LP_COUNT_OF(seen); n++) {
		struct lp_index *ix = lp_index_create();

		for (size_t i = 0; i < n; i++) {
			char name[16];

			(void)snprintf(name, sizeof(name), "f%zu", i);
			put(ix, name, LP_KIND_FILE, "same");
		}
		seen[n] = lp_index_root(ix);
		for (size_t k = 0; k < n; k++)
			assert_false(lp_digest_equal(&seen[n], &seen[k]));
		lp_index_destroy(ix);
	}
}

static void entry_equal__compares_everything(void **state)
{
	const struct lp_entry a = entry(LP_KIND_FILE, "a");
	struct lp_entry b = a;

	(void)state;
	assert_true(lp_entry_equal(&a, &b));
	b.kind = LP_KIND_LINK;
	assert_false(lp_entry_equal(&a, &b));
	b = a;
	b.mode ^= 0100;
	assert_false(lp_entry_equal(&a, &b));
	b = a;
	b.size++;
	assert_false(lp_entry_equal(&a, &b));
	b = a;
	b.digest.b[15] ^= 1;
	assert_false(lp_entry_equal(&a, &b));
}

static void node_path__fits_or_fails(void **state)
{
	struct lp_index *ix = build_rows();
	struct lp_node *n = lp_index_get(ix, "b/deep/z");
	char path[9];

	(void)state;
	assert_int_equal(lp_node_path(n, path, 9), 0);
	assert_string_equal(path, "b/deep/z");
	assert_int_equal(lp_node_path(n, path, 8), -ENAMETOOLONG);
	assert_int_equal(lp_node_path(n, path, 0), -ENAMETOOLONG);
	assert_int_equal(lp_node_path(lp_index_get(ix, ""), path, 1), 0);
	assert_string_equal(path, "");
	lp_index_destroy(ix);
}

static void node_next__visits_in_order_and_stays_below(void **state)
{
	static const char *const all[] = {"a",        "a/x", "a/y", "b", "b/deep",
					  "b/deep/z", "b/l", "b/x", "c", "empty"};
	static const struct {
		const char *top;
		size_t from, to;
	} cases[] = {{"", 0, 10},      {"a", 1, 3}, {"b", 4, 8},
		     {"b/deep", 5, 6}, {"c", 9, 9}, {"empty", 10, 10}};
	struct lp_index *ix = build_rows();

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		const struct lp_node *top = lp_index_get(ix, cases[i].top), *n = top;
		char path[64];

		for (size_t k = cases[i].from; k < cases[i].to; k++) {
			n = lp_node_next(top, n);
			assert_non_null(n);
			assert_int_equal(lp_node_path(n, path, sizeof(path)), 0);
			assert_string_equal(path, all[k]);
		}
		assert_null(lp_node_next(top, n));
	}
	lp_index_destroy(ix);
}

/* As a scan does: what was visited and has no children may go. */
static void node_next__goes_on_after_a_removal(void **state)
{
	struct lp_index *ix = build_rows();
	struct lp_node *top = lp_index_get(ix, ""), *n = lp_node_next(top, top);

	(void)state;
	while (n) {
		struct lp_node *next = lp_node_next(top, n);

		if (n->e.kind != LP_KIND_DIR)
			lp_node_remove(ix, n);
		n = next;
	}
	assert_int_equal(lp_index_count(ix), 4);
	assert_int_equal(lp_index_bytes(ix), 0);
	lp_index_destroy(ix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(index__begins_empty),
		cmocka_unit_test(put__stores_what_it_was_given),
		cmocka_unit_test(append__is_like_put_in_order),
		cmocka_unit_test(lean_index__has_no_signatures),
		cmocka_unit_test(put__needs_a_parent),
		cmocka_unit_test(get__tells_similar_names_apart),
		cmocka_unit_test(put__replaces_what_was_below),
		cmocka_unit_test(remove__takes_all_below),
		cmocka_unit_test(root__does_not_depend_on_the_order),
		cmocka_unit_test(root__sees_every_single_change),
		cmocka_unit_test(root__counts_equal_children_apart),
		cmocka_unit_test(entry_equal__compares_everything),
		cmocka_unit_test(node_path__fits_or_fails),
		cmocka_unit_test(node_next__visits_in_order_and_stays_below),
		cmocka_unit_test(node_next__goes_on_after_a_removal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
