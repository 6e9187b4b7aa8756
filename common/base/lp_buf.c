/* lp_buf.c: the growable byte buffer. */
#include "common/base/lp_buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_MAX_BYTES ((size_t)1 << 30)

void lp_buf_init(struct lp_buf *b, size_t max)
{
	*b = (struct lp_buf){.max = max};
}

void lp_buf_finish(struct lp_buf *b)
{
	size_t max = b->max;

	free(b->data);
	*b = (struct lp_buf){.max = max};
}

int lp_buf_reserve(struct lp_buf *b, size_t more)
{
	size_t max = b->max ? b->max : DEFAULT_MAX_BYTES;
	size_t cap = b->cap ? b->cap : 256;
	uint8_t *data;

	if (more > max || b->len > max - more)
		return -EMSGSIZE;
	if (b->len + more <= b->cap)
		return 0;
	while (cap < b->len + more)
		cap *= 2;
	data = realloc(b->data, cap);
	if (!data)
		return -ENOMEM;
	b->data = data;
	b->cap = cap;
	return 0;
}

int lp_buf_add(struct lp_buf *b, const void *data, size_t len)
{
	int r = lp_buf_reserve(b, len);

	if (r < 0)
		return r;
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

int lp_buf_add_str(struct lp_buf *b, const char *s)
{
	return lp_buf_add(b, s, strlen(s));
}

int lp_buf_addf(struct lp_buf *b, const char *fmt, ...)
{
	size_t max = b->max;
	va_list ap;
	int n, r;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -EINVAL;
	/* The NUL that vsnprintf writes does not count. */
	b->max = (max ? max : DEFAULT_MAX_BYTES) + 1;
	r = lp_buf_reserve(b, (size_t)n + 1);
	b->max = max;
	if (r < 0)
		return r;
	va_start(ap, fmt);
	(void)vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return 0;
}

void lp_buf_drop(struct lp_buf *b, size_t n)
{
	if (n >= b->len) {
		b->len = 0;
		return;
	}
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

const char *lp_buf_text(struct lp_buf *b)
{
	size_t max = b->max;
	int r;

	b->max = b->len + 1;
	r = lp_buf_reserve(b, 1);
	b->max = max;
	if (r < 0)
		return NULL;
	b->data[b->len] = '\0';
	return (const char *)b->data;
}
