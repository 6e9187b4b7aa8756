/* controller/excerpt.c: keeps the tail of an output in a fixed buffer. */
#include "controller/excerpt.h"

#include <stdbool.h>
#include <string.h>

void lp_excerpt_add(struct lp_excerpt *ex, const char *data, size_t len)
{
	if (len >= sizeof(ex->data)) {
		data += len - sizeof(ex->data);
		len = sizeof(ex->data);
		ex->len = 0;
	}
	if (ex->len + len > sizeof(ex->data)) {
		size_t keep = sizeof(ex->data) - len;

		if (keep > LP_EXCERPT_BYTES)
			keep = LP_EXCERPT_BYTES;
		memmove(ex->data, ex->data + ex->len - keep, keep);
		ex->len = keep;
	}
	memcpy(ex->data + ex->len, data, len);
	ex->len += len;
}

/* Where the last LP_EXCERPT_LINES lines of data[0..end) begin. */
static size_t lines_start(const char *data, size_t end)
{
	size_t lines = 0;
	size_t at = end;

	while (at > 0) {
		if (data[at - 1] == '\n' && ++lines == LP_EXCERPT_LINES)
			return at;
		at--;
	}
	return 0;
}

/* The first byte from `at` on that does not continue a UTF-8 character; looks 3 bytes far. */
static size_t character_start(const char *data, size_t at, size_t end)
{
	size_t limit = at + 3 < end ? at + 3 : end;

	for (size_t i = at; i < limit; i++) {
		if (((unsigned char)data[i] & 0xc0u) != 0x80u)
			return i;
	}
	return at;
}

const char *lp_excerpt_text(struct lp_excerpt *ex)
{
	size_t end = ex->len;
	size_t from;

	if (end > 0 && ex->data[end - 1] == '\n')
		end--;
	from = lines_start(ex->data, end);
	if (end - from > LP_EXCERPT_BYTES) {
		const char *newline;

		from = end - LP_EXCERPT_BYTES;
		newline = memchr(ex->data + from, '\n', end - from);
		if (ex->data[from - 1] == '\n')
			newline = NULL;
		from = newline ? (size_t)(newline - ex->data) + 1
			       : character_start(ex->data, from, end);
	}
	for (size_t i = from; i < end; i++)
		ex->text[i - from] = ex->data[i] ? ex->data[i] : '?';
	ex->text[end - from] = '\0';
	return ex->text;
}
