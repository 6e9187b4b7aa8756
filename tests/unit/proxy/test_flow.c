/* tests/unit/proxy/test_flow.c: bodies between two buffers. */
#include "proxy/flow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
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

/* Chunks with trailers, read whole and byte by byte, as they go out. */
static void trailers__that_say_what_headers_say_stay_behind(void **state)
{
	static const struct {
		const char *in;
		const char *out;
	} cases[] = {
		{"1\r\na\r\n0\r\nX-Sum: 1\r\nETag: x\r\n\r\n",
		 "1\r\na\r\n0\r\nX-Sum: 1\r\nETag: x\r\n\r\n"},
		{"0\r\nContent-Length: 3\r\n\r\n", "0\r\n\r\n"},
		{"0\r\nA: 1\r\ntransfer-encoding: chunked\r\nB: 2\r\n\r\n",
		 "0\r\nA: 1\r\nB: 2\r\n\r\n"},
		{"0\r\nTransfer_Encoding: x\r\nContent_Length: 1\r\nSet_Cookie: a\r\n\r\n",
		 "0\r\n\r\n"},
		{"0\r\nHost: x\r\nConnection: x\r\nTrailer: x\r\nTE: x\r\nUpgrade: x\r\n"
		 "Keep-Alive: x\r\nProxy-Authorization: x\r\nAuthorization: x\r\nCookie: x\r\n"
		 "Set-Cookie: x\r\nWWW-Authenticate: x\r\nContent-Type: x\r\nIf-Match: x\r\n"
		 "X-Forwarded-For: x\r\nExpect: x\r\nRange: x\r\nCache-Control: x\r\n"
		 "Location: x\r\nVary: x\r\nDate: x\r\nAge: x\r\n\r\n",
		 "0\r\n\r\n"},
		{"0\r\nAgent: x\r\nDated: x\r\nHosts: x\r\nLast-Modified: x\r\n\r\n",
		 "0\r\nAgent: x\r\nDated: x\r\nHosts: x\r\nLast-Modified: x\r\n\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < 2 * LP_COUNT_OF(cases); i++) {
		const char *in = cases[i / 2].in, *want = cases[i / 2].out;
		size_t step = i % 2 ? 1 : strlen(in);
		struct lp_px_buf buf = {0};
		struct lp_px_flow f;

		lp_px_flow_init(&f, LP_PX_BODY_CHUNKED, LP_PX_RAW, 0);
		for (size_t at = 0; at < strlen(in); at += step) {
			char piece[1024];

			(void)snprintf(piece, sizeof(piece), "%.*s", (int)step, in + at);
			fill(&buf, piece);
			assert_int_equal(lp_px_flow_scan(&f, &buf, LP_PX_IN_OPEN, NULL), 0);
		}
		assert_true(f.done);
		assert_int_equal(f.cleared, strlen(want));
		assert_int_equal(lp_px_buf_len(&buf), strlen(want));
		assert_memory_equal(lp_px_buf_at(&buf), want, strlen(want));
		lp_px_buf_finish(&buf);
	}
}

static void trailers__that_stay_behind_take_nothing_else_along(void **state)
{
	static const char want[] = "0\r\nA: 1\r\nB: 2\r\n\r\nGET / HTTP/1.1\r\n";
	struct lp_px_buf buf = {0};
	struct lp_px_flow f;

	(void)state;
	lp_px_flow_init(&f, LP_PX_BODY_CHUNKED, LP_PX_RAW, 0);
	fill(&buf, "0\r\nCookie: a\r\nA: 1\r\nAge: b\r\nHost: c\r\nB: 2\r\nVia: d\r\n\r\n"
		   "GET / HTTP/1.1\r\n");
	assert_int_equal(lp_px_flow_scan(&f, &buf, LP_PX_IN_OPEN, NULL), 0);
	assert_true(f.done);
	assert_int_equal(f.cleared, strlen(want) - strlen("GET / HTTP/1.1\r\n"));
	assert_int_equal(lp_px_buf_len(&buf), strlen(want));
	assert_memory_equal(lp_px_buf_at(&buf), want, strlen(want));
	lp_px_buf_finish(&buf);
}

static void trailers__have_a_bound(void **state)
{
	char line[LP_PX_CHUNK_TRAILER_MAX + 16];
	struct lp_px_buf buf = {0};
	struct lp_px_flow f;

	(void)state;
	memset(line, 'a', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	lp_px_flow_init(&f, LP_PX_BODY_CHUNKED, LP_PX_RAW, 0);
	fill(&buf, "0\r\nA:");
	assert_int_equal(lp_px_flow_scan(&f, &buf, LP_PX_IN_OPEN, NULL), 0);
	assert_int_equal(f.cleared, 3);
	fill(&buf, line);
	assert_int_equal(lp_px_flow_scan(&f, &buf, LP_PX_IN_OPEN, NULL), -EBADMSG);
	lp_px_buf_finish(&buf);
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
		cmocka_unit_test(trailers__that_say_what_headers_say_stay_behind),
		cmocka_unit_test(trailers__that_stay_behind_take_nothing_else_along),
		cmocka_unit_test(trailers__have_a_bound),
		cmocka_unit_test(flow_scan__reframes),
		cmocka_unit_test(flow_scan__reports_an_end_that_comes_too_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
