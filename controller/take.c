/* controller/take.c: takes what the workspace owns out of the tree, by moving it to where the
 * commit keeps what it replaced. A directory in which there is nothing else goes in one step. */
#include "controller/commit.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* Set on nodes while they are being taken: something of the app is at or below it. */
#define MARK_FOREIGN LP_MARK_SEEN

#define TAKE_TRIES 8

/* Opens a directory to read it, also one that its owner may not read. */
static int open_dir(struct lp_tree *t, const char *path, const struct lp_node *dir)
{
	int fd = lp_open_beneath(t->root_fd, path, O_RDONLY | O_DIRECTORY, 0);

	if (fd != -EACCES || lp_step_mode(t, path, S_IFDIR, dir->e.mode | 0700u) < 0)
		return fd;
	fd = lp_open_beneath(t->root_fd, path, O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0)
		(void)fchmod(fd, dir->e.mode);
	return fd;
}

/* Whether a directory, opened as fd (taken; or why it could not be), holds only what the index has
 * there: 1, 0 or -errno. One that is gone, or that the app replaced, holds nothing of interest. */
static int is_all_ours(int fd, const struct lp_node *dir)
{
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	bool ours = true;
	struct dirent *e;
	int r;

	if (fd < 0)
		return lp_step_is_not_ours(fd) ? 1 : fd;
	if (!stream) {
		lp_auto_close(&fd);
		return -ENOMEM;
	}
	while (ours && (errno = 0, e = readdir(stream))) {
		const struct lp_node *child;
		struct stat st;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		child = lp_node_child(dir, e->d_name);
		if (!child)
			ours = false;
		else if (e->d_type != DT_UNKNOWN)
			ours = (mode_t)DTTOIF(e->d_type) == lp_tree_format(child);
		else
			ours = fstatat(dirfd(stream), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			       (st.st_mode & S_IFMT) == lp_tree_format(child);
	}
	/* What cannot be read to its end may hold anything. */
	r = ours && errno != 0 ? -errno : ours;
	(void)closedir(stream);
	return r;
}

static void mark_foreign(struct lp_node *top, struct lp_node *n)
{
	for (; n && !(n->mark & MARK_FOREIGN); n = n == top ? NULL : lp_node_parent(n))
		n->mark |= MARK_FOREIGN;
}

/* Where taken things go: names below the staging area. */
struct place {
	size_t top_len;    /* of the path of what is taken */
	int64_t looked_ns; /* lp_sig_now when it was looked at */
	char old[LP_STAGE_NAME_BYTES];
};

/* Moves one entry to its place. made: directories above it may have to be made there first. */
static int take_one(struct lp_tree *t, const struct place *p, const char *path,
		    const struct lp_node *n)
{
	LP_AUTO_FREE char *to = lp_xasprintf("%s%s", p->old, path + p->top_len);
	LP_AUTO_FREE char *above = lp_xstrndup(to, lp_path_dir_len(to));
	LP_AUTO_CLOSE int inner = -1;
	int fd = lp_tree_find_parent(t, path);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstatat(fd, n->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode) != (n->e.kind == LP_KIND_DIR))
		return -ENOTDIR;
	if (above[0]) {
		inner = lp_open_beneath(t->stage_fd, above, O_RDONLY | O_DIRECTORY, 0);
		if (inner < 0)
			return inner;
	}
	return lp_step_rename(fd, n->name, above[0] ? inner : t->stage_fd, lp_path_base(to),
			      RENAME_NOREPLACE);
}

/* A directory that stays because of what the app has in it: what is ours below goes into one of the
 * same name. */
static int make_place(struct lp_tree *t, const struct place *p, const char *path)
{
	LP_AUTO_FREE char *to = lp_xasprintf("%s%s", p->old, path + p->top_len);
	LP_AUTO_FREE char *above = lp_xstrndup(to, lp_path_dir_len(to));
	LP_AUTO_CLOSE int fd =
		lp_open_beneath(t->stage_fd, above[0] ? above : ".", O_RDONLY | O_DIRECTORY, 0);

	return fd < 0 ? fd : lp_step_mkdir(fd, lp_path_base(to));
}

static void note_taken(struct lp_tree *t, struct lp_node *top)
{
	char path[LP_PATH_MAX_BYTES + 1];

	for (struct lp_node *n = top; n; n = lp_node_next(top, n)) {
		n->mark &= ~MARK_FOREIGN;
		t->undo_bytes += n->e.kind == LP_KIND_FILE ? n->e.size : 0;
		if (n->e.kind != LP_KIND_DIR && lp_node_path(n, path, sizeof(path)) == 0)
			lp_was_changed(t, path);
	}
}

