/* controller/commit.h: how a staged changeset gets into the tree, and out of it again: the steps on
 * disk, the index beside them, the log, the journal, and what is kept for taking back. */
#ifndef LP_CONTROLLER_COMMIT_H
#define LP_CONTROLLER_COMMIT_H

#include "controller/tree_internal.h"

/* owned.c: the log of what the workspace owns. lock: for this process. read: fills the index and
 * the id of the last commit; check: compares it with the files and writes the log anew, or
 * goes on with the one that is there (lp_tree_log_is_old). reread: anew, when it may be otherwise
 * than the index; as_it_is: the log is left alone, because what is missing belongs to the workspace
 * all the same; after an error the index is as before. append: adds a batch of n_rows, wholly or
 * not at all. make_room: writes it anew when nothing can be added any more. tidy: does so when most
 * of it has been overtaken. */
int lp_owned_lock(struct lp_tree *t, struct lp_err *err) LP_MUST_USE;
int lp_owned_read(struct lp_tree *t, struct lp_err *err) LP_MUST_USE;
int lp_owned_check(struct lp_tree *t, bool as_it_is, struct lp_err *err) LP_MUST_USE;
int lp_owned_reread(struct lp_tree *t, bool as_it_is, struct lp_err *err) LP_MUST_USE;
void lp_owned_forget(struct lp_tree *t);
int lp_owned_make_room(struct lp_tree *t, struct lp_err *err) LP_MUST_USE;
int lp_owned_append(struct lp_tree *t, const struct lp_buf *batch, uint64_t n_rows,
		    struct lp_err *err) LP_MUST_USE;
void lp_owned_tidy(struct lp_tree *t);

/* patch_apply.c. apply: writes a patch into its file, what was there
 * goes to the staging area first. revert: writes that back, when the file is still the one that was
 * patched; old_fd: what apply kept, to be written to. Returns 1; 0: there is nothing to be taken
 * back, or somebody changed the file since, or put another in its place; or -errno. */
int lp_patch_apply(struct lp_tree *t, struct lp_staged *s, struct lp_err *err) LP_MUST_USE;
int lp_patch_revert(int fd, int old_fd) LP_MUST_USE;

/* step.c: the single changes of a directory, each 0 or -errno. A directory that nobody may write to
 * is opened for the moment: its owner may change a file in it in place, and here that is a rename.
 */
