/* controller/journal.c: what a commit is about to do, written before it begins, and how the index
 * was before, written before it counts. Both stay beside what was replaced: they are what a failed
 * commit, the next start after a crash, and a rollback go by.
 *
 * A commit counts when its batch is in the log of what is owned. What a start finds in the staging
 * area with a journal whose commit is not in the log is taken back: the old state. */
#include "controller/commit.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define JOURNAL_MAX_BYTES ((size_t)1 << 30)

enum {
	FLAG_STAGED = 1,
	FLAG_NESTED = 2,
	FLAG_HAS_WAS = 4,
	FLAG_IN_PLACE = 8,
};

static int add_op(struct lp_buf *buf, const struct lp_staged *s)
{
	const struct lp_row row = {
		.kind = LP_ROW_OP,
		.e = s->e,
		.ino = s->ino,
		.sig = s->top,
		.op = (uint32_t)s->op,
		.flags = (s->is_staged ? FLAG_STAGED : 0) | (s->is_nested ? FLAG_NESTED : 0) |
			 (s->has_was ? FLAG_HAS_WAS : 0) | (s->in_place ? FLAG_IN_PLACE : 0),
		.was_mode = s->was_mode,
		.path = s->path,
		.from = s->from,
	};

	return lp_rows_add(buf, &row);
}

/* A batch of what the commit is about to do. */
static int add_ops(const struct lp_tree *t, const struct lp_staged *ops, size_t n,
		   uint64_t revision, struct lp_buf *buf)
{
	const struct lp_batch batch = {
		.id = t->commit_id + 1, .revision = revision, .boot = lp_sig_boot(), .n_rows = n};
	ssize_t begin = lp_rows_begin(buf);
	int r = begin < 0 ? (int)begin : 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = add_op(buf, &ops[i]);
	if (r == 0)
		lp_rows_end(buf, (size_t)begin, &batch);
	return r;
}

/* A batch of how the index was, with the revision of then, too. */
static int add_before(const struct lp_tree *t, struct lp_buf *buf)
{
	const struct lp_batch batch = {.id = t->commit_id + 1,
				       .revision = t->revision,
				       .boot = lp_sig_boot(),
				       .bytes = t->undo_bytes,
				       .n_rows = t->n_was};
	ssize_t begin = lp_rows_begin(buf);
	int r = begin < 0 ? (int)begin : 0;

	for (size_t i = 0; i < t->n_was && r == 0; i++) {
		const struct lp_was *w = &t->was[i];
		const struct lp_row row = {
			.kind = w->kind, .e = w->e, .path = w->path, .from = w->from};

		r = lp_rows_add(buf, &row);
	}
	if (r == 0)
		lp_rows_end(buf, (size_t)begin, &batch);
	return r;
}

static int open_journal(const struct lp_tree *t)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(t->stage_fd, LP_JOURNAL_NAME, flags, 0600);

	/* An earlier try may have written half of one. */
	if (fd < 0 && errno == EEXIST && unlinkat(t->stage_fd, LP_JOURNAL_NAME, 0) == 0)
		fd = openat(t->stage_fd, LP_JOURNAL_NAME, flags, 0600);
	return fd < 0 ? -errno : fd;
}

static int said(int r, struct lp_err *err)
{
	return r < 0 ? lp_err_set(err, -r, "%s: the journal cannot be written", LP_STATE_DIR) : 0;
}

int lp_journal_begin(struct lp_tree *t, uint64_t revision, struct lp_err *err)
{
	struct lp_buf buf = {0};
	int r = add_ops(t, t->ops, t->n_ops, revision, &buf);

	if (r == 0)
		r = t->journal_fd = open_journal(t);
	if (r >= 0)
		r = lp_write_all(t->journal_fd, buf.data, buf.len);
	else
		t->journal_fd = -1;
	lp_buf_finish(&buf);
	return said(r, err);
}

int lp_journal_end(struct lp_tree *t, struct lp_err *err)
{
	struct lp_buf buf = {0};
	int r = add_before(t, &buf);

	if (r == 0)
		r = lp_write_all(t->journal_fd, buf.data, buf.len);
	lp_buf_finish(&buf);
	lp_auto_close(&t->journal_fd);
	t->journal_fd = -1;
	return said(r, err);
}

int lp_journal_write_ops(struct lp_tree *t, const struct lp_staged *ops, size_t n,
			 uint64_t revision)
{
	LP_AUTO_CLOSE int fd = -1;
	struct lp_buf buf = {0};
	int r = add_ops(t, ops, n, revision, &buf);

	if (r == 0)
		r = fd = open_journal(t);
	if (r >= 0)
		r = lp_write_all(fd, buf.data, buf.len);
	lp_buf_finish(&buf);
	return r;
}

int lp_journal_late(struct lp_tree *t, uint64_t revision, struct lp_err *err)
{
	int r;

	t->late.len = 0;
	r = add_ops(t, t->ops, t->n_ops, revision, &t->late);
	if (r == 0)
		r = add_before(t, &t->late);
	if (r < 0)
		t->late.len = 0;
	return said(r, err);
}

int lp_journal_write_late(struct lp_tree *t)
{
	LP_AUTO_CLOSE int fd = open_journal(t);

	return fd < 0 ? fd : lp_write_all(fd, t->late.data, t->late.len);
}

