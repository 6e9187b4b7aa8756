/* lp_mem.h: allocation of things whose size we choose ourselves. Sizes that come from a peer or a
 * file are capped by their caller and allocated with malloc, which may fail. */
#ifndef LP_COMMON_BASE_LP_MEM_H
#define LP_COMMON_BASE_LP_MEM_H

#include <stddef.h>

/* Zeroed memory for n objects of `size` bytes; aborts the process when there is none. Owned by the
 * caller, released with free(). */
void *lp_xcalloc(size_t n, size_t size) __attribute__((returns_nonnull));

/* realloc to n objects of `size` bytes that aborts instead of failing. `old` is taken. */
void *lp_xrealloc(void *old, size_t n, size_t size) __attribute__((returns_nonnull));

/* A copy of the string; aborts when there is no memory. */
char *lp_xstrdup(const char *s) __attribute__((returns_nonnull));

/* A terminated copy of len bytes at s. */
char *lp_xstrndup(const char *s, size_t len) __attribute__((returns_nonnull));

/* printf into fresh memory; aborts when there is none. */
char *lp_xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

/* Makes room for at least `need` elements of `size` bytes in the array *ptr (pointer to the array
 * pointer) of *cap elements, at least doubling it. Aborts when there is no memory. */
void lp_grow(void *ptr, size_t *cap, size_t need, size_t size);

#endif
