/* controller/undo.c: takes back what a commit did on disk. What happened of an operation is seen by
 * what is where: an operation whose staged thing is still beside the tree did not happen, and what
 * is kept under its old name was replaced by it. So it can be done again after a crash or an error
 * in the middle of it. */
#include "controller/undo_internal.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <stdio.h>
#include <string.h>

/* Where a path of an operation was before the MOVEs ahead of it, which are the first ones. */
static void before_moves(const struct lp_staged *ops, size_t number, const char *path,
			 char out[LP_PATH_MAX_BYTES + 1])
{
	char from[LP_PATH_MAX_BYTES + 1];
	size_t moves = 0;

	(void)snprintf(out, LP_PATH_MAX_BYTES + 1, "%s", path);
	while (moves < number && ops[moves].op == LP_OP_MOVE)
		moves++;
	while (moves-- > 0) {
		const struct lp_staged *m = &ops[moves];
		int n;

		if (!lp_path_is_below(out, m->path))
			continue;
		n = snprintf(from, sizeof(from), "%s%s", m->from, out + strlen(m->path));
		if (n >= 0 && (size_t)n < sizeof(from))
			memcpy(out, from, (size_t)n + 1);
	}
}

/* The second time the MOVEs are taken back already. */
static void go_to(struct undoing *u, size_t number)
{
	before_moves(u->ops, u->make ? number : 0, u->ops[number].path, u->home);
}

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

/* What is where the operation's staged thing was. */
enum staged {
	STAGED_GONE,  /* it is in the tree, or was */
	STAGED_STILL, /* it did not get there */
	STAGED_OLD,   /* what it changed places with */
	STAGED_UNKNOWN,
};

static enum staged where_staged(struct undoing *u, size_t number)
{
	const struct lp_staged *s = &u->ops[number];
	LP_AUTO_FREE char *path = staged_path(u->ops, number);
	struct stat st;
	int r = path ? lp_undo_stat(u->t->stage_fd, path, &st) : 1;

	if (r < 0) {
		lp_undo_cannot(u, s->path, r);
		return STAGED_UNKNOWN;
	}
	if (r == 0)
		return STAGED_GONE;
	return path && s->e.kind != LP_KIND_DIR && st.st_ino != s->ino ? STAGED_OLD : STAGED_STILL;
}

static void undo_patch(struct undoing *u, const struct lp_staged *s, const char *old)
{
	LP_AUTO_CLOSE int from = lp_open_beneath(u->t->stage_fd, old, O_RDWR, 0);
	LP_AUTO_CLOSE int fd = -1;
	int r;

	if (from == -ENOENT)
		return;
	fd = lp_open_beneath(u->t->root_fd, u->home, O_RDWR | O_NONBLOCK, 0);
	if (fd == -ENOENT)
		u->orphans = true;
	/* The app removed it, or has something else there. */
	if (fd == -ENOENT || lp_undo_is_of_the_app(fd))
		return;
	r = from < 0 ? from : fd < 0 ? fd : lp_patch_revert(fd, from);
	/* It may be done again, as often as needed. */
	if (r > 0 && s->was_mode != s->e.mode && fchmod(fd, s->was_mode) < 0)
		r = -errno;
	if (r < 0)
		lp_undo_cannot(u, s->path, r);
}

static void undo_mode(struct undoing *u, const struct lp_staged *s, mode_t type)
{
	int r = lp_step_mode(u->t, u->home, type, s->was_mode);

	if (r == -ENOENT)
		u->orphans = true;
	if (r < 0 && r != -ENOENT && r != -ESTALE && !lp_undo_is_of_the_app(r))
		lp_undo_cannot(u, s->path, r);
}

/* Of a thing that got into the tree. */
static void undo_placed(struct undoing *u, struct lp_staged *s, const char *old)
{
	struct stat st;
	int has_old = lp_undo_stat(u->t->stage_fd, old, &st);

	if (has_old < 0) {
		lp_undo_cannot(u, s->path, has_old);
	} else if (has_old == 0) {
		lp_undo_remove_new(u, s);
	} else if (s->e.kind != LP_KIND_DIR && !S_ISDIR(st.st_mode)) {
		lp_undo_put_file_back(u, s, old, &st);
	} else {
		lp_undo_remove_new(u, s);
		lp_undo_put_back(u, old, u->home);
	}
}