static void take_op(struct lp_staged *s, const struct lp_row *row)
{
	*s = (struct lp_staged){
		.op = (enum lp_op_kind)row->op,
		.e = row->e,
		.path = lp_xstrdup(row->path),
		.from = row->from[0] ? lp_xstrdup(row->from) : NULL,
		.ino = row->ino,
		.top = (size_t)row->sig,
		.was_mode = row->was_mode & 0777,
		.is_staged = row->flags & FLAG_STAGED,
		.is_nested = row->flags & FLAG_NESTED,
		.has_was = row->flags & FLAG_HAS_WAS,
		.in_place = row->flags & FLAG_IN_PLACE,
	};
}

/* Whether a row may be an operation: what is livepush's own is never part of one, and what is
 * nested is so in one before. */
static bool is_sound(const struct lp_row *row, size_t number)
{
	bool is_nested = row->flags & FLAG_NESTED;

	return row->kind == LP_ROW_OP && row->op >= LP_OP_PUT && row->op <= LP_OP_MOVE &&
	       !lp_path_is_below(row->path, LP_STATE_DIR) &&
	       !lp_path_is_below(row->from, LP_STATE_DIR) && (!is_nested || row->sig < number) &&
	       (row->op != LP_OP_MOVE || row->from[0]);
}

int lp_journal_read(struct lp_journal *j, int dir_fd)
{
	struct lp_rows rows = {0};
	struct lp_batch batch;
	struct lp_row row;
	size_t cap = 0;
	int r = lp_state_read(dir_fd, LP_JOURNAL_NAME, JOURNAL_MAX_BYTES, &j->bytes);

	j->ops = NULL;
	j->n_ops = 0;
	j->is_complete = false;
	if (r < 0)
		return r;
	rows.p = j->bytes.data;
	rows.len = j->bytes.len;
	/* Without it the commit had not begun. */
	if (!lp_rows_batch(&rows, &batch))
		return -ENODATA;
	j->id = batch.id;
	j->revision = batch.revision;
	while (lp_rows_next(&rows, &row)) {
		if (!is_sound(&row, j->n_ops))
			return -EBADMSG;
		lp_grow(&j->ops, &cap, j->n_ops + 1, sizeof(*j->ops));
		take_op(&j->ops[j->n_ops++], &row);
	}
	if (j->n_ops != batch.n_rows)
		return -EBADMSG;
	j->is_complete = lp_rows_batch(&rows, &batch);
	j->undo_bytes = j->is_complete ? batch.bytes : 0;
	j->revision_before = j->is_complete ? batch.revision : 0;
	j->before = rows;
	return 0;
}

void lp_journal_free(struct lp_journal *j)
{
	for (size_t i = 0; i < j->n_ops; i++)
		lp_staged_finish(&j->ops[i]);
	free(j->ops);
	j->ops = NULL;
	j->n_ops = 0;
	lp_buf_finish(&j->bytes);
}

static void undo(struct lp_tree *t, struct lp_journal *j)
{
	struct lp_err why = {0};

	if (lp_undo_all(t, j->ops, j->n_ops, &why) == 0)
		return;
	lp_owed_begin_with(t, j, &why);
}

/* Whether something that a commit replaced is in the staging area. */
static bool has_old(const struct lp_tree *t)
{
	int fd = openat(t->stage_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	bool found = false;
	struct dirent *e;

	if (!dir) {
		lp_auto_close(&fd);
		return true; /* keeping it is safe */
	}
	while (!found && (e = readdir(dir)))
		found = strlen(e->d_name) > 4 &&
			strcmp(e->d_name + strlen(e->d_name) - 4, ".old") == 0;
	(void)closedir(dir);
	return found;
}

/* Nobody can say any more where what is there belongs. One such is kept, for whoever wants to look
 * into it; the files are compared with the log, and by the owner, all the same. */
static int set_aside(struct lp_tree *t, struct lp_err *err)
{
	lp_auto_close(&t->stage_fd);
	t->stage_fd = -1;
	(void)lp_remove_tree(t->state_fd, LP_DAMAGED_DIR);
	if (renameat(t->state_fd, LP_STAGE_DIR, t->state_fd, LP_DAMAGED_DIR) < 0)
		return lp_err_set(err, errno, "'%s/%s' has a damaged journal and cannot be renamed",
				  LP_STATE_DIR, LP_STAGE_DIR);
	t->has_damage = true;
	return 0;
}

int lp_journal_recover(struct lp_tree *t, struct lp_err *err)
{
	struct lp_journal j = {0};
	int fd = lp_open_beneath(t->state_fd, LP_STAGE_DIR, O_RDONLY | O_DIRECTORY, 0), r;

	if (lp_step_is_not_ours(fd))
		return 0;
	if (fd < 0)
		return lp_err_set(err, -fd, "cannot open '%s/%s'", LP_STATE_DIR, LP_STAGE_DIR);
	t->stage_fd = fd;
	r = lp_journal_read(&j, t->stage_fd);
	if (r == -EBADMSG || (r == -ENODATA && j.bytes.len > 0 && has_old(t))) {
		lp_journal_free(&j);
		return set_aside(t, err);
	}
	/* What it replaced is here, and nowhere else. */
	if (r < 0 && r != -ENODATA) {
		lp_journal_free(&j);
		return lp_err_set(err, -r,
				  "'%s/%s/%s' cannot be read, and without it a changeset that was "
				  "not finished cannot be taken back",
				  LP_STATE_DIR, LP_STAGE_DIR, LP_JOURNAL_NAME);
	}
	if (r == 0 && j.id == t->commit_id && j.is_complete)
		lp_undo_keep(t, j.revision, j.undo_bytes);
	else if (r == 0 && j.id > t->commit_id)
		undo(t, &j);
	lp_journal_free(&j);
	if (!t->owed)
		lp_stage_wipe(t);
	return 0;
}
