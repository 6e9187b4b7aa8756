/* sync/diff.c: what makes a peer's directory equal to the workspace's. */
#include "sync/changeset.h"

#include "common/base/lp_mem.h"

#include <string.h>

int lp_diff_add_subtree(struct lp_changeset *cs, const struct lp_node *top)
{
	char path[LP_PATH_MAX_BYTES + 1];

	for (const struct lp_node *n = top; n; n = lp_node_next(top, n)) {
		int r = lp_node_path(n, path, sizeof(path));

		if (r < 0)
			return r;
		if (n->parent)
			lp_changeset_add(cs, LP_OP_PUT, path, &n->e, NULL)->is_new = true;
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct lp_peer_entry *const *)a)->name,
		      (*(const struct lp_peer_entry *const *)b)->name);
}

struct listing {
	struct lp_changeset *cs;
	void (*descend)(void *ctx, const char *path);
	void *ctx;
};

/* Both sides have the name. */
static int compare(const struct listing *l, const struct lp_node *mine, const char *path,
		   const struct lp_peer_entry *theirs)
{
	if (mine->e.kind != theirs->e.kind) {
		if (mine->e.kind == LP_KIND_DIR)
			return lp_diff_add_subtree(l->cs, mine);
		lp_changeset_add(l->cs, LP_OP_PUT, path, &mine->e, NULL);
		return 0;
	}
	if (mine->e.kind == LP_KIND_DIR) {
		if (mine->e.mode != theirs->e.mode || !theirs->owned)
			lp_changeset_add(l->cs, LP_OP_PUT, path, &mine->e, NULL)->is_adopted =
				mine->e.mode == theirs->e.mode;
		/* The digest of a directory that is not owned says nothing. */
		if (!theirs->owned || !lp_digest_equal(&mine->e.digest, &theirs->e.digest))
			l->descend(l->ctx, path);
		return 0;
	}
	if (lp_entry_equal(&mine->e, &theirs->e)) {
		if (!theirs->owned)
			lp_changeset_add(l->cs, LP_OP_KEEP, path, &mine->e, NULL)->is_adopted =
				true;
		return 0;
	}
	lp_changeset_add(l->cs,
			 mine->e.kind == LP_KIND_FILE && mine->e.size == theirs->e.size &&
					 lp_digest_equal(&mine->e.digest, &theirs->e.digest)
				 ? LP_OP_KEEP
				 : LP_OP_PUT,
			 path, &mine->e, NULL);
	return 0;
}

static int merge(const struct listing *l, const struct lp_node *node, const char *dir,
		 const struct lp_peer_entry *const *peer, size_t n_peer)
{
	size_t n_mine = node ? node->n_children : 0, i = 0, j = 0;
	char path[LP_PATH_MAX_BYTES + 1];

	while (i < n_mine || j < n_peer) {
		int order = i == n_mine   ? 1
			    : j == n_peer ? -1
					  : strcmp(node->children[i]->name, peer[j]->name);
		const char *name = order <= 0 ? node->children[i]->name : peer[j]->name;
		int r = lp_path_join(path, sizeof(path), dir, name);

		if (r < 0)
			return r;
		if (order < 0)
			r = lp_diff_add_subtree(l->cs, node->children[i]);
		else if (order == 0)
			r = compare(l, node->children[i], path, peer[j]);
		else if (peer[j]->owned)
			lp_changeset_add(l->cs, LP_OP_DELETE, path, NULL, NULL);
		if (r < 0)
			return r;
		i += order <= 0;
		j += order >= 0;
	}
	return 0;
}

int lp_diff_listing(struct lp_changeset *cs, const struct lp_node *node,
		    const struct lp_peer_dir *peer, void (*descend)(void *ctx, const char *path),
		    void *ctx)
{
	const struct listing l = {.cs = cs, .descend = descend, .ctx = ctx};
	LP_AUTO_FREE const struct lp_peer_entry **sorted = NULL;

	sorted = lp_xcalloc(peer->n, sizeof(struct lp_peer_entry *));
	for (size_t i = 0; i < peer->n; i++)
		sorted[i] = &peer->entries[i];
	if (peer->n > 1)
		qsort(sorted, peer->n, sizeof(struct lp_peer_entry *), by_name);
	return merge(&l, node, peer->path, sorted, peer->n);
}
