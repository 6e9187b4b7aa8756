/* controller/undo_back.c: puts single things back where they were. Nothing of the app is written
 * over: what it has put in the place of ours, or written into it, stays and is told. */
#include "controller/undo_internal.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

void lp_undo_cannot(struct undoing *u, const char *path, int r)
{
	if (u->first == 0)
		u->first = lp_err_set(u->err, -r, "%s: cannot be put back as it was", path);
}

bool lp_undo_is_of_the_app(int r)
{
	return r == -EEXIST || r == -ENOTDIR || r == -ELOOP || r == -EISDIR || r == -ENOTEMPTY;
}

int lp_undo_stat(int dir_fd, const char *name, struct stat *st)
{
	if (fstatat(dir_fd, name, st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

static int stat_home(struct undoing *u, int *fd, struct stat *st)
{
	int r;

	*fd = lp_tree_find_parent(u->t, u->home);
	r = *fd < 0 ? *fd : lp_undo_stat(*fd, lp_path_base(u->home), st);
	return r == -ENOENT || lp_undo_is_of_the_app(r) ? 0 : r;
}

int lp_undo_stat_home(struct undoing *u, int *fd, struct stat *st)
{
	int r;

	*fd = lp_tree_find_parent(u->t, u->home);
	r = *fd < 0 ? *fd : lp_undo_stat(*fd, lp_path_base(u->home), st);
	if (r == 0 || r == -ENOENT)
		u->orphans = true;
	return r == -ENOENT || lp_undo_is_of_the_app(r) ? 0 : r;
}

/* What the app has at a path stays, which is told once. */
static void leave(struct undoing *u, struct lp_staged *s)
{
	if (s->is_left)
		return;
	s->is_left = true;
	if (u->t->n_left++ == 0)
		u->t->left_path = lp_xstrdup(u->home);
}

static bool is_link_as_put(int fd, const char *name, const struct lp_entry *e)
{
	char target[LP_PATH_MAX_BYTES + 1];
	ssize_t n = readlinkat(fd, name, target, sizeof(target));
	struct lp_digest d = lp_digest_of(target, n > 0 ? (size_t)n : 0);

	return n > 0 && lp_digest_equal(&d, &e->digest);
}

/* Whether what is at u->home (fd, st) is what the operation put there: 1; 0: the app put something
 * else in its place, or wrote into it; or -errno. The number of an inode alone does not say so: the
 * next file may get it. */
static int is_as_put(struct undoing *u, const struct lp_staged *s, int fd, const struct stat *st)
{
	struct lp_entry now;
	struct stat then;
	int r;

	if (st->st_ino != s->ino)
		return 0;
	if (s->e.kind == LP_KIND_LINK)
		return S_ISLNK(st->st_mode) && is_link_as_put(fd, lp_path_base(u->home), &s->e);
	if (!S_ISREG(st->st_mode) || (uint64_t)st->st_size != s->e.size)
		return 0;
	r = lp_tree_hash(u->t, u->home, &now, &then);
	/* Nobody may read it; then that is all there is to know it by. */
	if (r == -EACCES)
		return 1;
	if (r == -ENOENT || lp_undo_is_of_the_app(r))
		return 0;
	return r < 0 ? r : lp_digest_equal(&now.digest, &s->e.digest);
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
	int r = lp_undo_stat(u->t->stage_fd, from, &st);

	if (r < 0 || (r > 0 && u->make))
		lp_undo_cannot(u, path, r < 0 ? r : -ENOENT);
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

/* Depth is bounded by the length of paths. NOLINTNEXTLINE(misc-no-recursion) */
void lp_undo_put_back(struct undoing *u, const char *from, const char *path)
{
	struct stat st;
	int r = lp_undo_stat(u->t->stage_fd, from, &st);
	char **names = NULL;
	size_t n = 0;

	/* Where nothing was taken nothing is tried: what kept it from being taken is still there.
	 */
	if (r == 0)
		return;
	if (r > 0)
		r = lp_stage_rename_back(u->t, from, path, RENAME_NOREPLACE, u->make);
	if (r == -ENOENT)
		note_missing(u, from, path);
	else if (r < 0 && !lp_undo_is_of_the_app(r))
		lp_undo_cannot(u, path, r);
	if (r != -EEXIST)
		return;
	r = names_in(u->t, from, &names, &n);
	if (r < 0)
		lp_undo_cannot(u, path, r);
	for (size_t i = 0; i < n; i++) {
		LP_AUTO_FREE char *inner = lp_xasprintf("%s/%s", from, names[i]);
		LP_AUTO_FREE char *to = lp_xasprintf("%s/%s", path, names[i]);

		lp_undo_put_back(u, inner, to);
		free(names[i]);
	}
	free(names);
}

void lp_undo_remove_new(struct undoing *u, struct lp_staged *s)
{
	bool is_dir = s->e.kind == LP_KIND_DIR;
	struct stat st;
	int fd, r = lp_undo_stat_home(u, &fd, &st);

	if (s->is_back)
		return;
	if (r > 0 && !is_dir) {
		r = is_as_put(u, s, fd, &st);
		/* A directory may be what was there before, and went back. */
		if (r == 0 && !S_ISDIR(st.st_mode))
			leave(u, s);
	}
	if (r > 0)
		r = lp_step_unlink(fd, lp_path_base(u->home), is_dir ? AT_REMOVEDIR : 0);
	if (r < 0 && r != -ENOENT && !lp_undo_is_of_the_app(r))
		lp_undo_cannot(u, s->path, r);
	if (is_dir)
		lp_tree_forget_parent(u->t);
}

/* Lets a link of the old file and what is at u->home change places, and again when that is not what
 * was looked at, because the app came in between: 1: it is back; 0: what the app has stays; or
 * -errno. */
static int exchange(struct undoing *u, const struct lp_staged *s, const char *copy)
{
	struct lp_tree *t = u->t;
	int r = lp_stage_rename_back(t, copy, u->home, RENAME_EXCHANGE, u->make);
	struct stat st;

	/* It went away, or the file system cannot do that. */
	if (r == -ENOENT)
		r = lp_stage_rename_back(t, copy, u->home, RENAME_NOREPLACE, u->make);
	else if (r == -EINVAL || r == -ENOSYS || r == -EOPNOTSUPP)
		r = lp_stage_rename_back(t, copy, u->home, 0, u->make);
	else if (r == 0 && lp_undo_stat(t->stage_fd, copy, &st) > 0 && st.st_ino != s->ino)
		return lp_stage_rename_back(t, copy, u->home, RENAME_EXCHANGE, u->make);
	return r < 0 ? r : 1;
}

/* Puts the old file where nothing is, or what is ours: 1: it is back; 0: the app came in between;
 * or -errno. A link of it stays, which says that there was one: this may be interrupted. */
static int bring(struct undoing *u, const struct lp_staged *s, const char *old, bool over)
{
	struct lp_tree *t = u->t;
	LP_AUTO_FREE char *copy = lp_xasprintf("%s.back", old);
	bool linked;
	int r;

	(void)unlinkat(t->stage_fd, copy, 0);
	linked = lp_step_link(t->stage_fd, old, t->stage_fd, copy) == 0;
	if (linked && over) {
		r = exchange(u, s, copy);
	} else {
		r = lp_stage_rename_back(t, linked ? copy : old, u->home,
					 over ? 0 : RENAME_NOREPLACE, u->make);
		r = r == 0 ? 1 : r == -EEXIST ? 0 : r;
	}
	if (linked)
		(void)unlinkat(t->stage_fd, copy, 0);
	return r;
}

void lp_undo_put_file_back(struct undoing *u, struct lp_staged *s, const char *old,
			   const struct stat *was)
{
	struct stat st;
	int fd, there = stat_home(u, &fd, &st), r = 1;

	/* It was done before; what the app does there since is its own. */
	if (s->is_back || (there > 0 && st.st_ino == was->st_ino && st.st_dev == was->st_dev))
		return;
	if (there != 0)
		r = there < 0 ? there : is_as_put(u, s, fd, &st);
	if (r > 0)
		r = bring(u, s, old, there > 0);
	s->is_back = r >= 0;
	if (r == 0)
		leave(u, s);
	else if (r == -ENOENT)
		note_missing(u, old, u->home);
	else if (r < 0 && !lp_undo_is_of_the_app(r))
		lp_undo_cannot(u, u->home, r);
}

void lp_undo_change_back(struct undoing *u, struct lp_staged *s, const char *staged)
{
	struct stat st;
	int fd, there = stat_home(u, &fd, &st), r = there;

	if (there > 0)
		r = is_as_put(u, s, fd, &st);
	if (there > 0 && r == 0) {
		leave(u, s);
		return;
	}
	if (r >= 0)
		r = lp_stage_rename_back(u->t, staged, u->home, RENAME_EXCHANGE, u->make);
	/* Nothing is there any more. */
	if (r == -ENOENT)
		lp_undo_put_back(u, staged, u->home);
	else if (r < 0 && !lp_undo_is_of_the_app(r))
		lp_undo_cannot(u, u->home, r);
	s->is_back = r >= 0;
}
