/* controller/commit.c: makes a staged changeset visible. Everything was written and verified
 * before, so that only mkdir, rename, chmod and unlink are left. */
#include "controller/tree_internal.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void lp_applied_finish(struct lp_applied *a)
{
	for (size_t i = 0; i < a->n_paths; i++)
		free(a->paths[i]);
	free(a->paths);
	*a = (struct lp_applied){0};
}

/* Removes what the workspace owned at node and below, deepest first. What the app made there stays,
 * and so do the directories that hold it. */
static int remove_owned(struct lp_tree *t, struct lp_node *top, struct lp_err *err)
{
	struct lp_node *n = top;
	char path[LP_PATH_MAX_BYTES + 1];

	for (;;) {
		struct lp_node *up = n->parent;
		bool is_top = n == top;
		int fd, r;

		if (n->n_children > 0) {
			n = n->children[n->n_children - 1];
			continue;
		}
		if (lp_node_path(n, path, sizeof(path)) < 0)
			return lp_err_say(err, ENAMETOOLONG, "%s: path too long", n->name);
		fd = lp_tree_parent(t, path);
		r = fd < 0 ? fd
		    : unlinkat(fd, n->name, n->e.kind == LP_KIND_DIR ? AT_REMOVEDIR : 0) < 0
			    ? -errno
			    : 0;
		if (n->e.kind == LP_KIND_DIR)
			lp_tree_forget_parent(t);
		if (r < 0 && r != -ENOENT && r != -ENOTEMPTY && r != -EEXIST && r != -ENOTDIR &&
		    r != -EISDIR)
			return lp_err_set(err, -r, "%s: cannot remove", path);
		lp_node_remove(t->index, n);
		if (is_top)
			return 0;
		n = up;
	}
}

/* Clears the way for an entry of another kind. */
static int clear_way(struct lp_tree *t, const struct lp_staged *s, struct lp_err *err)
{
	struct lp_node *n = lp_index_get(t->index, s->path);

	if (!n || n->e.kind == s->e.kind)
		return 0;
	return remove_owned(t, n, err);
}

