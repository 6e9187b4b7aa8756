/* controller/verify.c: reads the whole tree again, to find what changed without the workspace. */
#include "controller/tree_internal.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <string.h>

static void drifted(struct lp_verified *v, const char *path)
{
	v->drifted++;
	if (v->n_paths < LP_VERIFIED_PATHS_MAX)
		v->paths[v->n_paths++] = lp_xstrdup(path);
}

/* What is at the path now; kind NONE: nothing that can be compared. */
static struct lp_entry look(struct lp_tree *t, const char *path, uint32_t *mark)
{
	char target[LP_PATH_MAX_BYTES + 1];
	struct lp_entry e = {0};
	struct stat st;
	ssize_t n;
	int fd = lp_tree_find_parent(t, path);

	*mark = 0;
	if (fd < 0 || fstatat(fd, lp_path_base(path), &st, AT_SYMLINK_NOFOLLOW) < 0)
		return e;
	if (S_ISDIR(st.st_mode)) {
		e.kind = LP_KIND_DIR;
		e.mode = st.st_mode & 0777;
	} else if (S_ISLNK(st.st_mode)) {
		n = readlinkat(fd, lp_path_base(path), target, sizeof(target));
		if (n < 0)
			return e;
		e.kind = LP_KIND_LINK;
		e.size = (uint64_t)n;
		e.digest = lp_digest_of(target, (size_t)n);
	} else if (S_ISREG(st.st_mode)) {
		/* One that cannot be read has another content for all that is known. */
		if (lp_tree_hash(t, path, &e, &st) < 0)
			e = (struct lp_entry){.kind = LP_KIND_FILE,
					      .mode = st.st_mode & 0777,
					      .size = (uint64_t)st.st_size};
		else
			*mark = lp_sig_mark(lp_sig_of(&st));
	}
	return e;
}

int lp_tree_verify(struct lp_tree *t, struct lp_verified *out, bool (*stop)(void *ctx), void *ctx)
{
	struct lp_node *root = lp_index_get(t->index, ""), *n, *next;
	char path[LP_PATH_MAX_BYTES + 1];

	*out = (struct lp_verified){0};
	for (n = lp_node_next(root, root); n; n = next) {
		struct lp_entry now;
		uint32_t mark;

		if (stop && stop(ctx))
			return -ECANCELED;
		if (lp_node_path(n, path, sizeof(path)) < 0)
			return -ENAMETOOLONG;
		now = look(t, path, &mark);
		if (now.kind == LP_KIND_FILE) {
			out->files++;
			out->bytes += now.size;
		}
		if (now.kind == LP_KIND_DIR && n->e.kind == LP_KIND_DIR)
			now.digest = n->e.digest; /* its children are looked at, too */
		if (!lp_node_equal(n, &now))
			drifted(out, path);
		if (now.kind != (enum lp_kind)n->e.kind) {
			/* Gone, or the app's. */
			next = lp_node_after(root, n);
			lp_node_remove(t->index, n);
			continue;
		}
		if (!lp_node_equal(n, &now) && lp_index_put(t->index, path, &now, NULL, &n) < 0)
			return -ENOENT;
		n->mark = mark;
		next = lp_node_next(root, n);
	}
	lp_tree_forget_parent(t);
	out->root = lp_index_root(t->index);
	return 0;
}

void lp_verified_finish(struct lp_verified *v)
{
	for (size_t i = 0; i < v->n_paths; i++)
		free(v->paths[i]);
	*v = (struct lp_verified){0};
}
