/* proxy/buf.h: a byte queue for one direction of a connection, and the cache that its memory comes
 * from. Does no I/O. */
#ifndef LP_PROXY_BUF_H
#define LP_PROXY_BUF_H

#include "common/base/lp_util.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LP_PX_BLOCK_BYTES  ((size_t)16 * 1024)  /* first block of a buffer */
#define LP_PX_BULK_BYTES   ((size_t)64 * 1024)  /* for bodies that fill the first */
#define LP_PX_TUNNEL_BYTES ((size_t)256 * 1024) /* for tunnels */

enum lp_px_class {
	LP_PX_CLASS_BLOCK,
	LP_PX_CLASS_BULK,
	LP_PX_CLASS_TUNNEL,
	LP_PX_CLASS_COUNT_,
};

/* Unused blocks by size, newest first. A zeroed struct is an empty cache. One thread. */
struct lp_px_cache {
	size_t used_bytes; /* in blocks that are handed out */
	void *first[LP_PX_CLASS_COUNT_];
	size_t count[LP_PX_CLASS_COUNT_];
};

/* Releases what the cache holds. */
void lp_px_cache_finish(struct lp_px_cache *cache);

/* Handed out beyond this, bodies and tunnels get along with small blocks, so that many peers that
 * are slow to read cannot take up much. */
#define LP_PX_PLENTY_BYTES ((size_t)64 * 1024 * 1024)

/* How much of a body or tunnel may wait in one buffer: max while memory is plenty. */
static inline size_t lp_px_fair_share(const struct lp_px_cache *cache, size_t max)
{
	return cache->used_bytes < LP_PX_PLENTY_BYTES ? max : LP_PX_BLOCK_BYTES;
}

/* data[start..end) is waiting; data is owned and NULL while the buffer holds no memory. A struct
 * that is zeroed but for `cache` (which may be NULL: plain malloc) is a valid empty buffer. */
struct lp_px_buf {
	uint8_t *data;
	size_t start;
	size_t end;
	size_t cap;
	struct lp_px_cache *cache;
};

static inline size_t lp_px_buf_len(const struct lp_px_buf *b)
{
	return b->end - b->start;
}

/* Bytes that may be put behind the content without moving or allocating. */
static inline size_t lp_px_buf_room(const struct lp_px_buf *b)
{
	return b->cap - b->end;
}

static inline char *lp_px_buf_at(const struct lp_px_buf *b)
{
	return (char *)b->data + b->start;
}

/* Makes room for at least `more` bytes behind the content, moving it to the front or into a block
 * of up to max bytes. Returns 0, -EMSGSIZE (content and more exceed max) or -ENOMEM; on failure
 * the buffer is unchanged. */
int lp_px_buf_reserve(struct lp_px_buf *b, size_t more, size_t max) LP_MUST_USE;

/* Appends bytes that lp_px_buf_reserve made room for. */
void lp_px_buf_put(struct lp_px_buf *b, const void *bytes, size_t len);

/* Drops the first n (at most the length) bytes; the memory stays. */
void lp_px_buf_drop(struct lp_px_buf *b, size_t n);

/* Gives the memory back when the buffer is empty. */
void lp_px_buf_relax(struct lp_px_buf *b);

/* Drops everything and gives the memory back. */
void lp_px_buf_finish(struct lp_px_buf *b);

#endif
