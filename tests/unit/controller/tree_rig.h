/* tree_rig.h: a tree in a temporary directory, and operations as a sender would word them. */
#ifndef LP_TESTS_TREE_RIG_H
#define LP_TESTS_TREE_RIG_H

#include "controller/tree.h"

#include <sys/types.h>

struct rig {
	char dir[64];
	struct lp_tree *tree;
	struct lp_err err;
};

/* A fresh directory with an open tree in it; close removes both. */
void rig_open(struct rig *r);
void rig_close(struct rig *r);

/* Closes the tree and opens it again, as a new controller would. */
void rig_reopen(struct rig *r);

/* Operations; texts are borrowed. */
struct lp_wire_op op_file(const char *path, const char *content, unsigned mode);
struct lp_wire_op op_dir(const char *path, unsigned mode);
struct lp_wire_op op_link(const char *path, const char *target);
struct lp_wire_op op_keep(const char *path, const char *content, unsigned mode);
struct lp_wire_op op_delete(const char *path);
/* A file whose content of `size` bytes comes as DATA. */
struct lp_wire_op op_large(const char *path, const void *content, size_t size);

/* A whole changeset with the next revision. Returns what failed first, or 0; r->err has the text.
 */
int rig_apply(struct rig *r, const struct lp_wire_op *ops, size_t n);
#define RIG_APPLY(r, ...)                                                                          \
	rig_apply((r), (const struct lp_wire_op[]){__VA_ARGS__},                                   \
		  sizeof((const struct lp_wire_op[]){__VA_ARGS__}) / sizeof(struct lp_wire_op))

/* What the app does behind the controller's back, and what it sees; paths relative to the tree. */
void app_write(const struct rig *r, const char *path, const char *content);
void app_mkdir(const struct rig *r, const char *path);
void app_symlink(const struct rig *r, const char *path, const char *target);
void app_remove(const struct rig *r, const char *path);
/* The content of a file, or the target of a link behind "-> "; NULL when there is neither. Borrowed
 * until the next call. */
const char *app_reads(const struct rig *r, const char *path);
/* The digest of the same. */
struct lp_digest app_digest(const struct rig *r, const char *path);
/* The permission bits with set-id and sticky; 0 when there is nothing. */
unsigned app_mode(const struct rig *r, const char *path);
bool app_sees(const struct rig *r, const char *path);
bool app_sees_dir(const struct rig *r, const char *path);

/* How many files are staged. */
size_t rig_staged(const struct rig *r);

/* One directory as lp_tree_list says: "name kind mode o|-" sorted, one a line. Borrowed until the
 * next call. */
const char *rig_list(struct rig *r, const char *path);

#endif
