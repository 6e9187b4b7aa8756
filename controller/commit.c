/* controller/commit.c: makes a staged changeset visible. It counts when the log of what is owned
 * says so; until then whatever fails is taken back, on disk and in the index. */
#include "controller/commit.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <string.h>

void lp_applied_finish(struct lp_applied *a)
{
	free(a->paths);
	*a = (struct lp_applied){0};
}

/* What the app put in the way of one path does not hold up the others. */
static bool is_in_the_way(int r)
{
	return r == -EISDIR || r == -EEXIST || r == -ENOTDIR || r == -ELOOP;
}

/* What may be wrong with one path alone. */
static bool is_of_one_path(int r)
{
	return r == -EACCES || r == -EPERM || r == -EBUSY || r == -ETXTBSY || r == -ENAMETOOLONG ||
	       r == -EXDEV || r == -EMLINK || r == -EROFS || r == -EAGAIN;
}

/* Does one operation. One that cannot be done alone, for what the app has there or, after a commit
 * that failed, for anything else that is wrong with this path, is left out: *first is the first
 * error of those. Returns 0 or -errno when nothing can go on. */
static int act(struct lp_tree *t, size_t number,
	       int (*how)(struct lp_tree *t, struct lp_staged *s, struct lp_err *err), int *first,
	       struct lp_err *err)
{
	struct lp_staged *s = &t->ops[number];
	size_t was = t->n_was, changed = t->n_changed, rows = t->rows.len;
	uint64_t n_rows = t->n_rows;
	int r;

	if (s->is_done)
		return 0;
	r = how(t, s, *first < 0 ? NULL : err);
	if (r == 0)
		return 0;
	if (s->op == LP_OP_MOVE || (!is_in_the_way(r) && !(t->lenient && is_of_one_path(r)) &&
				    !(*first < 0 && r == -ESTALE)))
		return r;
	/* What cannot be taken back alone is so with all the others. */
	if (lp_undo_op(t, t->ops, number, NULL) < 0)
		return r;
	lp_was_revert(t, was);
	lp_was_changed_back(t, changed);
	t->rows.len = rows;
	t->n_rows = n_rows;
	s->left_out = true;
	if (*first == 0)
		*first = r;
	return 0;
}

static int act_all(struct lp_tree *t, struct lp_applied *out, int *first, struct lp_err *err)
{
	int r = 0;

	for (size_t i = 0; i < t->n_ops && r == 0; i++) {
		const struct lp_staged *s = &t->ops[i];

		if (s->op == LP_OP_DELETE)
			continue;
		r = act(t, i, s->op == LP_OP_MOVE ? lp_act_move : lp_act_put, first, err);
		if (r == 0 && !s->left_out && s->op == LP_OP_PUT && s->e.kind != LP_KIND_DIR)
			out->bytes += s->e.size;
	}
	/* Deepest first. */
	for (size_t i = t->n_ops; i-- > 0 && r == 0;)
		if (t->ops[i].op == LP_OP_DELETE)
			r = act(t, i, lp_act_delete, first, err);
	/* Not among the changes of the index: what lives on shall not stand between what goes. */
	for (size_t i = 0; i < t->n_ops && r == 0; i++)
		if (t->ops[i].changes && !t->ops[i].left_out)
			lp_was_changed(t, t->ops[i].path);
	return r;
}

