/* watcher/batch.h: what other threads do for a walk: they list a directory, and look at some of its
 * entries together. */
#ifndef LP_WATCHER_BATCH_H
#define LP_WATCHER_BATCH_H

#include "watcher/content.h"
#include "watcher/readers.h"
#include "watcher/workspace_internal.h"

/* A directory that is being walked: open until all batches of it are taken back. list: what
 * getdents64(2) said of it, and listed: how that ended, 0 or -errno; both when job was run. next:
 * for its owner. */
struct lp_batch_dir {
	struct lp_read_job job;
	struct lp_batch_dir *next;
	int fd; /* owned */
	int listed;
	size_t n_batches;
	uint8_t *list; /* owned */
	size_t list_len;
	size_t list_cap;
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

/* fd is taken. Its job lists it. */
struct lp_batch_dir *lp_batch_dir_create(const char *path, int fd);
void lp_batch_dir_free(struct lp_batch_dir *dir);

/* The directory whose job that is; NULL: it is that of a batch. */
struct lp_batch_dir *lp_batch_dir_of(struct lp_read_job *job);

/* The entry at *at of the list, which is moved on; "." and ".." are left out. NULL at the end. */
struct dirent64;
const struct dirent64 *lp_batch_dir_next(const struct lp_batch_dir *dir, size_t *at);

/* Forgets the list. */
void lp_batch_dir_unlist(struct lp_batch_dir *dir);

/* An empty batch; freed with free(). want_blob: contents are kept, and large files are not read. */
struct lp_batch *lp_batch_create(struct lp_batch_dir *dir, const struct lp_workspace *ws,
				 bool want_blob);

/* Adds an entry; type is its d_type of readdir(3). The batch must not be full. The result is
 * borrowed. */
struct lp_batch_item *lp_batch_add(struct lp_batch *b, const char *name, unsigned char type,
				   bool is_dir);

bool lp_batch_is_full(const struct lp_batch *b);

#endif
