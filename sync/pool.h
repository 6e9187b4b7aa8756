/* sync/pool.h: memory for very many small things of few sizes, without the head that malloc puts
 * before each. What was given back is used again for the same size; the rest goes back to the
 * system with the pool. Internal to the room. */
#ifndef LP_SYNC_POOL_H
#define LP_SYNC_POOL_H

#include <stddef.h>
#include <stdint.h>

#define LP_POOL_STEP_BYTES 8
#define LP_POOL_MAX_BYTES  512

/* Zeroed: empty. free[i]: things of i steps that were given back, each holding the pointer to the
 * next. blocks: likewise. */
struct lp_pool {
	void *free[LP_POOL_MAX_BYTES / LP_POOL_STEP_BYTES + 1];
	void *blocks;
	uint8_t *next; /* what is left of the newest block */
	size_t left;
};

/* Zeroed memory, aligned for pointers and 64-bit numbers; size at most LP_POOL_MAX_BYTES. Aborts
 * when there is none. */
void *lp_pool_take(struct lp_pool *pool, size_t size) __attribute__((returns_nonnull));

/* Gives back what lp_pool_take gave for that size. */
void lp_pool_give(struct lp_pool *pool, void *p, size_t size);

/* Releases everything at once. */
void lp_pool_finish(struct lp_pool *pool);

#endif
