/* watcher/batch.h: some entries of one directory, to be looked at together in another thread. */
#ifndef LP_WATCHER_BATCH_H
#define LP_WATCHER_BATCH_H

#include "watcher/content.h"
#include "watcher/readers.h"
#include "watcher/workspace_internal.h"

/* A directory that is being walked: open until all batches of it are taken back. is_whole: all its
 * entries were listed. */
struct lp_batch_dir {
	int fd; /* owned */
	bool is_whole;
	size_t n_batches;
	char path[];
};

/* known: the signature that the index has, if has_known. look: what the thread found. */
struct lp_batch_item {
	const char *name; /* in the batch */
	bool is_dir;
	bool is_file;
	bool has_known;
	struct lp_stat_sig known;
	struct lp_look look;
};

#define LP_BATCH_MAX 64

/* opts: what is the same for all items. The names are in text. */
struct lp_batch {
	struct lp_read_job job;
	struct lp_batch_dir *dir; /* borrowed; counted by its owner */
	struct lp_look_opts opts;
	size_t n;
	struct lp_batch_item items[LP_BATCH_MAX];
	size_t text_len;
	char text[LP_BATCH_MAX * 32 + 256];
};

/* fd is taken. */
struct lp_batch_dir *lp_batch_dir_create(const char *path, int fd);
void lp_batch_dir_free(struct lp_batch_dir *dir);

/* An empty batch; freed with free(). want_blob: contents are kept, and large files are not read. */
struct lp_batch *lp_batch_create(struct lp_batch_dir *dir, const struct lp_workspace *ws,
				 bool want_blob);

/* Adds an entry; type is its d_type of readdir(3). The batch must not be full. The result is
 * borrowed. */
struct lp_batch_item *lp_batch_add(struct lp_batch *b, const char *name, unsigned char type,
				   bool is_dir);

bool lp_batch_is_full(const struct lp_batch *b);

#endif
