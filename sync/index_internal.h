/* sync/index_internal.h: what index.c, index_children.c and index_digest.c share. */
#ifndef LP_SYNC_INDEX_INTERNAL_H
#define LP_SYNC_INDEX_INTERNAL_H

#include "sync/index.h"
#include "sync/pool.h"

/* lean: no node has a signature. */
struct lp_index {
	struct lp_node *root;
	size_t count;
	size_t files; /* of them: no directories */
	uint64_t bytes;
	bool lean;
	struct lp_pool pool;
};

/* index_digest.c: every node but the root has a share in its directory: its part is in the sum, or,
 * while it is stale, it is in the list of the stale ones. Before anything that the part is made of
 * changes, the node leaves; afterwards it enters. Both make the directories above stale. A stale
 * directory has children->... even when the last child is gone. */
void lp_share_leave(struct lp_node *n);
void lp_share_enter(struct lp_node *n);

/* index_children.c: the child of that name, or NULL; puts a node into a directory that has none of
 * its name; takes one out of its directory. A share must have been left before, or be entered
 * after. */
struct lp_node *lp_children_find(const struct lp_node *dir, const char *name, size_t len);
void lp_children_insert(struct lp_node *dir, struct lp_node *n);
void lp_children_take_out(struct lp_node *n);

/* Puts a node behind all others of a directory. Returns whether its name is behind all others. */
bool lp_children_append(struct lp_node *dir, struct lp_node *n);

/* What is below `from` is to be below `to`, which gets the same children: says so to each of them,
 * and in the children. Nothing for what is no directory. */
void lp_children_move(struct lp_node *to, struct lp_node *from);

/* The children of a directory, or NULL. */
static inline struct lp_children *lp_children_of(const struct lp_node *dir)
{
	return lp_node_more(dir)->u.children;
}

/* The place of `to`, seen from n; to NULL: none. */
static inline lp_node_ref lp_node_ref_to(const struct lp_node *n, const struct lp_node *to)
{
	return to ? (lp_node_ref)(((const char *)to - (const char *)n) / 4) : 0;
}

#endif
