/* tests/unit/proxy/test_flow.c: bodies between two buffers. */
#include "proxy/flow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

static void fill(struct lp_px_buf *b, const char *text)
{
	assert_int_equal(lp_px_buf_reserve(b, strlen(text), LP_PX_BULK_BYTES), 0);
	lp_px_buf_put(b, text, strlen(text));
}

static void flow_scan__clears_only_the_body(void **state)
{
	static const struct {
		uint64_t length;
		const char *in;
		size_t cleared;
		enum lp_px_body kind;
		bool done;
	} cases[] = {
		{0, "GET / HTTP/1.1", 0, LP_PX_BODY_NONE, true},
		{5, "hel", 3, LP_PX_BODY_LENGTH, false},
		{5, "helloGET /", 5, LP_PX_BODY_LENGTH, true},
		{0, "2\r\nab\r\n0\r\n\r\nGET /", 12, LP_PX_BODY_CHUNKED, true},
		{0, "2\r\na", 4, LP_PX_BODY_CHUNKED, false},
		{0, "anything", 8, LP_PX_BODY_CLOSE, false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_px_buf in = {0};
		struct lp_px_buf out = {0};
		struct lp_px_flow f;

		fill(&in, cases[i].in);
		lp_px_flow_init(&f, cases[i].kind, LP_PX_RAW, cases[i].length);
		assert_int_equal(lp_px_flow_scan(&f, &in, LP_PX_IN_OPEN, &out), 0);
		assert_int_equal(f.cleared, cases[i].cleared);
		assert_int_equal(f.done, cases[i].done);
		assert_int_equal(lp_px_buf_len(&out), 0);
		lp_px_buf_finish(&in);
	}
}

static void flow_scan__reframes(void **state)
{
	static const struct {
		enum lp_px_body kind;
		enum lp_px_form form;
		enum lp_px_input input;
		const char *in;
		const char *out;
	} cases[] = {
		{LP_PX_BODY_CHUNKED, LP_PX_DECHUNK, LP_PX_IN_OPEN,
		 "2\r\nab\r\n3;x\r\ncde\r\n0\r\nT: 1\r\n\r\n", "abcde"},
		{LP_PX_BODY_CLOSE, LP_PX_ENCHUNK, LP_PX_IN_EOF, "hello world, hello",
		 "12\r\nhello world, hello\r\n0\r\n\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_px_buf in = {0};
		struct lp_px_buf out = {0};
		struct lp_px_flow f;

		fill(&in, cases[i].in);
		lp_px_flow_init(&f, cases[i].kind, cases[i].form, 0);
		assert_int_equal(lp_px_flow_scan(&f, &in, cases[i].input, &out), 0);
		assert_true(f.done);
		assert_int_equal(lp_px_buf_len(&out), strlen(cases[i].out));
		assert_memory_equal(lp_px_buf_at(&out), cases[i].out, strlen(cases[i].out));
		lp_px_buf_finish(&in);
		lp_px_buf_finish(&out);
	}
}

static void flow_scan__reports_an_end_that_comes_too_early(void **state)
{
	static const struct {
		enum lp_px_body kind;
		enum lp_px_input input;
		int r;
	} cases[] = {
		{LP_PX_BODY_LENGTH, LP_PX_IN_OPEN, 0},
		{LP_PX_BODY_LENGTH, LP_PX_IN_EOF, -EPIPE},
		{LP_PX_BODY_CHUNKED, LP_PX_IN_EOF, -EPIPE},
		{LP_PX_BODY_CLOSE, LP_PX_IN_EOF, 0},
		{LP_PX_BODY_CLOSE, LP_PX_IN_RESET, -EPIPE},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_px_buf in = {0};
		struct lp_px_flow f;

		fill(&in, "5\r\nab");
		lp_px_flow_init(&f, cases[i].kind, LP_PX_RAW, 1000);
		assert_int_equal(lp_px_flow_scan(&f, &in, cases[i].input, NULL), cases[i].r);
		lp_px_buf_finish(&in);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flow_scan__clears_only_the_body),
		cmocka_unit_test(flow_scan__reframes),
		cmocka_unit_test(flow_scan__reports_an_end_that_comes_too_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
