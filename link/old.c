/* link/old.c: versions of large files that an instance may still hold when its link comes back or
 * compares trees: with them a catch-up sends what differs instead of the whole file. */
#include "link/link_internal.h"

#include "common/base/lp_mem.h"

#include <string.h>

#define OLD_MAX 64 /* the first ones stay: they are what a lost connection left there */

void lp_old_forget(struct lp_link *link)
{
	for (size_t i = 0; i < link->n_old; i++) {
		free(link->old[i].path);
		lp_chunks_unref(link->old[i].chunks);
	}
	link->n_old = 0;
}

static bool is_known(const struct lp_link *link, const struct lp_op *op)
{
	for (size_t i = 0; i < link->n_old; i++)
		if (strcmp(link->old[i].path, op->path) == 0 &&
		    lp_digest_equal(&link->old[i].digest, &op->base.digest))
			return true;
	return false;
}

void lp_old_remember(struct lp_link *link, const struct lp_changeset *cs)
{
	for (size_t i = 0; i < cs->n_ops && link->n_old < OLD_MAX; i++) {
		const struct lp_op *op = &cs->ops[i];

		if (op->kind != LP_OP_PUT || !op->base.chunks || is_known(link, op))
			continue;
		lp_grow(&link->old, &link->cap_old, link->n_old + 1, sizeof(*link->old));
		link->old[link->n_old++] = (struct lp_old_version){
			.path = lp_xstrdup(op->path),
			.digest = op->base.digest,
			.chunks = lp_chunks_ref(op->base.chunks),
		};
	}
}

/* Whether path names an entry of the directory `dir`; then *name is it. */
static bool is_in(const char *path, const char *dir, const char **name)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	*name = slash ? slash + 1 : path;
	return strlen(dir) == len && memcmp(path, dir, len) == 0;
}

void lp_old_listed(struct lp_link *link, const char *dir, const struct lp_peer_entry *entries,
		   size_t n)
{
	for (size_t i = 0; i < link->n_old; i++) {
		struct lp_old_version *old = &link->old[i];
		const char *name;

		if (!is_in(old->path, dir, &name))
			continue;
		old->listed = false;
		for (size_t j = 0; j < n && !old->listed; j++)
			old->listed = entries[j].owned && entries[j].e.kind == LP_KIND_FILE &&
				      lp_digest_equal(&entries[j].e.digest, &old->digest) &&
				      strcmp(entries[j].name, name) == 0;
	}
}

/* What the workspace has at the operation's path, when that is what the operation says. */
static struct lp_chunks *chunks_of(const struct lp_index *ix, const struct lp_op *op)
{
	const struct lp_node *node = lp_index_get(ix, op->path);

	return node && lp_digest_equal(&node->e.digest, &op->e.digest) ? lp_node_chunks(node)
								       : NULL;
}

void lp_old_use(struct lp_link *link, struct lp_changeset *cs, const struct lp_index *ix)
{
	for (size_t i = 0; i < cs->n_ops; i++) {
		struct lp_op *op = &cs->ops[i];
		struct lp_chunks *chunks;

		if (op->kind != LP_OP_PUT || op->e.kind != LP_KIND_FILE ||
		    op->e.size <= LP_INLINE_MAX_BYTES)
			continue;
		chunks = chunks_of(ix, op);
		if (chunks)
			chunks = lp_chunks_ref(chunks);
		lp_chunks_unref(op->chunks);
		op->chunks = chunks;
		for (size_t j = 0; j < link->n_old && !op->base.chunks; j++) {
			const struct lp_old_version *old = &link->old[j];

			if (!old->listed || strcmp(old->path, op->path) != 0)
				continue;
			op->base.digest = old->digest;
			/* Without blocks: when it was they that led astray, chunks do not. */
			op->base.chunks = lp_chunks_create(old->chunks->c, old->chunks->n, NULL);
		}
	}
}
