/* lp_utf8.c: characters by their first byte. */
#include "common/base/lp_utf8.h"

#include <stdint.h>
#include <string.h>

#define BYTES_MAX 4 /* of a character */

/* RFC 3629, section 4: by first byte, and the bounds of the second. */
static const struct row {
	uint8_t first_min, first_max, second_min, second_max;
	uint8_t len;
} rows[] = {
	{0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
	{0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
	{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

static const struct row *find_row(uint8_t first)
{
	for (size_t i = 0; i < LP_COUNT_OF(rows); i++)
		if (first >= rows[i].first_min && first <= rows[i].first_max)
			return &rows[i];
	return NULL;
}

/* Whether p[1..n) goes on as the row says. */
static bool goes_on(const struct row *row, const uint8_t *p, size_t n)
{
	if (n > 1 && (p[1] < row->second_min || p[1] > row->second_max))
		return false;
	for (size_t i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return false;
	return true;
}

size_t lp_utf8_len(const void *bytes, size_t left)
{
	const uint8_t *p = bytes;
	const struct row *row = left > 0 ? find_row(p[0]) : NULL;

	return row && row->len <= left && goes_on(row, p, row->len) ? row->len : 0;
}

bool lp_utf8_is_text(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	for (size_t i = 0, n; i < len; i += n) {
		n = lp_utf8_len(p + i, len - i);
		if (n == 0)
			return false;
	}
	return true;
}

size_t lp_utf8_whole(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	for (size_t n = 1; n < BYTES_MAX && n <= len; n++) {
		const struct row *row = find_row(p[len - n]);

		if (row && row->len > n && goes_on(row, p + len - n, n))
			return len - n;
	}
	return len;
}

int lp_utf8_add(struct lp_buf *out, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	size_t from = 0, i = 0;
	int r = 0;

	while (i < len && r == 0) {
		size_t n = lp_utf8_len(p + i, len - i);

		if (n == 0) {
			r = lp_buf_add(out, p + from, i - from);
			if (r == 0)
				r = lp_buf_add(out, "\xef\xbf\xbd", 3);
			from = i + 1;
		}
		i += n ? n : 1;
	}
	return r == 0 ? lp_buf_add(out, p + from, i - from) : r;
}

size_t lp_utf8_control(const void *bytes, size_t left)
{
	const uint8_t *p = bytes;

	if (left == 0)
		return 0;
	if (p[0] < 0x20 || p[0] == 0x7f || (p[0] >= 0x80 && p[0] <= 0x9f))
		return 1;
	return left > 1 && p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f ? 2 : 0;
}

void lp_utf8_plain(char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0, n; i < len; i += n) {
		size_t control = lp_utf8_control(text + i, len - i);

		n = control ? control : lp_utf8_len(text + i, len - i);
		n = n ? n : 1;
		memset(text + i, '?', control);
	}
}
