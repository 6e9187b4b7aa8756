/* fuzz_index.c: any bytes as a history of a tree: entries put, removed, moved, given chunks.
 * Whatever happened, the index must be the one that is built from what it holds at the end. */
#include "sync/index.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* Up to three components out of eight names. */
static void make_path(uint8_t a, uint8_t b, char out[64])
{
	static const char *const names[] = {"a",    "b",   "ab",          "a.b",
					    "\xff", "A-B", "longer name", "a name of its own"};
	size_t levels = 1 + a % 3, bits = (size_t)a >> 2 | (size_t)b << 6, len = 0;

	for (size_t i = 0; i < levels; i++, bits >>= 3)
		len += (size_t)snprintf(out + len, 64 - len, "%s%s", i ? "/" : "", names[bits & 7]);
}

static void put(struct lp_index *ix, const char *path, uint8_t what)
{
	struct lp_entry e = {.kind = LP_KIND_FILE, .mode = what & 8 ? 0644 : 0755, .size = what};
	struct lp_node *n = NULL;
	int r;

	if (what & 16)
		e.size += LP_INLINE_MAX_BYTES;
	e.digest.b[0] = what;
	if (what % 4 == 0)
		e = (struct lp_entry){.kind = LP_KIND_DIR, .mode = e.mode};
	else if (what % 4 == 1)
		e.kind = LP_KIND_LINK;
	r = lp_index_put(ix, path, &e, NULL, &n);
	require(r == 0 || r == -ENOENT || r == -ENOTDIR);
	require(r < 0 || n == lp_index_get(ix, path));
}

static void move(struct lp_index *ix, const char *from, const char *to)
{
	struct lp_node *n = lp_index_get(ix, from);
	int r = n ? lp_node_move(ix, n, to) : 0;

	require(r == 0 || r == -ENOENT || r == -ENOTDIR || r == -EINVAL);
	if (n && r == 0 && strcmp(from, to) != 0)
		require(!lp_index_get(ix, from) && lp_index_get(ix, to));
}

static void set_chunks(struct lp_index *ix, const char *path)
{
	const struct lp_chunk c = {.len = 70000};
	struct lp_chunks *chunks = lp_chunks_create(&c, 1, NULL);
	struct lp_node *n = lp_index_get(ix, path);

	if (n) {
		lp_node_set_chunks(n, chunks);
		require((lp_node_chunks(n) == chunks) ==
			(n->e.kind == LP_KIND_FILE && n->e.size > LP_INLINE_MAX_BYTES));
	}
	lp_chunks_unref(chunks);
}

/* Builds the same tree anew and compares. */
static void check(struct lp_index *ix)
{
	struct lp_index *fresh = lp_index_create_lean();
	struct lp_node *top = lp_index_get(ix, ""), *n = top;
	struct lp_digest a = lp_index_root(ix), b;
	const char *last = "";
	char path[128];

	while ((n = lp_node_next(top, n))) {
		const struct lp_entry e = lp_node_entry(n);

		require(lp_node_path(n, path, sizeof(path)) == 0);
		require(lp_index_get(ix, path) == n && !n->e.stale);
		require(lp_index_put(fresh, path, &e, NULL, NULL) == 0);
		for (uint32_t i = 0; i < lp_node_count(n); i++, last = "") {
			require(lp_node_parent(lp_node_at(n, i)) == n);
			require(i == 0 || strcmp(last, lp_node_at(n, i)->name) < 0);
			last = lp_node_at(n, i)->name;
		}
	}
	b = lp_index_root(fresh);
	require(lp_digest_equal(&a, &b));
	require(lp_index_count(ix) == lp_index_count(fresh));
	require(lp_index_files(ix) == lp_index_files(fresh));
	require(lp_index_bytes(ix) == lp_index_bytes(fresh));
	lp_index_destroy(fresh);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_index *ix = size % 2 ? lp_index_create() : lp_index_create_lean();
	char path[64], to[64];

	for (; size >= 6; data += 6, size -= 6) {
		make_path(data[1], data[2], path);
		make_path(data[3], data[4], to);
		switch (data[0] % 8) {
		case 0:
			(void)lp_index_remove(ix, data[5] == 255 ? "" : path);
			break;
		case 1:
		case 2:
			move(ix, path, to);
			break;
		case 3:
			set_chunks(ix, path);
			break;
		case 4:
			(void)lp_index_root(ix);
			break;
		default:
			put(ix, path, data[5]);
			break;
		}
	}
	check(ix);
	lp_index_destroy(ix);
	return 0;
}
