/* fsmount/pool.h: the threads that take requests from the kernel. There are as many as requests
 * under way at once have ever needed, within a limit, and one more that waits. */
#ifndef LP_FSMOUNT_POOL_H
#define LP_FSMOUNT_POOL_H

#include "common/base/lp_err.h"

#include <pthread.h>
#include <stdbool.h>

struct fuse_session;

/* More requests than this at once wait for their turn. */
#define LP_POOL_MAX_THREADS 64

/* Its members belong to lock. A zeroed pool was never started. */
struct lp_pool {
	struct fuse_session *se;     /* borrowed until lp_pool_stop */
	void (*on_ended)(void *ctx); /* by the last thread, when the kernel ended the session */
	void *ctx;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t threads[LP_POOL_MAX_THREADS];
	unsigned n;     /* started */
	unsigned alive; /* not ended */
	unsigned idle;  /* waiting for a request */
	int failed;     /* -errno of a thread that could not begin */
	bool started;
	bool ready; /* the kernel has greeted us */
	bool muted; /* on_ended is not called any more */
	bool stopping;
};

/* Starts serving and waits until the kernel has greeted the file system (lp_pool_set_ready). All
 * signals are blocked in the threads. Returns 0 or -errno; on failure the pool is stopped. */
int lp_pool_start(struct lp_pool *p, struct fuse_session *se, void (*on_ended)(void *ctx),
		  void *ctx, struct lp_err *err) LP_MUST_USE;

/* Called by the file system when the session is established. */
void lp_pool_set_ready(struct lp_pool *p);

/* From now on the end of the session is expected: on_ended is not called for it. Harmless for a
 * pool that was never started. */
void lp_pool_mute(struct lp_pool *p);

/* Ends the threads: each finishes the request that it has, none takes another. Waits for them,
 * whether or not the kernel has ended the session. Harmless for a pool that was never started. */
void lp_pool_stop(struct lp_pool *p);

#endif
