/* cli/mirror_sync.h: lets threads of the file system wait until what they wrote is applied on every
 * instance: what makes mount --sync exact. */
#ifndef LP_CLI_MIRROR_SYNC_H
#define LP_CLI_MIRROR_SYNC_H

#include "common/loop/loop.h"

#include <pthread.h>

struct lp_mirror;
struct lp_sync_wait;

/* Everything under the lock but post. */
struct lp_syncs {
	pthread_mutex_t lock;
	struct lp_sync_wait *first;
	struct lp_post post;
	bool posted;
	bool closed;
};

void lp_mirror_sync_init(struct lp_mirror *m);
void lp_mirror_sync_finish(struct lp_mirror *m);

/* The barrier of fsmount/fsmount.h; ctx is the mirror. Any thread but the loop's. Returns 0 at once
 * while somebody holds the changes back, because nothing can be applied before they release it. */
int lp_mirror_barrier(void *ctx, const char *path, uint64_t deadline_us);

/* Looks whether waiters can go on; after everything that takes changes or moves a revision. */
void lp_mirror_check_syncs(struct lp_mirror *m);

/* Lets all of them go with an error, and everyone who comes later: nothing is sent any more. */
void lp_mirror_close_syncs(struct lp_mirror *m);

#endif