static int put_dir(struct lp_tree *t, const struct lp_staged *s, struct lp_err *err)
{
	const char *name = lp_path_base(s->path);
	struct stat st;
	int fd = lp_tree_parent(t, s->path);

	if (fd < 0)
		return lp_err_set(err, -fd, "%s: cannot make the directory", s->path);
	/* Writable for us until everything in it is in place. */
	if (mkdirat(fd, name, 0700) == 0)
		return 0;
	if (errno != EEXIST || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return lp_err_set(err, errno, "%s: cannot make the directory", s->path);
	if (S_ISDIR(st.st_mode))
		return 0;
	return lp_err_say(err, EEXIST,
			  "%s: cannot make the directory: the app made a file of that name; "
			  "remove it or ignore the directory",
			  s->path);
}

static int put_renamed(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	int fd = lp_tree_parent(t, s->path);
	char name[24];

	if (fd < 0)
		return lp_err_set(err, -fd, "%s: cannot be put", s->path);
	lp_stage_name(s->stage, name);
	if (renameat(t->stage_fd, name, fd, lp_path_base(s->path)) < 0) {
		if (errno == EISDIR || errno == ENOTEMPTY)
			return lp_err_say(err, EISDIR,
					  "%s: cannot be put: a directory that holds files of the "
					  "app is in the way; remove it or ignore the file",
					  s->path);
		return lp_err_set(err, errno, "%s: cannot be put", s->path);
	}
	s->stage = 0;
	return 0;
}

static int keep_link(struct lp_tree *t, const struct lp_staged *s, struct lp_err *err)
{
	char target[LP_PATH_MAX_BYTES + 1];
	int fd = lp_tree_parent(t, s->path);
	ssize_t n = fd < 0 ? -1 : readlinkat(fd, lp_path_base(s->path), target, sizeof(target));
	struct lp_digest d = lp_digest_of(target, n > 0 ? (size_t)n : 0);

	return n > 0 && lp_digest_equal(&d, &s->e.digest)
		       ? 0
		       : lp_err_say(err, ESTALE, "%s: is not the link that it should be", s->path);
}

/* The content must be there already; only its mode and ownership change. */
static int keep(struct lp_tree *t, const struct lp_staged *s, struct lp_err *err)
{
	const struct lp_node *n = lp_index_get(t->index, s->path);
	struct lp_entry e;
	LP_AUTO_CLOSE int fd = -1;

	if (s->e.kind == LP_KIND_LINK)
		return keep_link(t, s, err);
	if (!n || n->e.kind != LP_KIND_FILE || !lp_digest_equal(&n->e.digest, &s->e.digest)) {
		if (lp_tree_hash(t, s->path, &e) < 0 || !lp_digest_equal(&e.digest, &s->e.digest))
			return lp_err_say(err, ESTALE, "%s: does not hold the content any more",
					  s->path);
	}
	fd = lp_open_beneath(t->root_fd, s->path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return lp_err_set(err, fd == -ENOENT ? ESTALE : -fd, "%s", s->path);
	if (fchmod(fd, s->e.mode & 0777) < 0)
		return lp_err_set(err, errno, "%s: cannot set the mode", s->path);
	return 0;
}

static int put(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	int r;

	if (s->op == LP_OP_KEEP) {
		r = keep(t, s, err);
	} else {
		r = clear_way(t, s, err);
		if (r == 0)
			r = s->e.kind == LP_KIND_DIR ? put_dir(t, s, err) : put_renamed(t, s, err);
	}
	if (r == 0 && lp_index_put(t->index, s->path, &s->e, NULL, NULL) < 0)
		r = lp_err_say(err, ESTALE, "%s: its directory does not come from the workspace",
			       s->path);
	return r;
}

static int put_all(struct lp_tree *t, struct lp_applied *out, struct lp_err *err)
{
	for (size_t i = 0; i < t->n_ops; i++) {
		struct lp_staged *s = &t->ops[i];
		int r;

		if (s->op == LP_OP_DELETE)
			continue;
		r = put(t, s, err);
		if (r < 0)
			return r;
		if (s->op == LP_OP_PUT && s->e.kind != LP_KIND_DIR)
			out->bytes += s->e.size;
	}
	return 0;
}

/* Deepest first, so that a directory is empty when its turn comes. */
static int delete_all(struct lp_tree *t, struct lp_err *err)
{
	for (size_t i = t->n_ops; i-- > 0;) {
		struct lp_node *n;
		int r;

		if (t->ops[i].op != LP_OP_DELETE)
			continue;
		n = lp_index_get(t->index, t->ops[i].path);
		r = n ? remove_owned(t, n, err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int set_dir_modes(struct lp_tree *t, struct lp_err *err)
{
	for (size_t i = t->n_ops; i-- > 0;) {
		const struct lp_staged *s = &t->ops[i];
		int fd;

		if (s->op != LP_OP_PUT || s->e.kind != LP_KIND_DIR)
			continue;
		fd = lp_tree_parent(t, s->path);
		if (fd < 0 ||
		    fchmodat(fd, lp_path_base(s->path), s->e.mode & 0777, AT_SYMLINK_NOFOLLOW) < 0)
			return lp_err_set(err, fd < 0 ? -fd : errno, "%s: cannot set the mode",
					  s->path);
	}
	return 0;
}

/* Only what is not in the tree yet is logged, before the tree changes: a crash in between leaves
 * entries in the log that are checked against the files at the next start. */
static int log_ops(struct lp_tree *t, uint64_t revision, struct lp_err *err)
{
	LP_AUTO_FREE struct lp_wire_op *ops = lp_xcalloc(t->n_ops, sizeof(*ops));

	for (size_t i = 0; i < t->n_ops; i++) {
		const struct lp_staged *s = &t->ops[i];

		ops[i] = (struct lp_wire_op){
			.op = s->op == LP_OP_DELETE ? LP_OP_DELETE : LP_OP_KEEP,
			.kind = s->e.kind,
			.path = lp_bytes_of(s->path),
			.mode = s->e.mode,
			.size = s->e.size,
		};
		memcpy(ops[i].digest, s->e.digest.b, sizeof(ops[i].digest));
	}
	return lp_owned_append(t, ops, t->n_ops, revision, err);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void hand_out_paths(struct lp_tree *t, struct lp_applied *out)
{
	out->paths = lp_xcalloc(t->n_ops, sizeof(char *));
	for (size_t i = 0; i < t->n_ops; i++) {
		out->paths[i] = t->ops[i].path;
		t->ops[i].path = NULL;
	}
	out->n_paths = out->files = t->n_ops;
	if (t->n_ops > 1)
		qsort(out->paths, out->n_paths, sizeof(char *), by_name);
}

int lp_tree_commit(struct lp_tree *t, uint64_t revision, struct lp_applied *out, struct lp_err *err)
{
	int r = 0;

	*out = (struct lp_applied){.revision = revision};
	if (t->data_fd >= 0)
		r = lp_err_say(err, EBADMSG, "the changeset ends in the middle of a file");
	/* The app may have replaced directories since the last changeset. */
	lp_tree_forget_parent(t);
	if (r == 0)
		r = log_ops(t, revision, err);
	if (r == 0)
		r = put_all(t, out, err);
	if (r == 0)
		r = delete_all(t, err);
	if (r == 0)
		r = set_dir_modes(t, err);
	lp_tree_forget_parent(t);
	if (r == 0) {
		t->revision = revision;
		hand_out_paths(t, out);
		out->root = lp_index_root(t->index);
	}
	lp_tree_drop(t);
	return r;
}
