/* sync/digest.c: digests through xxHash. */
#include "sync/digest.h"

#include "common/base/lp_hex.h"
#include "common/base/lp_mem.h"
#include "sync/blocks.h"
#include "sync/gear.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* head: the content while it may still be small, bytes of it. state: the chunk under way, as far as
 * it came in earlier pieces (gear.len bytes). */
struct lp_hasher {
	XXH3_state_t *state;
	uint8_t *head;
	uint64_t bytes;
	struct lp_gear gear;
	struct lp_chunk *chunks;
	size_t n_chunks;
	size_t cap_chunks;
	struct lp_blocks *blocks; /* NULL: not wanted */
};

static struct lp_digest canonical(XXH128_hash_t h)
{
	XXH128_canonical_t c;
	struct lp_digest d;

	XXH128_canonicalFromHash(&c, h);
	memcpy(d.b, c.digest, sizeof(d.b));
	return d;
}

struct lp_digest lp_digest_of(const void *data, size_t len)
{
	return canonical(XXH3_128bits(len ? data : "", len));
}

bool lp_digest_equal(const struct lp_digest *a, const struct lp_digest *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool lp_digest_is_none(const struct lp_digest *d)
{
	static const struct lp_digest none;

	return lp_digest_equal(d, &none);
}

void lp_digest_hex(const struct lp_digest *d, char out[LP_DIGEST_HEX_BYTES])
{
	lp_hex(out, d->b, sizeof(d->b));
}

struct lp_hasher *lp_hasher_create(void)
{
	struct lp_hasher *h = lp_xcalloc(1, sizeof(*h));

	if (!(h->state = XXH3_createState()))
		abort();
	lp_hasher_reset(h);
	return h;
}

struct lp_hasher *lp_hasher_create_fine(void)
{
	struct lp_hasher *h = lp_hasher_create();

	h->blocks = lp_blocks_create();
	return h;
}

void lp_hasher_reset(struct lp_hasher *h)
{
	if (h->blocks)
		lp_blocks_reset(h->blocks);
	(void)XXH3_128bits_reset(h->state);
	h->bytes = 0;
	h->gear = (struct lp_gear){0};
	h->n_chunks = 0;
}

static void add_to_chunks(struct lp_hasher *h, const uint8_t *data, size_t len)
{
	if (h->blocks)
		lp_blocks_add(h->blocks, data, len);
	while (len > 0) {
		uint32_t before = h->gear.len;
		bool cut;
		size_t used = lp_gear_scan(&h->gear, data, len, &cut);
		struct lp_chunk *c;

		if (!cut || before > 0)
			(void)XXH3_128bits_update(h->state, data, used);
		if (cut) {
			lp_grow(&h->chunks, &h->cap_chunks, h->n_chunks + 1, sizeof(*h->chunks));
			c = &h->chunks[h->n_chunks++];
			c->len = before + (uint32_t)used;
			c->digest = before > 0 ? canonical(XXH3_128bits_digest(h->state))
					       : lp_digest_of(data, used);
			if (before > 0)
				(void)XXH3_128bits_reset(h->state);
		}
		data += used;
		len -= used;
	}
}

void lp_hasher_add(struct lp_hasher *h, const void *data, size_t len)
{
	size_t held = h->bytes <= LP_INLINE_MAX_BYTES ? (size_t)h->bytes : 0;

	if (len == 0)
		return;
	if (h->bytes + len <= LP_INLINE_MAX_BYTES) {
		if (!h->head)
			h->head = lp_xcalloc(1, LP_INLINE_MAX_BYTES);
		memcpy(h->head + held, data, len);
	} else {
		add_to_chunks(h, h->head, held);
		add_to_chunks(h, data, len);
	}
	h->bytes += len;
}

/* Without blocks. NULL for a content that is not large. */
static struct lp_chunks *list_chunks(const struct lp_hasher *h)
{
	const struct lp_chunk rest = {.len = h->gear.len,
				      .digest = canonical(XXH3_128bits_digest(h->state))};

	if (h->bytes <= LP_INLINE_MAX_BYTES)
		return NULL;
	return lp_chunks_create(h->chunks, h->n_chunks, rest.len > 0 ? &rest : NULL);
}

struct lp_chunks *lp_hasher_chunks(const struct lp_hasher *h)
{
	struct lp_chunks *all = list_chunks(h);

	if (all && h->blocks)
		all->blocks = lp_blocks_get(h->blocks);
	return all;
}

struct lp_digest lp_hasher_get(const struct lp_hasher *h)
{
	struct lp_chunks *all = list_chunks(h);
	struct lp_digest d;

	if (!all)
		return lp_digest_of(h->head, (size_t)h->bytes);
	d = lp_chunks_digest(all);
	lp_chunks_unref(all);
	return d;
}

void lp_hasher_destroy(struct lp_hasher *h)
{
	if (!h)
		return;
	(void)XXH3_freeState(h->state);
	lp_blocks_destroy(h->blocks);
	free(h->head);
	free(h->chunks);
	free(h);
}
