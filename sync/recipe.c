/* sync/recipe.c: how a content is made of another one. */
#include "sync/chunk.h"

#include "common/base/lp_mem.h"
#include "common/base/lp_util.h"
#include "sync/blocks.h"

#include <string.h>

/* A recipe being written. */
struct recipe {
	struct lp_segment *segments;
	size_t n, cap;
	uint64_t at;
};

/* Appends a segment, or makes the last one longer. */
static void append(struct recipe *r, bool is_new, uint64_t from, uint64_t len)
{
	struct lp_segment *last = r->n > 0 ? &r->segments[r->n - 1] : NULL;

	if (len == 0)
		return;
	if (last && last->is_new == is_new && (is_new || last->from + last->len == from)) {
		last->len += len;
	} else {
		lp_grow(&r->segments, &r->cap, r->n + 1, sizeof(*r->segments));
		r->segments[r->n++] = (struct lp_segment){
			.at = r->at, .from = is_new ? 0 : from, .len = len, .is_new = is_new};
	}
	r->at += len;
}

/* Appends a chunk that the base does not have: new but for the blocks that are as they were. */
static void append_new(struct recipe *r, const struct lp_chunks *base, const struct lp_chunks *to,
		       uint64_t len)
{
	uint64_t end = r->at + len;

	if (!base->blocks || !to->blocks)
		append(r, true, 0, len);
	while (r->at < end) {
		uint64_t block = r->at / LP_BLOCK_BYTES, stop = (block + 1) * LP_BLOCK_BYTES;

		append(r, !lp_blocks_same(base, to, block), r->at,
		       (stop < end ? stop : end) - r->at);
	}
}

/* The chunks of the base by digest: open addressing, slots hold index + 1. Of equal chunks only the
 * first one is in it, so that a base of nothing but equal ones is no worse than any other. at[i]:
 * where chunk i begins. */
struct base_map {
	const struct lp_chunks *base;
	uint64_t *at;
	uint32_t *slots;
	size_t mask;
};

static bool chunk_equal(const struct lp_chunk *a, const struct lp_chunk *b)
{
	return a->len == b->len && lp_digest_equal(&a->digest, &b->digest);
}

/* The slot that holds the equal of c, or the empty one where it would be. */
static uint32_t *slot_of(const struct base_map *m, const struct lp_chunk *c)
{
	size_t i;

	memcpy(&i, c->digest.b, sizeof(i));
	for (i &= m->mask; m->slots[i]; i = (i + 1) & m->mask)
		if (chunk_equal(&m->base->c[m->slots[i] - 1], c))
			break;
	return &m->slots[i];
}

static void map_init(struct base_map *m, const struct lp_chunks *base)
{
	uint64_t at = 0;
	size_t n = 16;

	while (n < (size_t)2 * base->n)
		n *= 2;
	*m = (struct base_map){.base = base, .mask = n - 1};
	m->slots = lp_xcalloc(n, sizeof(*m->slots));
	m->at = lp_xcalloc(base->n, sizeof(*m->at));
	for (uint32_t i = 0; i < base->n; i++) {
		uint32_t *slot = slot_of(m, &base->c[i]);

		m->at[i] = at;
		at += base->c[i].len;
		if (!*slot)
			*slot = i + 1;
	}
}

static void map_finish(struct base_map *m)
{
	free(m->slots);
	free(m->at);
}

/* Which chunk of the base to take for c: the one in the same place (`here`), so that nothing moves;
 * the one behind the last that was taken (`next`), so that they make one segment; any. Returns its
 * index, or base->n when there is none. */
static size_t choose(const struct base_map *m, const struct lp_chunk *c, uint64_t place,
		     size_t here, size_t next)
{
	const struct lp_chunks *base = m->base;
	uint32_t found;

	if (here < base->n && m->at[here] == place && chunk_equal(&base->c[here], c))
		return here;
	if (next < base->n && chunk_equal(&base->c[next], c))
		return next;
	found = *slot_of(m, c);
	return found ? found - 1 : base->n;
}

size_t lp_chunks_recipe(const struct lp_chunks *base, const struct lp_chunks *to,
			struct lp_segment **out)
{
	static const struct lp_chunks nothing;
	struct recipe r = {0};
	struct base_map m;
	size_t here = 0, next;

	map_init(&m, base ? base : &nothing);
	next = m.base->n;
	for (uint32_t i = 0; i < to->n; i++) {
		size_t which;

		while (here < m.base->n && m.at[here] < r.at)
			here++;
		which = choose(&m, &to->c[i], r.at, here, next);
		next = which + 1;
		if (which < m.base->n)
			append(&r, false, m.at[which], to->c[i].len);
		else
			append_new(&r, m.base, to, to->c[i].len);
	}
	map_finish(&m);
	*out = r.segments;
	return r.n;
}

/* Appends what goes up to `end`: from the same place of the base as far as that goes. */
static void append_kept(struct recipe *r, uint64_t base_bytes, uint64_t end)
{
	uint64_t kept_end = end < base_bytes ? end : base_bytes;

	if (kept_end > r->at)
		append(r, false, r->at, kept_end - r->at);
	if (end > r->at)
		append(r, true, 0, end - r->at);
}

size_t lp_ranges_recipe(const struct lp_ranges *written, uint64_t base_bytes, uint64_t bytes,
			struct lp_segment **out)
{
	struct recipe r = {0};

	for (uint32_t i = 0; i < written->n && written->r[i].at < bytes; i++) {
		const struct lp_range *range = &written->r[i];
		uint64_t rest = bytes - range->at;

		append_kept(&r, base_bytes, range->at);
		append(&r, true, 0, range->len < rest ? range->len : rest);
	}
	append_kept(&r, base_bytes, bytes);
	*out = r.segments;
	return r.n;
}
