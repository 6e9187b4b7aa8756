/* test_lines.c: lines of any bytes and any length out of pieces. */
#include "cli/lines.h"
#include "common/base/lp_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Everything that came out, with '\n' for the end of a line and '+' for that of a part. */
static struct lp_buf seen;

static void on_line(void *ctx, const void *line, size_t len, bool more)
{
	(void)ctx;
	assert_int_equal(lp_buf_add(&seen, line, len), 0);
	assert_int_equal(lp_buf_add(&seen, more ? "+" : "\n", 1), 0);
}

static void lines_take__does_not_mind_where_pieces_are_cut(void **state)
{
	static const char text[] = "one\n\ntwo \xff\xfe\0 bytes\r\n\nlast";
	static const size_t steps[] = {1, 2, 5, sizeof(text)};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(steps); i++) {
		struct lp_buf begun = {0};

		for (size_t at = 0; at < sizeof(text) - 1; at += steps[i]) {
			size_t left = sizeof(text) - 1 - at;

			lp_lines_take(&begun, text + at, left < steps[i] ? left : steps[i], on_line,
				      NULL);
		}
		lp_lines_end(&begun, on_line, NULL);
		assert_int_equal(seen.len, sizeof(text)); /* the last line gets an end */
		assert_memory_equal(seen.data, text, sizeof(text) - 1);
		assert_int_equal(seen.data[seen.len - 1], '\n');
		lp_buf_finish(&seen);
	}
}

static void lines_take__gives_long_lines_in_parts(void **state)
{
	const size_t len = 2 * LP_LINE_MAX_BYTES + 5;
	static const size_t steps[] = {4096, LP_LINE_MAX_BYTES - 1, 3 * LP_LINE_MAX_BYTES};
	LP_AUTO_FREE char *line = lp_xcalloc(1, len + 1);

	(void)state;
	memset(line, 'x', len);
	line[len] = '\n';
	for (size_t i = 0; i < LP_COUNT_OF(steps); i++) {
		struct lp_buf begun = {0};

		for (size_t at = 0; at < len + 1; at += steps[i])
			lp_lines_take(&begun, line + at,
				      len + 1 - at < steps[i] ? len + 1 - at : steps[i], on_line,
				      NULL);
		lp_lines_end(&begun, on_line, NULL);
		assert_int_equal(seen.len, len + 3);
		assert_int_equal(seen.data[LP_LINE_MAX_BYTES], '+');
		assert_int_equal(seen.data[2 * LP_LINE_MAX_BYTES + 1], '+');
		assert_int_equal(seen.data[len + 2], '\n');
		lp_buf_finish(&seen);
	}
}

/* A character is in one part or in the other. */
static void lines_take__cuts_between_characters(void **state)
{
	static const char mark[] = {'\xe2', '\x9c', '\x93'};
	const size_t len = LP_LINE_MAX_BYTES + 8;
	LP_AUTO_FREE char *line = lp_xcalloc(1, len + 1);
	struct lp_buf begun = {0};

	(void)state;
	memset(line, 'x', len);
	memcpy(line + LP_LINE_MAX_BYTES - 2, mark, sizeof(mark));
	line[len] = '\n';
	lp_lines_take(&begun, line, len + 1, on_line, NULL);
	assert_int_equal(seen.len, len + 2);
	assert_int_equal(seen.data[LP_LINE_MAX_BYTES - 2], '+');
	assert_memory_equal(seen.data + LP_LINE_MAX_BYTES - 1, "\xe2\x9c\x93xxx", 6);
	assert_int_equal(seen.data[len + 1], '\n');
	lp_buf_finish(&seen);
	lp_buf_finish(&begun);
}

static void lines_end__says_nothing_of_nothing(void **state)
{
	struct lp_buf begun = {0};

	(void)state;
	lp_lines_take(&begun, "a\n", 2, on_line, NULL);
	lp_lines_end(&begun, on_line, NULL);
	assert_int_equal(seen.len, 2);
	lp_buf_finish(&seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_take__does_not_mind_where_pieces_are_cut),
		cmocka_unit_test(lines_take__gives_long_lines_in_parts),
		cmocka_unit_test(lines_take__cuts_between_characters),
		cmocka_unit_test(lines_end__says_nothing_of_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
