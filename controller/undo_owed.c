/* controller/undo_owed.c: what could not be put back. The staging area has the only copy of it, so
 * it stays as it is, and nothing else is applied until that works: it is tried again by every
 * changeset, from time to time, and by the next start, which goes by the journal. */
#include "controller/commit.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <string.h>

/* is_written: the journal is beside it. is_back: only the index has to be read anew. */
struct lp_owed {
	struct lp_staged *ops; /* owned */
	size_t n_ops;
	uint64_t revision;
	bool is_written;
	bool is_back;
	struct lp_err err;
};

static void say(struct lp_err *to, const struct lp_err *why)
{
	(void)lp_err_say(to, why->code,
			 "%s; what it was is kept in %s/%s, and nothing is applied here until it "
			 "is back, which is tried again and again: mend the cause, or remove that "
			 "directory to give it up",
			 why->msg, LP_STATE_DIR, LP_STAGE_DIR);
}

/* What a path holds is not known any more, so that an owner who compares sees a difference. */
static void doubt(struct lp_tree *t, const char *path)
{
	struct lp_node *n = path ? lp_index_get(t->index, path) : NULL;
	struct lp_entry e;

	if (!n || n->e.kind == LP_KIND_DIR)
		return;
	e = lp_node_entry(n);
	memset(e.digest.b, 0, sizeof(e.digest.b));
	if (lp_index_put(t->index, path, &e, NULL, &n) == 0)
		n->mark = 0;
}

/* The index learns what is there now. */
static void look_again(struct lp_tree *t, const struct lp_owed *o)
{
	if (lp_owned_reread(t, true, NULL) == 0)
		return;
	for (size_t i = 0; i < o->n_ops; i++) {
		doubt(t, o->ops[i].path);
		doubt(t, o->ops[i].from);
	}
}

static void note_changed(struct lp_tree *t, const struct lp_owed *o)
{
	for (size_t i = 0; i < o->n_ops; i++) {
		if (o->ops[i].e.kind != LP_KIND_DIR)
			lp_was_changed(t, o->ops[i].path);
		if (o->ops[i].from)
			lp_was_changed(t, o->ops[i].from);
	}
}

static void write_journal(struct lp_tree *t, struct lp_owed *o)
{
	if (!o->is_written)
		o->is_written = lp_journal_write_ops(t, o->ops, o->n_ops, o->revision) == 0;
}

void lp_owed_begin(struct lp_tree *t, const struct lp_owing *what, const struct lp_err *why)
{
	struct lp_owed *o = lp_xcalloc(1, sizeof(*o));

	*o = (struct lp_owed){.ops = what->ops,
			      .n_ops = what->n_ops,
			      .revision = what->revision,
			      .is_written = what->is_written};
	say(&o->err, why);
	lp_stage_dirs_finish(t);
	write_journal(t, o);
	note_changed(t, o);
	t->owed = o;
	if (!t->opening)
		look_again(t, o);
}

void lp_owed_begin_with(struct lp_tree *t, struct lp_journal *j, const struct lp_err *why)
{
	const struct lp_owing what = {
		.ops = j->ops, .n_ops = j->n_ops, .revision = j->revision, .is_written = true};

	lp_owed_begin(t, &what, why);
	j->ops = NULL;
	j->n_ops = 0;
}

static void forget(struct lp_tree *t)
{
	struct lp_owed *o = t->owed;

	for (size_t i = 0; i < o->n_ops; i++)
		lp_staged_finish(&o->ops[i]);
	free(o->ops);
	free(o);
	t->owed = NULL;
}

/* Somebody removed the staging area. */
static bool is_given_up(const struct lp_tree *t)
{
	struct stat st;

	return t->stage_fd < 0 || (fstat(t->stage_fd, &st) == 0 && st.st_nlink == 0);
}

static int try_again(struct lp_tree *t, struct lp_owed *o, struct lp_err *err)
{
	int r;

	if (!o->is_back && !is_given_up(t)) {
		write_journal(t, o);
		r = lp_undo_all(t, o->ops, o->n_ops, err);
		if (r < 0)
			return r;
	}
	o->is_back = true;
	return lp_owned_reread(t, false, err);
}

int lp_owed_settle(struct lp_tree *t, struct lp_err *err)
{
	struct lp_err why = {0};
	int r;

	if (!t->owed)
		return 0;
	r = try_again(t, t->owed, &why);
	if (r < 0) {
		say(&t->owed->err, &why);
		if (err)
			*err = t->owed->err;
		return r;
	}
	note_changed(t, t->owed);
	forget(t);
	lp_stage_wipe(t);
	return 0;
}

void lp_owed_close(struct lp_tree *t)
{
	if (!t->owed)
		return;
	if (!is_given_up(t))
		write_journal(t, t->owed);
	forget(t);
}

bool lp_tree_owes(const struct lp_tree *t, struct lp_err *why)
{
	if (t->owed && why)
		*why = t->owed->err;
	return t->owed != NULL;
}
