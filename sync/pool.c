/* sync/pool.c: blocks cut into pieces. The address sanitizer is told which pieces are in use, and
 * gets a gap behind each, so that it sees who reads or writes another one. */
#include "sync/pool.h"

#include "common/base/lp_mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define IS_CHECKED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_CHECKED 1
#endif
#endif
#ifdef IS_CHECKED
#include <sanitizer/asan_interface.h>
#define GAP_STEPS 2
#else
#define ASAN_POISON_MEMORY_REGION(p, size)   ((void)(p), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(p, size) ((void)(p), (void)(size))
#define GAP_STEPS                            0
#endif

/* With malloc's own share below its mmap threshold. */
#define BLOCK_BYTES ((size_t)64 * 1024 - 64)

static size_t steps_of(size_t size)
{
	assert(size > 0 && size <= LP_POOL_MAX_BYTES);
	return (size + LP_POOL_STEP_BYTES - 1) / LP_POOL_STEP_BYTES;
}

/* A thing that is in a list holds the pointer to the next one. */
static void push(void **list, void *p)
{
	memcpy(p, list, sizeof(*list));
	*list = p;
}

static void *pop(void **list)
{
	void *p = *list;

	ASAN_UNPOISON_MEMORY_REGION(p, sizeof(*list));
	memcpy(list, p, sizeof(*list));
	return p;
}

/* Cuts a piece off the newest block, which becomes another one when it is used up. What is left of
 * the old one is less than the largest thing and stays unused. */
static void *cut(struct lp_pool *pool, size_t steps)
{
	size_t bytes = (steps + GAP_STEPS) * LP_POOL_STEP_BYTES;
	uint8_t *p;

	if (pool->left < bytes) {
		uint8_t *block = lp_xcalloc(1, BLOCK_BYTES);

		push(&pool->blocks, block);
		pool->next = block + LP_POOL_STEP_BYTES;
		pool->left = BLOCK_BYTES - LP_POOL_STEP_BYTES;
		ASAN_POISON_MEMORY_REGION(pool->next, pool->left);
	}
	p = pool->next;
	pool->next += bytes;
	pool->left -= bytes;
	return p;
}

void *lp_pool_take(struct lp_pool *pool, size_t size)
{
	size_t steps = steps_of(size);
	void *p = pool->free[steps] ? pop(&pool->free[steps]) : cut(pool, steps);

	ASAN_UNPOISON_MEMORY_REGION(p, size);
	return memset(p, 0, size);
}

void lp_pool_give(struct lp_pool *pool, void *p, size_t size)
{
	ASAN_UNPOISON_MEMORY_REGION(p, sizeof(void *));
	push(&pool->free[steps_of(size)], p);
	ASAN_POISON_MEMORY_REGION(p, steps_of(size) * LP_POOL_STEP_BYTES);
}

void lp_pool_finish(struct lp_pool *pool)
{
	while (pool->blocks) {
		uint8_t *block = pop(&pool->blocks);

		ASAN_UNPOISON_MEMORY_REGION(block, BLOCK_BYTES);
		free(block);
	}
	memset(pool, 0, sizeof(*pool));
}