/* Of the directories that are in place. Deepest first, as long as we may still reach them. */
static int set_dir_modes(struct lp_tree *t, struct lp_err *err)
{
	for (size_t i = t->n_ops; i-- > 0;) {
		const struct lp_staged *s = &t->ops[i];
		int r;

		if (s->op != LP_OP_PUT || s->e.kind != LP_KIND_DIR || s->left_out ||
		    (s->is_staged && !s->late_mode) || (s->has_was && s->was_mode == s->e.mode))
			continue;
		r = lp_step_mode(t, s->path, S_IFDIR, s->e.mode);
		if (r < 0)
			return lp_step_cannot(err, r, s->path, "cannot set the mode");
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The paths in one piece of memory: they live on in another thread while the tree's memory is put
 * in order, and many small pieces would keep their neighbours' pages. */
static char **pack(char *const *paths, size_t n)
{
	size_t bytes = n * sizeof(char *);
	char **packed;
	char *text;

	for (size_t i = 0; i < n; i++)
		bytes += strlen(paths[i]) + 1;
	packed = lp_xrealloc(NULL, 1, bytes);
	text = (char *)(packed + n);
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(paths[i]) + 1;

		packed[i] = memcpy(text, paths[i], len);
		text += len;
	}
	return packed;
}

void lp_applied_paths(struct lp_tree *t, struct lp_applied *out)
{
	size_t n = 0;

	if (t->n_changed > 1)
		qsort(t->changed, t->n_changed, sizeof(char *), by_name);
	for (size_t i = 0; i < t->n_changed; i++) {
		if (n > 0 && strcmp(t->changed[n - 1], t->changed[i]) == 0)
			free(t->changed[i]);
		else
			t->changed[n++] = t->changed[i];
	}
	for (size_t i = 0; i < n; i++)
		out->removed += lp_index_get(t->index, t->changed[i]) == NULL;
	out->paths = n > 0 ? pack(t->changed, n) : NULL;
	out->n_paths = out->files = n;
	t->n_changed = n;
	lp_was_changed_back(t, 0);
	free(t->changed);
	t->changed = NULL;
	t->cap_changed = 0;
}

/* Says in the log what was done, by which it counts. */
static int log_commit(struct lp_tree *t, uint64_t revision, struct lp_err *err)
{
	const struct lp_batch batch = {.id = t->commit_id + 1,
				       .revision = revision,
				       .boot = lp_sig_boot(),
				       .n_rows = t->n_rows};

	lp_rows_end(&t->rows, 0, &batch);
	return lp_owned_append(t, &t->rows, t->n_rows, err);
}

/* Whether all that happens is that one file takes the place of another, or of nothing. */
static bool is_single(struct lp_tree *t)
{
	const struct lp_staged *s = t->ops;
	const struct lp_node *n;

	if (t->n_ops != 1 || s->op != LP_OP_PUT || s->e.kind != LP_KIND_FILE || s->in_place)
		return false;
	n = lp_index_get(t->index, s->path);
	return !n || n->e.kind == LP_KIND_FILE;
}

static int begin(struct lp_tree *t, uint64_t revision, struct lp_err *err)
{
	ssize_t at;
	int r;

	if (t->data_fd >= 0 || (t->n_ops > 0 && lp_patch_is_open(&t->ops[t->n_ops - 1])))
		return lp_err_say(err, EBADMSG, "the changeset ends in the middle of a file");
	/* The app may have replaced directories since the last changeset. */
	lp_tree_forget_parent(t);
	t->rows.len = 0;
	t->n_rows = t->undo_bytes = 0;
	t->begun_ns = lp_sig_now();
	at = lp_rows_begin(&t->rows);
	r = at < 0 ? (int)at : lp_stage_open_area(t, err);
	if (r == 0)
		r = lp_owned_make_room(t, err);
	if (r == 0)
		r = lp_stage_dirs_seal(t, err);
	t->is_single = is_single(t);
	t->next = revision;
	if (r < 0 || t->is_single)
		return r;
	return lp_journal_begin(t, revision, err);
}

static int end(struct lp_tree *t, uint64_t revision, struct lp_err *err)
{
	return t->is_single ? lp_journal_late(t, revision, err) : lp_journal_end(t, err);
}

static void drop_journal(struct lp_tree *t)
{
	lp_auto_close(&t->journal_fd);
	t->journal_fd = -1;
	t->late.len = 0;
}

/* err: why the commit failed; it learns what could not be put back. */
static void take_back(struct lp_tree *t, uint64_t revision, size_t changed, struct lp_err *err)
{
	struct lp_err why = {0}, first;
	int r = lp_undo_all(t, t->ops, t->n_ops, &why);

	lp_was_revert(t, 0);
	lp_was_changed_back(t, changed);
	drop_journal(t);
	lp_undo_look(t, t->ops, t->n_ops);
	if (r == 0)
		return;
	lp_owed_begin(t,
		      &(struct lp_owing){.ops = t->ops,
					 .n_ops = t->n_ops,
					 .revision = revision,
					 .is_written = !t->is_single},
		      &why);
	t->churn += t->n_ops;
	t->ops = NULL;
	t->n_ops = t->cap_ops = t->n_moves = t->ops_bytes = 0;
	(void)lp_tree_owes(t, &why);
	if (!err)
		return;
	first = *err;
	(void)lp_err_say(err, first.code, "%.150s; then: %s", first.msg, why.msg);
}

/* Does it, on disk, in the index and in the log, or nothing of it. */
static int carry_out(struct lp_tree *t, uint64_t revision, struct lp_applied *out, int *first,
		     struct lp_err *err)
{
	struct lp_err *told = err;
	size_t changed = t->n_changed;
	int r = act_all(t, out, first, err);

	/* What comes next fails for another reason than the first, which is the one to be told. */
	if (*first < 0)
		err = NULL;
	if (r == 0)
		r = set_dir_modes(t, err);
	if (r == 0)
		r = end(t, revision, err);
	/* Some of it does not make the revision. */
	if (r == 0)
		r = log_commit(t, *first < 0 ? t->revision : revision, err);
	if (r < 0)
		take_back(t, revision, changed, told);
	return r;
}

static void keep(struct lp_tree *t, uint64_t revision)
{
	t->commit_id++;
	if (t->is_single)
		lp_undo_keep_later(t, revision, t->undo_bytes);
	else
		lp_undo_keep(t, revision, t->undo_bytes);
}

int lp_tree_commit(struct lp_tree *t, uint64_t revision, struct lp_applied *out, struct lp_err *err)
{
	int first = 0, r = begin(t, revision, err);

	*out = (struct lp_applied){.revision = revision};
	if (r < 0)
		drop_journal(t);
	else
		r = carry_out(t, revision, out, &first, err);
	lp_tree_forget_parent(t);
	t->lenient = r < 0 || first < 0;
	if (r == 0) {
		keep(t, revision);
		r = first;
	}
	if (r == 0) {
		t->revision = revision;
		lp_partial_drop(t);
		lp_applied_paths(t, out);
		out->root = lp_index_root(t->index);
	}
	lp_was_forget(t);
	if (t->rows.cap > (size_t)1024 * 1024)
		lp_buf_finish(&t->rows);
	lp_tree_drop(t);
	return r;
}
