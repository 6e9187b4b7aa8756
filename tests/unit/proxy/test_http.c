/* tests/unit/proxy/test_http.c: heads found, split and checked. */
#include "proxy/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

static struct lp_px_head head;

static int parse(const char *text)
{
	const char *cause = NULL;
	int status = lp_px_http_parse_request(&head, text, strlen(text), &cause);

	assert_true(status == 0 || (cause && *cause));
	return status;
}

static int parse_response(const char *text, bool to_head)
{
	const char *cause = NULL;

	return lp_px_http_parse_response(&head, text, strlen(text), to_head, &cause);
}

static void assert_span(struct lp_px_span span, const char *text)
{
	assert_int_equal(span.len, strlen(text));
	assert_memory_equal(span.at, text, span.len);
}

static void find_end__is_the_same_however_the_bytes_come(void **state)
{
	static const struct {
		const char *text;
		ptrdiff_t end;
	} cases[] = {
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest", 27},
		{"GET / HTTP/1.1\r\n\r\n", 18},
		{"GET / HTTP/1.1\r\nHost: a\r\n", 0},
		{"GET / HTTP/1.1\r\nHost: a\n\r\n", -EBADMSG},
		{"GET / HTTP/1.1\n\n", -EBADMSG},
		{"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", -EBADMSG},
		{"GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n", -EBADMSG},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_px_scan scan = {0};
		size_t len = strlen(cases[i].text);
		ptrdiff_t end = 0;

		for (size_t n = 1; n <= len && end == 0; n++)
			end = lp_px_http_find_end(&scan, cases[i].text, n);
		assert_int_equal(end, cases[i].end);
		memset(&scan, 0, sizeof(scan));
		assert_int_equal(lp_px_http_find_end(&scan, cases[i].text, len), cases[i].end);
		if (end > 0) /* asking again gives the same */
			assert_int_equal(lp_px_http_find_end(&scan, cases[i].text, len), end);
	}
}

