/* proxy/buf.c: byte queues on cached blocks. */
#include "proxy/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Size of the blocks of a class and how many unused ones are kept. */
static const struct {
	size_t bytes;
	size_t keep;
} classes[LP_PX_CLASS_COUNT_] = {
	[LP_PX_CLASS_BLOCK] = {LP_PX_BLOCK_BYTES, 512},
	[LP_PX_CLASS_BULK] = {LP_PX_BULK_BYTES, 64},
	[LP_PX_CLASS_TUNNEL] = {LP_PX_TUNNEL_BYTES, 8},
};

static int class_of(size_t bytes)
{
	for (int i = 0; i < LP_PX_CLASS_COUNT_; i++) {
		if (classes[i].bytes == bytes)
			return i;
	}
	return -1;
}

static void *block_get(struct lp_px_cache *cache, size_t bytes)
{
	int c = class_of(bytes);
	void *block;

	if (!cache || c < 0 || !cache->first[c]) {
		block = malloc(bytes);
		if (block && cache)
			cache->used_bytes += bytes;
		return block;
	}
	cache->used_bytes += bytes;
	block = cache->first[c];
	memcpy(&cache->first[c], block, sizeof(void *));
	cache->count[c]--;
	return block;
}

static void block_put(struct lp_px_cache *cache, void *block, size_t bytes)
{
	int c = class_of(bytes);

	if (!block)
		return;
	if (cache)
		cache->used_bytes -= bytes;
	if (!cache || c < 0 || cache->count[c] >= classes[c].keep) {
		free(block);
		return;
	}
	memcpy(block, &cache->first[c], sizeof(void *));
	cache->first[c] = block;
	cache->count[c]++;
}

void lp_px_cache_finish(struct lp_px_cache *cache)
{
	for (int c = 0; c < LP_PX_CLASS_COUNT_; c++) {
		while (cache->first[c]) {
			void *block = cache->first[c];

			memcpy(&cache->first[c], block, sizeof(void *));
			free(block);
		}
		cache->count[c] = 0;
	}
}

int lp_px_buf_reserve(struct lp_px_buf *b, size_t more, size_t max)
{
	size_t len = lp_px_buf_len(b);
	size_t cap = b->cap ? b->cap : LP_PX_BLOCK_BYTES;
	uint8_t *block;

	if (more <= lp_px_buf_room(b))
		return 0;
	if (more > max || len > max - more)
		return -EMSGSIZE;
	if (b->data && len + more <= b->cap) {
		memmove(b->data, b->data + b->start, len);
		b->start = 0;
		b->end = len;
		return 0;
	}
	while (cap < len + more)
		cap *= 2;
	block = block_get(b->cache, cap);
	if (!block)
		return -ENOMEM;
	if (b->data)
		memcpy(block, b->data + b->start, len);
	block_put(b->cache, b->data, b->cap);
	b->data = block;
	b->cap = cap;
	b->start = 0;
	b->end = len;
	return 0;
}

void lp_px_buf_put(struct lp_px_buf *b, const void *bytes, size_t len)
{
	if (!len)
		return;
	assert(len <= lp_px_buf_room(b));
	memcpy(b->data + b->end, bytes, len);
	b->end += len;
}

void lp_px_buf_drop(struct lp_px_buf *b, size_t n)
{
	assert(n <= lp_px_buf_len(b));
	b->start += n;
	if (b->start == b->end) {
		b->start = 0;
		b->end = 0;
	}
}

void lp_px_buf_relax(struct lp_px_buf *b)
{
	if (b->start == b->end)
		lp_px_buf_finish(b);
}

void lp_px_buf_finish(struct lp_px_buf *b)
{
	block_put(b->cache, b->data, b->cap);
	b->data = NULL;
	b->start = 0;
	b->end = 0;
	b->cap = 0;
}
