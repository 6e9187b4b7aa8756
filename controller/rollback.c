/* controller/rollback.c: goes back to the state before a commit, by the same way as a commit that
 * failed, and says so in the log. */
#include "controller/commit.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Adds rows to the log that say how the index was before a commit, in the order in which they have
 * to be replayed: the last first. */
static int log_before(struct lp_tree *t, struct lp_journal *j, struct lp_err *err)
{
	/* As if the commit had never been. */
	struct lp_batch batch = {
		.id = j->id - 1, .revision = j->revision_before, .boot = lp_sig_boot()};
	struct lp_row *rows = NULL, row;
	size_t n = 0, cap = 0;
	ssize_t begin;
	int r;

	while (lp_rows_next(&j->before, &row)) {
		lp_grow(&rows, &cap, n + 1, sizeof(*rows));
		rows[n++] = row;
	}
	t->rows.len = 0;
	begin = lp_rows_begin(&t->rows);
	r = begin < 0 ? (int)begin : 0;
	for (size_t i = n; i-- > 0 && r == 0;) {
		row = rows[i];
		if (row.kind == LP_ROW_MOVED) {
			row.path = rows[i].from;
			row.from = rows[i].path;
		}
		r = lp_rows_add(&t->rows, &row);
	}
	free(rows);
	batch.n_rows = n;
	lp_rows_end(&t->rows, 0, &batch);
	return r < 0 ? lp_err_set(err, -r, "cannot take back")
		     : lp_owned_append(t, &t->rows, n, err);
}

static void note_path(struct lp_tree *t, const char *path)
{
	lp_was_changed_below(t, lp_index_get(t->index, path));
}

static void revert_row(struct lp_tree *t, const struct lp_row *row)
{
	struct lp_node *n = NULL;

	switch (row->kind) {
	case LP_ROW_ENTRY:
		if (lp_index_put(t->index, row->path, &row->e, NULL, &n) == 0)
			n->mark = 0;
		if (row->e.kind != LP_KIND_DIR)
			lp_was_changed(t, row->path);
		return;
	case LP_ROW_ABSENT:
		note_path(t, row->path);
		(void)lp_index_remove(t->index, row->path);
		return;
	case LP_ROW_MOVED:
		note_path(t, row->from);
		n = lp_index_get(t->index, row->from);
		if (n && lp_node_move(t->index, n, row->path) < 0)
			lp_node_remove(t->index, n);
		note_path(t, row->path);
		return;
	case LP_ROW_OP:
	case LP_ROW_COUNT_:
		return;
	}
}

static void revert_index(struct lp_tree *t, const struct lp_buf *batch)
{
	struct lp_rows rows = {.p = batch->data, .len = batch->len};
	struct lp_batch head;
	struct lp_row row;

	if (!lp_rows_batch(&rows, &head))
		return;
	while (lp_rows_next(&rows, &row))
		revert_row(t, &row);
}

/* The log says that the commit has never been: so shall the files. */
static int put_back(struct lp_tree *t, struct lp_journal *j, struct lp_err *err)
{
	struct lp_err why = {0};
	int r;

	t->commit_id = j->id - 1;
	r = lp_undo_all(t, j->ops, j->n_ops, &why);
	revert_index(t, &t->rows);
	t->revision = j->revision_before;
	t->n_undo--;
	lp_undo_look(t, j->ops, j->n_ops);
	if (r == 0) {
		lp_stage_wipe(t);
		return 0;
	}
	lp_owed_begin_with(t, j, &why);
	(void)lp_tree_owes(t, err);
	return r;
}

/* Takes back the newest commit. The log says so first; a crash from then on is made good by the
 * next start, because what is in the staging area then is of a commit that does not count. */
static int take_back_last(struct lp_tree *t, struct lp_err *err)
{
	const struct lp_undo u = t->undo[t->n_undo - 1];
	struct lp_journal j = {0};
	char name[LP_STAGE_NAME_BYTES];
	int r;

	lp_undo_name(u.id, name);
	lp_stage_wipe(t);
	if (t->unwiped)
		return lp_err_say(err, EBUSY,
				  "revision %" PRIu64 " cannot be taken back: '%s/%s' cannot be "
				  "emptied; remove what is in it, or make it writable",
				  u.revision, LP_STATE_DIR, LP_STAGE_DIR);
	if (renameat(t->undo_fd, name, t->state_fd, LP_STAGE_DIR) < 0)
		return lp_err_set(err, errno, "revision %" PRIu64 " cannot be taken back",
				  u.revision);
	r = lp_stage_open_area(t, err);
	if (r == 0 && (r = lp_journal_read(&j, t->stage_fd)) < 0)
		r = lp_err_set(err, -r, "revision %" PRIu64 " cannot be taken back", u.revision);
	if (r == 0)
		r = log_before(t, &j, err);
	if (r == 0) {
		r = put_back(t, &j, err);
	} else {
		lp_auto_close(&t->stage_fd);
		t->stage_fd = -1;
		/* If it cannot go back there, it cannot be taken back any more. */
		if (renameat(t->state_fd, LP_STAGE_DIR, t->undo_fd, name) < 0)
			t->n_undo--;
	}
	lp_journal_free(&j);
	return r;
}

int lp_tree_rollback(struct lp_tree *t, uint64_t revision, struct lp_applied *out,
		     struct lp_err *err)
{
	size_t keep;
	int r = 0;

	*out = (struct lp_applied){0};
	r = lp_owed_settle(t, err);
	if (r == 0)
		r = lp_owned_make_room(t, err);
	if (r < 0)
		return r;
	lp_undo_settle(t);
	lp_undo_reach(t);
	lp_tree_drop(t);
	keep = t->n_undo;
	/* Numbers begin anew with another workspace session: the last of that number is meant, with
	 * what was tried for it before. */
	while (keep > 0 && t->undo[keep - 1].revision != revision)
		keep--;
	if (keep == 0)
		return lp_err_say(err, ENOENT, "revision %" PRIu64 " is not kept here", revision);
	while (keep > 0 && t->undo[keep - 1].revision == revision)
		keep--;
	while (r == 0 && t->n_undo > keep)
		r = take_back_last(t, err);
	/* What was put of a revision that did not come about is part of none before. */
	while (r == 0 && t->n_undo > 0 && t->undo[t->n_undo - 1].revision != t->revision)
		r = take_back_last(t, err);
	lp_tree_forget_parent(t);
	lp_applied_paths(t, out);
	out->revision = t->revision;
	out->root = lp_index_root(t->index);
	return r;
}
