/* controller/tree_internal.h: the state behind tree.h, shared by tree.c, stage.c, commit.c, owned.c
 * and list.c. */
#ifndef LP_CONTROLLER_TREE_INTERNAL_H
#define LP_CONTROLLER_TREE_INTERNAL_H

#include "controller/tree.h"

/* One operation of the changeset under way. stage: number of its staged file; 0: none. */
struct lp_staged {
	enum lp_op_kind op;
	struct lp_entry e;
	char *path; /* owned */
	uint64_t stage;
};

struct lp_tree {
	int root_fd;
	int state_fd;         /* LP_STATE_DIR */
	int stage_fd;         /* LP_STATE_DIR/stage */
	int log_fd;           /* LP_STATE_DIR/owned */
	size_t log_bytes;     /* its length */
	size_t log_max_bytes; /* beyond, it is written anew */
	struct lp_index *index;
	uint64_t revision;
	struct lp_staged *ops;
	size_t n_ops;
	size_t cap_ops;
	/* What changed since the last commit that went well: one that failed halfway changed files,
	 * too. */
	char **changed; /* owned */
	size_t n_changed;
	size_t cap_changed;
	uint64_t next_stage;
	mode_t umask; /* of the process */
	/* The large file whose DATA is under way: the last of ops. */
	int data_fd; /* -1: none */
	uint64_t data_left;
	struct lp_hasher *data_hasher;
	/* The directory that was used last; most operations are neighbours. */
	char *parent_path; /* owned; NULL: none */
	int parent_fd;
};

/* The name of a staged file. */
void lp_stage_name(uint64_t stage, char out[24]);

/* Opens the directory above `path` without crossing a link, making missing ones (they came from the
 * workspace and the app removed them). Borrowed until the next call. Returns it or -errno. */
int lp_tree_parent(struct lp_tree *t, const char *path);

/* The same without making anything: -ENOENT when the directory is missing. */
int lp_tree_find_parent(struct lp_tree *t, const char *path);

/* Forgets the directory that was used last: it may have been renamed or removed. */
void lp_tree_forget_parent(struct lp_tree *t);

/* Reads and hashes a regular file of the tree. Returns 0, or -errno (-EINVAL: no regular file). */
int lp_tree_hash(struct lp_tree *t, const char *path, struct lp_entry *out);

/* owned.c: the log of what the workspace owns. open fills the index; append adds what a commit is
 * about to do, wholly or not at all. */
int lp_owned_open(struct lp_tree *t, struct lp_err *err) LP_MUST_USE;
int lp_owned_append(struct lp_tree *t, const struct lp_wire_op *ops, size_t n, uint64_t revision,
		    struct lp_err *err) LP_MUST_USE;

#endif
