/* cli/carried.c: a hash table from digests of paths to revisions. A path itself is not kept: two
 * that share 64 bits of a digest are one in 10^19. */
#include "cli/carried.h"

#include "common/base/lp_mem.h"
#include "common/base/lp_path.h"

#include <string.h>

#define FIRST_SLOTS 256u
#define MOST_SLOTS  ((size_t)1 << 20)

/* key 0: free. moved: all below the path came with it. */
struct slot {
	uint64_t key;
	uint64_t revision : 63;
	uint64_t moved : 1;
};

struct lp_carried {
	struct slot *slots;
	size_t n_slots; /* a power of two */
	size_t n;
	uint64_t newest;
};

struct lp_carried *lp_carried_create(void)
{
	struct lp_carried *c = lp_xcalloc(1, sizeof(*c));

	c->n_slots = FIRST_SLOTS;
	c->slots = lp_xcalloc(c->n_slots, sizeof(*c->slots));
	return c;
}

void lp_carried_destroy(struct lp_carried *c)
{
	if (!c)
		return;
	free(c->slots);
	free(c);
}

static uint64_t key_of(const char *path, size_t len)
{
	struct lp_digest d = lp_digest_of(path, len);
	uint64_t key;

	memcpy(&key, d.b, sizeof(key));
	return key ? key : 1;
}

/* The slot of the key, or the free one where it belongs. */
static struct slot *slot_of(const struct lp_carried *c, uint64_t key)
{
	size_t at = (size_t)key & (c->n_slots - 1);

	while (c->slots[at].key && c->slots[at].key != key)
		at = (at + 1) & (c->n_slots - 1);
	return &c->slots[at];
}

/* Moves everything of revision `since` or newer into a table of n_slots. */
static void rebuild(struct lp_carried *c, size_t n_slots, uint64_t since)
{
	struct slot *old = c->slots;
	size_t n_old = c->n_slots;

	c->slots = lp_xcalloc(n_slots, sizeof(*c->slots));
	c->n_slots = n_slots;
	c->n = 0;
	for (size_t i = 0; i < n_old; i++) {
		if (!old[i].key || old[i].revision < since)
			continue;
		*slot_of(c, old[i].key) = old[i];
		c->n++;
	}
	free(old);
}

static void make_room(struct lp_carried *c)
{
	uint64_t oldest = c->newest;

	if (c->n * 2 < c->n_slots)
		return;
	if (c->n_slots < MOST_SLOTS) {
		rebuild(c, c->n_slots * 2, 0);
		return;
	}
	for (size_t i = 0; i < c->n_slots; i++)
		if (c->slots[i].key && c->slots[i].revision < oldest)
			oldest = c->slots[i].revision;
	/* The older half of the revisions; all of them when there is only one. */
	rebuild(c, c->n_slots, oldest + (c->newest - oldest) / 2 + 1);
}

static void add(struct lp_carried *c, const char *path, uint64_t revision, bool moved)
{
	uint64_t key = key_of(path, strlen(path));
	struct slot *s;

	make_room(c);
	s = slot_of(c, key);
	c->n += !s->key;
	/* A directory that is moved and changed by one changeset still brings what is below it. */
	moved |= s->key && s->moved && s->revision == revision;
	*s = (struct slot){.key = key, .revision = revision & (UINT64_MAX >> 1), .moved = moved};
}

void lp_carried_add(struct lp_carried *c, const struct lp_changeset *cs)
{
	if (cs->revision > c->newest)
		c->newest = cs->revision;
	for (size_t i = 0; i < cs->n_ops; i++) {
		const struct lp_op *op = &cs->ops[i];

		add(c, op->path, cs->revision, op->kind == LP_OP_MOVE);
	}
}

uint64_t lp_carried_find(const struct lp_carried *c, const char *path)
{
	size_t len = strlen(path);
	const struct slot *s = slot_of(c, key_of(path, len));
	uint64_t found = s->key ? s->revision : 0;

	for (size_t i = 1; i < len; i++) {
		if (path[i] != '/')
			continue;
		s = slot_of(c, key_of(path, i));
		if (s->key && s->moved && s->revision > found)
			found = s->revision;
	}
	return found;
}
