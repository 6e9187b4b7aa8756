/* lp_util.h: the small macros that every room uses. No functions that can fail. */
#ifndef LP_COMMON_BASE_LP_UTIL_H
#define LP_COMMON_BASE_LP_UTIL_H

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define LP_COUNT_OF(a)      (sizeof(a) / sizeof((a)[0]))
#define LP_MUST_USE         __attribute__((warn_unused_result))
#define LP_PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))

/* The struct of type `type` whose member `member` is at `ptr`. */
#define LP_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Closes *fd unless it is negative; keeps errno. For LP_AUTO_CLOSE. */
static inline void lp_auto_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	errno = saved;
}

/* Frees *(void **)p; keeps errno. For LP_AUTO_FREE. */
static inline void lp_auto_free(void *p)
{
	int saved = errno;

	free(*(void **)p);
	errno = saved;
}

#define LP_AUTO_CLOSE __attribute__((cleanup(lp_auto_close)))
#define LP_AUTO_FREE  __attribute__((cleanup(lp_auto_free)))

/* Hands the descriptor out of an LP_AUTO_CLOSE variable: returns *fd and leaves -1. */
static inline int lp_take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Hands the pointer out of an LP_AUTO_FREE variable: returns *p (p is a pointer to a pointer)
 * and leaves NULL. */
static inline void *lp_take_ptr(void *p)
{
	void *taken = *(void **)p;

	*(void **)p = NULL;
	return taken;
}

#endif
