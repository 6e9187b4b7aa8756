/* common/conf/conf_word.c: words in messages. */
#include "common/conf/conf_word.h"

#include <stdint.h>
#include <string.h>

#define WORD_MAX 31 /* longer words are nobody's typing error of a key */

const char *conf_shown(char out[CONF_SHOWN_BYTES], const char *text)
{
	static const char more[] = "...";
	size_t len = strlen(text);
	size_t n = len;

	if (len >= CONF_SHOWN_BYTES) {
		n = CONF_SHOWN_BYTES - sizeof(more);
		while (n > 0 && ((uint8_t)text[n] & 0xc0) == 0x80)
			n--;
	}
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)text[i] < ' ' || text[i] == '\x7f' ? '?' : text[i];
	memcpy(out + n, len > n ? more : "", len > n ? sizeof(more) : 1);
	return out;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t row[3][WORD_MAX + 1];
	size_t *before = row[0], *last = row[1], *now = row[2];

	for (size_t j = 0; j <= b_len; j++)
		last[j] = before[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *oldest = before;

		now[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			now[j] = least(last[j], now[j - 1]) + 1;
			now[j] = least(now[j], last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least(now[j], before[j - 2] + 1);
		}
		before = last;
		last = now;
		now = oldest;
	}
	return last[b_len];
}

const char *conf_nearest(const char *wrong, const char *const *first, size_t n, size_t stride)
{
	size_t len = strlen(wrong), best = SIZE_MAX;
	const char *nearest = NULL;

	for (size_t i = 0; len <= WORD_MAX && i < n; i++) {
		const char *word =
			*(const char *const *)(const void *)((const char *)first + i * stride);
		size_t word_len = strlen(word);
		size_t d = word_len <= WORD_MAX ? distance(wrong, len, word, word_len) : SIZE_MAX;

		/* One edit for each three letters that are there. */
		if (d < best && d <= (word_len < 6 ? 1 : word_len / 3)) {
			best = d;
			nearest = word;
		}
	}
	return nearest;
}