int lp_step_mkdir(int fd, const char *name);
int lp_step_unlink(int fd, const char *name, int flags);
int lp_step_link(int fd, const char *name, int to_fd, const char *to);
int lp_step_rename(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
/* Sets the permission bits of what is at `path` and must be of that type; crosses no link. Returns
 * 0 or -errno (-ESTALE: it is of another type). */
int lp_step_mode(struct lp_tree *t, const char *path, mode_t type, mode_t mode);
/* Says that `what` cannot be done at a path, with the way out where it is not plain to see. */
int lp_step_cannot(struct lp_err *err, int r, const char *path, const char *what);
/* What says that nothing of ours is at a path: the app removed it or put something else there. */
bool lp_step_is_not_ours(int r);

/* take.c: moves what the workspace owns at a node and below to where the operation keeps what it
 * replaces, and takes it out of the index. What the app made there stays, and so do the directories
 * that hold it. */
int lp_take(struct lp_tree *t, struct lp_node *top, size_t number, struct lp_err *err) LP_MUST_USE;

/* act.c: does an operation, on disk and in the index; the error names the path. */
int lp_act_put(struct lp_tree *t, struct lp_staged *s, struct lp_err *err) LP_MUST_USE;
int lp_act_move(struct lp_tree *t, struct lp_staged *s, struct lp_err *err) LP_MUST_USE;
int lp_act_delete(struct lp_tree *t, struct lp_staged *s, struct lp_err *err) LP_MUST_USE;

/* was.c: how the index was. note: before the path's entry changes. note_subtree: before a node and
 * all below is removed. revert: down to the first `keep` of them. changed: remembers a path for
 * whoever restarts the app because of it; changed_below: all at a node (NULL: none) and below. */
void lp_was_note(struct lp_tree *t, const char *path);
void lp_was_note_subtree(struct lp_tree *t, struct lp_node *top);
void lp_was_note_move(struct lp_tree *t, const char *from, char *to);
void lp_was_revert(struct lp_tree *t, size_t keep);
void lp_was_forget(struct lp_tree *t);
void lp_was_changed(struct lp_tree *t, const char *path);
void lp_was_changed_below(struct lp_tree *t, struct lp_node *top);
void lp_was_changed_back(struct lp_tree *t, size_t keep);

/* journal.c: begin: says what the commit is about to do. end: how the index was before. late: both,
 * for a commit that needs neither for itself, but to be taken back: to t->late. recover:
 * what an earlier run left in the staging area is taken back, or kept for undo when its commit is
 * in the log. read: the operations of a journal, to be released with lp_journal_free. */
struct lp_journal {
	struct lp_buf bytes;
	uint64_t id;
	uint64_t revision;
	uint64_t revision_before;
	uint64_t undo_bytes;
	struct lp_staged *ops; /* owned, with their texts */
	size_t n_ops;
	struct lp_rows before;
	bool is_complete; /* with what was before */
};
int lp_journal_begin(struct lp_tree *t, uint64_t revision, struct lp_err *err) LP_MUST_USE;
int lp_journal_end(struct lp_tree *t, struct lp_err *err) LP_MUST_USE;
/* Of a commit that began without one. */
int lp_journal_write_ops(struct lp_tree *t, const struct lp_staged *ops, size_t n,
			 uint64_t revision) LP_MUST_USE;
int lp_journal_late(struct lp_tree *t, uint64_t revision, struct lp_err *err) LP_MUST_USE;
int lp_journal_write_late(struct lp_tree *t) LP_MUST_USE;
int lp_journal_read(struct lp_journal *j, int dir_fd) LP_MUST_USE;
void lp_journal_free(struct lp_journal *j);
int lp_journal_recover(struct lp_tree *t, struct lp_err *err) LP_MUST_USE;

/* undo.c: takes back on disk what was done of operations; what they replaced is in stage_fd. What
 * the app has put there meanwhile stays (lp_tree_left). Whatever fails, all the others are taken
 * back; returns 0, or the first -errno with the path: then it has to be done again, and stage_fd
 * has what that needs. op: of one. rename_back: one thing, from a name below the staging area to a
 * path; renameat2's flags; make: the directories above it, when they are missing; 0 or -errno. */
int lp_stage_rename_back(struct lp_tree *t, const char *from, const char *path, unsigned flags,
			 bool make);
int lp_undo_all(struct lp_tree *t, struct lp_staged *ops, size_t n, struct lp_err *err) LP_MUST_USE;
/* Then, when the index is as it was: what is otherwise at the paths of operations, because the app
 * changed it since, the index learns. */
void lp_undo_look(struct lp_tree *t, const struct lp_staged *ops, size_t n);
int lp_undo_op(struct lp_tree *t, struct lp_staged *ops, size_t number,
	       struct lp_err *err) LP_MUST_USE;

/* undo_owed.c: what could not be put back. begin: from now on nothing else is applied; ops are
 * taken, is_written: their journal is in the staging area. settle: tries again; 0 when nothing is
 * owed any more; -errno with why, and the way out. close: the next start goes on. */
struct lp_owing {
	struct lp_staged *ops;
	size_t n_ops;
	uint64_t revision;
	bool is_written;
};
void lp_owed_begin(struct lp_tree *t, const struct lp_owing *what, const struct lp_err *why);
/* The same for what a journal in the staging area says; its operations are taken out of it. */
void lp_owed_begin_with(struct lp_tree *t, struct lp_journal *j, const struct lp_err *why);
int lp_owed_settle(struct lp_tree *t, struct lp_err *err) LP_MUST_USE;
void lp_owed_close(struct lp_tree *t);

/* undo_keep.c: the commits that can be taken back. open: finds them. keep: the staging area of a
 * commit that counts becomes its record. keep_later: that of a commit of a single file does when
 * settle is called, so that nobody waits for it; a crash before only means that it cannot be taken
 * back. reach: what lies before a commit without a record goes: it cannot be taken back any more,
 * because what that one did would stay. prune: the oldest go until all is within bounds, or all.
 */
void lp_undo_keep(struct lp_tree *t, uint64_t revision, uint64_t bytes);
void lp_undo_keep_later(struct lp_tree *t, uint64_t revision, uint64_t bytes);
void lp_undo_settle(struct lp_tree *t);
void lp_undo_reach(struct lp_tree *t);
int lp_undo_open(struct lp_tree *t, struct lp_err *err) LP_MUST_USE;
void lp_undo_prune(struct lp_tree *t, bool all);
void lp_undo_name(uint64_t id, char out[LP_STAGE_NAME_BYTES]);

/* Hands out the paths that changed, sorted, each once. */
void lp_applied_paths(struct lp_tree *t, struct lp_applied *out);

#endif
