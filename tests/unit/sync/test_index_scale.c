/* test_index_scale.c: deep and wide trees, and random operations against a flat model. The seed is
 * printed; TEST_SEED and TEST_ROUNDS choose others. */
#include "common/base/lp_mem.h"
#include "sync/index.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define DEEP           2000
#define VERY_DEEP      200000
#define WIDE           10000
#define DEFAULT_SEED   20240229
#define DEFAULT_ROUNDS 20000

static const struct lp_entry dir_entry = {.kind = LP_KIND_DIR, .mode = 0755};

static struct lp_entry file_entry(uint64_t content)
{
	return (struct lp_entry){.kind = LP_KIND_FILE,
				 .mode = 0644,
				 .size = content,
				 .digest = lp_digest_of(&content, sizeof(content))};
}

static struct lp_node *build_chain(struct lp_index *ix, size_t depth)
{
	struct lp_node *n = lp_index_get(ix, "");

	for (size_t i = 0; i < depth; i++)
		n = lp_node_put(ix, n, "d", &dir_entry, NULL);
	return n;
}

static size_t count_by_walking(struct lp_index *ix)
{
	struct lp_node *top = lp_index_get(ix, ""), *n = top;
	size_t count = 0;

	while ((n = lp_node_next(top, n)))
		count++;
	return count;
}

/* On a small stack, so that recursion over levels would not survive. */
static void *work_deep(void *arg)
{
	size_t depth = *(size_t *)arg;
	struct lp_index *ix = lp_index_create();
	struct lp_node *leaf = build_chain(ix, depth);
	struct lp_digest before = lp_index_root(ix), after;
	struct lp_entry e = file_entry(7);
	struct lp_node *file = lp_node_put(ix, leaf, "f", &e, NULL);
	bool ok;

	after = lp_index_root(ix);
	ok = !lp_digest_equal(&before, &after);
	ok = ok && lp_index_count(ix) == depth + 1 && count_by_walking(ix) == depth + 1;
	ok = ok && !lp_node_next(lp_index_get(ix, ""), file);
	lp_node_remove(ix, file);
	after = lp_index_root(ix);
	ok = ok && lp_digest_equal(&before, &after);
	ok = ok && lp_index_remove(ix, "d") && lp_index_count(ix) == 0;
	(void)build_chain(ix, depth);
	after = lp_index_root(ix);
	ok = ok && lp_digest_equal(&before, &after);
	lp_index_destroy(ix);
	return ok ? arg : NULL;
}

static void index__needs_no_stack_for_depth(void **state)
{
	static size_t depths[] = {DEEP, VERY_DEEP};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(depths); i++) {
		pthread_attr_t attr;
		pthread_t thread;
		void *result = NULL;

		assert_int_equal(pthread_attr_init(&attr), 0);
		assert_int_equal(pthread_attr_setstacksize(&attr, (size_t)256 * 1024), 0);
		assert_int_equal(pthread_create(&thread, &attr, work_deep, &depths[i]), 0);
		assert_int_equal(pthread_join(thread, &result), 0);
		assert_ptr_equal(result, &depths[i]);
		(void)pthread_attr_destroy(&attr);
	}
}

static void node_path__bounds_deep_paths(void **state)
{
	struct lp_index *ix = lp_index_create();
	char path[LP_PATH_MAX_BYTES + 1];
	struct lp_node *n = build_chain(ix, 2048); /* 2,048 names and 2,047 slashes: 4,095 */

	(void)state;
	assert_int_equal(lp_node_path(n, path, sizeof(path)), 0);
	assert_int_equal(strlen(path), LP_PATH_MAX_BYTES);
	assert_true(lp_path_is_clean(path, strlen(path)));
	assert_ptr_equal(lp_index_get(ix, path), n);
	n = lp_node_put(ix, n, "d", &dir_entry, NULL);
	assert_int_equal(lp_node_path(n, path, sizeof(path)), -ENAMETOOLONG);
	lp_index_destroy(ix);
}

/* Puts WIDE children in an order of its own; directories when dirs, each with one file. */
static struct lp_digest build_wide(struct lp_index *ix, size_t step, bool dirs)
{
	struct lp_node *top = lp_index_get(ix, "");

