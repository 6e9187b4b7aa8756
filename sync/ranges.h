/* sync/ranges.h: a small set of byte ranges of a file: what was written to it. Pure memory. */
#ifndef LP_SYNC_RANGES_H
#define LP_SYNC_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Beyond that many, the two nearest are joined: the set may say more than was written, never
 * less. */
#define LP_RANGES_MAX 64

struct lp_range {
	uint64_t at;
	uint64_t len;
};

/* Sorted, none touching another. Zeroed: empty. No heap. */
struct lp_ranges {
	uint32_t n;
	struct lp_range r[LP_RANGES_MAX];
};

/* Adds bytes [at, at + len); len 0 adds nothing. What would pass 2^64 is cut there. */
void lp_ranges_add(struct lp_ranges *set, uint64_t at, uint64_t len);

/* Adds all of another set. */
void lp_ranges_join(struct lp_ranges *set, const struct lp_ranges *other);

/* Whether some byte of [at, at + len) is in the set. */
bool lp_ranges_meet(const struct lp_ranges *set, uint64_t at, uint64_t len);

#endif
