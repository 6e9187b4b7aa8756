/* controller/undo.c: takes back what a commit did on disk. What happened of an operation is seen by
 * what is where: an operation whose staged thing is still beside the tree did not happen, and what
 * is kept under its old name was replaced by it. So it can be done again after a crash or an error
 * in the middle of it. */
#include "controller/commit.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* make: the second time: directories that the app removed meanwhile are made again. orphans:
 * something may wait for that. home: where what the operation under way replaced belongs. first:
 * the first error, whose text is in err. */
struct undoing {
	struct lp_tree *t;
	const struct lp_staged *ops;
	bool make;
	bool orphans;
	char home[LP_PATH_MAX_BYTES + 1];
	int first;
	struct lp_err *err;
};

static void cannot(struct undoing *u, const char *path, int r)
{
	if (u->first == 0)
		u->first = lp_err_set(u->err, -r, "%s: cannot be put back as it was", path);
}

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

/* What the app has put in the way stays, and so do we. Returns whether it is only that. */
static bool is_of_the_app(int r)
{
	return r == -EEXIST || r == -ENOTDIR || r == -ELOOP || r == -EISDIR || r == -ENOTEMPTY;
}

/* 1: there is something of that name; 0; or -errno. */
static int look(int dir_fd, const char *name, struct stat *st)
{
	if (fstatat(dir_fd, name, st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
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
	int r = path ? look(u->t->stage_fd, path, &st) : 1;

	if (r < 0) {
		cannot(u, s->path, r);
		return STAGED_UNKNOWN;
	}
	if (r == 0)
		return STAGED_GONE;
	return path && s->e.kind != LP_KIND_DIR && st.st_ino != s->ino ? STAGED_OLD : STAGED_STILL;
}

int lp_stage_rename_back(struct lp_tree *t, const char *from, const char *path, unsigned flags,
			 bool make)
{
	LP_AUTO_FREE char *above = lp_xstrndup(from, lp_path_dir_len(from));
	LP_AUTO_CLOSE int inner = -1;
	struct stat st;
	int fd;

	/* Nothing is made for what is not there. */
	if (make && fstatat(t->stage_fd, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	fd = make ? lp_tree_parent(t, path) : lp_tree_find_parent(t, path);
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

/* A rename to a path of the tree did not find something: what was to go there, or its directory. */
static void note_missing(struct undoing *u, const char *from, const char *path)
{
	struct stat st;
	int r = look(u->t->stage_fd, from, &st);

	if (r < 0 || (r > 0 && u->make))
		cannot(u, path, r < 0 ? r : -ENOENT);
	else if (r > 0)
		u->orphans = true;
}

/* The names in a directory of the staging area; none when it is something else. Returns 0 or
 * -errno. */
static int names_in(const struct lp_tree *t, const char *path, char ***names, size_t *n)
{
	int fd = lp_open_beneath(t->stage_fd, path, O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	size_t cap = 0;
	struct dirent *e;
	int r;

	if (!dir) {
		r = fd < 0 ? fd : -errno;
		lp_auto_close(&fd);
		return r == -ENOTDIR || r == -ELOOP || r == -ENOENT ? 0 : r;
	}
	while ((errno = 0, e = readdir(dir))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		lp_grow(names, &cap, *n + 1, sizeof(**names));
		(*names)[(*n)++] = lp_xstrdup(e->d_name);
	}
	r = -errno;
	(void)closedir(dir);
	return r;
}

/* Puts what was taken from a path back there; what was taken from a directory that stayed goes back
 * into it. Depth is bounded by the length of paths. NOLINTNEXTLINE(misc-no-recursion) */
static void put_back(struct undoing *u, const char *from, const char *path)
{
	int r = lp_stage_rename_back(u->t, from, path, RENAME_NOREPLACE, u->make);
	char **names = NULL;
	size_t n = 0;

	if (r == -ENOENT)
		note_missing(u, from, path);
	else if (r < 0 && !is_of_the_app(r))
		cannot(u, path, r);
	if (r != -EEXIST)
		return;
	r = names_in(u->t, from, &names, &n);
	if (r < 0)
		cannot(u, path, r);
	for (size_t i = 0; i < n; i++) {
		LP_AUTO_FREE char *inner = lp_xasprintf("%s/%s", from, names[i]);
		LP_AUTO_FREE char *to = lp_xasprintf("%s/%s", path, names[i]);

		put_back(u, inner, to);
		free(names[i]);
	}
	free(names);
}

/* What is at home: 1, 0 (nothing, or the app has something in the place of a directory above) or
 * -errno. fd: the directory, borrowed. */
static int look_home(struct undoing *u, int *fd, struct stat *st)
{
	int r;

	*fd = lp_tree_find_parent(u->t, u->home);
	r = *fd < 0 ? *fd : look(*fd, lp_path_base(u->home), st);
	if (r == 0 || r == -ENOENT)
		u->orphans = true;
	return r == -ENOENT || is_of_the_app(r) ? 0 : r;
}

/* Removes what was put where nothing was, unless there is something else by now. */
static void remove_new(struct undoing *u, const struct lp_staged *s)
{
	bool is_dir = s->e.kind == LP_KIND_DIR;
	struct stat st;
	int fd, r = look_home(u, &fd, &st);

	if (r > 0 && (is_dir || st.st_ino == s->ino))
		r = lp_step_unlink(fd, lp_path_base(u->home), is_dir ? AT_REMOVEDIR : 0);
	if (r < 0 && r != -ENOENT && !is_of_the_app(r))
		cannot(u, s->path, r);
	if (is_dir)
		lp_tree_forget_parent(u->t);
}

/* Puts a file back over the one that replaced it. A link of it stays, which says that there was
 * one: this may be interrupted and done again. */
static void put_file_back(struct undoing *u, const char *old, const char *path)
{
	struct lp_tree *t = u->t;
	LP_AUTO_FREE char *copy = lp_xasprintf("%s.back", old);
	int r = lp_step_link(t->stage_fd, old, t->stage_fd, copy);
	bool linked = r == 0;

	r = lp_stage_rename_back(t, linked ? copy : old, path, 0, u->make);
	if (r == -ENOENT)
		note_missing(u, old, path);
	else if (r < 0 && !is_of_the_app(r))
		cannot(u, path, r);
	if (linked)
		(void)unlinkat(t->stage_fd, copy, 0);
}

/* Changes places again, after which what is staged is so still. */
static void change_back(struct undoing *u, const char *staged, const char *path)
{
	int r = lp_stage_rename_back(u->t, staged, path, RENAME_EXCHANGE, u->make);

	/* Nothing is there any more. */
	if (r == -ENOENT)
		put_back(u, staged, path);
	else if (r < 0 && !is_of_the_app(r))
		cannot(u, path, r);
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
	if (fd == -ENOENT || is_of_the_app(fd))
		return;
	r = from < 0 ? from : fd < 0 ? fd : lp_patch_revert(fd, from);
	/* It may be done again, as often as needed. */
	if (r > 0 && s->was_mode != s->e.mode && fchmod(fd, s->was_mode) < 0)
		r = -errno;
	if (r < 0)
		cannot(u, s->path, r);
}

static void undo_mode(struct undoing *u, const struct lp_staged *s, mode_t type)
{
	int r = lp_step_mode(u->t, u->home, type, s->was_mode);

	if (r == -ENOENT)
		u->orphans = true;
	if (r < 0 && r != -ENOENT && r != -ESTALE && !is_of_the_app(r))
		cannot(u, s->path, r);
}

/* Of a thing that got into the tree. */
static void undo_placed(struct undoing *u, const struct lp_staged *s, const char *old)
{
	struct stat st;
	int has_old = look(u->t->stage_fd, old, &st);

	if (has_old < 0) {
		cannot(u, s->path, has_old);
	} else if (has_old == 0) {
		remove_new(u, s);
	} else if (s->e.kind != LP_KIND_DIR && !S_ISDIR(st.st_mode)) {
		put_file_back(u, old, u->home);
	} else {
		remove_new(u, s);
		put_back(u, old, u->home);
	}
}

static void undo_put(struct undoing *u, size_t number)
{
	const struct lp_staged *s = &u->ops[number];
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
		put_back(u, old, u->home);
		return;
	case STAGED_OLD:
		staged = staged_path(u->ops, number);
		change_back(u, staged, u->home);
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
	if (r == -EEXIST && !S_ISDIR(st->st_mode) && look(to_fd, lp_path_base(from), &there) > 0 &&
	    there.st_ino == st->st_ino)
		r = lp_step_unlink(fd, lp_path_base(u->home), 0);
	return r;
}

static void undo_move(struct undoing *u, size_t number)
{
	const struct lp_staged *s = &u->ops[number];
	char old[LP_STAGE_NAME_BYTES], from[LP_PATH_MAX_BYTES + 1];
	struct stat st;
	int fd, r = look_home(u, &fd, &st);

	before_moves(u->ops, u->make ? number : 0, s->from, from);
	if (r > 0)
		r = st.st_ino == s->ino ? move_back(u, from, &st) : 0;
	if (r == -ENOENT && !u->make)
		u->orphans = true;
	else if (r < 0 && !is_of_the_app(r))
		cannot(u, s->path, r);
	lp_tree_forget_parent(u->t);
	lp_stage_old_name(number, old);
	put_back(u, old, u->home);
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
		put_back(u, old, u->home);
		return;
	}
}

int lp_undo_op(struct lp_tree *t, const struct lp_staged *ops, size_t number, struct lp_err *err)
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
		const struct lp_staged *s = &u->ops[i];

		if (s->op != LP_OP_PUT || s->e.kind != LP_KIND_DIR || !s->is_staged ||
		    where_staged(u, i) != STAGED_GONE)
			continue;
		go_to(u, i);
		remove_new(u, s);
	}
	lp_tree_forget_parent(u->t);
}

int lp_undo_all(struct lp_tree *t, const struct lp_staged *ops, size_t n, struct lp_err *err)
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

	r = fd < 0 ? fd : look(fd, lp_path_base(path), &st);
	if (r <= 0)
		return r != 0 && r != -ENOENT && !is_of_the_app(r);
	return S_ISDIR(st.st_mode) == (n->e.kind == LP_KIND_DIR) &&
	       S_ISLNK(st.st_mode) == (n->e.kind == LP_KIND_LINK);
}

/* A file that was patched is read again: it may hold what the app wrote, too. */
static void read_again(struct lp_tree *t, struct lp_node *n, const char *path)
{
	struct lp_entry now;
	struct stat st;

	if (lp_tree_hash(t, path, &now, &st) == 0 && !lp_node_equal(n, &now) &&
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
		else if (ops[i].in_place && node->e.kind == LP_KIND_FILE)
			read_again(t, node, path);
	}
	lp_tree_forget_parent(t);
}
