/* sync/diff.c: what makes a peer's directory equal to the workspace's. */
#include "sync/changeset.h"

#include "common/base/lp_mem.h"

#include <string.h>

/* Appends an operation that names what a node is, its chunks included. */
static struct lp_op *add_node(struct lp_changeset *cs, enum lp_op_kind kind, const char *path,
			      const struct lp_node *n)
{
	const struct lp_entry e = lp_node_entry(n);
	struct lp_op *op = lp_changeset_add(cs, kind, path, &e, NULL);

	if (kind == LP_OP_PUT && lp_node_chunks(n))
		op->chunks = lp_chunks_ref(lp_node_chunks(n));
	return op;
}

int lp_diff_add_subtree(struct lp_changeset *cs, const struct lp_node *top)
{
	char path[LP_PATH_MAX_BYTES + 1];

	for (const struct lp_node *n = top; n; n = lp_node_next(top, n)) {
		int r = lp_node_path(n, path, sizeof(path));

		if (r < 0)
			return r;
		if (lp_node_parent(n))
			add_node(cs, LP_OP_PUT, path, n)->is_new = true;
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

/* Both sides have the name of what is no directory on either. */
static void compare_files(const struct listing *l, const struct lp_node *mine, const char *path,
			  const struct lp_peer_entry *theirs)
{
	bool same_content = mine->e.kind == LP_KIND_FILE && mine->e.size == theirs->e.size &&
			    lp_digest_equal(&mine->e.digest, &theirs->e.digest);
	bool same = lp_node_equal(mine, &theirs->e);
	struct lp_op *op;

	if (same && theirs->owned)
		return;
	op = add_node(l->cs, same || same_content ? LP_OP_KEEP : LP_OP_PUT, path, mine);
	op->is_adopted = same;
	op->was_foreign = !theirs->owned;
}

/* Both sides have the name. */
static int compare(const struct listing *l, const struct lp_node *mine, const char *path,
		   const struct lp_peer_entry *theirs)
{
	struct lp_op *op;

	if (mine->e.kind != theirs->e.kind) {
		if (mine->e.kind == LP_KIND_DIR)
			return lp_diff_add_subtree(l->cs, mine);
		add_node(l->cs, LP_OP_PUT, path, mine)->was_foreign = !theirs->owned;
		return 0;
	}
	if (mine->e.kind != LP_KIND_DIR) {
		compare_files(l, mine, path, theirs);
		return 0;
	}
	if (mine->e.mode != theirs->e.mode || !theirs->owned) {
		op = add_node(l->cs, LP_OP_PUT, path, mine);
		op->is_adopted = mine->e.mode == theirs->e.mode;
		op->was_foreign = !theirs->owned;
	}
	/* The digest of a directory that is not owned says nothing. */
	if (!theirs->owned || !lp_digest_equal(&mine->e.digest, &theirs->e.digest))
		l->descend(l->ctx, path);
	return 0;
}

static int merge(const struct listing *l, const struct lp_node *node, const char *dir,
		 const struct lp_peer_entry *const *peer, size_t n_peer)
{
	uint32_t n_mine = node ? lp_node_count(node) : 0, i = 0;
	size_t j = 0;
	char path[LP_PATH_MAX_BYTES + 1];

	while (i < n_mine || j < n_peer) {
		int order = i == n_mine   ? 1
			    : j == n_peer ? -1
					  : strcmp(lp_node_at(node, i)->name, peer[j]->name);
		const char *name = order <= 0 ? lp_node_at(node, i)->name : peer[j]->name;
		/* What the app made is left alone, however long its path is. */
		bool skip = order > 0 && !peer[j]->owned;
		int r = skip ? 0 : lp_path_join(path, sizeof(path), dir, name);

		if (r < 0)
			return r;
		if (order < 0)
			r = lp_diff_add_subtree(l->cs, lp_node_at(node, i));
		else if (order == 0)
			r = compare(l, lp_node_at(node, i), path, peer[j]);
		else if (!skip)
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
	for (size_t i = 1; i < peer->n; i++)
		if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
			return -EBADMSG;
	return merge(&l, node, peer->path, sorted, peer->n);
}
