/* controller/undo.c: takes back what a commit did on disk. What happened of an operation is seen by
 * what is where: an operation whose staged thing is still beside the tree did not happen, and what
 * is kept under its old name was replaced by it. So it can be done again after a crash in the
 * middle of it. */
#include "controller/commit.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* Where the staged thing of an operation is or was, below the staging area: beneath the operation
 * whose directory it is nested in. NULL: nowhere. */
static char *staged_path(const struct lp_staged *ops, size_t number)
{
	const struct lp_staged *s = &ops[number];

	if (!s->is_nested)
		return lp_xasprintf("%zu", number);
	if (s->top >= number || !lp_path_is_below(s->path, ops[s->top].path))
		return NULL;
	return lp_xasprintf("%zu%s", s->top, s->path + strlen(ops[s->top].path));
}

static bool is_still_staged(const struct lp_tree *t, const struct lp_staged *ops, size_t number)
{
	LP_AUTO_FREE char *path = staged_path(ops, number);
	struct stat st;

	return !path || fstatat(t->stage_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int lp_stage_rename_back(struct lp_tree *t, const char *from, const char *path, unsigned flags)
{
	LP_AUTO_FREE char *above = lp_xstrndup(from, lp_path_dir_len(from));
	LP_AUTO_CLOSE int inner = -1;
	int fd = lp_tree_find_parent(t, path);

	if (fd < 0)
		return fd;
	if (above[0]) {
		inner = lp_open_beneath(t->stage_fd, above, O_RDONLY | O_DIRECTORY, 0);
		if (inner < 0)
			return inner;
	}
	return lp_step_rename(above[0] ? inner : t->stage_fd, lp_path_base(from), fd,
			      lp_path_base(path), flags);
}

/* The names in a directory of the staging area. */
static char **names_in(const struct lp_tree *t, const char *path, size_t *n)
{
	int fd = lp_open_beneath(t->stage_fd, path, O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	char **names = NULL;
	size_t cap = 0;
	struct dirent *e;

	*n = 0;
	if (!dir) {
		lp_auto_close(&fd);
		return NULL;
	}
	while ((e = readdir(dir))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		lp_grow(&names, &cap, *n + 1, sizeof(*names));
		names[(*n)++] = lp_xstrdup(e->d_name);
	}
	(void)closedir(dir);
	return names;
}

/* Puts what was taken from a path back there; what was taken from a directory that stayed goes back
 * into it. Depth is bounded by the length of paths. NOLINTNEXTLINE(misc-no-recursion) */
static void put_back(struct lp_tree *t, const char *from, const char *path)
{
	int r = lp_stage_rename_back(t, from, path, RENAME_NOREPLACE);
	char **names;
	size_t n;

	if (r != -EEXIST)
		return;
	names = names_in(t, from, &n);
	for (size_t i = 0; i < n; i++) {
		LP_AUTO_FREE char *inner = lp_xasprintf("%s/%s", from, names[i]);
		LP_AUTO_FREE char *to = lp_xasprintf("%s/%s", path, names[i]);

		put_back(t, inner, to);
		free(names[i]);
	}
	free(names);
}

/* Removes what was put where nothing was, unless there is something else by now. */
static void remove_new(struct lp_tree *t, const struct lp_staged *s)
{
	int fd = lp_tree_find_parent(t, s->path);
	bool is_dir = s->e.kind == LP_KIND_DIR;
	struct stat st;

	if (fd >= 0 && fstatat(fd, lp_path_base(s->path), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (is_dir || st.st_ino == s->ino))
		(void)lp_step_unlink(fd, lp_path_base(s->path), is_dir ? AT_REMOVEDIR : 0);
	if (s->e.kind == LP_KIND_DIR)
		lp_tree_forget_parent(t);
}

/* Whether there is something under the old name of an operation, and what. */
static bool has_old(const struct lp_tree *t, const char *old, struct stat *st)
{
	return fstatat(t->stage_fd, old, st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Puts a file back over the one that replaced it. A link of it stays, which says that there was
 * one: this may be interrupted and done again. */
static void put_file_back(struct lp_tree *t, const char *old, const char *path)
{
	LP_AUTO_FREE char *copy = lp_xasprintf("%s.back", old);

	if (lp_step_link(t->stage_fd, old, t->stage_fd, copy) == 0)
		(void)lp_stage_rename_back(t, copy, path, 0);
	else
		(void)lp_stage_rename_back(t, old, path, 0);
	(void)unlinkat(t->stage_fd, copy, 0);
}

static void undo_patch(struct lp_tree *t, const struct lp_staged *s, const char *old)
{
	LP_AUTO_CLOSE int from = lp_open_beneath(t->stage_fd, old, O_RDONLY, 0);
	LP_AUTO_CLOSE int fd = lp_open_beneath(t->root_fd, s->path, O_RDWR | O_NONBLOCK, 0);

	/* It may be done again, as often as needed. */
	if (from >= 0 && fd >= 0 && lp_patch_revert(fd, from) == 0 && s->was_mode != s->e.mode)
		(void)fchmod(fd, s->was_mode);
}

static void undo_put(struct lp_tree *t, const struct lp_staged *ops, size_t number)
{
	const struct lp_staged *s = &ops[number];
	char old[LP_STAGE_NAME_BYTES];
	struct stat st;

	lp_stage_old_name(number, old);
	if (s->in_place) {
		undo_patch(t, s, old);
		return;
	}
	if (!s->is_staged) {
		if (s->has_was)
			(void)lp_step_mode(t, s->path, S_IFDIR, s->was_mode);
		return;
	}
	if (is_still_staged(t, ops, number)) {
		/* What it was to replace may be gone already, or be linked only. */
		if (has_old(t, old, &st))
			put_back(t, old, s->path);
		return;
	}
	if (!has_old(t, old, &st)) {
		remove_new(t, s);
	} else if (s->e.kind != LP_KIND_DIR && !S_ISDIR(st.st_mode)) {
		put_file_back(t, old, s->path);
	} else {
		remove_new(t, s);
		put_back(t, old, s->path);
	}
}

static void undo_move(struct lp_tree *t, const struct lp_staged *s, size_t number)
{
	LP_AUTO_FREE char *above = lp_xstrndup(s->from, lp_path_dir_len(s->from));
	LP_AUTO_CLOSE int to_fd =
		lp_open_beneath(t->root_fd, above[0] ? above : ".", O_RDONLY | O_DIRECTORY, 0);
	int fd = lp_tree_find_parent(t, s->path);
	char old[LP_STAGE_NAME_BYTES];
	struct stat st, there;

	/* Both are there and the same when this was interrupted before. */
	if (fd >= 0 && to_fd >= 0 &&
	    fstatat(fd, lp_path_base(s->path), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_ino == s->ino &&
	    lp_step_rename(fd, lp_path_base(s->path), to_fd, lp_path_base(s->from),
			   RENAME_NOREPLACE) == -EEXIST &&
	    fstatat(to_fd, lp_path_base(s->from), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	    there.st_ino == st.st_ino && !S_ISDIR(st.st_mode))
		(void)lp_step_unlink(fd, lp_path_base(s->path), 0);
	lp_tree_forget_parent(t);
	lp_stage_old_name(number, old);
	if (has_old(t, old, &st))
		put_back(t, old, s->path);
}

void lp_undo_op(struct lp_tree *t, const struct lp_staged *ops, size_t number)
{
	const struct lp_staged *s = &ops[number];
	char old[LP_STAGE_NAME_BYTES];

	switch (s->op) {
	case LP_OP_PUT:
		undo_put(t, ops, number);
		return;
	case LP_OP_KEEP:
		if (s->has_was && s->e.kind == LP_KIND_FILE)
			(void)lp_step_mode(t, s->path, S_IFREG, s->was_mode);
		return;
	case LP_OP_MOVE:
		undo_move(t, s, number);
		return;
	case LP_OP_DELETE:
		lp_stage_old_name(number, old);
		put_back(t, old, s->path);
		return;
	}
}

void lp_undo_all(struct lp_tree *t, const struct lp_staged *ops, size_t n)
{
	lp_tree_forget_parent(t);
	/* As they were done, in reverse: deletes came last, the deepest first. */
	for (size_t i = 0; i < n; i++)
		if (ops[i].op == LP_OP_DELETE)
			lp_undo_op(t, ops, i);
	for (size_t i = n; i-- > 0;)
		if (ops[i].op != LP_OP_DELETE)
			lp_undo_op(t, ops, i);
	/* Directories that a MOVE went into are empty only now. */
	for (size_t i = n; i-- > 0;)
		if (ops[i].op == LP_OP_PUT && ops[i].e.kind == LP_KIND_DIR && ops[i].is_staged &&
		    !is_still_staged(t, ops, i))
			remove_new(t, &ops[i]);
	lp_tree_forget_parent(t);
}
