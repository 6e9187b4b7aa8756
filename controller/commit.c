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

/* One change of a directory. */
struct change {
	const char *name;
	int flags;        /* of unlinkat */
	int from_fd;      /* of renameat */
	const char *from; /* of renameat */
};

static int do_make(int fd, const struct change *c)
{
	/* Writable for us until everything in it is in place. */
	return mkdirat(fd, c->name, 0700);
}

static int do_rename(int fd, const struct change *c)
{
	return renameat(c->from_fd, c->from, fd, c->name);
}

static int do_remove(int fd, const struct change *c)
{
	return unlinkat(fd, c->name, c->flags);
}

/* Changes the directory fd. One that nobody may write to is opened for the moment: its owner may
 * change a file in it in place, and here that is a rename. Returns 0 or -errno. */
static int change_dir(int fd, int (*act)(int fd, const struct change *c), const struct change *c)
{
	struct stat st;
	int r = act(fd, c) < 0 ? -errno : 0;

	if (r != -EACCES || fstat(fd, &st) < 0 || fchmod(fd, (st.st_mode & 07777) | 0700) < 0)
		return r;
	r = act(fd, c) < 0 ? -errno : 0;
	(void)fchmod(fd, st.st_mode & 07777);
	return r;
}

/* What says that nothing of ours is at a path: the app removed it or put something else there. */
static bool is_not_ours(int r)
{
	return r == -ENOENT || r == -ENOTEMPTY || r == -EEXIST || r == -ENOTDIR || r == -EISDIR ||
	       r == -ELOOP;
}

/* Remembers a path for whoever restarts the app because of it. */
static void note_changed(struct lp_tree *t, const char *path)
{
	lp_grow(&t->changed, &t->cap_changed, t->n_changed + 1, sizeof(char *));
	t->changed[t->n_changed++] = lp_xstrdup(path);
}

/* Removes what the workspace owned at node and below, deepest first. What the app made there stays,
 * and so do the directories that hold it. */
