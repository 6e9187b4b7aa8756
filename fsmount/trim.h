/* fsmount/trim.h: keeps the inode table within the limit of open files by asking the kernel to
 * forget names that it only caches. */
#ifndef LP_FSMOUNT_TRIM_H
#define LP_FSMOUNT_TRIM_H

#include "common/base/lp_err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct lp_fsmount;

/* A zeroed one was never started. */
struct lp_trim {
	struct lp_fsmount *m; /* borrowed until lp_trim_stop */
	size_t low;           /* so many inodes make it stop */
	size_t high;          /* so many make it start */
	size_t brake;         /* with so many, those who want more have to wait */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool started;
	bool stopping;
	atomic_bool wanted;
};

/* Starts its thread, with all signals blocked. nofile: how many descriptors this process may have.
 * Returns 0 or -errno. */
int lp_trim_start(struct lp_trim *t, struct lp_fsmount *m, size_t nofile,
		  struct lp_err *err) LP_MUST_USE;

/* To be called before the table grows: cheap. Wakes the thread when it has something to do, and
 * waits a moment itself when the table grows faster than the kernel forgets. */
void lp_trim_grow(struct lp_trim *t);

/* Ends it; the session must still be there. Harmless when it was never started. */
void lp_trim_stop(struct lp_trim *t);

#endif