	for (size_t i = 0; i < WIDE; i++) {
		size_t which = (i * step) % WIDE;
		struct lp_entry e = dirs ? dir_entry : file_entry(which);
		struct lp_node *n;
		char name[24];

		(void)snprintf(name, sizeof(name), "child%zu", which);
		n = lp_node_put(ix, top, name, &e, NULL);
		e = file_entry(which);
		if (dirs)
			(void)lp_node_put(ix, n, "f", &e, NULL);
	}
	return lp_index_root(ix);
}

static void index__takes_wide_directories(void **state)
{
	static const size_t steps[] = {1, WIDE - 1, 7919};

	(void)state;
	for (unsigned dirs = 0; dirs < 2; dirs++) {
		struct lp_digest first = {{0}};

		for (size_t s = 0; s < LP_COUNT_OF(steps); s++) {
			struct lp_index *ix = lp_index_create();
			struct lp_digest root = build_wide(ix, steps[s], dirs != 0);

			if (s == 0)
				first = root;
			assert_true(lp_digest_equal(&root, &first));
			assert_int_equal(lp_index_count(ix), WIDE * (dirs + 1));
			assert_int_equal(count_by_walking(ix), WIDE * (dirs + 1));
			assert_non_null(lp_index_get(ix, "child7777"));
			assert_true(lp_index_remove(ix, "child7777"));
			assert_null(lp_index_get(ix, "child7777"));
			assert_non_null(lp_index_get(ix, "child7778"));
			root = lp_index_root(ix);
			assert_false(lp_digest_equal(&root, &first));
			lp_index_destroy(ix);
		}
	}
}

/* The model: a flat list of paths, as plain as can be. */
#define MODEL_MAX 400

struct model {
	struct {
		char path[64];
		struct lp_entry e;
	} rows[MODEL_MAX];
	size_t n;
};

static size_t model_find(const struct model *m, const char *path)
{
	size_t i = 0;

	while (i < m->n && strcmp(m->rows[i].path, path) != 0)
		i++;
	return i;
}

/* Removes what is below path, and path itself when asked. */
static bool model_remove(struct model *m, const char *path, bool itself)
{
	size_t kept = 0, before = m->n;

	for (size_t i = 0; i < m->n; i++) {
		bool same = strcmp(m->rows[i].path, path) == 0;

		if (lp_path_is_below(m->rows[i].path, path) && (itself || !same))
			continue;
		m->rows[kept++] = m->rows[i];
	}
	m->n = kept;
	return kept < before;
}

static int model_put(struct model *m, const char *path, const struct lp_entry *e)
{
	size_t len = lp_path_dir_len(path), at;
	char dir[64];

	(void)snprintf(dir, sizeof(dir), "%.*s", (int)len, path);
	at = model_find(m, dir);
	if (len > 0 && at == m->n)
		return -ENOENT;
	if (len > 0 && m->rows[at].e.kind != LP_KIND_DIR)
		return -ENOTDIR;
	if (e->kind != LP_KIND_DIR)
		(void)model_remove(m, path, false);
	at = model_find(m, path);
	if (at == m->n)
		(void)snprintf(m->rows[m->n++].path, sizeof(m->rows[0].path), "%s", path);
	m->rows[at].e = *e;
	return 0;
}

static int model_move(struct model *m, const char *from, const char *to)
{
	size_t len = lp_path_dir_len(to), from_len = strlen(from), at;
	char dir[64], rest[64];

	(void)snprintf(dir, sizeof(dir), "%.*s", (int)len, to);
	at = model_find(m, dir);
	if (len > 0 && at == m->n)
		return -ENOENT;
	if (len > 0 && m->rows[at].e.kind != LP_KIND_DIR)
		return -ENOTDIR;
	if (strcmp(from, to) == 0)
		return 0;
	if (lp_path_is_below(to, from) || lp_path_is_below(from, to))
		return -EINVAL;
	(void)model_remove(m, to, true);
	for (size_t i = 0; i < m->n; i++) {
		if (!lp_path_is_below(m->rows[i].path, from))
			continue;
		(void)snprintf(rest, sizeof(rest), "%s", m->rows[i].path + from_len);
		(void)snprintf(m->rows[i].path, sizeof(m->rows[i].path), "%.40s%.20s", to, rest);
	}
	return 0;
}

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static void random_path(uint64_t *seed, char *out, size_t out_bytes)
{
	static const char *const names[] = {"a", "b", "ab", "a.b", "\xff"};
	size_t levels = 1 + next_random(seed) % 3, len = 0;

	for (size_t i = 0; i < levels; i++)
		len += (size_t)snprintf(out + len, out_bytes - len, "%s%s", i ? "/" : "",
					names[next_random(seed) % LP_COUNT_OF(names)]);
}

