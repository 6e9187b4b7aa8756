/* sync/digest.c: digests through xxHash. */
#include "sync/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct lp_hasher {
	XXH3_state_t *state;
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
	for (size_t i = 0; i < sizeof(d->b); i++)
		(void)snprintf(out + 2 * i, 3, "%02x", d->b[i]);
}

struct lp_hasher *lp_hasher_create(void)
{
	struct lp_hasher *h = calloc(1, sizeof(*h));

	if (!h || !(h->state = XXH3_createState()))
		abort();
	lp_hasher_reset(h);
	return h;
}

void lp_hasher_reset(struct lp_hasher *h)
{
	(void)XXH3_128bits_reset(h->state);
}

void lp_hasher_add(struct lp_hasher *h, const void *data, size_t len)
{
	if (len > 0)
		(void)XXH3_128bits_update(h->state, data, len);
}

struct lp_digest lp_hasher_get(const struct lp_hasher *h)
{
	return canonical(XXH3_128bits_digest(h->state));
}

void lp_hasher_destroy(struct lp_hasher *h)
{
	if (!h)
		return;
	(void)XXH3_freeState(h->state);
	free(h);
}
