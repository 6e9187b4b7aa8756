/* test_history.c: the back-log of the app's output, line by line. */
#include "common/base/lp_buf.h"
#include "common/base/lp_mem.h"
#include "controller/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void add(struct lp_history *h, const char *data, size_t len)
{
	lp_history_add(h, &(struct lp_output){7, 1, 1700000000123, data, len});
}

static void gather(void *ctx, const struct lp_output *piece)
{
	struct lp_buf *out = ctx;

	assert_true(piece->len > 0);
	assert_true(piece->generation == 7 && piece->stream == 1);
	assert_int_equal(piece->at_ms, 1700000000123);
	assert_int_equal(lp_buf_add(out, piece->data, piece->len), 0);
}

static void expect_last(const struct lp_history *h, uint64_t lines, const char *expected)
{
	struct lp_buf out = {0};

	lp_history_last(h, lines, gather, &out);
	assert_string_equal(lp_buf_text(&out), expected);
	lp_buf_finish(&out);
}

static void last__gives_exactly_the_lines(void **state)
{
	static const struct {
		const char *name;
		const char *pieces[5];
		uint64_t lines;
		const char *expected;
	} cases[] = {
		{"nothing", {NULL}, 5, ""},
		{"no lines", {"a\nb\n"}, 0, ""},
		{"one of three", {"a\nb\nc\n"}, 1, "c\n"},
		{"two of three", {"a\nb\nc\n"}, 2, "b\nc\n"},
		{"all", {"a\nb\nc\n"}, 3, "a\nb\nc\n"},
		{"more than there are", {"a\nb\n"}, 1000, "a\nb\n"},
		{"an unended line", {"a\nb"}, 1, "b"},
		{"an unended line and one", {"a\nb"}, 2, "a\nb"},
		{"a line in pieces", {"a\nb", "b", "b\n"}, 1, "bbb\n"},
		{"its end alone", {"a\nb", "\n"}, 1, "b\n"},
		{"pieces that end lines", {"a\n", "b\n", "c\n"}, 1, "c\n"},
		{"two such", {"a\n", "b\n", "c\n"}, 2, "b\nc\n"},
		{"empty lines", {"a\n", "\n", "\n"}, 2, "\n\n"},
		{"an empty piece last", {"a\n", "b\n", ""}, 1, "b\n"},
		{"an empty piece between", {"a\n", "", "b\n"}, 2, "a\nb\n"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_history *h = lp_history_create();
		struct lp_buf out = {0};

		for (size_t k = 0; k < 5 && cases[i].pieces[k]; k++)
			add(h, cases[i].pieces[k], strlen(cases[i].pieces[k]));
		lp_history_last(h, cases[i].lines, gather, &out);
		if (strcmp(lp_buf_text(&out), cases[i].expected) != 0)
			fail_msg("%s: '%s'", cases[i].name, lp_buf_text(&out));
		lp_buf_finish(&out);
		lp_history_destroy(h);
	}
}

static void count(void *ctx, const struct lp_output *piece)
{
	size_t *total = ctx;

	/* The first byte that comes begins a line. */
	if (*total == 0)
		assert_memory_equal(piece->data, "line ", 5);
	*total += piece->len;
}

static void add__makes_room_and_forgets_half_lines(void **state)
{
	struct lp_history *h = lp_history_create();
	size_t total = 0;

	(void)state;
	for (int i = 0; i < 200000; i++)
		add(h, i % 2 ? "of text\n" : "line ", i % 2 ? 8 : 5);
	lp_history_last(h, UINT64_MAX, count, &total);
	assert_true(total > 1000 && total <= LP_HISTORY_MAX_BYTES);
	assert_int_equal(total % 13, 0);
	lp_history_destroy(h);
}

static void add__cuts_a_piece_that_is_too_large(void **state)
{
	LP_AUTO_FREE char *text = lp_xcalloc(1, LP_HISTORY_MAX_BYTES);
	struct lp_history *h = lp_history_create();

	(void)state;
	memset(text, 'x', LP_HISTORY_MAX_BYTES);
	add(h, "before\n", 7);
	add(h, text, LP_HISTORY_MAX_BYTES);
	expect_last(h, 3, ""); /* the middle of a line */
	add(h, "x\nlast\n", 7);
	expect_last(h, 3, "last\n");
	text[LP_HISTORY_MAX_BYTES / 2 - 1] = '\n';
	(void)snprintf(text + LP_HISTORY_MAX_BYTES / 2, 7, "whole\n");
	add(h, text, LP_HISTORY_MAX_BYTES / 2 + 6);
	expect_last(h, 1, "whole\n");
	lp_history_destroy(h);
	lp_history_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(last__gives_exactly_the_lines),
		cmocka_unit_test(add__makes_room_and_forgets_half_lines),
		cmocka_unit_test(add__cuts_a_piece_that_is_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
