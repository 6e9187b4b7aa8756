/* sync/chunk.h: large contents cut into chunks where the content itself says so, so that an edit
 * moves only the cuts near it (content-defined chunking; FastCDC, Xia et al., USENIX ATC 2016).
 * Two versions of a file then differ in a few chunks, and a recipe says how to make one of the
 * other. Pure memory. */
#ifndef LP_SYNC_CHUNK_H
#define LP_SYNC_CHUNK_H

#include "sync/digest.h"
#include "sync/ranges.h"

#include <sys/types.h>

/* Contents beyond LP_INLINE_MAX_BYTES (sync/digest.h) are chunked; smaller ones are not. The
 * limits of one chunk; the last one of a content may be smaller. They are part of the protocol,
 * because the digest of a large content is that of its chunks. */
#define LP_CHUNK_MIN_BYTES UINT32_C(16384)
#define LP_CHUNK_AVG_BYTES UINT32_C(65536)
#define LP_CHUNK_MAX_BYTES UINT32_C(131072)

/* A block is finer than a chunk, and known by its place alone. The blocks of a content are known
 * only to whoever wanted them (lp_hasher_create_fine), up to so many of them: 512 MiB, a thousandth
 * of which they take in memory. No part of the protocol. */
#define LP_BLOCK_BYTES ((size_t)8192)
#define LP_BLOCKS_MAX  ((size_t)65536)

struct lp_chunk {
	uint32_t len;
	struct lp_digest digest;
};

/* The chunks of one content, in order; counted, never changed once made. blocks: a digest of 64
 * bits for each LP_BLOCK_BYTES, owned; NULL: not known. */
struct lp_chunks {
	unsigned refs;
	uint32_t n;
	uint64_t bytes; /* of the content */
	uint64_t *blocks;
	struct lp_chunk c[];
};

/* A list of n chunks and one more (NULL: none), copied, without blocks; one reference. */
struct lp_chunks *lp_chunks_create(const struct lp_chunk *c, size_t n, const struct lp_chunk *more);
struct lp_chunks *lp_chunks_ref(struct lp_chunks *c);
void lp_chunks_unref(struct lp_chunks *c); /* NULL is allowed */

/* The digest that names a large content: lp_digest_of what stands for its chunks, 4 bytes of length
 * (big-endian) and 16 of digest for each, in order. */
struct lp_digest lp_chunks_digest(const struct lp_chunks *c);

/* Reads `len` bytes of a content at `at` into out. Returns 0, or -errno; a short read is an error
 * of the reader's (-ESTALE). */
typedef int lp_read_at_fn(void *ctx, uint64_t at, void *out, size_t len);

/* The chunks of a content of `bytes` that was `old` before `written` was written over it, nothing
 * moved. It may have been cut or made longer at its end: what is new there counts as written, what
 * was cut off and came back is written only when the ranges say so. Reads what was written from the
 * beginning of its chunk to the next cut that is as before, and little more; when `old` has blocks
 * and not many were written to, the new list gets them, too. *out: one reference. Returns 0 or what
 * read said. */
int lp_chunks_rewrite(const struct lp_chunks *old, uint64_t bytes, const struct lp_ranges *written,
		      lp_read_at_fn *read, void *ctx, struct lp_chunks **out);

/* A part of a new content: `len` bytes that the base holds at `from`, or new ones. at: where they
 * go. */
struct lp_segment {
	uint64_t at;
	uint64_t from;
	uint64_t len;
	bool is_new;
};

/* How `to` is made of `base` (NULL: of nothing): segments in order of `at`, without gaps,
 * neighbours of one sort merged. What both have at the same place is taken from there, so that
 * nothing has to be moved for it. Where both have blocks, what is new by its chunk is looked at
 * block by block. *out is the caller's (free). Returns how many. */
size_t lp_chunks_recipe(const struct lp_chunks *base, const struct lp_chunks *to,
			struct lp_segment **out);

/* The same for a content of `bytes` of which it is known what was `written` since the base of
 * base_bytes, as lp_chunks_rewrite means it: finer than chunks, and everything stays in its
 * place. */
size_t lp_ranges_recipe(const struct lp_ranges *written, uint64_t base_bytes, uint64_t bytes,
			struct lp_segment **out);

#endif