static int remove_owned(struct lp_tree *t, struct lp_node *top, struct lp_err *err)
{
	struct lp_node *n = top;
	char path[LP_PATH_MAX_BYTES + 1];

	for (;;) {
		struct change c = {.name = n->name};
		struct lp_node *up = n->parent;
		bool is_top = n == top;
		int fd, r;

		if (n->n_children > 0) {
			n = n->children[n->n_children - 1];
			continue;
		}
		if (lp_node_path(n, path, sizeof(path)) < 0)
			return lp_err_say(err, ENAMETOOLONG, "%s: path too long", n->name);
		c.flags = n->e.kind == LP_KIND_DIR ? AT_REMOVEDIR : 0;
		fd = lp_tree_find_parent(t, path);
		r = fd < 0 ? fd : change_dir(fd, do_remove, &c);
		if (n->e.kind == LP_KIND_DIR)
			lp_tree_forget_parent(t);
		if (r < 0 && !is_not_ours(r))
			return lp_err_set(err, -r, "%s: cannot remove", path);
		if (n->e.kind != LP_KIND_DIR)
			note_changed(t, path);
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
	const struct change c = {.name = lp_path_base(s->path)};
	int fd = lp_tree_parent(t, s->path), r = fd < 0 ? fd : change_dir(fd, do_make, &c);
	struct stat st;

	if (r == 0)
		return 0;
	if (r == -EEXIST && fstatat(fd, c.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	if (r != -EEXIST)
		return lp_err_set(err, -r, "%s: cannot make the directory", s->path);
	if (S_ISDIR(st.st_mode))
		return 0;
	return lp_err_say(err, EEXIST,
			  "%s: cannot make the directory: the app made a file of that name; "
			  "remove it or ignore the directory",
			  s->path);
}

static int put_renamed(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	char name[24];
	const struct change c = {
		.name = lp_path_base(s->path), .from_fd = t->stage_fd, .from = name};
	int fd = lp_tree_parent(t, s->path), r;

	lp_stage_name(s->stage, name);
	r = fd < 0 ? fd : change_dir(fd, do_rename, &c);
	if (r == -EISDIR || r == -ENOTEMPTY)
		return lp_err_say(err, EISDIR,
				  "%s: cannot be put: a directory that holds files of the app is "
				  "in the way; remove it or ignore the file",
				  s->path);
	if (r < 0)
		return lp_err_set(err, -r, "%s: cannot be put", s->path);
	s->stage = 0;
	return 0;
}

static int keep_link(struct lp_tree *t, const struct lp_staged *s, struct lp_err *err)
{
	char target[LP_PATH_MAX_BYTES + 1];
	int fd = lp_tree_find_parent(t, s->path);
	ssize_t n = fd < 0 ? -1 : readlinkat(fd, lp_path_base(s->path), target, sizeof(target));
	struct lp_digest d = lp_digest_of(target, n > 0 ? (size_t)n : 0);

	return n > 0 && lp_digest_equal(&d, &s->e.digest)
		       ? 0
		       : lp_err_say(err, ESTALE, "%s: is not the link that it should be", s->path);
}

static bool same_content(const struct lp_entry *a, const struct lp_entry *b)
{
	return a->kind == b->kind && a->size == b->size && lp_digest_equal(&a->digest, &b->digest);
}

/* Sets the permission bits of what is at `path` and must be of that type; crosses no link. Returns
 * 0 or -errno (-ESTALE: it is of another type). */
static int set_mode(struct lp_tree *t, const char *path, mode_t type, mode_t mode)
{
	LP_AUTO_CLOSE int fd = lp_open_beneath(t->root_fd, path, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;
	int above;

	if (fd >= 0) {
		if (fstat(fd, &st) < 0)
			return -errno;
		if ((st.st_mode & S_IFMT) != type)
			return -ESTALE;
		return fchmod(fd, mode) < 0 ? -errno : 0;
	}
	if (fd != -EACCES)
		return fd;
	/* Nobody may read it; then only its name is left to reach it by. */
	above = lp_tree_find_parent(t, path);
	if (above < 0)
		return above;
	if (fstatat(above, lp_path_base(path), &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if ((st.st_mode & S_IFMT) != type)
		return -ESTALE;
	return fchmodat(above, lp_path_base(path), mode, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* The content must be there already; only its mode and ownership change. */
static int keep(struct lp_tree *t, const struct lp_staged *s, struct lp_err *err)
{
	const struct lp_node *n = lp_index_get(t->index, s->path);
	struct lp_entry e;
	int r;

	if (s->e.kind == LP_KIND_LINK)
		return keep_link(t, s, err);
	if (!n || !same_content(&n->e, &s->e)) {
		if (lp_tree_hash(t, s->path, &e) < 0 || !same_content(&e, &s->e))
			return lp_err_say(err, ESTALE, "%s: does not hold the content any more",
					  s->path);
	}
	r = set_mode(t, s->path, S_IFREG, s->e.mode);
	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
		r = -ESTALE;
	return r < 0 ? lp_err_set(err, -r, "%s: cannot set the mode", s->path) : 0;
}

/* An entry can only be put into a directory that came from the workspace, too. */
static bool has_parent(struct lp_tree *t, const char *path)
{
	LP_AUTO_FREE char *dir = lp_xstrndup(path, lp_path_dir_len(path));
	const struct lp_node *n = lp_index_get(t->index, dir);

	return n && n->e.kind == LP_KIND_DIR;
}

/* Whether the operation leaves something else than was there: taking over what is there already
 * does not. */
static bool is_change(const struct lp_tree *t, const struct lp_staged *s)
{
	const struct lp_node *n = lp_index_get(t->index, s->path);

	if (s->e.kind == LP_KIND_DIR)
		return false;
	return s->op == LP_OP_PUT || (n && n->e.mode != s->e.mode);
}

static int put(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	bool changes = is_change(t, s);
	int r;

	if (!has_parent(t, s->path))
		return lp_err_say(err, ESTALE, "%s: its directory does not come from the workspace",
				  s->path);
	if (s->op == LP_OP_KEEP) {
		r = keep(t, s, err);
	} else {
		r = clear_way(t, s, err);
		if (r == 0)
			r = s->e.kind == LP_KIND_DIR ? put_dir(t, s, err) : put_renamed(t, s, err);
	}
	if (r == 0 && changes)
		note_changed(t, s->path);
	return r == 0 ? lp_index_put(t->index, s->path, &s->e, NULL, NULL) : r;
}

/* What the app put in the way of one path does not hold up the others. Returns 0 or the first
 * error. */
static int put_all(struct lp_tree *t, struct lp_applied *out, struct lp_err *err)
{
	int first = 0;

	for (size_t i = 0; i < t->n_ops; i++) {
		struct lp_staged *s = &t->ops[i];
		int r;

		if (s->op == LP_OP_DELETE)
			continue;
		r = put(t, s, first < 0 ? NULL : err);
		if (r < 0 && r != -EISDIR && r != -EEXIST && r != -ENOTDIR && r != -ELOOP)
			return first < 0 ? first : r;
		if (r < 0 && first == 0)
			first = r;
		if (r == 0 && s->op == LP_OP_PUT && s->e.kind != LP_KIND_DIR)
			out->bytes += s->e.size;
	}
	return first;
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

/* Of the directories that are in place. Deepest first, as long as we may still reach them. */
static int set_dir_modes(struct lp_tree *t, struct lp_err *err)
{
	int first = 0;

	for (size_t i = t->n_ops; i-- > 0;) {
		const struct lp_staged *s = &t->ops[i];
		const struct lp_node *n = lp_index_get(t->index, s->path);
		int r;

		if (s->op != LP_OP_PUT || s->e.kind != LP_KIND_DIR || !n ||
		    n->e.kind != LP_KIND_DIR)
			continue;
		r = set_mode(t, s->path, S_IFDIR, s->e.mode);
		if (r < 0 && first == 0)
			first = lp_err_set(err, -r, "%s: cannot set the mode", s->path);
	}
	return first;
}

static void fill_record(struct lp_wire_op *op, const char *path, const struct lp_entry *e)
{
	*op = (struct lp_wire_op){.op = e ? LP_OP_KEEP : LP_OP_DELETE, .path = lp_bytes_of(path)};
	if (!e)
		return;
	op->kind = e->kind;
	op->mode = e->mode;
	op->size = e->size;
	memcpy(op->digest, e->digest.b, sizeof(op->digest));
}

/* What will be is logged before the tree changes: a crash in between leaves entries in the log that
 * are checked against the files at the next start. */
static int log_ops(struct lp_tree *t, uint64_t revision, struct lp_err *err)
{
	LP_AUTO_FREE struct lp_wire_op *ops = lp_xcalloc(t->n_ops, sizeof(*ops));

	for (size_t i = 0; i < t->n_ops; i++)
		fill_record(&ops[i], t->ops[i].path,
			    t->ops[i].op == LP_OP_DELETE ? NULL : &t->ops[i].e);
	return lp_owned_append(t, ops, t->n_ops, revision, err);
}

/* A commit failed half way: the log learns what came of each path, so that nothing that the app has
 * there is taken for the workspace's. */
static void log_outcome(struct lp_tree *t)
{
	LP_AUTO_FREE struct lp_wire_op *ops = lp_xcalloc(t->n_ops, sizeof(*ops));

	for (size_t i = 0; i < t->n_ops; i++) {
		const struct lp_node *n = lp_index_get(t->index, t->ops[i].path);

		fill_record(&ops[i], t->ops[i].path, n ? &n->e : NULL);
	}
	if (lp_owned_append(t, ops, t->n_ops, t->revision, NULL) < 0)
		t->log_max_bytes = 0; /* the next one writes it anew */
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void hand_out_paths(struct lp_tree *t, struct lp_applied *out)
{
	out->paths = t->changed;
	out->n_paths = out->files = t->n_changed;
	t->changed = NULL;
	t->n_changed = t->cap_changed = 0;
	if (out->n_paths > 1)
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
	if (r == 0) {
		r = put_all(t, out, err);
		if (r == 0)
			r = delete_all(t, err);
		if (r == 0)
			r = set_dir_modes(t, err);
		else
			(void)set_dir_modes(t, NULL);
		if (r < 0)
			log_outcome(t);
	}
	lp_tree_forget_parent(t);
	if (r == 0) {
		t->revision = revision;
		hand_out_paths(t, out);
		out->root = lp_index_root(t->index);
	}
	lp_tree_drop(t);
	return r;
}