/* Finds the directories that hold something of the app. */
static int look(struct lp_tree *t, struct lp_node *top)
{
	char path[LP_PATH_MAX_BYTES + 1];
	int r = 0;

	for (struct lp_node *n = top; n && r >= 0; n = lp_node_next(top, n)) {
		n->mark &= ~MARK_FOREIGN;
		if (n->e.kind != LP_KIND_DIR)
			continue;
		if (lp_node_path(n, path, sizeof(path)) < 0)
			return -ENAMETOOLONG;
		r = is_all_ours(open_dir(t, path, n), n);
		if (r == 0)
			mark_foreign(top, n);
	}
	return r < 0 ? r : 0;
}

/* Whether the app made something in a directory between the look and its being taken: 1, 0 or
 * -errno. Only directories that changed since the look are read again. */
static int came_along(struct lp_tree *t, const struct place *p, const struct lp_node *top,
		      int64_t looked_ns)
{
	char path[LP_PATH_MAX_BYTES + 1];
	int r = 1;

	for (const struct lp_node *n = top; n && r == 1; n = lp_node_next(top, n)) {
		LP_AUTO_FREE char *at = NULL;
		struct stat st;
		int fd;

		if (n->e.kind != LP_KIND_DIR)
			continue;
		if (lp_node_path(n, path, sizeof(path)) < 0)
			return -ENAMETOOLONG;
		at = lp_xasprintf("%s%s", p->old, path + p->top_len);
		fd = lp_open_beneath(t->stage_fd, at, O_RDONLY | O_DIRECTORY, 0);
		if (fd == -EACCES)
			continue; /* nor could the app make anything there */
		/* The rename itself changed the first one. */
		if (fd >= 0 && n != top && fstat(fd, &st) == 0 &&
		    lp_sig_is_settled(lp_sig_ctime(&st), looked_ns))
			lp_auto_close(&fd);
		else
			r = is_all_ours(fd, n);
	}
	return r < 0 ? r : !r;
}

/* Puts a directory back that was taken with something of the app in it. */
static int bring_back(struct lp_tree *t, const struct place *p, const char *path)
{
	LP_AUTO_FREE char *from = lp_xasprintf("%s%s", p->old, path + p->top_len);
	int r = lp_stage_rename_back(t, from, path, RENAME_NOREPLACE, false);

	/* The app made it anew: then all is taken back, by which both become one. */
	return r == -EEXIST ? -EAGAIN : r;
}

/* Takes one node, or with a directory that stays, makes the place for what is ours in it. Returns 0
 * or -errno. */
static int take_node(struct lp_tree *t, const struct place *p, struct lp_node *n, const char *path)
{
	int r = 0;

	for (int i = 0; r == 0 && i < TAKE_TRIES; i++) {
		int64_t looked_ns = lp_sig_now();

		/* Whoever comes here again looks again; the first look was at all of it. */
		if (i > 0)
			r = look(t, n);
		if (r == 0 && n->mark & MARK_FOREIGN)
			return make_place(t, p, path);
		if (r == 0)
			r = take_one(t, p, path, n);
		if (lp_step_is_not_ours(r))
			return 0;
		if (r == 0 && n->e.kind == LP_KIND_DIR)
			r = came_along(t, p, n, i > 0 ? looked_ns : p->looked_ns);
		if (r <= 0)
			return r;
		lp_tree_forget_parent(t);
		r = bring_back(t, p, path);
	}
	return r < 0 ? r : -EAGAIN;
}

int lp_take(struct lp_tree *t, struct lp_node *top, size_t number, struct lp_err *err)
{
	char path[LP_PATH_MAX_BYTES + 1];
	struct place place = {.looked_ns = lp_sig_now()};
	struct lp_node *n = top;
	int r = lp_node_path(top, path, sizeof(path));

	lp_stage_old_name(number, place.old);
	place.top_len = strlen(path);
	if (r == 0)
		r = look(t, top);
	while (r == 0 && n) {
		r = lp_node_path(n, path, sizeof(path));
		if (r == 0)
			r = take_node(t, &place, n, path);
		if (r == 0)
			n = n->mark & MARK_FOREIGN ? lp_node_next(top, n) : lp_node_after(top, n);
	}
	lp_tree_forget_parent(t);
	if (r < 0)
		return lp_step_cannot(err, r, path, "cannot be removed");
	note_taken(t, top);
	lp_was_note_subtree(t, top);
	lp_node_remove(t->index, top);
	return 0;
}
