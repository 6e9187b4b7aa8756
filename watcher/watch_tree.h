/* watcher/watch_tree.h: which directory a watch descriptor stands for. A tree of names, so that a
 * directory that moves takes everything below it along at no cost. Pure memory. */
#ifndef LP_WATCHER_WATCH_TREE_H
#define LP_WATCHER_WATCH_TREE_H

#include "common/base/lp_path.h"

#include <stdint.h>

/* A directory; private but for wd. One that is only on the way to others has the wd -1. */
struct lp_wdir {
	int wd;
	struct lp_wdir *parent; /* NULL: the root, or taken out */
	struct lp_wdir *children;
	struct lp_wdir *prev; /* siblings */
	struct lp_wdir *next;
	struct lp_wdir *next_by_wd; /* in one bucket */
	struct lp_wdir *next_by_name;
	char *name; /* owned */
};

/* Zeroed: empty. */
struct lp_wtree {
	struct lp_wdir *root;
	struct lp_wdir **by_wd; /* n_buckets each */
	struct lp_wdir **by_name;
	size_t n_buckets;
	size_t n;         /* directories */
	size_t n_watched; /* of them with a wd */
};

/* Called for every watch that is forgotten. */
typedef void lp_wtree_drop_fn(void *ctx, int wd);

void lp_wtree_finish(struct lp_wtree *t);

/* The directory with that watch, or NULL. */
struct lp_wdir *lp_wtree_find(const struct lp_wtree *t, int wd);

/* The directory at a clean path ("": the root), or NULL. */
struct lp_wdir *lp_wtree_get(const struct lp_wtree *t, const char *path);

/* The directory of that name in dir, or NULL. */
struct lp_wdir *lp_wtree_child(const struct lp_wtree *t, const struct lp_wdir *dir,
			       const char *name);

/* Says that wd stands for the directory at path. Where wd stood for another path, it moves there
 * with all below it; what stood at path with another wd is dropped. */
void lp_wtree_put(struct lp_wtree *t, const char *path, int wd, lp_wtree_drop_fn *drop, void *ctx);

/* Takes a directory out of its place, with all below it, without forgetting it. */
void lp_wtree_detach(struct lp_wtree *t, struct lp_wdir *d);

/* Puts one that was taken out under that name into dir; what was there is dropped. */
void lp_wtree_attach(struct lp_wtree *t, struct lp_wdir *d, struct lp_wdir *dir, const char *name,
		     lp_wtree_drop_fn *drop, void *ctx);

/* Forgets a directory, in its place or taken out, and all below it. */
void lp_wtree_drop(struct lp_wtree *t, struct lp_wdir *d, lp_wtree_drop_fn *drop, void *ctx);

/* The watch of d is no more. What is below stays known as long as anything there is watched. */
void lp_wtree_unwatch(struct lp_wtree *t, struct lp_wdir *d);

/* Writes "path/name" of something in d (name NULL: of d itself). Returns 0, -ENAMETOOLONG, or
 * -ENOENT when d is in no place. */
int lp_wtree_path(const struct lp_wtree *t, const struct lp_wdir *d, const char *name, char *out,
		  size_t out_bytes) LP_MUST_USE;

#endif
