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
	size_t high;          /* so many inodes make it start */
	size_t low;           /* so many make it stop */
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

/* To be called after the table has grown: cheap. */
void lp_trim_poke(struct lp_trim *t);

/* Whether something that returned r shall be tried again because it had no descriptor and there may
 * be one now: waits a moment, but in all not longer than 0.1 s. *tries: 0 at first. */
bool lp_trim_make_room(struct lp_trim *t, int r, int *tries);

/* Ends it; the session must still be there. Harmless when it was never started. */
void lp_trim_stop(struct lp_trim *t);

#endif
