/* watcher/readers.h: a small pool of threads for reading and hashing. Whoever owns it adds jobs and
 * takes the finished ones back, all in one thread; only `run` of a job is called elsewhere. */
#ifndef LP_WATCHER_READERS_H
#define LP_WATCHER_READERS_H

#include "common/loop/loop.h"

/* A piece of work, embedded in what it is about, which has to stay put until the job is taken back.
 * run: once, in any thread; what it reads must not change and what it writes must not be read
 * meanwhile. scratch: memory to use for the time of the call, as large as lp_readers_create was
 * told. */
struct lp_read_job {
	void (*run)(struct lp_read_job *job, void *scratch);
	struct lp_read_job *next; /* private */
};

struct lp_readers; /* opaque; owns its threads */

/* How many threads reading is worth on this machine: as many as it has processors for this process,
 * four at most. */
unsigned lp_readers_width(void);

/* A pool of at most n threads, which start when there is something to do; threads that cannot be
 * started are done without. scratch_bytes: what each gives its jobs (0: none, NULL). */
struct lp_readers *lp_readers_create(unsigned n, size_t scratch_bytes);

/* Waits for the jobs that run now, and ends the threads. Jobs that were not taken back, begun or
 * not, are their owner's again. NULL is allowed. */
void lp_readers_destroy(struct lp_readers *r);

/* Adds a job. They are begun in the order in which they were added. */
void lp_readers_add(struct lp_readers *r, struct lp_read_job *job);

/* How many jobs were added and not taken back. */
size_t lp_readers_pending(const struct lp_readers *r);

/* Takes back a job that is finished, in no certain order; NULL when there is none now. */
struct lp_read_job *lp_readers_poll(struct lp_readers *r);

/* The same, but does not return without one as long as any is pending: runs a job itself when none
 * is finished, so that it never waits for threads that are busy with something else. NULL: nothing
 * is pending. */
struct lp_read_job *lp_readers_wait(struct lp_readers *r);

/* From now on on_done is called in the loop's thread when jobs may be finished: it takes them back
 * with lp_readers_poll. Without any thread a job is run when it is added. Returns 0 or -errno. */
int lp_readers_watch(struct lp_readers *r, struct lp_loop *loop, void (*on_done)(void *ctx),
		     void *ctx, struct lp_err *err) LP_MUST_USE;

#endif