static void undo_put(struct undoing *u, size_t number)
{
	struct lp_staged *s = &u->ops[number];
	LP_AUTO_FREE char *staged = NULL;
	char old[LP_STAGE_NAME_BYTES];

	lp_stage_old_name(number, old);
	if (s->in_place) {
		undo_patch(u, s, old);
		return;
	}
	if (!s->is_staged) {
		if (s->has_was)
			undo_mode(u, s, S_IFDIR);
		return;
	}
	switch (where_staged(u, number)) {
	case STAGED_STILL:
		/* What it was to replace may be gone already, or be linked only. */
		lp_undo_put_back(u, old, u->home);
		return;
	case STAGED_OLD:
		staged = staged_path(u->ops, number);
		lp_undo_change_back(u, s, staged);
		return;
	case STAGED_GONE:
		undo_placed(u, s, old);
		return;
	case STAGED_UNKNOWN:
		return;
	}
}

/* Moves a thing back to a path that a MOVE brought to u->home. */
static int move_back(struct undoing *u, const char *from, const struct stat *st)
{
	struct lp_tree *t = u->t;
	LP_AUTO_FREE char *above = lp_xstrndup(from, lp_path_dir_len(from));
	LP_AUTO_CLOSE int to_fd = -1;
	struct stat there;
	int fd, r;

	if (u->make && (fd = lp_tree_parent(t, from)) < 0)
		return fd;
	to_fd = lp_open_beneath(t->root_fd, above[0] ? above : ".", O_RDONLY | O_DIRECTORY, 0);
	if (to_fd < 0)
		return to_fd;
	fd = lp_tree_find_parent(t, u->home);
	if (fd < 0)
		return fd;
	r = lp_step_rename(fd, lp_path_base(u->home), to_fd, lp_path_base(from), RENAME_NOREPLACE);
	/* Both are there and the same when this was interrupted before. */
	if (r == -EEXIST && !S_ISDIR(st->st_mode) &&
	    lp_undo_stat(to_fd, lp_path_base(from), &there) > 0 && there.st_ino == st->st_ino)
		r = lp_step_unlink(fd, lp_path_base(u->home), 0);
	return r;
}

static void undo_move(struct undoing *u, size_t number)
{
	const struct lp_staged *s = &u->ops[number];
	char old[LP_STAGE_NAME_BYTES], from[LP_PATH_MAX_BYTES + 1];
	struct stat st;
	int fd, r = lp_undo_stat_home(u, &fd, &st);

	before_moves(u->ops, u->make ? number : 0, s->from, from);
	if (r > 0)
		r = st.st_ino == s->ino ? move_back(u, from, &st) : 0;
	if (r == -ENOENT && !u->make)
		u->orphans = true;
	else if (r < 0 && !lp_undo_is_of_the_app(r))
		lp_undo_cannot(u, s->path, r);
	lp_tree_forget_parent(u->t);
	lp_stage_old_name(number, old);
	lp_undo_put_back(u, old, u->home);
}

static void undo_op(struct undoing *u, size_t number)
{
	const struct lp_staged *s = &u->ops[number];
	char old[LP_STAGE_NAME_BYTES];

	go_to(u, number);
	switch (s->op) {
	case LP_OP_PUT:
		undo_put(u, number);
		return;
	case LP_OP_KEEP:
		if (s->has_was && s->e.kind == LP_KIND_FILE)
			undo_mode(u, s, S_IFREG);
		return;
	case LP_OP_MOVE:
		undo_move(u, number);
		return;
	case LP_OP_DELETE:
		lp_stage_old_name(number, old);
		lp_undo_put_back(u, old, u->home);
		return;
	}
}

int lp_undo_op(struct lp_tree *t, struct lp_staged *ops, size_t number, struct lp_err *err)
{
	struct undoing u = {.t = t, .ops = ops, .err = err};

	undo_op(&u, number);
	if (u.orphans && u.first == 0) {
		u.make = true;
		undo_op(&u, number);
	}
	return u.first;
}

