/* tests/unit/proxy/test_chunk.c: the strict scanner of chunked bodies. */
#include "proxy/chunk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Feeds text in pieces of `piece` bytes. Returns the bytes up to the end of the body, 0 when it has
 * not ended, or -EBADMSG; content goes to out. */
static ptrdiff_t feed(const char *text, size_t piece, char *out)
{
	struct lp_px_chunk c = {0};
	size_t len = strlen(text);
	size_t at = 0;

	*out = '\0';
	while (at < len) {
		size_t have = len - at < piece ? len - at : piece;
		struct lp_px_chunk_step step;
		int r = lp_px_chunk_next(&c, text + at, have, &step);

		if (r < 0)
			return r;
		assert_true(step.len <= have);
		assert_true(step.len > 0);
		if (step.is_data)
			(void)snprintf(out + strlen(out), step.len + 1, "%s", text + at);
		at += step.len;
		if (step.done)
			return (ptrdiff_t)at;
	}
	return 0;
}

static void chunk_next__finds_content_and_end(void **state)
{
	static const struct {
		const char *text;
		const char *content;
		size_t rest; /* bytes behind the end */
	} cases[] = {
		{"0\r\n\r\n", "", 0},
		{"5\r\nhello\r\n0\r\n\r\n", "hello", 0},
		{"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /", "hello world", 5},
		{"A\r\n0123456789\r\n0\r\n\r\n", "0123456789", 0},
		{"a;x=y;z=\"q\"\r\n0123456789\r\n00\r\n\r\n", "0123456789", 0},
		{"2 ;x\r\nab\r\n0\r\nX-A: b\r\nY:\r\n\r\nnext", "ab", 4},
		{"3\r\n\r\nx\r\n0\r\n\r\n", "\r\nx", 0},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		for (size_t piece = 1; piece < 40; piece++) {
			char out[64];
			size_t len = strlen(cases[i].text) - cases[i].rest;

			assert_int_equal(feed(cases[i].text, piece, out), len);
			assert_string_equal(out, cases[i].content);
		}
	}
}

static void chunk_next__refuses_what_others_may_read_differently(void **state)
{
	static const char *const texts[] = {
		"\r\n",
		"g\r\n",
		"-1\r\n",
		"+5\r\nhello",
		"0x5\r\nhello",
		" 5\r\nhello",
		"5\nhello",
		"5\r\r\nhello",
		"5\r\nhelloXY0\r\n\r\n",
		"5\r\nhello\n0\r\n\r\n",
		"5\r\nhello0\r\n\r\n",
		"5;a\nb\r\nhello\r\n0\r\n\r\n",
		"5;a\001\r\nhello",
		"1000000000000000\r\nx",
		"0000000000000000005\r\nhello\r\n",
		"0\r\nX\r\n\r\n",
		"0\r\nX : y\r\n\r\n",
		"0\r\n X: y\r\n\r\n",
		"0\r\nX: y\n\r\n",
		"0\r\n\n",
		"0\n\n",
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
		for (size_t piece = 1; piece < 40; piece++) {
			char out[64];

			if (feed(texts[i], piece, out) != -EBADMSG)
				fail_msg("accepted case %zu", i);
		}
	}
}

static void chunk_next__asks_for_more_without_end(void **state)
{
	char out[64];

	(void)state;
	assert_int_equal(feed("5\r\nhel", 3, out), 0);
	assert_string_equal(out, "hel");
	assert_int_equal(feed("0\r\n\r", 9, out), 0);
}

static void chunk_next__bounds_lines_and_trailers(void **state)
{
	static char text[3 * LP_PX_CHUNK_TRAILER_MAX];
	char out[64];
	size_t n;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[0] = '5';
	text[1] = ';';
	assert_int_equal(feed(text, 1000, out), -EBADMSG);
	n = (size_t)snprintf(text, sizeof(text), "0\r\n");
	while (n < sizeof(text) - 16)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "X-Many: 1\r\n");
	assert_int_equal(feed(text, 1000, out), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunk_next__finds_content_and_end),
		cmocka_unit_test(chunk_next__refuses_what_others_may_read_differently),
		cmocka_unit_test(chunk_next__asks_for_more_without_end),
		cmocka_unit_test(chunk_next__bounds_lines_and_trailers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
