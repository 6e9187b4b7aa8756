/* lp_map.c: open addressing with linear probing; FNV-1a (Fowler, Noll, Vo) hashes. */
#include "common/base/lp_map.h"

#include "common/base/lp_mem.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const char *key)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * 0x100000001b3u;
	/* The low bits choose the slot, and they have seen the last bytes least. */
	return h ^ h >> 32;
}

/* Where key is, or the empty slot where it would be. */
static size_t slot_of(const struct lp_map *map, uint64_t hash, const char *key)
{
	size_t at = (size_t)hash & (map->cap - 1);

	while (map->slots[at].key &&
	       (map->slots[at].hash != hash || strcmp(map->slots[at].key, key) != 0))
		at = (at + 1) & (map->cap - 1);
	return at;
}

void lp_map_finish(struct lp_map *map)
{
	free(map->slots);
	*map = (struct lp_map){0};
}

void *lp_map_get(const struct lp_map *map, const char *key)
{
	return map->n > 0 ? map->slots[slot_of(map, hash_of(key), key)].value : NULL;
}

static void grow(struct lp_map *map)
{
	struct lp_map old = *map;

	map->cap = old.cap ? old.cap * 2 : 16;
	map->slots = lp_xcalloc(map->cap, sizeof(*map->slots));
	for (size_t i = 0; i < old.cap; i++)
		if (old.slots[i].key)
			map->slots[slot_of(map, old.slots[i].hash, old.slots[i].key)] =
				old.slots[i];
	free(old.slots);
}

void *lp_map_put(struct lp_map *map, const char *key, void *value)
{
	uint64_t hash = hash_of(key);
	struct lp_map_slot *slot;
	void *before;

	/* At most three quarters full, so that probes stay short and find an empty slot. */
	if (map->n >= map->cap / 4 * 3)
		grow(map);
	slot = &map->slots[slot_of(map, hash, key)];
	before = slot->value;
	map->n += slot->key ? 0 : 1;
	*slot = (struct lp_map_slot){.hash = hash, .key = key, .value = value};
	return before;
}

void *lp_map_remove(struct lp_map *map, const char *key)
{
	size_t mask = map->cap - 1, at, hole;
	void *value;

	if (map->n == 0)
		return NULL;
	hole = slot_of(map, hash_of(key), key);
	if (!map->slots[hole].key)
		return NULL;
	value = map->slots[hole].value;
	/* What was pushed behind the hole by others moves up, so that probes need no marks. */
	for (at = (hole + 1) & mask; map->slots[at].key; at = (at + 1) & mask) {
		size_t home = (size_t)map->slots[at].hash & mask;

		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		map->slots[hole] = map->slots[at];
		hole = at;
	}
	map->slots[hole] = (struct lp_map_slot){0};
	map->n--;
	return value;
}

void *lp_map_next(const struct lp_map *map, size_t *at)
{
	while (*at < map->cap) {
		struct lp_map_slot *slot = &map->slots[(*at)++];

		if (slot->key)
			return slot->value;
	}
	return NULL;
}
