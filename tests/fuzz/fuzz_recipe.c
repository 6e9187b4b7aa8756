/* fuzz_recipe.c: contents that are edited: the chunks that follow the edits, the recipes that lead
 * from one to the other, and sets of ranges, against the plainest way to get the same. The first
 * byte says which. */
#include "common/base/lp_mem.h"
#include "common/base/lp_util.h"
#include "sync/blocks.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define CONTENT_MAX ((size_t)320 * 1024)
#define SMALL_MAX   4096

static void require(bool holds)
{
	if (!holds)
		abort();
}

struct content {
	uint8_t *p;
	size_t len;
};

/* Follows the recipe from base; what is new comes from `to`. */
static void require_leads_to(const struct content *base, const struct content *to,
			     struct lp_segment *segments, size_t n)
{
	LP_AUTO_FREE uint8_t *made = lp_xcalloc(1, to->len);
	uint64_t at = 0;

	for (size_t i = 0; i < n; i++) {
		const struct lp_segment *s = &segments[i];

		require(s->at == at && s->len > 0 && s->len <= to->len - at);
		require(s->is_new ? s->from == 0
				  : s->from <= base->len && s->len <= base->len - s->from);
		memcpy(made + at, s->is_new ? to->p + at : base->p + s->from, s->len);
		at += s->len;
	}
	require(at == to->len && (at == 0 || memcmp(made, to->p, at) == 0));
	free(segments);
}

/* Every byte is a chunk of its own: its low bits say which, and how long. */
static struct lp_chunks *toy_chunks(const uint8_t *data, size_t n, struct content *out)
{
	struct lp_chunk *c = lp_xcalloc(n, sizeof(*c));
	struct lp_chunks *list;

	*out = (struct content){.p = lp_xcalloc(n, 8)};
	for (size_t i = 0; i < n; i++) {
		uint8_t which = data[i] & 15;

		c[i].len = 1U + which % 8;
		c[i].digest = (struct lp_digest){{which, which}};
		memset(out->p + out->len, which, c[i].len);
		out->len += c[i].len;
	}
	list = lp_chunks_create(c, n, NULL);
	free(c);
	return list;
}

static void try_lists(const uint8_t *data, size_t size)
{
	size_t n_base = size > 0 ? data[0] % size : 0;
	struct content base, to;
	struct lp_chunks *a = toy_chunks(data, n_base, &base);
	struct lp_chunks *b = toy_chunks(data + n_base, size - n_base, &to);
	struct lp_segment *segments;
	size_t n = lp_chunks_recipe(a, b, &segments);

	require_leads_to(&base, &to, segments, n);
	lp_chunks_unref(a);
	lp_chunks_unref(b);
	free(base.p);
	free(to.p);
}

/* Ranges of two times two bytes each, against a map of bytes. */
static void try_ranges(const uint8_t *data, size_t size)
{
	size_t base_len = size > 1 ? (size_t)data[0] * 16 : 0, len = size > 1 ? data[1] * 16U : 0;
	struct content base = {lp_xcalloc(1, SMALL_MAX + 1), base_len};
	struct content to = {lp_xcalloc(1, SMALL_MAX + 1), len};
	struct lp_ranges set = {0};
	struct lp_segment *segments;
	size_t n;

	for (size_t i = 2; i + 4 <= size; i += 4) {
		size_t at = ((size_t)data[i] << 8 | data[i + 1]) % SMALL_MAX;
		size_t some = ((size_t)data[i + 2] << 8 | data[i + 3]) % 512;

		some = some < SMALL_MAX - at ? some : SMALL_MAX - at;
		lp_ranges_add(&set, at, some);
		memset(to.p + at, 'x', some);
		require(some == 0 || lp_ranges_meet(&set, at, 1));
		require(some == 0 || lp_ranges_meet(&set, at + some - 1, 1));
	}
	require(set.n <= LP_RANGES_MAX);
	for (uint32_t i = 0; i + 1 < set.n; i++)
		require(set.r[i].at + set.r[i].len < set.r[i + 1].at);
	n = lp_ranges_recipe(&set, base_len, len, &segments);
	require_leads_to(&base, &to, segments, n);
	free(base.p);
	free(to.p);
}

