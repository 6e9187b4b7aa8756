/* controller/act.c: the operations of a changeset, each done on disk and in the index. Everything
 * was written and verified before, so that little more than renames are left. */
#include "controller/commit.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <stdio.h>
#include <string.h>

#define LINK_TRIES 8

/* Clears the way for an entry of another kind. */
static int clear_way(struct lp_tree *t, const struct lp_staged *s, struct lp_err *err)
{
	struct lp_node *n = lp_index_get(t->index, s->path);

	if (!n || n->e.kind == s->e.kind)
		return 0;
	return lp_take(t, n, (size_t)(s - t->ops), err);
}

static int in_the_way(struct lp_err *err, const struct lp_staged *s)
{
	return lp_err_say(err, EEXIST,
			  "%s: cannot make the directory: the app made a file of that name; "
			  "remove it or ignore the directory",
			  s->path);
}

static int put_dir(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	const char *name = lp_path_base(s->path), *from;
	char number[LP_STAGE_NAME_BYTES];
	int fd = lp_tree_parent(t, s->path), from_fd, r = fd < 0 ? fd : 0;
	struct stat st;

	if (r == 0 && s->is_staged) {
		from_fd = lp_stage_at(t, s, number, &from);
		r = from_fd < 0 ? from_fd
				: lp_step_rename(from_fd, from, fd, name, RENAME_NOREPLACE);
	} else if (r == 0) {
		r = lp_step_mkdir(fd, name);
	}
	if (r == 0) {
		s->late_mode = s->late_mode || !s->is_staged;
		return 0;
	}
	if (r == -EEXIST && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	if (r != -EEXIST)
		return lp_step_cannot(err, r, s->path, "cannot make the directory");
	if (!S_ISDIR(st.st_mode))
		return in_the_way(err, s);
	/* The app made it meanwhile: what is staged goes there one by one. */
	if (s->is_staged)
		((struct lp_stage_dir *)lp_map_get(&t->stage_dirs, s->path))->merged = true;
	s->late_mode = true;
	return 0;
}

/* What could not be kept by a link. */
#define NO_LINKS 2

/* Keeps what is at the place of a file by a second link. Returns 1; 0: there is nothing; NO_LINKS;
 * or -errno. */
static int link_old(struct lp_tree *t, int fd, const char *name, const char *old)
{
	int r = lp_step_link(fd, name, t->stage_fd, old);
	struct stat st;

	if (r == 0)
		return 1;
	if (r == -ENOENT)
		return 0;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	/* Not every file system and every file allows links. */
	return r == -EPERM || r == -EMLINK || r == -EOPNOTSUPP || r == -EXDEV ? NO_LINKS : r;
}

/* What is staged: a name in a directory. */
struct staged_at {
	int fd;
	const char *name;
};

/* Puts a file in the place of another that cannot be linked, by changing places with it: there is
 * always one of them. Where the file system cannot do that either the place is empty for a moment.
 * That takes more than one step, so a journal goes before. */
static int swap(struct lp_tree *t, const struct staged_at *from, int fd, const char *name,
		const char *old)
{
	struct stat st;
	int r = t->is_single ? lp_journal_begin(t, t->next, NULL) : 0;

	if (r < 0)
		return r;
	t->is_single = false;
	r = lp_step_rename(from->fd, from->name, fd, name, RENAME_EXCHANGE);
	if (r == -EINVAL || r == -ENOSYS || r == -EOPNOTSUPP) {
		r = lp_step_rename(fd, name, t->stage_fd, old, RENAME_NOREPLACE);
		return r < 0 ? r : lp_step_rename(from->fd, from->name, fd, name, RENAME_NOREPLACE);
	}
	/* The app made a directory there in this moment. */
	if (r == 0 && fstatat(from->fd, from->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISDIR(st.st_mode)) {
		r = lp_step_rename(from->fd, from->name, fd, name, RENAME_EXCHANGE);
		return r < 0 ? r : -EISDIR;
	}
	return r < 0 ? r : lp_step_rename(from->fd, from->name, t->stage_fd, old, RENAME_NOREPLACE);
}

static int place_file(struct lp_tree *t, struct lp_staged *s)
{
	const char *name = lp_path_base(s->path), *from;
	char number[LP_STAGE_NAME_BYTES], old[LP_STAGE_NAME_BYTES];
	int from_fd = lp_stage_at(t, s, number, &from), fd, r = -EEXIST;

	if (from_fd < 0)
		return from_fd;
	fd = lp_tree_parent(t, s->path);
	if (fd < 0)
		return fd;
	lp_stage_old_name((size_t)(s - t->ops), old);
	for (int i = 0; i < LINK_TRIES && r == -EEXIST; i++) {
		int kept = link_old(t, fd, name, old);

		if (kept < 0)
			return kept;
		if (kept == NO_LINKS)
			return swap(t, &(struct staged_at){from_fd, from}, fd, name, old);
		r = lp_step_rename(from_fd, from, fd, name, kept ? 0 : RENAME_NOREPLACE);
		if (kept && r == -EEXIST)
			return r;
	}
	return r;
}

/* A large file may be the base of a patch, and then its signature says that it is still itself. */
static void look_again(struct lp_tree *t, struct lp_staged *s)
{
	struct stat st;
	int fd;

	if (s->e.size <= LP_INLINE_MAX_BYTES)
		return;
	fd = lp_tree_find_parent(t, s->path);
	if (fd < 0 || fstatat(fd, lp_path_base(s->path), &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	s->sig = lp_sig_of(&st);
	s->ctime_ns = INT64_MAX; /* too fresh to be trusted after a restart */
}

static int put_file(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	const struct lp_node *n = lp_index_get(t->index, s->path);
	int r = place_file(t, s);

	if (r == -EISDIR || r == -ENOTEMPTY)
		return lp_err_say(err, EISDIR,
				  "%s: cannot be put: a directory that holds files of the app is "
				  "in the way; remove it or ignore the file",
				  s->path);
	if (r < 0)
		return lp_step_cannot(err, r, s->path, "cannot be put");
	t->undo_bytes += n && n->e.kind == LP_KIND_FILE ? n->e.size : 0;
	s->sig = 0;
	look_again(t, s);
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

/* The content must be there already; only its mode and ownership change. */
static int keep(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	const struct lp_node *n = lp_index_get(t->index, s->path);
	struct lp_entry e = n ? lp_node_entry(n) : (struct lp_entry){0};
	struct stat st;
	int r;

	if (s->e.kind == LP_KIND_LINK)
		return keep_link(t, s, err);
	if (!n || !same_content(&e, &s->e)) {
		if (lp_tree_hash(t, s->path, &e, &st) < 0 || !same_content(&e, &s->e))
			return lp_err_say(err, ESTALE, "%s: does not hold the content any more",
					  s->path);
	}
	r = lp_step_mode(t, s->path, S_IFREG, s->e.mode);
	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
		r = -ESTALE;
	return r < 0 ? lp_step_cannot(err, r, s->path, "cannot set the mode") : 0;
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
	const struct lp_node *n;

	if (s->e.kind == LP_KIND_DIR || s->op == LP_OP_PUT)
		return s->e.kind != LP_KIND_DIR;
	n = lp_index_get(t->index, s->path);
	return n && n->e.mode != s->e.mode;
}

/* Adds what an operation did to what the log will say. */
static int log_row(struct lp_tree *t, const struct lp_staged *s)
{
	bool settled = s->sig && lp_sig_is_settled(s->ctime_ns, t->begun_ns);
	struct lp_row row = {.kind = LP_ROW_ENTRY,
			     .e = s->e,
			     .sig = settled ? s->sig : 0,
			     .path = s->path,
			     .from = s->from};

	if (s->op == LP_OP_DELETE || s->op == LP_OP_MOVE)
		row.kind = s->op == LP_OP_DELETE ? LP_ROW_ABSENT : LP_ROW_MOVED;
	t->n_rows++;
	return lp_rows_add(&t->rows, &row);
}

/* Puts the operation's entry into the index. */
static int enter(struct lp_tree *t, struct lp_staged *s, bool is_fresh)
{
	struct lp_node *n;
	int r;

	/* What is below a directory that the index did not have goes with it. */
	if (!is_fresh)
		lp_was_note(t, s->path);
	r = lp_index_put(t->index, s->path, &s->e, NULL, &n);
	if (r < 0)
		return r;
	if (s->chunks && s->e.size >= LP_CHUNKED_MIN_BYTES)
		lp_node_set_chunks(n, s->chunks);
	if (s->op == LP_OP_PUT || s->sig)
		n->mark = lp_sig_mark(s->sig);
	return log_row(t, s);
}

int lp_act_put(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	bool changes = is_change(t, s);
	struct lp_stage_dir *in = s->is_nested ? lp_stage_dir_of(t, s->path) : NULL, *own;
	int r;

	if (!has_parent(t, s->path))
		return lp_err_say(err, ESTALE, "%s: its directory does not come from the workspace",
				  s->path);
	if (s->op == LP_OP_KEEP) {
		r = keep(t, s, err);
	} else if (in && !in->merged) {
		r = 0; /* came with its directory */
	} else {
		r = clear_way(t, s, err);
		if (r == 0 && s->e.kind == LP_KIND_DIR)
			r = put_dir(t, s, err);
		else if (r == 0)
			r = s->in_place ? lp_patch_apply(t, s, err) : put_file(t, s, err);
	}
	if (r < 0)
		return r;
	s->changes = changes;
	s->is_done = true;
	own = s->is_staged && s->e.kind == LP_KIND_DIR ? lp_map_get(&t->stage_dirs, s->path) : NULL;
	if (own)
		own->is_fresh = in ? in->is_fresh : !lp_index_get(t->index, s->path);
	return enter(t, s, in && in->is_fresh);
}

/* The directory that a MOVE goes into may be one that the same changeset makes. */
static int make_parent(struct lp_tree *t, const char *path, struct lp_err *err)
{
	char at[LP_PATH_MAX_BYTES + 1];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		size_t len = (size_t)(slash - path);
		int r = -ESTALE;

		memcpy(at, path, len);
		at[len] = '\0';
		if (lp_index_get(t->index, at))
			continue;
		for (size_t i = t->n_moves; i < t->n_ops; i++) {
			struct lp_staged *s = &t->ops[i];

			if (s->op == LP_OP_PUT && s->e.kind == LP_KIND_DIR && !s->is_done &&
			    strcmp(s->path, at) == 0) {
				r = lp_act_put(t, s, err);
				break;
			}
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int stale_move(struct lp_err *err, const struct lp_staged *s)
{
	return lp_err_say(err, ESTALE, "%s: is not there to be moved to %s", s->from, s->path);
}

static int move_on_disk(struct lp_tree *t, const struct lp_staged *s)
{
	LP_AUTO_FREE char *above = lp_xstrndup(s->from, lp_path_dir_len(s->from));
	LP_AUTO_CLOSE int from_fd =
		lp_open_beneath(t->root_fd, above[0] ? above : ".", O_RDONLY | O_DIRECTORY, 0);
	struct stat st;
	int fd;

	if (from_fd < 0 || fstatat(from_fd, lp_path_base(s->from), &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    st.st_ino != s->ino)
		return -ESTALE;
	fd = lp_tree_parent(t, s->path);
	return fd < 0 ? fd
		      : lp_step_rename(from_fd, lp_path_base(s->from), fd, lp_path_base(s->path),
				       RENAME_NOREPLACE);
}

int lp_act_move(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	struct lp_node *n = lp_index_get(t->index, s->from), *there;
	int r;

	if (!n || n->e.kind != s->e.kind ||
	    (n->e.kind != LP_KIND_DIR && !lp_digest_is_none(&s->e.digest) &&
	     !lp_digest_equal(&n->e.digest, &s->e.digest)))
		return stale_move(err, s);
	r = make_parent(t, s->path, err);
	if (r < 0)
		return r;
	there = lp_index_get(t->index, s->path);
	if (there)
		r = lp_take(t, there, (size_t)(s - t->ops), err);
	if (r < 0)
		return r;
	r = move_on_disk(t, s);
	/* What is in the way, and another file system, is for comparing the trees to find out. */
	if (r == -EEXIST || r == -EXDEV || lp_step_is_not_ours(r))
		r = -ESTALE;
	if (r < 0)
		return r == -ESTALE
			       ? stale_move(err, s)
			       : lp_err_set(err, -r, "%s: cannot be moved to %s", s->from, s->path);
	lp_tree_forget_parent(t);
	lp_was_changed_below(t, n);
	lp_was_note_move(t, s->from, s->path);
	r = lp_node_move(t->index, n, s->path);
	if (r < 0)
		return lp_err_set(err, -r, "%s: cannot be moved to %s", s->from, s->path);
	lp_was_changed_below(t, lp_index_get(t->index, s->path));
	s->is_done = true;
	return log_row(t, s);
}

int lp_act_delete(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	struct lp_node *n = lp_index_get(t->index, s->path);
	int r = n ? lp_take(t, n, (size_t)(s - t->ops), err) : 0;

	return r < 0 ? r : log_row(t, s);
}
