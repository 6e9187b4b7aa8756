/* test_diff.c: the operations that make a peer equal to the workspace: cases, and random pairs of
 * trees against a model of a peer. The seed is printed; TEST_SEED and TEST_ROUNDS choose others. */
#include "sync/changeset.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PEER_MAX       800
#define DEFAULT_SEED   20240229
#define DEFAULT_ROUNDS 3000

/* A peer's tree as a flat list. It lists a directory's digest over what it owns, as peers do. */
struct peer {
	struct peer_row {
		char path[64];
		struct lp_entry e;
		bool owned;
	} rows[PEER_MAX];
	size_t n;
};

static struct lp_entry make_entry(enum lp_kind kind, unsigned content, unsigned mode)
{
	struct lp_entry e = {.kind = kind, .mode = kind == LP_KIND_LINK ? 0 : mode};

	if (kind != LP_KIND_DIR) {
		e.size = content;
		e.digest = lp_digest_of(&content, sizeof(content));
	}
	return e;
}

static struct peer_row *peer_find(struct peer *p, const char *path)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->rows[i].path, path) == 0)
			return &p->rows[i];
	return NULL;
}

static void peer_set(struct peer *p, const char *path, const struct lp_entry *e, bool owned)
{
	struct peer_row *row = peer_find(p, path);

	if (!row) {
		assert_true(p->n < PEER_MAX);
		row = &p->rows[p->n++];
		(void)snprintf(row->path, sizeof(row->path), "%s", path);
	}
	row->e = *e;
	row->owned = owned;
}

static bool has_below(const struct peer *p, const char *path)
{
	for (size_t i = 0; i < p->n; i++)
		if (lp_path_is_below(p->rows[i].path, path) && strcmp(p->rows[i].path, path) != 0)
			return true;
	return false;
}

static void peer_drop(struct peer *p, size_t i)
{
	p->rows[i] = p->rows[--p->n];
}

static void peer_drop_below(struct peer *p, const char *path)
{
	for (size_t i = p->n; i-- > 0;)
		if (lp_path_is_below(p->rows[i].path, path) && strcmp(p->rows[i].path, path) != 0)
			peer_drop(p, i);
}

/* Removes what is owned at and below path; a directory with a foreign entry in it stays, foreign.
 */
static void peer_delete(struct peer *p, const char *path)
{
	bool again = true;

	while (again) {
		again = false;
		for (size_t i = p->n; i-- > 0;) {
			struct peer_row *row = &p->rows[i];

			if (!row->owned || !lp_path_is_below(row->path, path) ||
			    has_below(p, row->path))
				continue;
			peer_drop(p, i);
			again = true;
		}
	}
	for (size_t i = 0; i < p->n; i++)
		if (lp_path_is_below(p->rows[i].path, path))
			p->rows[i].owned = false;
}

static void peer_apply(struct peer *p, const struct lp_op *op)
{
	struct peer_row *row = peer_find(p, op->path);

	switch (op->kind) {
	case LP_OP_DELETE:
		assert_non_null(row);
		assert_true(row->owned);
		peer_delete(p, op->path);
		return;
	case LP_OP_KEEP:
		assert_non_null(row);
		assert_int_equal(row->e.kind, op->e.kind);
		assert_int_equal(row->e.size, op->e.size);
		assert_true(lp_digest_equal(&row->e.digest, &op->e.digest));
		break;
	case LP_OP_PUT:
		/* What the peer has already must not be sent again. */
		assert_false(row && row->e.kind == LP_KIND_FILE && op->e.kind == LP_KIND_FILE &&
			     row->e.size == op->e.size &&
			     lp_digest_equal(&row->e.digest, &op->e.digest));
		assert_false(op->is_new && row && row->e.kind == op->e.kind);
		assert_true(op->is_new || row);
		if (op->e.kind != LP_KIND_DIR)
			peer_drop_below(p, op->path);
		break;
	case LP_OP_MOVE:
		fail_msg("comparing trees finds no moves");
	}
	if (lp_path_dir_len(op->path) > 0) {
		char dir[64];

		(void)snprintf(dir, sizeof(dir), "%.*s", (int)lp_path_dir_len(op->path), op->path);
		row = peer_find(p, dir);
		assert_non_null(row);
		assert_int_equal(row->e.kind, LP_KIND_DIR);
	}
	peer_set(p, op->path, &op->e, true);
}