static struct lp_chunks *chunks_of(const struct content *c, size_t piece)
{
	struct lp_hasher *h = lp_hasher_create_fine();
	struct lp_chunks *chunks;
	struct lp_digest d, expected;

	for (size_t at = 0; at < c->len; at += piece)
		lp_hasher_add(h, c->p + at, piece < c->len - at ? piece : c->len - at);
	chunks = lp_hasher_chunks(h);
	require((chunks != NULL) == (c->len > LP_INLINE_MAX_BYTES));
	d = lp_hasher_get(h);
	expected = chunks ? lp_chunks_digest(chunks) : lp_digest_of(c->p, c->len);
	require(lp_digest_equal(&d, &expected));
	lp_hasher_destroy(h);
	return chunks;
}

static int read_content(void *ctx, uint64_t at, void *out, size_t len)
{
	const struct content *c = ctx;

	require(at <= c->len && len <= c->len - at);
	memcpy(out, c->p + at, len);
	return 0;
}

static bool same_chunks(const struct lp_chunks *a, const struct lp_chunks *b)
{
	return a->n == b->n && a->bytes == b->bytes &&
	       memcmp(a->c, b->c, a->n * sizeof(a->c[0])) == 0 &&
	       (!a->blocks || !b->blocks ||
		memcmp(a->blocks, b->blocks, lp_blocks_count(a->bytes) * sizeof(a->blocks[0])) ==
			0);
}

/* Bytes that look random, the same ones each time. */
static void fill(uint8_t *out, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		out[i] = (uint8_t)(seed >> 56);
	}
}

/* Overwrites places of a large content as the input says: 3 bytes where, 2 how long, 1 what. */
static void try_edits(const uint8_t *data, size_t size)
{
	static uint8_t original[CONTENT_MAX];
	struct content base = {original, 200000}, to = {lp_xcalloc(1, CONTENT_MAX), 200000};
	struct lp_chunks *before, *after = NULL, *expected;
	struct lp_ranges written = {0};
	struct lp_segment *segments;
	size_t n;

	if (original[0] == 0)
		fill(original, sizeof(original), 42);
	memcpy(to.p, original, base.len);
	if (size > 2)
		to.len = LP_INLINE_MAX_BYTES + 1 + ((size_t)data[0] << 8 | data[1]) * 2;
	for (size_t i = 2; i + 6 <= size; i += 6) {
		size_t at =
			((size_t)data[i] << 16 | (size_t)data[i + 1] << 8 | data[i + 2]) % to.len;
		size_t some = (size_t)data[i + 3] << 8 | data[i + 4];

		some = some < to.len - at ? some : to.len - at;
		if (data[i + 5] % 2)
			memset(to.p + at, data[i + 5], some);
		else
			memcpy(to.p + at, original + data[i + 5], some);
		lp_ranges_add(&written, at, some);
	}
	before = chunks_of(&base, CONTENT_MAX);
	expected = chunks_of(&to, 1000 + (size > 0 ? data[0] * 997U : 0));
	require(lp_chunks_rewrite(before, to.len, &written, read_content, &to, &after) == 0);
	require(same_chunks(after, expected));
	n = lp_chunks_recipe(before, after, &segments);
	require_leads_to(&base, &to, segments, n);
	n = lp_ranges_recipe(&written, base.len, to.len, &segments);
	require_leads_to(&base, &to, segments, n);
	lp_chunks_unref(before);
	lp_chunks_unref(after);
	lp_chunks_unref(expected);
	free(to.p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	/* Large contents take their time. */
	if (data[0] == 'E')
		try_edits(data + 1, size - 1);
	else if (data[0] % 2)
		try_lists(data + 1, size - 1);
	else
		try_ranges(data + 1, size - 1);
	return 0;
}
