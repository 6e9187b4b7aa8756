/* sync/pool.h: memory for very many small things of few sizes, without the head that malloc puts
 * before each, all in one piece of address space. What was given back is used again for the same
 * size; the rest goes back to the system with the pool. Internal to the room. */
#ifndef LP_SYNC_POOL_H
#define LP_SYNC_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LP_POOL_STEP_BYTES 4
#define LP_POOL_MAX_BYTES  512

/* Address space of a pool, unless the process may not have so much (RLIMIT_AS): then a quarter of
 * what is left, or more. No two things are further apart. */
#define LP_POOL_SPACE_BYTES ((size_t)8 * 1024 * 1024 * 1024)

/* Zeroed: empty. tight: things need no more than an alignment of 4 bytes; set before the first is
 * taken. free[i]: things of i steps that were given back, each holding the pointer to the next.
 * space: what is reserved; up to `usable` it is memory, and from `next` on unused. */
struct lp_pool {
	bool tight;
	void *free[LP_POOL_MAX_BYTES / LP_POOL_STEP_BYTES + 1];
	uint8_t *space;
	size_t space_bytes;
	size_t usable;
	size_t next;
};

/* Zeroed memory, aligned for pointers and 64-bit numbers unless the pool is tight; size at most
 * LP_POOL_MAX_BYTES. Aborts when there is none. */
void *lp_pool_take(struct lp_pool *pool, size_t size) __attribute__((returns_nonnull));

/* Gives back what lp_pool_take gave for that size. */
void lp_pool_give(struct lp_pool *pool, void *p, size_t size);

/* Releases everything at once. */
void lp_pool_finish(struct lp_pool *pool);

#endif
