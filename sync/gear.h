/* sync/gear.h: where a content is cut into chunks: a rolling hash over its last 64 bytes decides,
 * so that equal content is cut equally wherever it stands. Internal to the room; sync/digest.h and
 * sync/chunk.h are what others use. */
#ifndef LP_SYNC_GEAR_H
#define LP_SYNC_GEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A chunk under way. Zeroed: at its beginning. */
struct lp_gear {
	uint64_t hash;
	uint32_t len; /* bytes of the chunk so far */
};

/* Looks for the end of the chunk in its next len bytes. Returns how many belong to it: fewer than
 * len, or all; *cut says whether the chunk ends with the last one of them, and *g is at the
 * beginning of the next chunk then. The rule is in docs/protocol.md: after LP_CHUNK_MIN_BYTES at
 * the earliest; up to LP_CHUNK_AVG_BYTES where the hash begins with 18 zero bits, then with 14;
 * after LP_CHUNK_MAX_BYTES in any case. The hash takes a byte b by h = 2 h + gear[b] modulo 2^64
 * (Gear hash, Xia et al., "Ddelta", 2014), and begins 64 bytes before the first place to cut.
 * gear[] are the first 256 outputs of SplitMix64 (Steele et al., OOPSLA 2014) with the seed 0. */
size_t lp_gear_scan(struct lp_gear *g, const void *data, size_t len, bool *cut);

#endif
