/* test_store.c: an index as bytes and back, and bytes that are damaged. */
#include "common/base/lp_mem.h"
#include "watcher/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ROOT         "/home/me/app"
#define DIGEST_BYTES 16

static uint64_t seed = 88172645463325252u;

static uint64_t pick(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

/* A file of some size, with chunks when it is large. */
static void put_file(struct lp_index *ix, const char *path, uint64_t size)
{
	struct lp_stat_sig sig = {.ino = 1 + pick(1000000),
				  .size = size,
				  .mtime_ns = (int64_t)pick(UINT64_MAX >> 1) - 1000,
				  .ctime_ns = 1 + (int64_t)pick(UINT64_MAX >> 1)};
	struct lp_entry e = {.kind = LP_KIND_FILE, .mode = (uint32_t)pick(01000), .size = size};
	struct lp_hasher *h = lp_hasher_create();
	struct lp_chunks *chunks;
	struct lp_node *n;

	for (uint64_t i = 0; i < size; i += 8) {
		uint64_t word = pick(UINT64_MAX);

		lp_hasher_add(h, &word, size - i < 8 ? (size_t)(size - i) : 8);
	}
	e.digest = lp_hasher_get(h);
	assert_int_equal(lp_index_put(ix, path, &e, &sig, &n), 0);
	chunks = lp_hasher_chunks(h);
	if (chunks)
		lp_node_set_chunks(n, chunks);
	lp_chunks_unref(chunks);
	lp_hasher_destroy(h);
}

static void put_dir(struct lp_index *ix, const char *path)
{
	const struct lp_entry e = {.kind = LP_KIND_DIR, .mode = 0750};

	assert_int_equal(lp_index_put(ix, path, &e, NULL, NULL), 0);
}

static struct lp_index *make_index(void)
{
	struct lp_entry link = {.kind = LP_KIND_LINK, .size = 3, .digest = lp_digest_of("a/b", 3)};
	struct lp_index *ix = lp_index_create();
	char path[400];

	put_dir(ix, "a");
	put_dir(ix, "a/b");
	put_dir(ix, "a/b/c");
	put_dir(ix, "empty");
	put_dir(ix, "a.b"); /* sorts behind "a", and before "a/b" where paths are compared */
	put_file(ix, "a/b/c/\xff\n", 10);
	put_file(ix, "a.b/large", 700000);
	put_file(ix, "zero", 0);
	assert_int_equal(lp_index_put(ix, "link", &link, NULL, NULL), 0);
	memset(path, 'n', 255);
	path[255] = '\0';
	put_file(ix, path, 1);
	for (int i = 0; i < 300; i++) {
		static const char *const dirs[] = {"", "a/", "a/b/", "a/b/c/", "a.b/"};

		(void)snprintf(path, sizeof(path), "%sf%d", dirs[pick(LP_COUNT_OF(dirs))], i);
		put_file(ix, path, pick(3000));
	}
	return ix;
}

/* The index in steps of `step` records. */
static struct lp_store_writer encode(const struct lp_index *ix, size_t step)
{
	struct lp_store_writer w;
	int r;

	assert_int_equal(lp_store_begin(&w, ROOT), 0);
	while ((r = lp_store_add(&w, ix, step)) == 1)
		;
	assert_int_equal(r, 0);
	assert_int_equal(lp_store_end(&w), 0);
	return w;
}

static void same_trees(struct lp_index *a, struct lp_index *b)
{
	const struct lp_node *top = lp_index_get(a, ""), *n;
	struct lp_digest da = lp_index_root(a), db = lp_index_root(b);
	char path[LP_PATH_MAX_BYTES + 1];

	assert_int_equal(lp_index_count(a), lp_index_count(b));
	assert_true(lp_digest_equal(&da, &db));
	for (n = lp_node_next(top, top); n; n = lp_node_next(top, n)) {
		const struct lp_node *other;

		assert_int_equal(lp_node_path(n, path, sizeof(path)), 0);
		other = lp_index_get(b, path);
		assert_non_null(other);
		if (n->e.kind != LP_KIND_FILE)
			continue;
		assert_memory_equal(lp_node_sig(n), lp_node_sig(other), sizeof(struct lp_stat_sig));
		assert_int_equal(!lp_node_chunks(n), !lp_node_chunks(other));
		if (lp_node_chunks(n)) {
			assert_int_equal(lp_node_chunks(n)->n, lp_node_chunks(other)->n);
			assert_memory_equal(lp_node_chunks(n)->c, lp_node_chunks(other)->c,
					    lp_node_chunks(n)->n * sizeof(struct lp_chunk));
		}
	}
}

static void read__gives_what_was_written(void **state)
{
	static const size_t steps[] = {1, 2, 7, 100, SIZE_MAX};
	struct lp_index *ix = make_index(), *back;
	struct lp_err err = {0};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(steps); i++) {
		struct lp_store_writer w = encode(ix, steps[i]);

		if (lp_store_read(&back, w.out.data, w.out.len, ROOT, &err) < 0)
			fail_msg("%s", err.msg);
		same_trees(ix, back);
		lp_index_destroy(back);
		lp_store_finish(&w);
	}
	lp_index_destroy(ix);
}

static void read__gives_an_empty_tree(void **state)
{
	struct lp_index *ix = lp_index_create(), *back;
	struct lp_store_writer w = encode(ix, 1);
	struct lp_err err = {0};

	(void)state;
	assert_int_equal(lp_store_read(&back, w.out.data, w.out.len, ROOT, &err), 0);
	assert_int_equal(lp_index_count(back), 0);
	lp_index_destroy(back);
	lp_index_destroy(ix);
	lp_store_finish(&w);
}