static void undo_all(struct undoing *u, size_t n)
{
	/* As they were done, in reverse: deletes came last, the deepest first. */
	for (size_t i = 0; i < n; i++)
		if (u->ops[i].op == LP_OP_DELETE)
			undo_op(u, i);
	for (size_t i = n; i-- > 0;)
		if (u->ops[i].op != LP_OP_DELETE)
			undo_op(u, i);
	/* Directories that a MOVE went into are empty only now. */
	for (size_t i = n; i-- > 0;) {
		struct lp_staged *s = &u->ops[i];

		if (s->op != LP_OP_PUT || s->e.kind != LP_KIND_DIR || !s->is_staged ||
		    where_staged(u, i) != STAGED_GONE)
			continue;
		go_to(u, i);
		lp_undo_remove_new(u, s);
	}
	lp_tree_forget_parent(u->t);
}

int lp_undo_all(struct lp_tree *t, struct lp_staged *ops, size_t n, struct lp_err *err)
{
	struct undoing u = {.t = t, .ops = ops, .err = err};

	lp_tree_forget_parent(t);
	undo_all(&u, n);
	/* Only what nothing else stands in the way of: a directory that is made where one is to
	 * come back would keep that one out. */
	if (u.orphans && u.first == 0) {
		u.make = true;
		undo_all(&u, n);
	}
	return u.first;
}

/* Whether what is at a path is of the sort that the index says; what cannot be looked at is. */
static bool is_as_said(struct lp_tree *t, const struct lp_node *n, const char *path)
{
	int fd = lp_tree_find_parent(t, path), r;
	struct stat st;

	r = fd < 0 ? fd : lp_undo_stat(fd, lp_path_base(path), &st);
	if (r <= 0)
		return r != 0 && r != -ENOENT && !lp_undo_is_of_the_app(r);
	return S_ISDIR(st.st_mode) == (n->e.kind == LP_KIND_DIR) &&
	       S_ISLNK(st.st_mode) == (n->e.kind == LP_KIND_LINK);
}

/* What is at the path of a link or a file now; digest and size only. Returns 0 or -errno. */
static int read_entry(struct lp_tree *t, const struct lp_node *n, const char *path,
		      struct lp_entry *now)
{
	char target[LP_PATH_MAX_BYTES + 1];
	struct stat st;
	ssize_t len;
	int fd;

	if (n->e.kind == LP_KIND_FILE)
		return lp_tree_hash(t, path, now, &st);
	fd = lp_tree_find_parent(t, path);
	if (fd < 0)
		return fd;
	len = readlinkat(fd, lp_path_base(path), target, sizeof(target));
	if (len < 0)
		return -errno;
	*now = (struct lp_entry){.kind = LP_KIND_LINK,
				 .size = (uint64_t)len,
				 .digest = lp_digest_of(target, (size_t)len)};
	return 0;
}

/* A file that was patched, or what the app has there, is read again. */
static void read_again(struct lp_tree *t, struct lp_node *n, const char *path)
{
	struct lp_entry now;

	if (read_entry(t, n, path, &now) == 0 && !lp_node_equal(n, &now) &&
	    lp_index_put(t->index, path, &now, NULL, &n) == 0)
		n->mark = 0;
}

void lp_undo_look(struct lp_tree *t, const struct lp_staged *ops, size_t n)
{
	char path[LP_PATH_MAX_BYTES + 1];

	for (size_t i = 0; i < n; i++) {
		struct lp_node *node;

		before_moves(ops, i, ops[i].op == LP_OP_MOVE ? ops[i].from : ops[i].path, path);
		node = lp_index_get(t->index, path);
		if (!node)
			continue;
		if (!is_as_said(t, node, path))
			lp_node_remove(t->index, node);
		else if ((ops[i].in_place || ops[i].is_left) && node->e.kind != LP_KIND_DIR)
			read_again(t, node, path);
	}
	lp_tree_forget_parent(t);
}
