/* sync/gear.c: the Gear hash and the limits of a chunk. */
#include "sync/gear.h"

#include "sync/chunk.h"

#define WINDOW_BYTES 64 /* a byte is shifted out of the hash after that many */

/* Normalised chunking: cuts are rarer than the average asks for before it, more frequent behind it,
 * which brings the lengths near to it. */
#define STRICT_BELOW ((uint64_t)1 << (64 - 18))
#define LOOSE_BELOW  ((uint64_t)1 << (64 - 14))

/* Output n of SplitMix64, counted from 0, with the seed 0. */
#define SEQUENCE(n) ((uint64_t)((n) + 1u) * UINT64_C(0x9e3779b97f4a7c15))
#define MIX_ONE(z)  (((z) ^ ((z) >> 30)) * UINT64_C(0xbf58476d1ce4e5b9))
#define MIX_TWO(z)  (((z) ^ ((z) >> 27)) * UINT64_C(0x94d049bb133111eb))
#define MIX_END(z)  ((z) ^ ((z) >> 31))
#define GEAR(n)     MIX_END(MIX_TWO(MIX_ONE(SEQUENCE(n))))
#define GEAR_4(n)   GEAR(n), GEAR((n) + 1u), GEAR((n) + 2u), GEAR((n) + 3u)
#define GEAR_16(n)  GEAR_4(n), GEAR_4((n) + 4u), GEAR_4((n) + 8u), GEAR_4((n) + 12u)
#define GEAR_64(n)  GEAR_16(n), GEAR_16((n) + 16u), GEAR_16((n) + 32u), GEAR_16((n) + 48u)

static const uint64_t gear[256] = {GEAR_64(0u), GEAR_64(64u), GEAR_64(128u), GEAR_64(192u)};

/* Takes bytes until the hash is below `limit`, or all n. Returns how many. */
static size_t roll(uint64_t *hash, const uint8_t *p, size_t n, uint64_t limit)
{
	uint64_t h = *hash;
	size_t i = 0;

	while (i < n) {
		h = (h << 1) + gear[p[i++]];
		if (h < limit)
			break;
	}
	*hash = h;
	return i;
}

size_t lp_gear_scan(struct lp_gear *g, const void *data, size_t len, bool *cut)
{
	/* Up to which length of the chunk the hash has to be below what. */
	static const struct {
		uint32_t to;
		uint64_t below;
	} stages[] = {
		{LP_CHUNK_MIN_BYTES - WINDOW_BYTES, 0}, /* not even looked at */
		{LP_CHUNK_MIN_BYTES - 1, 0},
		{LP_CHUNK_AVG_BYTES - 1, STRICT_BELOW},
		{LP_CHUNK_MAX_BYTES, LOOSE_BELOW},
	};
	const uint8_t *p = data;
	size_t at = 0;

	*cut = false;
	for (size_t s = 0; s < sizeof(stages) / sizeof(stages[0]) && !*cut; s++) {
		size_t n = len - at, used;

		if (g->len >= stages[s].to)
			continue;
		if (n > stages[s].to - g->len)
			n = stages[s].to - g->len;
		used = s == 0 ? n : roll(&g->hash, p + at, n, stages[s].below);
		at += used;
		g->len += (uint32_t)used;
		*cut = used > 0 && g->hash < stages[s].below;
	}
	*cut = *cut || g->len == LP_CHUNK_MAX_BYTES;
	if (*cut)
		*g = (struct lp_gear){0};
	return at;
}
