/* controller/tree.h: an instance's copy of the workspace: what of it came from the workspace (the
 * index), how contents get in (staged, verified, renamed), and how that survives a restart. Used
 * from one thread at a time. Knows messages' operations, not who sent them. */
#ifndef LP_CONTROLLER_TREE_H
#define LP_CONTROLLER_TREE_H

#include "sync/index.h"
#include "wire/msg.h"

#define LP_STATE_DIR ".livepush" /* below the tree; never mirrored, never served */

struct lp_tree; /* opaque */

/* Opens the tree at `path`, makes LP_STATE_DIR in it, reads what an earlier run owned there and
 * checks it against the files. Returns 0 or -errno (-EWOULDBLOCK: another controller has it). */
int lp_tree_open(struct lp_tree **out, const char *path, struct lp_err *err) LP_MUST_USE;
void lp_tree_close(struct lp_tree *t); /* NULL is allowed */

int lp_tree_fd(const struct lp_tree *t);
uint64_t lp_tree_revision(const struct lp_tree *t);
struct lp_digest lp_tree_root(struct lp_tree *t);
/* Entries, and those of them that are no directories. */
size_t lp_tree_count(const struct lp_tree *t);
size_t lp_tree_files(const struct lp_tree *t);
uint64_t lp_tree_bytes(const struct lp_tree *t);

/* Whether the tree holds anything that no workspace sent; looks at the top level only when the
 * index is empty. */
bool lp_tree_is_foreign(const struct lp_tree *t);

/* One changeset's life: begin, then op and data in the order of the messages, then commit or drop.
 * An error of op or data fails the changeset: drop it. Errors name the path. -EBADMSG: the content
 * or an operation is not what it says; other errors come from the file system. */
void lp_tree_begin(struct lp_tree *t);
int lp_tree_op(struct lp_tree *t, const struct lp_wire_op *op, struct lp_err *err) LP_MUST_USE;
int lp_tree_data(struct lp_tree *t, uint64_t at, const struct lp_bytes *content,
		 struct lp_err *err) LP_MUST_USE;
int lp_tree_patch(struct lp_tree *t, const struct lp_msg_patch *msg,
		  struct lp_err *err) LP_MUST_USE;
int lp_tree_skip(struct lp_tree *t, struct lp_err *err) LP_MUST_USE;
void lp_tree_drop(struct lp_tree *t);

/* Drops it because its sender is gone: the beginning of a large content is kept for a while.
 * partial: how many bytes of which content those are; 0: none. */
void lp_tree_lost(struct lp_tree *t);
uint64_t lp_tree_partial(const struct lp_tree *t, struct lp_digest *digest);

/* What can wait until a changeset is answered: bounds what is kept of earlier ones, and prepares
 * for the next. */
void lp_tree_tidy(struct lp_tree *t);

/* Whether what a commit, a rollback or a crash changed could not be put back as it was. Then every
 * changeset and rollback fails until that works, for which lp_tree_tidy tries, too. why: cause,
 * path and way out; untouched when there is nothing, NULL is allowed. */
bool lp_tree_owes(const struct lp_tree *t, struct lp_err *why);

/* How many paths could not be taken back since this was asked last, because the app had put
 * something else there, or written into what was: that stays. path: one of them (owned by the
 * caller), NULL for none. */
size_t lp_tree_left(struct lp_tree *t, char **path);

/* Whether a journal was found damaged when the tree was opened: what could have been put back by it
 * is in LP_STATE_DIR/damaged. */
bool lp_tree_has_damage(const struct lp_tree *t);

/* How many bytes of the log of what came from the workspace could not be read when that was last
 * done, because they are damaged or a crash cut them off. What only they name counts as the app's.
 */
uint64_t lp_tree_unread(const struct lp_tree *t);

/* Whether the log could not be written anew when the tree was opened (a full disk): what it said
 * then still holds, and lp_tree_tidy tries again. why: cause and way out; untouched when it could,
 * NULL is allowed. */
bool lp_tree_log_is_old(const struct lp_tree *t, struct lp_err *why);

/* Whether a changeset can begin without much to be done before. */
bool lp_tree_is_at_hand(const struct lp_tree *t);

/* The disk is full: gives up all that is kept of earlier changesets. */
void lp_tree_give_room(struct lp_tree *t);

/* Whether a PUT takes the place of a directory: all that the workspace has below it goes. */
bool lp_tree_replaces_dir(const struct lp_tree *t, const struct lp_wire_op *op);

/* What a commit did. paths: files and links that were put, changed in mode or removed (not
 * directories, and not what was there already), sorted, in one piece of memory; owned by the caller
 * (lp_applied_finish).
 * removed: how many of them are not there any more. */
struct lp_applied {
	uint64_t revision;
	uint64_t files;
	uint64_t removed;
	uint64_t bytes;
	struct lp_digest root;
	char **paths;
	size_t n_paths;
};
void lp_applied_finish(struct lp_applied *a);

/* Makes the staged changeset visible: moves, then directories, files and links by rename, then
 * deletes. On an error everything is as before, with one exception: what the app has put in the way
 * of a path, or, when the commit before this one failed, anything that is wrong with one path
 * alone, does not hold up the others; those are applied, but not as the revision. -ESTALE: the tree
 * is not as an operation supposes. What cannot be put back is told, and owed (lp_tree_owes). */
int lp_tree_commit(struct lp_tree *t, uint64_t revision, struct lp_applied *out,
		   struct lp_err *err) LP_MUST_USE;

/* Goes back to the state before that revision was applied, as far as what it replaced is kept.
 * -ENOENT: it is not. kept: how many commits can be taken back, and the oldest one's revision. */
int lp_tree_rollback(struct lp_tree *t, uint64_t revision, struct lp_applied *out,
		     struct lp_err *err) LP_MUST_USE;
size_t lp_tree_kept(const struct lp_tree *t, uint64_t *oldest);

/* Reads all files again and compares them with the index, which learns what they are. begin: anew,
 * even when that is under way. turn: goes on for about so long, at least with one step, while
 * nothing of a changeset is staged; returns true when it is done, and then what was found. end:
 * gives up. paths: the first of those that differ or are gone (owned by the caller:
 * lp_verified_finish). */
#define LP_VERIFIED_PATHS_MAX 64
struct lp_verified {
	uint64_t files;
	uint64_t bytes;
	uint64_t drifted;
	struct lp_digest root;
	char *paths[LP_VERIFIED_PATHS_MAX];
	size_t n_paths;
};
void lp_tree_verify_begin(struct lp_tree *t);
bool lp_tree_verify_turn(struct lp_tree *t, uint64_t budget_us,
			 struct lp_verified *out) LP_MUST_USE;
void lp_tree_verify_end(struct lp_tree *t);
void lp_verified_finish(struct lp_verified *v);

/* What the tree holds at a directory, for LISTING, of what no workspace sent at most 65,536
 * entries: calls emit with at most 1000 entries at a time; more says that another call follows for
 * this path. foreign_bytes: so much of what no workspace sent may still be told, for all paths of a
 * LIST; what is told is taken off. Entries that are gone from disk leave the index. A directory
 * that is not there is empty. Names are borrowed until emit returns. Returns 0, 1 when there are
 * more that no workspace sent, or -errno. */
#define LP_LIST_FOREIGN_BYTES ((size_t)16 * 1024 * 1024)
int lp_tree_list(struct lp_tree *t, const char *path, size_t *foreign_bytes,
		 void (*emit)(void *ctx, const struct lp_wire_entry *entries, size_t n, bool more),
		 void *ctx, struct lp_err *err) LP_MUST_USE;

#endif
