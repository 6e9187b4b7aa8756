/* controller/tree.c: opening a tree and finding one's way in it. */
#include "controller/commit.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_trim.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* After fewer operations there is little to give back. */
#define CHURN_MIN 1000

/* Makes the index anew. What a large changeset took lies between what stays, and no page of it
 * would go back to the system. */
static void compact(struct lp_tree *t)
{
	struct lp_index *to = lp_index_create_lean();
	struct lp_node *root = lp_index_get(t->index, ""), *above = root;
	struct lp_node *dir = lp_index_get(to, ""); /* what is above, there */

	for (struct lp_node *n = lp_node_next(root, root); n; n = lp_node_next(root, n)) {
		const struct lp_entry e = lp_node_entry(n);
		struct lp_node *copy;

		for (; above != lp_node_parent(n); above = lp_node_parent(above))
			dir = lp_node_parent(dir);
		copy = lp_node_put(to, dir, n->name, &e, NULL);
		copy->mark = n->mark;
		lp_node_set_chunks(copy, lp_node_chunks(n));
		if (e.kind == LP_KIND_DIR) {
			above = n;
			dir = copy;
		}
	}
	lp_index_destroy(t->index);
	t->index = to;
}

static void give_back(struct lp_tree *t)
{
	if (t->churn < CHURN_MIN)
		return;
	if (t->churn > lp_index_count(t->index) / 4)
		compact(t);
	t->churn = 0;
	lp_trim();
}

void lp_tree_tidy(struct lp_tree *t)
{
	lp_partial_expire(t);
	if (lp_owed_settle(t, NULL) < 0)
		return;
	lp_undo_prune(t, false);
	lp_owned_tidy(t);
	/* So that the next changeset need not; if it fails, that one will say why. */
	(void)!lp_stage_open_area(t, NULL);
	give_back(t);
}

void lp_tree_give_room(struct lp_tree *t)
{
	lp_partial_drop(t);
	lp_undo_prune(t, true);
}

static int open_dirs(struct lp_tree *t, const char *path, struct lp_err *err)
{
	t->root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->root_fd < 0)
		return lp_err_set(err, errno, "%s: cannot open the tree", path);
	if (mkdirat(t->root_fd, LP_STATE_DIR, 0700) < 0 && errno != EEXIST)
		return lp_err_set(err, errno, "%s: cannot make '%s'", path, LP_STATE_DIR);
	t->state_fd = lp_open_beneath(t->root_fd, LP_STATE_DIR, O_RDONLY | O_DIRECTORY, 0);
	if (t->state_fd < 0)
		return lp_err_set(err, -t->state_fd, "%s: cannot open '%s'", path, LP_STATE_DIR);
	return 0;
}

/* What an earlier run left: what it owned, what can be taken back, and what it had not finished,
 * which is; then the files are looked at. */
static int read_state(struct lp_tree *t, struct lp_err *err)
{
	int r = lp_owned_lock(t, err);

	if (r == 0)
		r = lp_owned_read(t, err);
	if (r == 0)
		r = lp_undo_open(t, err);
	if (r == 0)
		r = lp_journal_recover(t, err);
	if (r < 0)
		return r;
	(void)unlinkat(t->state_fd, LP_PARTIAL_NAME, 0);
	r = lp_owned_check(t, t->owed != NULL, err);
	if (r < 0 || t->owed)
		return r;
	/* What stands in the way of changesets (it cannot be emptied, the disk is full or
	 * read-only) is said by them, and holds up no app: tidying opens the staging area, if that
	 * is possible.
	 */
	t->churn = SIZE_MAX;
	lp_tree_tidy(t);
	return 0;
}

int lp_tree_open(struct lp_tree **out, const char *path, struct lp_err *err)
{
	struct lp_tree *t = lp_xcalloc(1, sizeof(*t));
	int r;

	t->root_fd = t->state_fd = t->stage_fd = t->undo_fd = t->log_fd = -1;
	t->data_fd = t->parent_fd = t->journal_fd = t->partial.fd = -1;
	t->umask = umask(0);
	(void)umask(t->umask);
	t->index = lp_index_create_lean();
	t->data_hasher = lp_hasher_create();
	r = open_dirs(t, path, err);
	if (r == 0 && (r = read_state(t, err)) < 0)
		lp_err_wrap(err, r, "%s", path);
	if (r < 0) {
		lp_tree_close(t);
		return r;
	}
	*out = t;
	return 0;
}

void lp_tree_close(struct lp_tree *t)
{
	if (!t)
		return;
	lp_undo_settle(t);
	lp_owed_close(t);
	lp_tree_drop(t);
	lp_tree_verify_end(t);
	lp_partial_drop(t);
	lp_owned_forget(t);
	lp_stage_dirs_finish(t);
	lp_tree_forget_parent(t);
	lp_auto_close(&t->root_fd);
	lp_auto_close(&t->state_fd);
	lp_auto_close(&t->stage_fd);
	lp_auto_close(&t->undo_fd);
	lp_auto_close(&t->log_fd);
	lp_auto_close(&t->journal_fd);
	lp_was_forget(t);
	lp_buf_finish(&t->rows);
	lp_buf_finish(&t->late);
	free(t->undo);
	free(t->left_path);
	lp_index_destroy(t->index);
	lp_hasher_destroy(t->data_hasher);
	free(t->ops);
	for (size_t i = 0; i < t->n_changed; i++)
		free(t->changed[i]);
	free(t->changed);
	free(t);
}

int lp_tree_fd(const struct lp_tree *t)
{
	return t->root_fd;
}

bool lp_tree_has_damage(const struct lp_tree *t)
{
	return t->has_damage;
}