/* The index must hold what the model holds; a second one built from the model has the same root. */
static void assert_same(struct lp_index *ix, const struct model *m)
{
	struct lp_index *fresh = lp_index_create();
	struct lp_digest a = lp_index_root(ix), b;
	uint64_t bytes = 0;
	size_t left = m->n, files = 0;

	for (size_t i = 0; i < m->n; i++) {
		const struct lp_node *n = lp_index_get(ix, m->rows[i].path);

		if (!n || n->e.kind != m->rows[i].e.kind || n->e.mode != m->rows[i].e.mode ||
		    n->e.stale)
			fail_msg("'%s' differs", m->rows[i].path);
		if (n->e.kind == LP_KIND_FILE)
			bytes += m->rows[i].e.size;
		files += n->e.kind != LP_KIND_DIR;
	}
	/* Parents first: the model may have them in any order. */
	while (left > 0) {
		left = 0;
		for (size_t i = 0; i < m->n; i++)
			if (!lp_index_get(fresh, m->rows[i].path))
				left += lp_index_put(fresh, m->rows[i].path, &m->rows[i].e, NULL,
						     NULL) < 0;
	}
	b = lp_index_root(fresh);
	assert_true(lp_digest_equal(&a, &b));
	assert_int_equal(lp_index_count(ix), m->n);
	assert_int_equal(count_by_walking(ix), m->n);
	assert_int_equal(lp_index_files(ix), files);
	assert_int_equal(lp_index_bytes(ix), bytes);
	lp_index_destroy(fresh);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void index__agrees_with_a_flat_model(void **state)
{
	uint64_t seed = from_environment("TEST_SEED", DEFAULT_SEED);
	uint64_t rounds = from_environment("TEST_ROUNDS", DEFAULT_ROUNDS);
	struct lp_index *ix = lp_index_create();
	static struct model m;

	(void)state;
	print_message("TEST_SEED=%" PRIu64 " TEST_ROUNDS=%" PRIu64 "\n", seed, rounds);
	seed = seed ? seed : 1;
	for (uint64_t round = 0; round < rounds; round++) {
		struct lp_entry e = file_entry(next_random(&seed) % 5);
		uint64_t what = next_random(&seed) % 12;
		struct lp_node *n;
		char path[64], to[64];

		random_path(&seed, path, sizeof(path));
		e.mode = next_random(&seed) % 4 ? 0644 : 0755;
		if (what < 3)
			e = (struct lp_entry){.kind = LP_KIND_DIR, .mode = e.mode};
		else if (what < 4)
			e.kind = LP_KIND_LINK;
		if (what < 7)
			assert_int_equal(lp_index_put(ix, path, &e, NULL, NULL),
					 model_put(&m, path, &e));
		else if (what < 9)
			assert_int_equal(lp_index_remove(ix, path), model_remove(&m, path, true));
		else if (what < 10)
			(void)lp_index_root(ix);
		else if ((n = lp_index_get(ix, path))) {
			random_path(&seed, to, sizeof(to));
			assert_int_equal(lp_node_move(ix, n, to), model_move(&m, path, to));
		}
		if (round % 16 == 0)
			assert_same(ix, &m);
	}
	assert_same(ix, &m);
	lp_index_destroy(ix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(index__needs_no_stack_for_depth),
		cmocka_unit_test(node_path__bounds_deep_paths),
		cmocka_unit_test(index__takes_wide_directories),
		cmocka_unit_test(index__agrees_with_a_flat_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