/* The index over what the peer owns. */
static struct lp_index *peer_index(struct peer *p)
{
	struct lp_index *ix = lp_index_create();
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < p->n; i++)
			if (p->rows[i].owned && !lp_index_get(ix, p->rows[i].path) &&
			    lp_index_put(ix, p->rows[i].path, &p->rows[i].e, NULL, NULL) == 0)
				more = true;
	}
	(void)lp_index_root(ix);
	return ix;
}

/* The walk of the catch-up: directories still to be listed. */
struct walk {
	char paths[PEER_MAX][64];
	size_t n;
	size_t listed;
};

static void on_descend(void *ctx, const char *path)
{
	struct walk *w = ctx;

	assert_true(w->n < PEER_MAX);
	for (size_t i = 0; i < w->n; i++)
		assert_string_not_equal(w->paths[i], path);
	(void)snprintf(w->paths[w->n++], sizeof(w->paths[0]), "%s", path);
}

static size_t list_peer(struct peer *p, const struct lp_index *owned, const char *dir,
			struct lp_peer_entry *out)
{
	size_t n = 0, dir_len = strlen(dir);

	for (size_t i = 0; i < p->n; i++) {
		const struct peer_row *row = &p->rows[i];
		const struct lp_node *node = lp_index_get(owned, row->path);

		if (lp_path_dir_len(row->path) != dir_len || strncmp(row->path, dir, dir_len) != 0)
			continue;
		if (dir_len > 0 && row->path[dir_len] != '/')
			continue;
		out[n] = (struct lp_peer_entry){
			.name = lp_path_base(row->path), .e = row->e, .owned = row->owned};
		if (row->e.kind == LP_KIND_DIR && node)
			out[n].e.digest = node->e.digest;
		n++;
	}
	return n;
}

/* Walks as the sending side does and returns the operations. */
static struct lp_changeset *diff_all(struct lp_index *want, struct peer *p, struct walk *w)
{
	static struct lp_peer_entry listing[PEER_MAX];
	struct lp_changeset *cs = lp_changeset_create();
	struct lp_index *owned = peer_index(p);

	(void)lp_index_root(want);
	*w = (struct walk){.n = 1};
	for (; w->listed < w->n; w->listed++) {
		const char *path = w->paths[w->listed];
		size_t n = list_peer(p, owned, path, listing);

		assert_int_equal(lp_diff_listing(cs, lp_index_get(want, path),
						 &(struct lp_peer_dir){path, listing, n},
						 on_descend, w),
				 0);
	}
	lp_index_destroy(owned);
	return cs;
}

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* One random entry at path: a third directories; few contents, so that equal ones meet. */
static struct lp_entry random_entry(uint64_t *seed)
{
	static const enum lp_kind kinds[] = {LP_KIND_DIR,  LP_KIND_DIR,  LP_KIND_FILE,
					     LP_KIND_FILE, LP_KIND_FILE, LP_KIND_LINK};
	enum lp_kind kind = kinds[next_random(seed) % LP_COUNT_OF(kinds)];
	unsigned content = (unsigned)(next_random(seed) % 3);

	return make_entry(kind, content, next_random(seed) % 4 ? 0755 : 0700);
}

