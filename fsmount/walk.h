/* fsmount/walk.h: goes through the files of a tree, each directory's files and directories in one
 * order, from a file in the middle of it on. Not thread-safe. */
#ifndef LP_FSMOUNT_WALK_H
#define LP_FSMOUNT_WALK_H

#include "common/base/lp_util.h"

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* What lies deeper is passed over. */
#define LP_WALK_MAX_DEPTH 32

struct lp_walk_entry;

/* A directory that the walk is in. */
struct lp_walk_dir {
	DIR *dir;                       /* owned */
	struct lp_walk_entry **entries; /* owned, each */
	size_t n;
	size_t at; /* the next one */
};

/* A zeroed one has ended. */
struct lp_walk {
	struct lp_walk_dir dirs[LP_WALK_MAX_DEPTH]; /* from the root of the tree on */
	size_t depth;
	dev_t dev;   /* other file systems are passed over */
	bool by_ino; /* in the order of the inode numbers; otherwise as listed */
};

enum lp_walk_found {
	LP_WALK_FILE,  /* a regular file */
	LP_WALK_OTHER, /* nothing of interest; go on */
	LP_WALK_END,
	LP_WALK_FOUND_COUNT_,
};

/* Stands behind the entry `path` (relative, clean) of the tree at root_fd (borrowed for the call).
 * Returns 0, or -errno when it is not found; then the walk has ended. */
int lp_walk_begin(struct lp_walk *w, int root_fd, const char *path, bool by_ino) LP_MUST_USE;

/* One step. FILE: it is *name in the directory *dir_fd, both borrowed until the next step. */
enum lp_walk_found lp_walk_step(struct lp_walk *w, int *dir_fd, const char **name);

/* Releases what it has. */
void lp_walk_end(struct lp_walk *w);

#endif
