/* sync/pool.c: one piece of reserved address space, made memory as it fills. The address sanitizer
 * is told which things are in use, and gets a gap behind each, so that it sees who reads or writes
 * another one; the leak sanitizer, that pointers may be in them. */
#include "sync/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define IS_CHECKED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_CHECKED 1
#endif
#endif
#ifdef IS_CHECKED
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#define GAP_BYTES   16
#define TIGHT_BYTES 8 /* a byte of its map stands for so many */
#else
#define ASAN_POISON_MEMORY_REGION(p, size)   ((void)(p), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(p, size) ((void)(p), (void)(size))
#define GAP_BYTES                            0
#define TIGHT_BYTES                          LP_POOL_STEP_BYTES
#endif

#define LOOSE_BYTES     8
#define SPACE_MIN_BYTES ((size_t)1024 * 1024)

/* So much becomes memory at once, which is cheaper than page by page. */
#define GROW_BYTES ((size_t)64 * 1024)

/* A thing of that size takes so much. One that is given back holds a pointer. */
static size_t bytes_of(const struct lp_pool *pool, size_t size)
{
	size_t step = LOOSE_BYTES;

	assert(size > 0 && size <= LP_POOL_MAX_BYTES);
	if (pool->tight)
		step = TIGHT_BYTES;
	size = size < sizeof(void *) ? sizeof(void *) : size;
	return (size + step - 1) / step * step;
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

/* As much address space as there is to be had; it costs nothing before it is used. */
static void reserve(struct lp_pool *pool)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	size_t bytes = LP_POOL_SPACE_BYTES;
	void *p = mmap(NULL, bytes, PROT_NONE, flags, -1, 0);

	while (p == MAP_FAILED && bytes > SPACE_MIN_BYTES) {
		bytes /= 2;
		p = mmap(NULL, bytes, PROT_NONE, flags, -1, 0);
	}
	if (p == MAP_FAILED)
		abort();
	/* Where it is scarce, others need some of it, too. */
	if (bytes < LP_POOL_SPACE_BYTES) {
		bytes /= 2;
		(void)munmap((uint8_t *)p + bytes, bytes);
	}
	pool->space = p;
	pool->space_bytes = bytes;
}

/* Makes the next part of the space memory. */
static void grow(struct lp_pool *pool)
{
	uint8_t *from;

	if (!pool->space)
		reserve(pool);
	from = pool->space + pool->usable;
	if (pool->usable == pool->space_bytes ||
	    mprotect(from, GROW_BYTES, PROT_READ | PROT_WRITE) < 0)
		abort();
#ifdef MADV_POPULATE_WRITE
	/* Older kernels do not know it; then it comes page by page. */
	if (pool->usable > 0)
		(void)madvise(from, GROW_BYTES, MADV_POPULATE_WRITE);
#endif
#ifdef IS_CHECKED
	__lsan_register_root_region(from, GROW_BYTES);
#endif
	pool->usable += GROW_BYTES;
	ASAN_POISON_MEMORY_REGION(from, GROW_BYTES);
}

/* Cuts off what was never used. */
static void *cut(struct lp_pool *pool, size_t bytes)
{
	uint8_t *p;

	bytes += GAP_BYTES;
	if (pool->usable - pool->next < bytes)
		grow(pool);
	p = pool->space + pool->next;
	pool->next += bytes;
	return p;
}

void *lp_pool_take(struct lp_pool *pool, size_t size)
{
	size_t bytes = bytes_of(pool, size), i = bytes / LP_POOL_STEP_BYTES;
	void *p = pool->free[i] ? pop(&pool->free[i]) : cut(pool, bytes);

	ASAN_UNPOISON_MEMORY_REGION(p, size);
	return memset(p, 0, size);
}

void lp_pool_give(struct lp_pool *pool, void *p, size_t size)
{
	size_t bytes = bytes_of(pool, size);

	ASAN_UNPOISON_MEMORY_REGION(p, sizeof(void *));
	push(&pool->free[bytes / LP_POOL_STEP_BYTES], p);
	ASAN_POISON_MEMORY_REGION(p, bytes);
}

void lp_pool_finish(struct lp_pool *pool)
{
	bool tight = pool->tight;

	if (pool->space) {
		ASAN_UNPOISON_MEMORY_REGION(pool->space, pool->usable);
#ifdef IS_CHECKED
		for (size_t at = 0; at < pool->usable; at += GROW_BYTES)
			__lsan_unregister_root_region(pool->space + at, GROW_BYTES);
#endif
		(void)munmap(pool->space, pool->space_bytes);
	}
	*pool = (struct lp_pool){.tight = tight};
}
