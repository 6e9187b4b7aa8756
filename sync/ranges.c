/* sync/ranges.c: a sorted array of ranges. */
#include "sync/ranges.h"

#include <string.h>

static uint64_t end_of(const struct lp_range *r)
{
	return r->at + r->len;
}

static void erase(struct lp_ranges *set, uint32_t i, uint32_t count)
{
	memmove(&set->r[i], &set->r[i + count], (set->n - i - count) * sizeof(set->r[0]));
	set->n -= count;
}

/* Makes room for one more by joining the two that lie nearest to each other. */
static void join_nearest(struct lp_ranges *set)
{
	uint32_t best = 0;
	uint64_t least = UINT64_MAX;

	for (uint32_t i = 0; i + 1 < set->n; i++) {
		uint64_t gap = set->r[i + 1].at - end_of(&set->r[i]);

		if (gap < least) {
			least = gap;
			best = i;
		}
	}
	set->r[best].len = end_of(&set->r[best + 1]) - set->r[best].at;
	erase(set, best + 1, 1);
}

void lp_ranges_add(struct lp_ranges *set, uint64_t at, uint64_t len)
{
	uint64_t end = len > UINT64_MAX - at ? UINT64_MAX : at + len;
	uint32_t first = 0, after;

	if (end == at)
		return;
	while (first < set->n && end_of(&set->r[first]) < at)
		first++;
	for (after = first; after < set->n && set->r[after].at <= end; after++) {
		if (set->r[after].at < at)
			at = set->r[after].at;
		if (end_of(&set->r[after]) > end)
			end = end_of(&set->r[after]);
	}
	if (after > first) {
		set->r[first] = (struct lp_range){.at = at, .len = end - at};
		erase(set, first + 1, after - first - 1);
		return;
	}
	if (set->n == LP_RANGES_MAX) {
		join_nearest(set);
		lp_ranges_add(set, at, end - at);
		return;
	}
	memmove(&set->r[first + 1], &set->r[first], (set->n - first) * sizeof(set->r[0]));
	set->r[first] = (struct lp_range){.at = at, .len = end - at};
	set->n++;
}

void lp_ranges_join(struct lp_ranges *set, const struct lp_ranges *other)
{
	for (uint32_t i = 0; i < other->n; i++)
		lp_ranges_add(set, other->r[i].at, other->r[i].len);
}

bool lp_ranges_meet(const struct lp_ranges *set, uint64_t at, uint64_t len)
{
	uint64_t end = len > UINT64_MAX - at ? UINT64_MAX : at + len;

	for (uint32_t i = 0; i < set->n && end > at; i++)
		if (set->r[i].at < end && end_of(&set->r[i]) > at)
			return true;
	return false;
}
