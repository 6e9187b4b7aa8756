/* fsmount/writing.h: what is being written to one inode through the mount: the descriptor below,
 * the byte ranges, and whether somebody else wrote in between. Reports nothing. */
#ifndef LP_FSMOUNT_WRITING_H
#define LP_FSMOUNT_WRITING_H

#include "sync/event.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>

/* An episode begins with the first change after lp_writing_take, and ends with the next one. */
struct lp_writing {
	pthread_mutex_t lock;       /* of all else; held by the caller of the functions below */
	int fd;                     /* owned; the file below, open for writing; -1: none */
	bool begun;                 /* there is an episode */
	bool awaited;               /* a look at it is due: see closes.h */
	bool created;               /* its maker has not been seen to have it open */
	uint64_t since_us;          /* when the first change came that has not been reported */
	uint64_t size;              /* of the file when the change that is under way began */
	struct lp_stat_sig last;    /* after the last change of ours */
	struct lp_written *written; /* owned; NULL: the ranges are not known, or not wanted */
};

struct lp_writing *lp_writing_create(void);

/* Closes the descriptor and releases it. NULL is allowed. */
void lp_writing_destroy(struct lp_writing *w);

/* Before a change of the file that fd refers to: finds out whether somebody else changed it since
 * our last change. Ranges are only kept of files that have more than LP_INLINE_MAX_BYTES when the
 * episode begins: others are sent whole. */
void lp_writing_begin(struct lp_writing *w, int fd);

/* After it: [at, at + len) was changed (or nothing: len 0). Fills st with how the file is now.
 * Returns 0 or -errno (st is not filled). */
int lp_writing_end(struct lp_writing *w, int fd, uint64_t at, uint64_t len, struct stat *st);

/* The same, when everything from `from` on may have changed, to the old or the new end. */
int lp_writing_end_from(struct lp_writing *w, int fd, uint64_t from, struct stat *st);

/* Ends the episode. Returns what was written in it, owned by the caller, or NULL
 * when that is not known. path_fd: any descriptor of the file. */
struct lp_written *lp_writing_take(struct lp_writing *w, int path_fd);

#endif
