/* lp_mem.c: allocation that aborts. A process that cannot get a few bytes cannot do anything useful
 * about it either; sizes that others choose never come here. */
#include "common/base/lp_mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

void *lp_xcalloc(size_t n, size_t size)
{
	return need(calloc(n ? n : 1, size ? size : 1));
}

void *lp_xrealloc(void *old, size_t n, size_t size)
{
	if (n == 0 || size == 0)
		n = size = 1;
	if (n > SIZE_MAX / size)
		abort();
	return need(realloc(old, n * size));
}

char *lp_xstrdup(const char *s)
{
	return lp_xstrndup(s, strlen(s));
}

char *lp_xstrndup(const char *s, size_t len)
{
	char *copy = lp_xcalloc(len + 1, 1);

	if (len > 0)
		memcpy(copy, s, len);
	return copy;
}

char *lp_xasprintf(const char *fmt, ...)
{
	char *out = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&out, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	return need(out);
}

void lp_grow(void *ptr, size_t *cap, size_t need_count, size_t size)
{
	size_t cap_new = *cap ? *cap : 8;
	void *array;

	if (need_count <= *cap)
		return;
	while (cap_new < need_count)
		cap_new *= 2;
	memcpy(&array, ptr, sizeof(array));
	array = lp_xrealloc(array, cap_new, size);
	memcpy(ptr, &array, sizeof(array));
	*cap = cap_new;
}