static void random_trees(uint64_t *seed, struct lp_index *want, struct peer *p, const char *dir,
			 bool dir_owned)
{
	static const char *const names[] = {"a", "b", "ab", "a.b", "\xff"};

	for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
		struct lp_entry mine = random_entry(seed);
		struct lp_entry theirs = next_random(seed) % 3 ? mine : random_entry(seed);
		bool owned = dir_owned && next_random(seed) % 3 != 0;
		bool in_want = false, is_dir = false;
		char path[64];

		assert_int_equal(lp_path_join(path, sizeof(path), dir, names[i]), 0);
		if (next_random(seed) % 4 != 0)
			in_want = lp_index_put(want, path, &mine, NULL, NULL) == 0;
		if (next_random(seed) % 4 != 0 &&
		    (dir[0] == '\0' ||
		     (peer_find(p, dir) && peer_find(p, dir)->e.kind == LP_KIND_DIR))) {
			peer_set(p, path, &theirs, owned);
			is_dir = theirs.kind == LP_KIND_DIR;
		}
		is_dir = is_dir || (in_want && mine.kind == LP_KIND_DIR);
		if (is_dir && strlen(path) < 7)
			random_trees(seed, want, p, path, owned);
	}
}

/* Whether a workspace entry that is no directory stands at path or above it. */
static bool is_covered(const struct lp_index *want, const char *path)
{
	char part[64];

	(void)snprintf(part, sizeof(part), "%s", path);
	for (;;) {
		const struct lp_node *n = lp_index_get(want, part);

		if (n && part[0])
			return n->e.kind != LP_KIND_DIR || strcmp(part, path) == 0;
		if (!part[0])
			return false;
		part[lp_path_dir_len(part)] = '\0';
	}
}