size_t lp_tree_left(struct lp_tree *t, char **path)
{
	size_t n = t->n_left;

	*path = lp_take_ptr(&t->left_path);
	t->n_left = 0;
	return n;
}

uint64_t lp_tree_unread(const struct lp_tree *t)
{
	return t->log_unread;
}

bool lp_tree_replaces_dir(const struct lp_tree *t, const struct lp_wire_op *op)
{
	LP_AUTO_FREE char *path = lp_xstrndup((const char *)op->path.p, op->path.len);
	const struct lp_node *n = lp_index_get(t->index, path);

	return n && n->e.kind == LP_KIND_DIR && op->kind != LP_KIND_DIR;
}

uint64_t lp_tree_revision(const struct lp_tree *t)
{
	return t->revision;
}

struct lp_digest lp_tree_root(struct lp_tree *t)
{
	return lp_index_root(t->index);
}

size_t lp_tree_count(const struct lp_tree *t)
{
	return lp_index_count(t->index);
}

size_t lp_tree_files(const struct lp_tree *t)
{
	return lp_index_files(t->index);
}

uint64_t lp_tree_bytes(const struct lp_tree *t)
{
	return lp_index_bytes(t->index);
}

bool lp_tree_is_foreign(const struct lp_tree *t)
{
	int fd = openat(t->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	bool found = false;
	struct dirent *e;

	if (!dir) {
		lp_auto_close(&fd);
		return true; /* asking is safe */
	}
	while (!found && (e = readdir(dir)))
		found = strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
			strcmp(e->d_name, LP_STATE_DIR) != 0;
	(void)closedir(dir);
	return found;
}

mode_t lp_tree_format(const struct lp_node *n)
{
	return n->e.kind == LP_KIND_DIR ? S_IFDIR : n->e.kind == LP_KIND_LINK ? S_IFLNK : S_IFREG;
}

void lp_tree_forget_parent(struct lp_tree *t)
{
	free(t->parent_path);
	t->parent_path = NULL;
	lp_auto_close(&t->parent_fd);
	t->parent_fd = -1;
}

/* Makes one directory below `above`, with the mode that it has in the workspace. */
static int make_dir(struct lp_tree *t, int above, const char *path)
{
	const struct lp_node *n = lp_index_get(t->index, path);
	LP_AUTO_CLOSE int fd = -1;

	if (mkdirat(above, lp_path_base(path), 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	fd = lp_open_beneath(above, lp_path_base(path), O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	/* Something is to be put into it, so that we ourselves may write in any case. */
	return fchmod(fd, (n ? n->e.mode : 0755) | 0700) < 0 ? -errno : 0;
}

/* mkdir -p that crosses no link. */
static int make_dirs(struct lp_tree *t, const char *path)
{
	LP_AUTO_FREE char *copy = lp_xstrdup(path);
	int r;

	for (char *p = strchr(copy, '/');; p = strchr(p + 1, '/')) {
		size_t dir_len;

		if (p)
			*p = '\0';
		dir_len = lp_path_dir_len(copy);
		{
			LP_AUTO_FREE char *above = lp_xstrndup(copy, dir_len);
			LP_AUTO_CLOSE int fd = lp_open_beneath(t->root_fd, dir_len ? above : ".",
							       O_PATH | O_DIRECTORY, 0);

			r = fd < 0 ? fd : make_dir(t, fd, copy);
		}
		if (r < 0 || !p)
			return r;
		*p = '/';
	}
}

static int open_parent(struct lp_tree *t, const char *path, bool make)
{
	size_t len = lp_path_dir_len(path);
	LP_AUTO_FREE char *dir = NULL;
	int fd;

	if (t->parent_path && strncmp(t->parent_path, path, len) == 0 &&
	    t->parent_path[len] == '\0' && (len > 0 || t->parent_path[0] == '\0'))
		return t->parent_fd;
	dir = lp_xstrndup(path, len);
	fd = lp_open_beneath(t->root_fd, len ? dir : ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd == -ENOENT && make) {
		int r = make_dirs(t, dir);

		if (r < 0)
			return r;
		fd = lp_open_beneath(t->root_fd, dir, O_RDONLY | O_DIRECTORY, 0);
	}
	if (fd < 0)
		return fd;
	lp_tree_forget_parent(t);
	t->parent_fd = fd;
	t->parent_path = lp_take_ptr(&dir);
	return fd;
}

int lp_tree_parent(struct lp_tree *t, const char *path)
{
	return open_parent(t, path, true);
}

int lp_tree_find_parent(struct lp_tree *t, const char *path)
{
	return open_parent(t, path, false);
}

int lp_tree_hash(struct lp_tree *t, const char *path, struct lp_entry *out, struct stat *st)
{
	LP_AUTO_CLOSE int fd = lp_open_beneath(t->root_fd, path, O_RDONLY | O_NONBLOCK, 0);
	LP_AUTO_FREE uint8_t *piece = NULL;
	const size_t piece_bytes = (size_t)128 * 1024;
	struct lp_hasher *hasher;
	ssize_t n;

	if (fd < 0)
		return fd;
	if (fstat(fd, st) < 0)
		return -errno;
	if (!S_ISREG(st->st_mode))
		return -EINVAL;
	piece = lp_xcalloc(1, piece_bytes);
	hasher = lp_hasher_create();
	*out = (struct lp_entry){.kind = LP_KIND_FILE, .mode = (uint32_t)st->st_mode & 0777};
	while ((n = read(fd, piece, piece_bytes)) > 0) {
		lp_hasher_add(hasher, piece, (size_t)n);
		out->size += (uint64_t)n;
	}
	out->digest = lp_hasher_get(hasher);
	lp_hasher_destroy(hasher);
	return n < 0 ? -errno : 0;
}
