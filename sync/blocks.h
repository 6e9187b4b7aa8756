/* sync/blocks.h: digests of the blocks of a large content, by place: finer than its chunks, so that
 * what was written over in place is found to within a block. Internal to the room; sync/chunk.h and
 * sync/digest.h are what others use. */
#ifndef LP_SYNC_BLOCKS_H
#define LP_SYNC_BLOCKS_H

#include "sync/chunk.h"

/* Takes a content in pieces of any sizes. */
struct lp_blocks; /* opaque, heap */
struct lp_blocks *lp_blocks_create(void);
void lp_blocks_reset(struct lp_blocks *b);
void lp_blocks_add(struct lp_blocks *b, const void *data, size_t len);

/* The digests of all that was added (XXH3_64bits, seed 0), as many as lp_blocks_count says; the
 * caller's (free). NULL when they would be more than LP_BLOCKS_MAX, or none. */
uint64_t *lp_blocks_get(const struct lp_blocks *b);
void lp_blocks_destroy(struct lp_blocks *b); /* NULL is allowed */

/* How many blocks a content has. */
uint64_t lp_blocks_count(uint64_t bytes);

/* Gives `to`, which was made of `old` by lp_chunks_rewrite, the blocks that follow from those of
 * `old`; reads the ones that were written to. When those are many, it gets none. Returns 0 or what
 * read said. */
int lp_blocks_rewrite(const struct lp_chunks *old, const struct lp_ranges *written,
		      lp_read_at_fn *read, void *ctx, struct lp_chunks *to);

/* Whether block i is the same in both; false when one of them has no such block, or none at all. */
bool lp_blocks_same(const struct lp_chunks *a, const struct lp_chunks *b, uint64_t i);

#endif
