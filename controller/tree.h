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
size_t lp_tree_count(const struct lp_tree *t);
uint64_t lp_tree_bytes(const struct lp_tree *t);

/* Whether the tree holds anything that no workspace sent; looks at the top level only when the
 * index is empty. */
bool lp_tree_is_foreign(const struct lp_tree *t);

/* One changeset's life: begin, then op and data in the order of the messages, then commit or drop.
 * An error of op or data fails the changeset: drop it. Errors name the path. -EBADMSG: the content
 * or an operation is not what it says; other errors come from the file system. */
void lp_tree_begin(struct lp_tree *t);
int lp_tree_op(struct lp_tree *t, const struct lp_wire_op *op, struct lp_err *err) LP_MUST_USE;
int lp_tree_data(struct lp_tree *t, const struct lp_bytes *content, struct lp_err *err) LP_MUST_USE;
int lp_tree_skip(struct lp_tree *t, struct lp_err *err) LP_MUST_USE;
void lp_tree_drop(struct lp_tree *t);

/* What a commit did. paths: files and links that were put, changed in mode or removed (not
 * directories, and not what was there already), sorted; owned by the caller (lp_applied_finish). */
struct lp_applied {
	uint64_t revision;
	uint64_t files;
	uint64_t bytes;
	struct lp_digest root;
	char **paths;
	size_t n_paths;
};
void lp_applied_finish(struct lp_applied *a);

/* Makes the staged changeset visible: directories, then files and links by rename, then deletes. On
 * an error some of it may be done; the index says what. -ESTALE: a KEEP does not hold. */
int lp_tree_commit(struct lp_tree *t, uint64_t revision, struct lp_applied *out,
		   struct lp_err *err) LP_MUST_USE;

/* What the tree holds at a directory, for LISTING: calls emit with at most 1000 entries at a time;
 * more says that another call follows for this path. Entries that are gone from disk leave the
 * index. A directory that is not there is empty. Names are borrowed until emit returns. */
int lp_tree_list(struct lp_tree *t, const char *path,
		 void (*emit)(void *ctx, const struct lp_wire_entry *entries, size_t n, bool more),
		 void *ctx, struct lp_err *err) LP_MUST_USE;

#endif
