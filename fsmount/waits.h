/* fsmount/waits.h: threads that wait in the owner's barrier for the callers of fsync(2) and
 * close(2), so that no thread that serves requests has to. */
#ifndef LP_FSMOUNT_WAITS_H
#define LP_FSMOUNT_WAITS_H

#include "common/base/lp_err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* More callers than this at once wait until one of them is done, or their time is over. */
#define LP_WAITS_MAX_THREADS 256

struct lp_fsmount;
struct fuse_req;

/* A request that is answered when its barrier lets it through. */
struct lp_wait {
	struct lp_wait *next;
	struct fuse_req *req;
	uint64_t deadline_us;
	char path[];
};

/* A zeroed one was never started. */
struct lp_waits {
	struct lp_fsmount *m; /* borrowed until lp_waits_stop */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct lp_wait *first; /* lock, as all below */
	struct lp_wait *last;
	unsigned alive; /* threads */
	unsigned idle;
	unsigned queued;
	bool started;
	bool stopping;
};

/* Prepares it; threads are made when they are needed. */
void lp_waits_start(struct lp_waits *ws, struct lp_fsmount *m);

/* Answers the request when the barrier for `path` returns. */
void lp_waits_add(struct lp_waits *ws, struct fuse_req *req, const char *path);

/* Answers what has not begun to wait, and returns when the last barrier has. Harmless when it was
 * never started. */
void lp_waits_stop(struct lp_waits *ws);

#endif
