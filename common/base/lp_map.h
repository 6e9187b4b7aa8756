/* lp_map.h: a hash map from strings to pointers, for sets of paths that may be large. One thread.
 */
#ifndef LP_COMMON_BASE_LP_MAP_H
#define LP_COMMON_BASE_LP_MAP_H

#include <stddef.h>
#include <stdint.h>

/* key and value are borrowed: what they point to must live as long as the entry; the key is best
 * kept inside the value. */
struct lp_map_slot {
	uint64_t hash;
	const char *key; /* NULL: empty */
	void *value;
};

/* Zeroed: empty. */
struct lp_map {
	struct lp_map_slot *slots;
	size_t cap; /* 0 or a power of two */
	size_t n;
};

/* Releases the table; keys and values stay. */
void lp_map_finish(struct lp_map *map);

/* The value at key, or NULL. */
void *lp_map_get(const struct lp_map *map, const char *key);

/* Puts value (not NULL) at key; returns what was there before, or NULL. */
void *lp_map_put(struct lp_map *map, const char *key, void *value);

/* Takes the entry out; returns its value, or NULL. */
void *lp_map_remove(struct lp_map *map, const char *key);

/* The first value at or after slot *at, which is moved behind it; NULL at the end. Start with 0.
 * Any order; nothing may be put or removed in between. */
void *lp_map_next(const struct lp_map *map, size_t *at);

#endif