static void assert_mirrors(struct lp_index *want, struct peer *p, struct peer *before)
{
	struct lp_index *have = peer_index(p);
	struct lp_digest a = lp_index_root(want), b = lp_index_root(have);

	assert_true(lp_digest_equal(&a, &b));
	assert_int_equal(lp_index_count(want), lp_index_count(have));
	for (size_t i = 0; i < before->n; i++) {
		const struct peer_row *was = &before->rows[i], *is = peer_find(p, was->path);

		if (was->owned || is_covered(want, was->path))
			continue;
		if (!is || is->owned || !lp_entry_equal(&is->e, &was->e))
			fail_msg("'%s' is not the workspace's and was touched", was->path);
	}
	lp_index_destroy(have);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void diff__turns_any_peer_into_the_workspace(void **state)
{
	uint64_t seed = from_environment("TEST_SEED", DEFAULT_SEED);
	uint64_t rounds = from_environment("TEST_ROUNDS", DEFAULT_ROUNDS), ops = 0, keeps = 0;
	static struct peer p, before;
	static struct walk w;

	(void)state;
	print_message("TEST_SEED=%" PRIu64 " TEST_ROUNDS=%" PRIu64 "\n", seed, rounds);
	seed = seed ? seed : 1;
	for (uint64_t round = 0; round < rounds; round++) {
		struct lp_index *want = lp_index_create();
		struct lp_changeset *cs;

		p.n = 0;
		random_trees(&seed, want, &p, "", true);
		before = p;
		cs = diff_all(want, &p, &w);
		if (round % 2)
			lp_changeset_sort(cs);
		for (size_t i = 0; i < cs->n_ops; i++) {
			keeps += cs->ops[i].kind == LP_OP_KEEP;
			peer_apply(&p, &cs->ops[i]);
		}
		ops += cs->n_ops;
		assert_mirrors(want, &p, &before);
		lp_changeset_unref(cs);
		/* A second walk finds nothing to do, and lists no directory that is equal. */
		cs = diff_all(want, &p, &w);
		assert_int_equal(cs->n_ops, 0);
		assert_int_equal(w.listed, 1);
		lp_changeset_unref(cs);
		lp_index_destroy(want);
	}
	assert_true(ops > rounds);
	assert_true(keeps > rounds / 10);
}

/* One path on both sides: what comes out. kind NONE: the side does not have it. */
static const struct {
	const char *name;
	struct {
		enum lp_kind kind;
		unsigned content, mode;
	} mine, theirs;
	bool owned;
	const char *ops; /* P, K or D each */
	bool descends;
} pairs[] = {
	{"the same", {LP_KIND_FILE, 1, 0644}, {LP_KIND_FILE, 1, 0644}, true, "", false},
	{"the same, foreign", {LP_KIND_FILE, 1, 0644}, {LP_KIND_FILE, 1, 0644}, false, "K", false},
	{"other mode", {LP_KIND_FILE, 1, 0644}, {LP_KIND_FILE, 1, 0755}, true, "K", false},
	{"other mode, foreign",
	 {LP_KIND_FILE, 1, 0644},
	 {LP_KIND_FILE, 1, 0755},
	 false,
	 "K",
	 false},
	{"other content", {LP_KIND_FILE, 1, 0644}, {LP_KIND_FILE, 2, 0644}, true, "P", false},
	{"other content, foreign",
	 {LP_KIND_FILE, 1, 0644},
	 {LP_KIND_FILE, 2, 0644},
	 false,
	 "P",
	 false},
	{"a link for a file", {LP_KIND_LINK, 1, 0}, {LP_KIND_FILE, 1, 0644}, true, "P", false},
	{"a file for a link", {LP_KIND_FILE, 1, 0644}, {LP_KIND_LINK, 1, 0}, true, "P", false},
	{"the same link", {LP_KIND_LINK, 1, 0}, {LP_KIND_LINK, 1, 0}, true, "", false},
	{"another link", {LP_KIND_LINK, 1, 0}, {LP_KIND_LINK, 2, 0}, true, "P", false},
	{"a directory for a file",
	 {LP_KIND_DIR, 0, 0755},
	 {LP_KIND_FILE, 1, 0644},
	 true,
	 "P",
	 false},
	{"a file for a directory",
	 {LP_KIND_FILE, 1, 0644},
	 {LP_KIND_DIR, 0, 0755},
	 true,
	 "P",
	 false},
	{"the same directory", {LP_KIND_DIR, 0, 0755}, {LP_KIND_DIR, 0, 0755}, true, "", false},
	{"a directory's mode", {LP_KIND_DIR, 0, 0755}, {LP_KIND_DIR, 0, 0700}, true, "P", false},
	{"a foreign directory", {LP_KIND_DIR, 0, 0755}, {LP_KIND_DIR, 0, 0755}, false, "P", true},
	{"a directory that differs",
	 {LP_KIND_DIR, 0, 0755},
	 {LP_KIND_DIR, 9, 0755},
	 true,
	 "",
	 true},
	{"only mine", {LP_KIND_FILE, 1, 0644}, {LP_KIND_NONE, 0, 0}, true, "P", false},
	{"only theirs", {LP_KIND_NONE, 0, 0}, {LP_KIND_FILE, 1, 0644}, true, "D", false},
	{"only theirs, foreign", {LP_KIND_NONE, 0, 0}, {LP_KIND_FILE, 1, 0644}, false, "", false},
	{"only their directory", {LP_KIND_NONE, 0, 0}, {LP_KIND_DIR, 9, 0755}, true, "D", false},
	{"nobody's", {LP_KIND_NONE, 0, 0}, {LP_KIND_NONE, 0, 0}, true, "", false},
};

static void diff_listing__decides_each_pair(void **state)
{
	static struct walk w;

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(pairs); i++) {
		struct lp_index *want = lp_index_create();
		struct lp_changeset *cs = lp_changeset_create();
		struct lp_entry mine =
			make_entry(pairs[i].mine.kind, pairs[i].mine.content, pairs[i].mine.mode);
		struct lp_peer_entry theirs = {.name = "x", .owned = pairs[i].owned};
		bool listed = pairs[i].theirs.kind != LP_KIND_NONE;
		char ops[8] = "";

		theirs.e = make_entry(pairs[i].theirs.kind, pairs[i].theirs.content,
				      pairs[i].theirs.mode);
		theirs.e.digest.b[0] ^= theirs.e.kind == LP_KIND_DIR && pairs[i].theirs.content;
		if (mine.kind != LP_KIND_NONE)
			assert_int_equal(lp_index_put(want, "x", &mine, NULL, NULL), 0);
		(void)lp_index_root(want);
		w = (struct walk){.n = 0};
		assert_int_equal(lp_diff_listing(cs, lp_index_get(want, ""),
						 &(struct lp_peer_dir){"", &theirs, listed},
						 on_descend, &w),
				 0);
		for (size_t k = 0; k < cs->n_ops && k < sizeof(ops) - 1; k++) {
			ops[k] = "?PKD"[cs->ops[k].kind];
			assert_string_equal(cs->ops[k].path, "x");
			assert_null(cs->ops[k].blob);
		}
		if (strcmp(ops, pairs[i].ops) != 0 || w.n != pairs[i].descends)
			fail_msg("%s: '%s'", pairs[i].name, ops);
		lp_changeset_unref(cs);
		lp_index_destroy(want);
	}
}