static void parse_request__refuses_the_ambiguous(void **state)
{
#define GET  "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
	static const struct {
		const char *text;
		int status;
	} cases[] = {
		{POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{POST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400},
		{POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
		{POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
		{POST "Content-Length: 1, 1\r\n\r\n", 400},
		{POST "Content-Length: -1\r\n\r\n", 400},
		{POST "Content-Length: +1\r\n\r\n", 400},
		{POST "Content-Length: 0x1\r\n\r\n", 400},
		{POST "Content-Length: 1a\r\n\r\n", 400},
		{POST "Content-Length: 1 1\r\n\r\n", 400},
		{POST "Content-Length:\r\n\r\n", 400},
		{POST "Content-Length: 99999999999999999999\r\n\r\n", 400},
		{POST "Content-Length: 18446744073709551617\r\n\r\n", 400},
		{POST "Transfer-Encoding: xchunked\r\n\r\n", 400},
		{POST "Transfer-Encoding: identity\r\n\r\n", 400},
		{POST "Transfer-Encoding: chunked, identity\r\n\r\n", 400},
		{POST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400},
		{POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
		{POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{POST "Transfer-Encoding : chunked\r\n\r\n", 400},
		{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{GET "Foo : bar\r\n\r\n", 400},
		{GET "Foo bar: x\r\n\r\n", 400},
		{GET "F\x80: x\r\n\r\n", 400},
		{GET ": x\r\n\r\n", 400},
		{GET "Foo\r\n\r\n", 400},
		{GET "Foo: a\rb\r\n\r\n", 400},
		{GET "Foo: a\001b\r\n\r\n", 400},
		{GET "Foo: \021b\r\n\r\n", 400},
		{GET "Foo: a\177b\r\n\r\n", 400},
		{GET "Host: b\r\n\r\n", 400},
		{"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400},
		{"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
		{" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET /a\177 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"NONSENSE / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
		{"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505},
		{"GET / HTTX/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET /\r\n\r\n", 505},
		{"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405},
		{GET "A: b\r\n", 400}, /* no end */
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		int status = parse(cases[i].text);

		if (status != cases[i].status)
			fail_msg("case %zu: %d instead of %d", i, status, cases[i].status);
	}
}

static void parse_request__refuses_nul(void **state)
{
	static const char value[] = GET "A: b\0c\r\n\r\n";
	static const char name[] = GET "A\0: b\r\n\r\n";
	static const char target[] = "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n";
	const char *cause;

	(void)state;
	assert_int_equal(lp_px_http_parse_request(&head, value, sizeof(value) - 1, &cause), 400);
	assert_int_equal(lp_px_http_parse_request(&head, name, sizeof(name) - 1, &cause), 400);
	assert_int_equal(lp_px_http_parse_request(&head, target, sizeof(target) - 1, &cause), 400);
}

static void parse_request__bounds_the_number_of_fields(void **state)
{
	static char text[64 + 8 * (LP_PX_MAX_FIELDS + 1)];
	const char *cause;

	(void)state;
	memcpy(text, GET, sizeof(GET));
	for (int i = 0; i < LP_PX_MAX_FIELDS - 1; i++)
		memcpy(text + strlen(text), "A: b\r\n", 7);
	memcpy(text + strlen(text), "\r\n", 3);
	assert_int_equal(parse(text), 0);
	assert_int_equal(head.n_fields, LP_PX_MAX_FIELDS);
	memcpy(text + strlen(text) - 2, "A: b\r\n\r\n", 9);
	assert_int_equal(lp_px_http_parse_request(&head, text, strlen(text), &cause), 431);
}

static void parse_request__reads_framing_and_persistence(void **state)
{
	static const struct {
		const char *text;
		uint64_t length;
		enum lp_px_body body;
		bool keep_alive;
		bool wants_upgrade;
	} cases[] = {
		{GET "\r\n", 0, LP_PX_BODY_NONE, true, false},
		{GET "Connection: close\r\n\r\n", 0, LP_PX_BODY_NONE, false, false},
		{GET "Connection: Keep-Alive, CLOSE\r\n\r\n", 0, LP_PX_BODY_NONE, false, false},
		{GET "Connection: x\r\nConnection: close\r\n\r\n", 0, LP_PX_BODY_NONE, false,
		 false},
		{"GET / HTTP/1.0\r\n\r\n", 0, LP_PX_BODY_NONE, false, false},
		{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 0, LP_PX_BODY_NONE, true,
		 false},
		{POST "Content-Length: 0\r\n\r\n", 0, LP_PX_BODY_NONE, true, false},
		{POST "content-length:   12  \r\n\r\n", 12, LP_PX_BODY_LENGTH, true, false},
		{POST "Transfer-Encoding: Chunked\r\n\r\n", 0, LP_PX_BODY_CHUNKED, true, false},
		{GET "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", 0, LP_PX_BODY_NONE, true,
		 true},
		{GET "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 0, LP_PX_BODY_NONE, true,
		 false},
		{GET "Upgrade: websocket\r\n\r\n", 0, LP_PX_BODY_NONE, true, false},
		{POST "Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\n", 1,
		 LP_PX_BODY_LENGTH, true, false},
		{"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", 0, LP_PX_BODY_NONE,
		 false, false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		assert_int_equal(parse(cases[i].text), 0);
		assert_int_equal(head.body, cases[i].body);
		assert_int_equal(head.length, cases[i].length);
		assert_int_equal(head.keep_alive, cases[i].keep_alive);
		assert_int_equal(head.wants_upgrade, cases[i].wants_upgrade);
	}
}

static void parse_request__splits_the_target(void **state)
{
	static const struct {
		const char *line;
		const char *path;
		const char *host;
	} cases[] = {
		{"GET /a?b=c HTTP/1.1", "/a?b=c", "a"},
		{"GET http://Other:81/x?y HTTP/1.1", "/x?y", "Other:81"},
		{"GET HTTP://other HTTP/1.1", "/", "other"},
		{"OPTIONS * HTTP/1.1", "*", "a"},
		{"GET /\xc3\xa4 HTTP/1.1", "/\xc3\xa4", "a"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		char text[128];

		memcpy(text, cases[i].line, strlen(cases[i].line) + 1);
		memcpy(text + strlen(text), "\r\nHost: a\r\n\r\n", 14);
		assert_int_equal(parse(text), 0);
		assert_span(head.path, cases[i].path);
		assert_span(head.host, cases[i].host);
	}
}

static void parse_request__marks_fields_for_one_hop(void **state)
{
	static const struct {
		const char *name;
		bool hop;
	} want[] = {{"Host", false},           {"Connection", true}, {"X-Drop", true},
		    {"X-Keep", false},         {"Keep-Alive", true}, {"Proxy-Authorization", true},
		    {"Proxy", true},           {"TE", true},         {"Content-Length", false},
		    {"X-Forwarded-For", false}};

	(void)state;
	assert_int_equal(parse("POST / HTTP/1.1\r\nHost: a\r\n"
			       "Connection: x-drop, host, content-length, x-forwarded-for\r\n"
			       "X-Drop: 1\r\nX-Keep: 1\r\nKeep-Alive: 5\r\n"
			       "Proxy-Authorization: x\r\nProxy: http://x\r\nTE: trailers\r\n"
			       "Content-Length: 1\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"),
			 0);
	assert_int_equal(head.n_fields, LP_COUNT_OF(want));
	for (size_t i = 0; i < LP_COUNT_OF(want); i++) {
		assert_span(head.fields[i].name, want[i].name);
		assert_int_equal(head.fields[i].hop, want[i].hop);
	}
}

static void parse_request__knows_methods_that_may_run_twice(void **state)
{
	(void)state;
	assert_int_equal(parse(GET "\r\n"), 0);
	assert_true(head.is_safe && !head.is_head);
	assert_int_equal(parse("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
	assert_true(head.is_safe && head.is_head);
	assert_int_equal(parse(POST "\r\n"), 0);
	assert_false(head.is_safe);
	assert_int_equal(parse("PATCH / HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
	assert_false(head.is_safe);
}

static void parse_response__frames_the_body(void **state)
{
	static const struct {
		const char *text;
		enum lp_px_body body;
		bool to_head;
		bool keep_alive;
	} cases[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", LP_PX_BODY_LENGTH, false, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", LP_PX_BODY_NONE, false, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", LP_PX_BODY_NONE, true, true},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", LP_PX_BODY_CHUNKED, false,
		 true},
		{"HTTP/1.1 200 OK\r\n\r\n", LP_PX_BODY_CLOSE, false, true},
		{"HTTP/1.1 200\r\n\r\n", LP_PX_BODY_CLOSE, false, true},
		{"HTTP/1.0 200 OK\r\n\r\n", LP_PX_BODY_CLOSE, false, false},
		{"HTTP/1.1 204 No Content\r\n\r\n", LP_PX_BODY_NONE, false, true},
		{"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", LP_PX_BODY_NONE, false,
		 true},
		{"HTTP/1.1 100 Continue\r\n\r\n", LP_PX_BODY_NONE, false, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
		 LP_PX_BODY_LENGTH, false, false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		assert_int_equal(parse_response(cases[i].text, cases[i].to_head), 0);
		assert_int_equal(head.body, cases[i].body);
		assert_int_equal(head.keep_alive, cases[i].keep_alive);
	}
}

static void parse_response__refuses_the_ambiguous(void **state)
{
	static const char *const texts[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
		"HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/1.1 2000 OK\r\n\r\n",
		"HTTP/2.0 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
		"HTTP/1.1 200 O\001K\r\n\r\n",
		"HTTX/1.1 200 OK\r\n\r\n",
		"garbage\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
		if (parse_response(texts[i], false) != -EBADMSG)
			fail_msg("accepted case %zu", i);
	}
}

static void list_next__takes_elements_apart(void **state)
{
	struct lp_px_span list = {" a , b\t,,c", 10};
	static const char *const want[] = {"a", "b", "", "c"};
	struct lp_px_span e;

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(want); i++) {
		assert_true(lp_px_list_next(&list, &e));
		assert_span(e, want[i]);
	}
	assert_false(lp_px_list_next(&list, &e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(find_end__is_the_same_however_the_bytes_come),
		cmocka_unit_test(parse_request__refuses_the_ambiguous),
		cmocka_unit_test(parse_request__refuses_nul),
		cmocka_unit_test(parse_request__bounds_the_number_of_fields),
		cmocka_unit_test(parse_request__reads_framing_and_persistence),
		cmocka_unit_test(parse_request__splits_the_target),
		cmocka_unit_test(parse_request__marks_fields_for_one_hop),
		cmocka_unit_test(parse_request__knows_methods_that_may_run_twice),
		cmocka_unit_test(parse_response__frames_the_body),
		cmocka_unit_test(parse_response__refuses_the_ambiguous),
		cmocka_unit_test(list_next__takes_elements_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
