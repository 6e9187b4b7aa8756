/* sync/index_children.c: what is directly below a directory, as a sorted array.
 *
 * In a large directory each new name in the midst of the others would move half of them. So new
 * ones gather behind them, sorted among themselves, and are merged in when there are many of them
 * or when somebody wants to see all in order. */
#include "sync/index_internal.h"

#include "common/base/lp_mem.h"

#include <string.h>

#define GROW_MIN  4
#define GROW_FAST 32  /* children up to which the room doubles */
#define FEW       512 /* children below which moving them is cheap */
#define FRESH_MAX 256

/* Compares a child's name with name[0..len). */
static int compare_name(const struct lp_node *child, const char *name, size_t len)
{
	int c = strncmp(child->name, name, len);

	return c == 0 && child->name[len] != '\0' ? 1 : c;
}

/* Where a name of that length is among children [lo, hi), or would be. */
static uint32_t slot_of(const struct lp_node *dir, uint32_t lo, uint32_t hi, const char *name,
			size_t len, bool *found)
{
	*found = false;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = compare_name(lp_node_at(dir, mid), name, len);

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
static void merge(const struct lp_node *dir)
{
	struct lp_children *c = lp_children_of(dir);
	lp_node_ref fresh[FRESH_MAX];
	uint32_t end = c->n - c->fresh;
	bool found;

	memcpy(fresh, c->at + end, c->fresh * sizeof(fresh[0]));
	while (c->fresh > 0) {
		const struct lp_node *n = lp_node_from(dir, fresh[c->fresh - 1]);
		uint32_t slot = slot_of(dir, 0, end, n->name, strlen(n->name), &found);

		memmove(c->at + slot + c->fresh, c->at + slot, (end - slot) * sizeof(c->at[0]));
		c->at[slot + c->fresh - 1] = fresh[c->fresh - 1];
		end = slot;
		c->fresh--;
	}
}

uint32_t lp_node_count(const struct lp_node *n)
{
	struct lp_children *c = n->e.kind == LP_KIND_DIR ? lp_children_of(n) : NULL;

	if (!c)
		return 0;
	if (c->fresh > 0)
		merge(n);
	return c->n;
}

struct lp_node *lp_children_find(const struct lp_node *dir, const char *name, size_t len)
{
	const struct lp_children *c = dir->e.kind == LP_KIND_DIR ? lp_children_of(dir) : NULL;
	uint32_t old = c ? c->n - c->fresh : 0, slot;
	bool found;

	if (!c || c->n == 0)
		return NULL;
	/* Whoever makes a tree most often comes in order. */
	if (c->fresh == 0 && compare_name(lp_node_at(dir, c->n - 1), name, len) < 0)
		return NULL;
	slot = slot_of(dir, 0, old, name, len, &found);
	if (!found)
		slot = slot_of(dir, old, c->n, name, len, &found);
	return found ? lp_node_at(dir, slot) : NULL;
}

/* Makes room for one more child. A few double; many grow by an eighth: then memory counts more than
 * copying. */
static struct lp_children *reserve(struct lp_node *dir)
{
	struct lp_children *c = lp_children_of(dir);
	uint32_t n = c ? c->n : 0, cap = c ? c->cap : 0;
	bool is_first = !c;

	if (n < cap)
		return c;
	if (cap < GROW_FAST)
		cap += cap < GROW_MIN ? GROW_MIN : cap;
	else
		cap += cap / 8;
	c = lp_xrealloc(c, 1, sizeof(*c) + cap * sizeof(c->at[0]));
	if (is_first)
		*c = (struct lp_children){0};
	c->cap = cap;
	lp_node_more(dir)->u.children = c;
	return c;
}

void lp_children_insert(struct lp_node *dir, struct lp_node *n)
{
	struct lp_children *c = reserve(dir);
	size_t len = strlen(n->name);
	uint32_t from = 0, slot;
	bool found;

	if (c->fresh == FRESH_MAX)
		merge(dir);
	/* Most often they come in order. */
	if (c->n > 0 && c->fresh == 0 &&
	    compare_name(lp_node_at(dir, c->n - 1), n->name, len) < 0) {
		from = c->n;
	} else if (c->n >= FEW || c->fresh > 0) {
		from = c->n - c->fresh;
		c->fresh++;
	}
	slot = slot_of(dir, from, c->n, n->name, len, &found);
	memmove(c->at + slot + 1, c->at + slot, (c->n - slot) * sizeof(c->at[0]));
	c->at[slot] = lp_node_ref_to(dir, n);
	c->n++;
	n->parent = lp_node_ref_to(n, dir);
}

bool lp_children_append(struct lp_node *dir, struct lp_node *n)
{
	struct lp_children *c = reserve(dir);

	if (c->fresh > 0 || (c->n > 0 && strcmp(lp_node_at(dir, c->n - 1)->name, n->name) >= 0))
		return false;
	c->at[c->n++] = lp_node_ref_to(dir, n);
	n->parent = lp_node_ref_to(n, dir);
	return true;
}

/* Where a node is in its directory. */
static uint32_t place_of(const struct lp_node *n)
{
	const struct lp_node *dir = lp_node_parent(n);
	uint32_t count = lp_node_count(dir);
	bool found;

	return slot_of(dir, 0, count, n->name, strlen(n->name), &found);
}

void lp_children_take_out(struct lp_node *n)
{
	uint32_t at = place_of(n);
	struct lp_children *c = lp_children_of(lp_node_parent(n));

	memmove(c->at + at, c->at + at + 1, (c->n - at - 1) * sizeof(c->at[0]));
	c->n--;
}

void lp_children_move(struct lp_node *to, struct lp_node *from)
{
	struct lp_children *c = from->e.kind == LP_KIND_DIR ? lp_children_of(from) : NULL;
	lp_node_ref by = lp_node_ref_to(to, from);

	for (uint32_t i = 0; c && i < c->n; i++) {
		struct lp_node *n = lp_node_at(from, i);

		n->parent = lp_node_ref_to(n, to);
		c->at[i] += by;
	}
	if (c && c->stale)
		c->stale += by;
}

struct lp_node *lp_node_next(const struct lp_node *top, const struct lp_node *node)
{
	return lp_node_count(node) > 0 ? lp_node_at(node, 0) : lp_node_after(top, node);
}

struct lp_node *lp_node_after(const struct lp_node *top, const struct lp_node *node)
{
	while (node != top && node->parent) {
		const struct lp_node *dir = lp_node_parent(node);
		uint32_t next = place_of(node) + 1;

		if (next < lp_node_count(dir))
			return lp_node_at(dir, next);
		node = dir;
	}
	return NULL;
}
