/* sync/blocks.c: see blocks.h. */
#include "sync/blocks.h"

#include "common/base/lp_mem.h"
#include "common/base/lp_util.h"

#include <string.h>
#include <xxhash.h>

/* What follows from more written blocks than that is not worth reading them a second time. */
#define REREAD_MAX ((uint64_t)64)

/* state: the block under way, as far as it came in earlier pieces (part bytes). */
struct lp_blocks {
	XXH3_state_t *state;
	size_t part;
	uint64_t *digests;
	size_t n, cap;
	bool is_too_long;
};

struct lp_blocks *lp_blocks_create(void)
{
	struct lp_blocks *b = lp_xcalloc(1, sizeof(*b));

	if (!(b->state = XXH3_createState()))
		abort();
	lp_blocks_reset(b);
	return b;
}

void lp_blocks_reset(struct lp_blocks *b)
{
	(void)XXH3_64bits_reset(b->state);
	b->part = 0;
	b->n = 0;
	b->is_too_long = false;
}

static void push(struct lp_blocks *b, uint64_t digest)
{
	lp_grow(&b->digests, &b->cap, b->n + 1, sizeof(*b->digests));
	b->digests[b->n++] = digest;
}

void lp_blocks_add(struct lp_blocks *b, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0 && !b->is_too_long) {
		size_t used = LP_BLOCK_BYTES - b->part;

		used = used < len ? used : len;
		if (b->n == LP_BLOCKS_MAX) {
			b->is_too_long = true;
		} else if (used == LP_BLOCK_BYTES) {
			push(b, XXH3_64bits(p, used));
		} else {
			(void)XXH3_64bits_update(b->state, p, used);
			b->part += used;
		}
		if (b->part == LP_BLOCK_BYTES) {
			push(b, XXH3_64bits_digest(b->state));
			(void)XXH3_64bits_reset(b->state);
			b->part = 0;
		}
		p += used;
		len -= used;
	}
}

uint64_t *lp_blocks_get(const struct lp_blocks *b)
{
	size_t n = b->n + (b->part > 0 ? 1 : 0);
	uint64_t *digests;

	if (b->is_too_long || n == 0)
		return NULL;
	digests = lp_xcalloc(n, sizeof(*digests));
	if (b->n > 0)
		memcpy(digests, b->digests, b->n * sizeof(*digests));
	if (b->part > 0)
		digests[b->n] = XXH3_64bits_digest(b->state);
	return digests;
}

void lp_blocks_destroy(struct lp_blocks *b)
{
	if (!b)
		return;
	(void)XXH3_freeState(b->state);
	free(b->digests);
	free(b);
}

uint64_t lp_blocks_count(uint64_t bytes)
{
	return bytes / LP_BLOCK_BYTES + (bytes % LP_BLOCK_BYTES > 0 ? 1 : 0);
}

static size_t block_len(uint64_t bytes, uint64_t i)
{
	uint64_t rest = bytes - i * LP_BLOCK_BYTES;

	return rest < LP_BLOCK_BYTES ? (size_t)rest : LP_BLOCK_BYTES;
}

/* Blocks first, first + 1, …; n of them. */
struct span {
	uint64_t first;
	uint64_t n;
};

/* Which of the first `max` blocks have bytes of the range, which is not empty. */
static struct span span_of(const struct lp_range *range, uint64_t max)
{
	uint64_t first = range->at / LP_BLOCK_BYTES;
	uint64_t last = range->len - 1 > UINT64_MAX - range->at
				? UINT64_MAX / LP_BLOCK_BYTES
				: (range->at + range->len - 1) / LP_BLOCK_BYTES;

	if (first >= max)
		return (struct span){0};
	return (struct span){first, (last < max ? last + 1 : max) - first};
}

/* Computes them anew. */
static int read_blocks(struct lp_chunks *to, struct span span, lp_read_at_fn *read, void *ctx)
{
	uint8_t buf[LP_BLOCK_BYTES];

	for (uint64_t i = span.first; i < span.first + span.n; i++) {
		size_t len = block_len(to->bytes, i);
		int r = read(ctx, i * LP_BLOCK_BYTES, buf, len);

		if (r != 0)
			return r;
		to->blocks[i] = XXH3_64bits(buf, len);
	}
	return 0;
}

int lp_blocks_rewrite(const struct lp_chunks *old, const struct lp_ranges *written,
		      lp_read_at_fn *read, void *ctx, struct lp_chunks *to)
{
	uint64_t n = lp_blocks_count(to->bytes), kept = lp_blocks_count(old->bytes), reread;

	if (!old->blocks || n == 0 || n > LP_BLOCKS_MAX)
		return 0;
	/* The last one of the shorter content may be cut off elsewhere in the other. */
	if (old->bytes != to->bytes)
		kept = (old->bytes < to->bytes ? old->bytes : to->bytes) / LP_BLOCK_BYTES;
	reread = n - kept;
	for (uint32_t i = 0; i < written->n; i++)
		reread += span_of(&written->r[i], kept).n;
	if (reread > REREAD_MAX)
		return 0;
	to->blocks = lp_xcalloc((size_t)n, sizeof(*to->blocks));
	memcpy(to->blocks, old->blocks, (size_t)kept * sizeof(*to->blocks));
	for (uint32_t i = 0; i < written->n; i++) {
		int r = read_blocks(to, span_of(&written->r[i], kept), read, ctx);

		if (r != 0)
			return r;
	}
	return read_blocks(to, (struct span){kept, n - kept}, read, ctx);
}

bool lp_blocks_same(const struct lp_chunks *a, const struct lp_chunks *b, uint64_t i)
{
	return a->blocks && b->blocks && i < lp_blocks_count(a->bytes) &&
	       i < lp_blocks_count(b->bytes) && block_len(a->bytes, i) == block_len(b->bytes, i) &&
	       a->blocks[i] == b->blocks[i];
}
