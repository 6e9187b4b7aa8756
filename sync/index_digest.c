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
	uint64_t *sum = n->parent->u.children->sum;

	sum[0] += p.lane[0];
	sum[1] += p.lane[1];
}

static void take_part(struct lp_node *n)
{
	struct part p = part_of(n);
	uint64_t *sum = n->parent->u.children->sum;

	sum[0] -= p.lane[0];
	sum[1] -= p.lane[1];
}

static void link_stale(struct lp_node *n)
{
	struct lp_children *siblings = n->parent->u.children;

	n->u.children->stale_prev = NULL;
	n->u.children->stale_next = siblings->stale;
	if (siblings->stale)
		siblings->stale->u.children->stale_prev = n;
	siblings->stale = n;
}

static void unlink_stale(struct lp_node *n)
{
	struct lp_children *siblings = n->parent->u.children;
	struct lp_node *prev = n->u.children->stale_prev, *next = n->u.children->stale_next;

	if (prev)
		prev->u.children->stale_next = next;
	else
		siblings->stale = next;
	if (next)
		next->u.children->stale_prev = prev;
}

/* Makes a directory stale, and those above it. */
static void touch(struct lp_node *dir)
{
	for (; dir && !dir->e.stale; dir = dir->parent) {
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
	touch(n->parent);
}

void lp_share_enter(struct lp_node *n)
{
	if (n->e.stale)
		link_stale(n);
	else
		add_part(n);
	touch(n->parent);
}

static void compute(struct lp_node *dir)
{
	const struct lp_children *children = dir->u.children;
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
		if (n->u.children->stale) {
			n = n->u.children->stale;
			continue;
		}
		if (n->parent)
			unlink_stale(n);
		compute(n);
		if (n->parent)
			add_part(n);
		n = n->parent ? n->parent : n;
	}
	return ix->root->e.digest;
}