static void diff_listing__deletes_the_owned_where_the_workspace_has_nothing(void **state)
{
	const struct lp_peer_entry peer[] = {
		{.name = "z", .e.kind = LP_KIND_FILE, .owned = true},
		{.name = "app.log", .e.kind = LP_KIND_FILE, .owned = false},
		{.name = "a", .e.kind = LP_KIND_DIR, .owned = true},
	};
	struct lp_changeset *cs = lp_changeset_create();

	(void)state;
	assert_int_equal(lp_diff_listing(cs, NULL,
					 &(struct lp_peer_dir){"d", peer, LP_COUNT_OF(peer)},
					 on_descend, NULL),
			 0);
	assert_int_equal(cs->n_ops, 2);
	assert_string_equal(cs->ops[0].path, "d/a");
	assert_string_equal(cs->ops[1].path, "d/z");
	assert_int_equal(cs->ops[0].kind, LP_OP_DELETE);
	assert_int_equal(cs->ops[1].kind, LP_OP_DELETE);
	lp_changeset_unref(cs);
}

static void diff__says_when_a_path_is_too_long(void **state)
{
	const struct lp_entry dir = make_entry(LP_KIND_DIR, 0, 0755);
	struct lp_index *want = lp_index_create();
	struct lp_changeset *cs = lp_changeset_create();
	struct lp_node *n = lp_index_get(want, "");
	const struct lp_peer_entry peer = {.name = "x", .owned = true};
	char path[LP_PATH_MAX_BYTES + 1];

	(void)state;
	for (unsigned i = 0; i < 2048; i++)
		n = lp_node_put(want, n, "d", &dir, NULL);
	assert_int_equal(lp_diff_add_subtree(cs, lp_index_get(want, "d")), 0);
	assert_int_equal(cs->n_ops, 2048);
	assert_true(cs->ops[0].is_new);
	assert_int_equal(lp_node_path(n, path, sizeof(path)), 0);
	assert_int_equal(
		lp_diff_listing(cs, n, &(struct lp_peer_dir){path, &peer, 1}, on_descend, NULL),
		-ENAMETOOLONG);
	(void)lp_node_put(want, n, "d", &dir, NULL);
	assert_int_equal(lp_diff_add_subtree(cs, lp_index_get(want, "d")), -ENAMETOOLONG);
	lp_changeset_unref(cs);
	lp_index_destroy(want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(diff__turns_any_peer_into_the_workspace),
		cmocka_unit_test(diff_listing__decides_each_pair),
		cmocka_unit_test(diff_listing__deletes_the_owned_where_the_workspace_has_nothing),
		cmocka_unit_test(diff__says_when_a_path_is_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