/* What changed a moment ago may change again unseen: it is left out. */
static void write__leaves_out_files_without_times(void **state)
{
	const struct lp_entry e = {.kind = LP_KIND_FILE, .mode = 0644, .size = 5};
	const struct lp_stat_sig racy = {.ino = 5, .size = 5, .mtime_ns = 5};
	struct lp_index *ix = lp_index_create(), *back;
	struct lp_store_writer w;
	struct lp_err err = {0};

	(void)state;
	put_file(ix, "kept", 5);
	assert_int_equal(lp_index_put(ix, "racy", &e, &racy, NULL), 0);
	assert_int_equal(lp_index_put(ix, "unknown", &e, NULL, NULL), 0);
	w = encode(ix, 1);
	assert_int_equal(lp_store_read(&back, w.out.data, w.out.len, ROOT, &err), 0);
	assert_int_equal(lp_index_count(back), 1);
	assert_non_null(lp_index_get(back, "kept"));
	lp_index_destroy(back);
	lp_index_destroy(ix);
	lp_store_finish(&w);
}

/* One random change of the tree. */
static void change(struct lp_index *ix)
{
	static const char *const places[] = {"a",         "a/b",  "a/b/c", "a.b",  "empty", "zero",
					     "a/b/c/new", "a/f1", "f2",    "link", "z"};
	const char *path = places[pick(LP_COUNT_OF(places))];
	LP_AUTO_FREE char *above = lp_xstrndup(path, lp_path_dir_len(path));
	const struct lp_node *dir = lp_index_get(ix, above);

	if (!dir || dir->e.kind != LP_KIND_DIR)
		return;
	switch (pick(3)) {
	case 0:
		(void)lp_index_remove(ix, path);
		break;
	case 1:
		put_file(ix, path, pick(100));
		break;
	default:
		put_dir(ix, path);
	}
}

/* Whatever happens between the steps, the bytes can be read, and what did not change is in them. */
static void write__bears_changes_between_its_steps(void **state)
{
	struct lp_err err = {0};

	(void)state;
	for (int round = 0; round < 200; round++) {
		struct lp_index *ix = make_index(), *back;
		struct lp_store_writer w;
		int r;

		put_file(ix, "stays", 42);
		assert_int_equal(lp_store_begin(&w, ROOT), 0);
		while ((r = lp_store_add(&w, ix, 1 + pick(20))) == 1)
			change(ix);
		assert_int_equal(r, 0);
		assert_int_equal(lp_store_end(&w), 0);
		if (lp_store_read(&back, w.out.data, w.out.len, ROOT, &err) < 0)
			fail_msg("round %d: %s", round, err.msg);
		assert_non_null(lp_index_get(back, "stays"));
		lp_index_destroy(back);
		lp_index_destroy(ix);
		lp_store_finish(&w);
	}
}

static void refuse(const void *data, size_t len, const char *root, const char *why)
{
	struct lp_index *back = NULL;
	struct lp_err err = {0};

	assert_int_equal(lp_store_read(&back, data, len, root, &err), -EINVAL);
	assert_null(back);
	if (!strstr(err.msg, why))
		fail_msg("'%s' does not say '%s'", err.msg, why);
}

static void read__refuses_what_is_damaged(void **state)
{
	struct lp_index *ix = lp_index_create();
	struct lp_store_writer w;

	(void)state;
	put_dir(ix, "d");
	put_file(ix, "d/f", 10);
	put_file(ix, "large", 300000);
	w = encode(ix, 10);
	for (size_t i = 0; i < w.out.len; i++) {
		uint8_t was = w.out.data[i];

		w.out.data[i] = (uint8_t)(was ^ 1u << pick(8));
		refuse(w.out.data, w.out.len, ROOT, "");
		w.out.data[i] = (uint8_t)(was + 1 + pick(255));
		refuse(w.out.data, w.out.len, ROOT, "");
		w.out.data[i] = was;
	}
	for (size_t len = 0; len < w.out.len; len++)
		refuse(w.out.data, len, ROOT, "");
	refuse(w.out.data, w.out.len, "/home/me/other", "of another workspace");
	refuse(w.out.data, w.out.len, ROOT "2", "of another workspace");
	w.out.data[7] = '2';
	refuse(w.out.data, w.out.len, ROOT, "of another version");
	lp_index_destroy(ix);
	lp_store_finish(&w);
}

/* Damage that the checksum does not show: whatever comes out is a tree, or an error. */
static void read__bears_any_bytes(void **state)
{
	struct lp_index *ix = make_index();
	struct lp_store_writer good = encode(ix, 50);
	LP_AUTO_FREE uint8_t *bytes = lp_xcalloc(1, good.out.len);
	size_t len = good.out.len - DIGEST_BYTES, n_read = 0;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct lp_index *back = NULL;
		struct lp_err err = {0};
		struct lp_digest d;

		memcpy(bytes, good.out.data, len);
		for (uint64_t n = 1 + pick(3); n > 0; n--)
			bytes[8 + pick(round % 2 ? 400 : len - 8)] = (uint8_t)pick(256);
		d = lp_digest_of(bytes, len);
		memcpy(bytes + len, d.b, DIGEST_BYTES);
		if (lp_store_read(&back, bytes, len + DIGEST_BYTES, ROOT, &err) == 0) {
			(void)lp_index_root(back);
			lp_index_destroy(back);
			n_read++;
		}
	}
	assert_true(n_read > 0); /* some changes touch times and digests only */
	lp_index_destroy(ix);
	lp_store_finish(&good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read__gives_what_was_written),
		cmocka_unit_test(read__gives_an_empty_tree),
		cmocka_unit_test(write__leaves_out_files_without_times),
		cmocka_unit_test(write__bears_changes_between_its_steps),
		cmocka_unit_test(read__refuses_what_is_damaged),
		cmocka_unit_test(read__bears_any_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
