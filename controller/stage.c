/* controller/stage.c: operations as they come. Contents are written beside the tree, on its file
 * system, and verified there; nothing of the tree changes yet. */
#include "controller/commit.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <stdio.h>
#include <string.h>

/* A changeset's operations are held in memory until it is complete. */
#define OPS_MAX_BYTES ((size_t)256 * 1024 * 1024)
#define TEXT_OVERHEAD ((size_t)16) /* of one allocation */

void lp_stage_name(size_t number, char out[LP_STAGE_NAME_BYTES])
{
	(void)snprintf(out, LP_STAGE_NAME_BYTES, "%zu", number);
}

void lp_stage_old_name(size_t number, char out[LP_STAGE_NAME_BYTES])
{
	(void)snprintf(out, LP_STAGE_NAME_BYTES, "%zu.old", number);
}

int lp_stage_open_area(struct lp_tree *t, struct lp_err *err)
{
	int fd = lp_owed_settle(t, err);

	if (fd < 0)
		return fd;
	lp_undo_settle(t);
	if (t->unwiped)
		lp_stage_wipe(t);
	if (t->unwiped)
		return lp_err_say(err, EBUSY,
				  "'%s/%s' cannot be emptied; remove what is in it, or make it "
				  "writable",
				  LP_STATE_DIR, LP_STAGE_DIR);
	if (t->stage_fd >= 0)
		return 0;
	if (mkdirat(t->state_fd, LP_STAGE_DIR, 0700) < 0 && errno != EEXIST)
		return lp_err_set(err, errno, "cannot make '%s/%s'", LP_STATE_DIR, LP_STAGE_DIR);
	fd = lp_open_beneath(t->state_fd, LP_STAGE_DIR, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return lp_err_set(err, -fd, "cannot open '%s/%s'", LP_STATE_DIR, LP_STAGE_DIR);
	t->stage_fd = fd;
	return 0;
}

void lp_stage_wipe(struct lp_tree *t)
{
	lp_stage_dirs_finish(t);
	/* It goes first: the next start would believe it. */
	if (t->stage_fd >= 0)
		(void)unlinkat(t->stage_fd, LP_JOURNAL_NAME, 0);
	lp_auto_close(&t->stage_fd);
	t->stage_fd = -1;
	t->unwiped = lp_remove_tree(t->state_fd, LP_STAGE_DIR) < 0;
}

void lp_staged_finish(struct lp_staged *s)
{
	free(s->path);
	free(s->from);
	lp_chunks_unref(s->chunks);
	lp_patch_destroy(s->patch);
	*s = (struct lp_staged){0};
}

void lp_tree_begin(struct lp_tree *t)
{
	lp_tree_drop(t);
}

void lp_tree_drop(struct lp_tree *t)
{
	lp_data_end(t);
	if (t->n_ops == 0)
		return;
	for (size_t i = 0; i < t->n_ops; i++)
		lp_staged_finish(&t->ops[i]);
	t->churn += t->n_ops;
	if (t->cap_ops > 1000) {
		free(t->ops);
		t->ops = NULL;
		t->cap_ops = 0;
	}
	t->n_ops = t->n_moves = t->ops_bytes = 0;
	lp_stage_dirs_finish(t);
	if (t->stage_fd >= 0 && t->late.len == 0)
		lp_stage_wipe(t);
}

int lp_stage_bad(struct lp_err *err, const struct lp_staged *s, const char *why)
{
	return lp_err_say(err, EBADMSG, "%s: %s", s->path, why);
}

bool lp_stage_before_moves(const struct lp_tree *t, const char *path,
			   char out[LP_PATH_MAX_BYTES + 1])
{
	char next[LP_PATH_MAX_BYTES + 1];

	(void)snprintf(out, LP_PATH_MAX_BYTES + 1, "%s", path);
	for (size_t i = t->n_moves; i-- > 0;) {
		const struct lp_staged *m = &t->ops[i];

		if (lp_path_is_below(out, m->path)) {
			int n = snprintf(next, sizeof(next), "%s%s", m->from,
					 out + strlen(m->path));

			if (n < 0 || (size_t)n >= sizeof(next))
				return false;
			memcpy(out, next, (size_t)n + 1);
		} else if (lp_path_is_below(out, m->from)) {
			return false;
		}
	}
	return true;
}

/* How a path that the changeset names is on disk now. */
static int look_at(struct lp_tree *t, const char *path, struct stat *st)
{
	char before[LP_PATH_MAX_BYTES + 1];
	int fd;

	if (!lp_stage_before_moves(t, path, before))
		return -ENOENT;
	fd = lp_tree_find_parent(t, before);
	if (fd < 0)
		return fd;
	return fstatat(fd, lp_path_base(before), st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static bool is_moved_to(const struct lp_tree *t, const char *path)
{
	for (size_t i = 0; i < t->n_moves; i++)
		if (lp_path_is_below(path, t->ops[i].path))
			return true;
	return false;
}

int lp_stage_at(struct lp_tree *t, const struct lp_staged *s, char number[LP_STAGE_NAME_BYTES],
		const char **name)
{
	if (s->is_nested) {
		*name = lp_path_base(s->path);
		return lp_stage_dir_fd(t, lp_stage_dir_of(t, s->path));
	}
	lp_stage_name((size_t)(s - t->ops), number);
	*name = number;
	return t->stage_fd;
}

/* In the staged directory that it belongs into, under its own name, or by its number. */
static void choose_place(struct lp_tree *t, struct lp_staged *s)
{
	struct lp_stage_dir *dir = lp_stage_dir_of(t, s->path);

	s->is_nested = dir && !(dir->takes_moves && is_moved_to(t, s->path));
	s->top = s->is_nested ? dir->top : 0;
}

int lp_stage_create(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	char number[LP_STAGE_NAME_BYTES];
	const char *name;
	int dir, fd;

	choose_place(t, s);
	dir = lp_stage_at(t, s, number, &name);
	fd = dir < 0 ? dir : openat(dir, name, flags, s->e.mode);
	if (fd < 0)
		return lp_err_set(err, dir < 0 ? -dir : errno, "%s: cannot stage", s->path);
	s->is_staged = true;
	return fd;
}

int lp_stage_settle(struct lp_tree *t, int fd, struct lp_staged *s, struct lp_err *err)
{
	struct stat st;

	/* Most files have their mode since they were created. */
	if ((s->e.mode & t->umask) != 0 && fchmod(fd, s->e.mode) < 0)
		return lp_err_set(err, errno, "%s: cannot set the mode", s->path);
	if (fstat(fd, &st) < 0)
		return lp_err_set(err, errno, "%s: cannot stage", s->path);
	s->ino = st.st_ino;
	if (!s->is_nested)
		return 0; /* its rename will be seen in its times */
	s->sig = lp_sig_of(&st);
	s->ctime_ns = lp_sig_ctime(&st);
	return 0;
}

static int stage_file(struct lp_tree *t, struct lp_staged *s, const struct lp_wire_op *op,
		      struct lp_err *err)
{
	struct lp_digest d = lp_digest_of(op->content.p, op->content.len);
	int r;

	if (op->content.len != s->e.size || op->content.len > LP_INLINE_MAX_BYTES ||
	    !lp_digest_equal(&d, &s->e.digest))
		return lp_stage_bad(err, s,
				    "the content does not have the digest that was announced");
	{
		LP_AUTO_CLOSE int fd = lp_stage_create(t, s, err);

		if (fd < 0)
			return fd;
		r = lp_write_all(fd, op->content.p, op->content.len);
		if (r < 0)
			return lp_err_set(err, -r, "%s: cannot stage", s->path);
		return lp_stage_settle(t, fd, s, err);
	}
}

static int stage_link(struct lp_tree *t, struct lp_staged *s, const struct lp_wire_op *op,
		      struct lp_err *err)
{
	struct lp_digest d = lp_digest_of(op->content.p, op->content.len);
	LP_AUTO_FREE char *target = NULL;
	char number[LP_STAGE_NAME_BYTES];
	const char *name;
	struct stat st;
	int dir;

	if (!op->has_content || op->content.len != s->e.size || !lp_digest_equal(&d, &s->e.digest))
		return lp_stage_bad(err, s,
				    "the link's target is missing or has another size or digest");
	if (!lp_path_link_is_inside(s->path, (const char *)op->content.p, op->content.len))
		return lp_stage_bad(err, s, "the link leads out of the tree");
	target = lp_xstrndup((const char *)op->content.p, op->content.len);
	choose_place(t, s);
	dir = lp_stage_at(t, s, number, &name);
	if (dir < 0 || symlinkat(target, dir, name) < 0 ||
	    fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return lp_err_set(err, dir < 0 ? -dir : errno, "%s: cannot stage", s->path);
	s->ino = st.st_ino;
	s->is_staged = true;
	return 0;
}

/* A directory that is there is changed where it is; another is made beside the tree. */
static int stage_dir(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	struct stat st;
	int r;

	if (lp_map_get(&t->stage_dirs, s->path))
		return lp_stage_bad(err, s, "is put twice");
	if (!lp_stage_dir_of(t, s->path) && look_at(t, s->path, &st) == 0 && S_ISDIR(st.st_mode)) {
		s->has_was = true;
		s->was_mode = st.st_mode & 0777;
		return 0;
	}
	r = lp_stage_dir_make(t, s);
	return r < 0 ? lp_err_set(err, -r, "%s: cannot stage", s->path) : 0;
}

static int stage_put(struct lp_tree *t, struct lp_staged *s, const struct lp_wire_op *op,
		     struct lp_err *err)
{
	switch (s->e.kind) {
	case LP_KIND_DIR:
		return stage_dir(t, s, err);
	case LP_KIND_LINK:
		return stage_link(t, s, op, err);
	case LP_KIND_FILE:
		if (op->has_content || s->e.size == 0)
			return stage_file(t, s, op, err);
		return lp_stage_large(t, s, err);
	case LP_KIND_NONE:
	case LP_KIND_COUNT_:
		break;
	}
	return lp_stage_bad(err, s, "is of no kind that can be put");
}

static int stage_keep(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	struct stat st;

	if (s->e.kind != LP_KIND_FILE && s->e.kind != LP_KIND_LINK)
		return lp_stage_bad(err, s, "only files and links can be kept");
	if (look_at(t, s->path, &st) == 0 && S_ISREG(st.st_mode)) {
		s->has_was = true;
		s->was_mode = st.st_mode & 0777;
	}
	return 0;
}

static int stage_move(struct lp_tree *t, struct lp_staged *s, const struct lp_wire_op *op,
		      struct lp_err *err)
{
	struct stat st;
	int r;

	if (t->n_moves + 1 != t->n_ops)
		return lp_stage_bad(err, s, "is moved too late");
	if (!op->has_content || !lp_path_is_clean((const char *)op->content.p, op->content.len))
		return lp_stage_bad(err, s, "is moved from nowhere");
	s->from = lp_xstrndup((const char *)op->content.p, op->content.len);
	if (lp_path_is_below(s->from, LP_STATE_DIR))
		return lp_stage_bad(err, s, "belongs to livepush itself");
	if (lp_path_is_below(s->from, s->path) || lp_path_is_below(s->path, s->from))
		return lp_stage_bad(err, s, "cannot be moved into itself");
	r = look_at(t, s->from, &st);
	if (r < 0)
		return lp_err_say(err, ESTALE, "%s: is not there to be moved", s->from);
	s->ino = st.st_ino;
	t->n_moves++;
	return 0;
}

int lp_tree_op(struct lp_tree *t, const struct lp_wire_op *op, struct lp_err *err)
{
	struct lp_staged *s;
	int r = lp_stage_open_area(t, err);

	if (r < 0)
		return r;
	if (t->data_fd >= 0 || (t->n_ops > 0 && lp_patch_is_open(&t->ops[t->n_ops - 1])))
		return lp_err_say(err, EBADMSG, "an operation came while a file's data was due");
	t->ops_bytes += sizeof(*s) + op->path.len + TEXT_OVERHEAD;
	if (op->op == LP_OP_MOVE)
		t->ops_bytes += op->content.len + TEXT_OVERHEAD;
	else if (op->kind == LP_KIND_DIR)
		t->ops_bytes += sizeof(struct lp_stage_dir) + TEXT_OVERHEAD;
	if (t->ops_bytes > OPS_MAX_BYTES)
		return lp_err_say(
			err, E2BIG,
			"%.*s: the changeset is too large: its operations alone take "
			"more than %zu MiB; name in .livepushignore what the app does not "
			"need, or begin with a part of the directory",
			(int)(op->path.len < 200 ? op->path.len : 200), (const char *)op->path.p,
			OPS_MAX_BYTES >> 20);
	lp_grow(&t->ops, &t->cap_ops, t->n_ops + 1, sizeof(*t->ops));
	s = &t->ops[t->n_ops++];
	*s = (struct lp_staged){
		.op = (enum lp_op_kind)op->op,
		.e = {.kind = (enum lp_kind)op->kind,
		      .mode = (uint32_t)op->mode & 0777,
		      .size = op->size},
		.path = lp_xstrndup((const char *)op->path.p, op->path.len),
	};
	memcpy(s->e.digest.b, op->digest, sizeof(op->digest));
	if (lp_path_is_below(s->path, LP_STATE_DIR))
		return lp_stage_bad(err, s, "belongs to livepush itself");
	switch (s->op) {
	case LP_OP_PUT:
		return stage_put(t, s, op, err);
	case LP_OP_KEEP:
		return stage_keep(t, s, err);
	case LP_OP_DELETE:
		return 0;
	case LP_OP_MOVE:
		return stage_move(t, s, op, err);
	}
	return lp_stage_bad(err, s, "unknown operation");
}
