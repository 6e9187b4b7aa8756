/* sync/index_digest.c: the Merkle digests of an index.
 *
 * A directory's digest is the digest of the sum of its children's parts (two 64-bit lanes, each
 * wrapping) and their number, a part being the digest of kind, mode, digest and name of the child.
 * So a change costs the same in a directory of ten as in one of a hundred thousand: the old part is
 * taken from the sum and the new one added. What is above changes only when the root is asked for:
 * till then a changed directory is stale, out of the sum above it, and in a list there. */
#include "sync/index_internal.h"

#include <string.h>

struct part {
	uint64_t lane[2];
};

static uint64_t load_lane(const uint8_t *b)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | b[i];
	return v;
}

static void store_lane(uint8_t *b, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		b[i] = (uint8_t)v;
}

static struct part part_of(const struct lp_node *n)
{
	uint8_t text[1 + 4 + 16 + LP_NAME_MAX_BYTES];
	size_t len = strlen(n->name);
	struct lp_digest d;

	if (len > LP_NAME_MAX_BYTES)
		len = LP_NAME_MAX_BYTES;
	text[0] = (uint8_t)n->e.kind;
	text[1] = text[2] = 0;
	text[3] = (uint8_t)(n->e.mode >> 8);
	text[4] = (uint8_t)n->e.mode;
	memcpy(text + 5, n->e.digest.b, 16);
	memcpy(text + 21, n->name, len);
	d = lp_digest_of(text, 21 + len);
	return (struct part){{load_lane(d.b), load_lane(d.b + 8)}};
}

static void add_part(struct lp_node *n)
{
	struct part p = part_of(n);
	uint64_t *sum = lp_children_of(lp_node_parent(n))->sum;

	sum[0] += p.lane[0];
	sum[1] += p.lane[1];
}

static void take_part(struct lp_node *n)
{
	struct part p = part_of(n);
	uint64_t *sum = lp_children_of(lp_node_parent(n))->sum;

	sum[0] -= p.lane[0];
	sum[1] -= p.lane[1];
}

/* The node at that place, or NULL. */
static struct lp_node *at_ref(const struct lp_node *n, lp_node_ref ref)
{
	return ref ? lp_node_from(n, ref) : NULL;
}

static void link_stale(struct lp_node *n)
{
	struct lp_node *dir = lp_node_parent(n);
	struct lp_children *siblings = lp_children_of(dir), *own = lp_children_of(n);
	struct lp_node *next = at_ref(dir, siblings->stale);

	own->stale_prev = 0;
	own->stale_next = lp_node_ref_to(n, next);
	if (next)
		lp_children_of(next)->stale_prev = lp_node_ref_to(next, n);
	siblings->stale = lp_node_ref_to(dir, n);
}

static void unlink_stale(struct lp_node *n)
{
	struct lp_node *dir = lp_node_parent(n);
	struct lp_node *prev = at_ref(n, lp_children_of(n)->stale_prev);
	struct lp_node *next = at_ref(n, lp_children_of(n)->stale_next);

	if (prev)
		lp_children_of(prev)->stale_next = lp_node_ref_to(prev, next);
	else
		lp_children_of(dir)->stale = lp_node_ref_to(dir, next);
	if (next)
		lp_children_of(next)->stale_prev = lp_node_ref_to(next, prev);
}

/* Makes a directory stale, and those above it. */
static void touch(struct lp_node *dir)
{
	for (; dir && !dir->e.stale; dir = lp_node_parent(dir)) {
		if (dir->parent) {
			take_part(dir);
			link_stale(dir);
		}
		dir->e.stale = true;
	}
}

void lp_share_leave(struct lp_node *n)
{
	if (n->e.stale)
		unlink_stale(n);
	else
		take_part(n);
	touch(lp_node_parent(n));
}

void lp_share_enter(struct lp_node *n)
{
	if (n->e.stale)
		link_stale(n);
	else
		add_part(n);
	touch(lp_node_parent(n));
}

static void compute(struct lp_node *dir)
{
	const struct lp_children *children = lp_children_of(dir);
	uint8_t text[24];

	dir->e.stale = false;
	if (children->n == 0) {
		memset(&dir->e.digest, 0, sizeof(dir->e.digest));
		return;
	}
	store_lane(text, children->sum[0]);
	store_lane(text + 8, children->sum[1]);
	store_lane(text + 16, children->n);
	dir->e.digest = lp_digest_of(text, sizeof(text));
}

/* Down to a stale directory without stale ones in it, and up again: no recursion, because trees may
 * be deeper than the stack is large. */
struct lp_digest lp_index_root(struct lp_index *ix)
{
	struct lp_node *n = ix->root;

	while (ix->root->e.stale) {
		lp_node_ref stale = lp_children_of(n)->stale;

		if (stale) {
			n = lp_node_from(n, stale);
			continue;
		}
		if (n->parent)
			unlink_stale(n);
		compute(n);
		if (n->parent)
			add_part(n);
		n = n->parent ? lp_node_parent(n) : n;
	}
	return ix->root->e.digest;
}
