/* sync/index_children.c: what is directly below a directory, as a sorted array.
 *
 * In a large directory each new name in the midst of the others would move half of them. So new
 * ones gather behind them, sorted among themselves, and are merged in when there are many of them
 * or when somebody wants to see all in order. */
#include "sync/index_internal.h"

#include "common/base/lp_mem.h"

#include <string.h>

#define GROW_MIN  4
#define FEW       512 /* children below which moving them is cheap */
#define FRESH_MAX 256

/* Compares a child's name with name[0..len). */
static int compare_name(const struct lp_node *child, const char *name, size_t len)
{
	int c = strncmp(child->name, name, len);

	return c == 0 && child->name[len] != '\0' ? 1 : c;
}

/* Where name[0..len) is in at[0..n), or would be. */
static uint32_t slot_of(struct lp_node *const *at, uint32_t n, const char *name, size_t len,
			bool *found)
{
	uint32_t lo = 0, hi = n;

	*found = false;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = compare_name(at[mid], name, len);

		if (c == 0) {
			*found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Merges the fresh ones in, the last one first: what is behind its place moves by as many places as
 * there are fresh ones still to come. */
static void merge(struct lp_children *c)
{
	struct lp_node *fresh[FRESH_MAX];
	uint32_t end = c->n - c->fresh;
	bool found;

	memcpy(fresh, c->at + end, c->fresh * sizeof(struct lp_node *));
	while (c->fresh > 0) {
		struct lp_node *n = fresh[c->fresh - 1];
		uint32_t slot = slot_of(c->at, end, n->name, strlen(n->name), &found);

		memmove(c->at + slot + c->fresh, c->at + slot,
			(end - slot) * sizeof(struct lp_node *));
		c->at[slot + c->fresh - 1] = n;
		end = slot;
		c->fresh--;
	}
}

uint32_t lp_node_count(const struct lp_node *n)
{
	if (n->e.kind != LP_KIND_DIR || !n->u.children)
		return 0;
	if (n->u.children->fresh > 0)
		merge(n->u.children);
	return n->u.children->n;
}

struct lp_node *lp_children_find(const struct lp_node *dir, const char *name, size_t len)
{
	struct lp_children *c = dir->e.kind == LP_KIND_DIR ? dir->u.children : NULL;
	uint32_t old = c ? c->n - c->fresh : 0, slot;
	bool found;

	if (!c)
		return NULL;
	slot = slot_of(c->at, old, name, len, &found);
	if (found)
		return c->at[slot];
	slot = slot_of(c->at + old, c->fresh, name, len, &found);
	return found ? c->at[old + slot] : NULL;
}

/* Makes room for one more child. Grows by an eighth: with many children memory counts more than
 * copying. */
static struct lp_children *reserve(struct lp_node *dir)
{
	struct lp_children *c = dir->u.children;
	uint32_t n = c ? c->n : 0, cap = c ? c->cap : 0;

	if (n < cap)
		return c;
	cap += cap / 8 < GROW_MIN ? GROW_MIN : cap / 8;
	dir->u.children = lp_xrealloc(c, 1, sizeof(*c) + cap * sizeof(struct lp_node *));
	if (!c)
		*dir->u.children = (struct lp_children){0};
	dir->u.children->cap = cap;
	return dir->u.children;
}

void lp_children_insert(struct lp_node *dir, struct lp_node *n)
{
	struct lp_children *c = reserve(dir);
	size_t len = strlen(n->name);
	uint32_t from = 0, slot;
	bool found;

	if (c->fresh == FRESH_MAX)
		merge(c);
	/* Most often they come in order. */
	if (c->n > 0 && c->fresh == 0 && compare_name(c->at[c->n - 1], n->name, len) < 0) {
		from = c->n;
	} else if (c->n >= FEW || c->fresh > 0) {
		from = c->n - c->fresh;
		c->fresh++;
	}
	slot = from + slot_of(c->at + from, c->n - from, n->name, len, &found);
	memmove(c->at + slot + 1, c->at + slot, (c->n - slot) * sizeof(struct lp_node *));
	c->at[slot] = n;
	c->n++;
	n->parent = dir;
}

/* Where a node is in its directory. */
static uint32_t place_of(const struct lp_node *n)
{
	uint32_t count = lp_node_count(n->parent);
	bool found;

	return slot_of(n->parent->u.children->at, count, n->name, strlen(n->name), &found);
}

void lp_children_take_out(struct lp_node *n)
{
	uint32_t at = place_of(n);
	struct lp_children *c = n->parent->u.children;

	memmove(c->at + at, c->at + at + 1, (c->n - at - 1) * sizeof(struct lp_node *));
	c->n--;
}

struct lp_node *lp_node_next(const struct lp_node *top, const struct lp_node *node)
{
	return lp_node_count(node) > 0 ? lp_node_at(node, 0) : lp_node_after(top, node);
}

struct lp_node *lp_node_after(const struct lp_node *top, const struct lp_node *node)
{
	while (node != top && node->parent) {
		const struct lp_node *dir = node->parent;
		uint32_t next = place_of(node) + 1;

		if (next < lp_node_count(dir))
			return lp_node_at(dir, next);
		node = dir;
	}
	return NULL;
}
