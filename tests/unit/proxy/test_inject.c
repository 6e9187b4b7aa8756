/* tests/unit/proxy/test_inject.c: a script element in pages that stream through. */
#include "proxy/inject.h"
#include "proxy/rewrite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TAG "<T>"

static void put(struct lp_px_buf *b, const char *bytes, size_t len)
{
	assert_int_equal(lp_px_buf_reserve(b, len, 2 * LP_PX_BULK_BYTES), 0);
	lp_px_buf_put(b, bytes, len);
}

/* What a response's body is on one side. */
struct shape {
	enum lp_px_body kind;
	enum lp_px_form form;
	bool chunked_in;
	bool chunked_out;
};

static const struct shape shapes[] = {
	{LP_PX_BODY_LENGTH, LP_PX_RAW, false, false},
	{LP_PX_BODY_CHUNKED, LP_PX_RAW, true, true},
	{LP_PX_BODY_CHUNKED, LP_PX_DECHUNK, true, false},
	{LP_PX_BODY_CLOSE, LP_PX_RAW, false, false},
	{LP_PX_BODY_CLOSE, LP_PX_ENCHUNK, false, true},
};

/* The page as the upstream sends it, in chunks of at most `piece` bytes. */
static void frame(struct lp_px_buf *wire, const char *page, size_t piece, bool chunked)
{
	size_t len = strlen(page);

	if (!chunked) {
		put(wire, page, len);
		return;
	}
	for (size_t at = 0; at < len; at += piece) {
		size_t n = len - at < piece ? len - at : piece;
		char line[16];

		put(wire, line, (size_t)snprintf(line, sizeof(line), "%zx\r\n", n));
		put(wire, page + at, n);
		put(wire, "\r\n", 2);
	}
	put(wire, "0\r\nX-Trailer: 1\r\n\r\n", 19);
}

/* The content of what went out; fails when its chunks are none. */
static void unframe(struct lp_px_buf *content, struct lp_px_buf *wire, bool chunked)
{
	struct lp_px_flow f;

	if (!chunked) {
		put(content, lp_px_buf_at(wire), lp_px_buf_len(wire));
		return;
	}
	lp_px_flow_init(&f, LP_PX_BODY_CHUNKED, LP_PX_DECHUNK, 0);
	assert_int_equal(lp_px_flow_scan(&f, wire, LP_PX_IN_OPEN, content), 0);
	assert_true(f.done);
	assert_int_equal(lp_px_buf_len(wire), 0);
}

/* Lets what the flow cleared of `in` go out, as the exchange does. */
static void send_cleared(struct lp_px_flow *f, struct lp_px_buf *in, struct lp_px_buf *out)
{
	put(out, lp_px_buf_at(in), f->cleared);
	lp_px_buf_drop(in, f->cleared);
	f->cleared = 0;
}

/* Sends a page through, `step` bytes at a time, and compares the outcome. */
static void through(const struct shape *s, const char *page, const char *expected, size_t step,
		    size_t piece)
{
	struct lp_px_buf wire = {0}, in = {0}, out = {0}, content = {0};
	struct lp_px_inject j = {.tag = lp_px_tag_create(TAG)};
	struct lp_px_head head = {.status = 200, .body = s->kind, .length = strlen(page)};
	struct lp_px_flow f;

	head.fields[0] = (struct lp_px_field){.name = {"Content-Type", 12},
					      .value = {"text/html", 9},
					      .id = LP_PX_F_CONTENT_TYPE};
	head.n_fields = 1;
	frame(&wire, page, piece, s->chunked_in);
	assert_true(lp_px_inject_begin(&j, &head));
	lp_px_flow_init(&f, s->kind, s->form, strlen(page));
	while (!f.done) {
		size_t n = lp_px_buf_len(&wire) < step ? lp_px_buf_len(&wire) : step;
		enum lp_px_input state = n ? LP_PX_IN_OPEN : LP_PX_IN_EOF;

		put(&in, lp_px_buf_at(&wire), n);
		lp_px_buf_drop(&wire, n);
		assert_int_equal(j.active ? lp_px_inject_scan(&j, &f, &in, state, &out)
					  : lp_px_flow_scan(&f, &in, state, &out),
				 0);
		send_cleared(&f, &in, &out);
	}
	unframe(&content, &out, s->chunked_out);
	put(&content, "", 1);
	if (strcmp(lp_px_buf_at(&content), expected) != 0)
		fail_msg("kind %d, form %d, step %zu: '%s', not '%s'", (int)s->kind, (int)s->form,
			 step, lp_px_buf_at(&content), expected);
	lp_px_buf_finish(&wire);
	lp_px_buf_finish(&in);
	lp_px_buf_finish(&out);
	lp_px_buf_finish(&content);
	lp_px_inject_finish(&j);
}

/* Where the text goes, marked by '@'. */
static const char *const pages[] = {
	"<!DOCTYPE html><html lang=en><head>@<title>x</title></head><body></body></html>",
	"<HTML><HEAD data-x=\"a>b\" y='>'>@<TITLE>x</TITLE>",
	"<html><head/>@<body>",
	"\xef\xbb\xbf<!-- <head> --><head>@</head>",
	"<!--><head>@", /* a comment that ends at once (HTML, 13.2.5.43) */
	"<!---><head>@",
	"<!-- a --!><head>@",
	"<!-- a -- > <head> --- --><head>@",
	"<!doctype html>\n@<p>no head",
	"<html>@<body>no head</body>",
	"<html>@<header>is no head</header>",
	"<html>@<hea>",
	"<html>@<heading>",
	"@</p>",
	"a < b and c <3 d@",
	"plain text@",
	"<?xml version='1.0'?><html><head\n>@",
	"<<head>@",
	"<@",
	"<hea@",
	"<!@",
	"<!-@",
	"<!-- never ends <head>@",
	"<head never ends@",
	"<!x><head>@",
	"<!><head>@",
};

static void inject_scan__finds_the_place_however_it_comes(void **state)
{
	static const size_t steps[] = {1, 2, 3, 7, 4096};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(pages); i++) {
		char page[128] = "", expected[160];
		const char *mark = strchr(pages[i], '@');

		(void)snprintf(page, sizeof(page), "%.*s%s", (int)(mark - pages[i]), pages[i],
			       mark + 1);
		(void)snprintf(expected, sizeof(expected), "%.*s" TAG "%s", (int)(mark - pages[i]),
			       pages[i], mark + 1);
		for (size_t s = 0; s < LP_COUNT_OF(shapes); s++)
			for (size_t k = 0; k < LP_COUNT_OF(steps); k++) {
				through(&shapes[s], page, expected, steps[k], 4096);
				through(&shapes[s], page, expected, steps[k], 3);
			}
	}
}

/* Memory stays the same however long a page without an element is. */
static void inject_scan__streams_what_never_ends(void **state)
{
	struct lp_px_inject j = {.tag = lp_px_tag_create(TAG), .active = true};
	struct lp_px_buf in = {0}, out = {0};
	struct lp_px_flow f;
	char text[4096];

	(void)state;
	memset(text, 'x', sizeof(text));
	lp_px_flow_init(&f, LP_PX_BODY_CLOSE, LP_PX_ENCHUNK, 0);
	for (int i = 0; i < 1000; i++) {
		put(&in, text, sizeof(text));
		assert_int_equal(lp_px_inject_scan(&j, &f, &in, LP_PX_IN_OPEN, &out), 0);
		assert_int_equal(lp_px_buf_len(&in), 0);
		lp_px_buf_drop(&out, lp_px_buf_len(&out));
	}
	assert_true(out.cap <= LP_PX_BULK_BYTES);
	lp_px_buf_finish(&in);
	lp_px_buf_finish(&out);
	lp_px_inject_finish(&j);
}

static void inject_scan__reports_what_is_cut(void **state)
{
	struct lp_px_inject j = {.tag = lp_px_tag_create(TAG), .active = true};
	struct lp_px_buf in = {0}, out = {0};
	struct lp_px_flow f;

	(void)state;
	lp_px_flow_init(&f, LP_PX_BODY_LENGTH, LP_PX_RAW, 100);
	put(&in, "abc", 3);
	assert_int_equal(lp_px_inject_scan(&j, &f, &in, LP_PX_IN_EOF, &out), -EPIPE);
	lp_px_flow_init(&f, LP_PX_BODY_CHUNKED, LP_PX_RAW, 0);
	put(&in, "zz\r\n", 4);
	assert_int_equal(lp_px_inject_scan(&j, &f, &in, LP_PX_IN_OPEN, &out), -EBADMSG);
	lp_px_buf_finish(&in);
	lp_px_buf_finish(&out);
	lp_px_inject_finish(&j);
}

static void inject_wants__plain_gets_of_pages(void **state)
{
	static const struct {
		const char *request;
		bool wants;
	} cases[] = {
		{"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html,*/*\r\n\r\n", true},
		{"GET / HTTP/1.1\r\nHost: a\r\naccept: a/b, TEXT/HTML;q=0.9\r\n\r\n", true},
		{"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n", false},
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"HEAD / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n", false},
		{"POST / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nContent-Length: 0\r\n\r\n",
		 false},
		{"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nRange: bytes=0-1\r\n\r\n",
		 false},
		{"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nConnection: Upgrade\r\n"
		 "Upgrade: websocket\r\n\r\n",
		 false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_px_head head;
		const char *cause = "";

		assert_int_equal(lp_px_http_parse_request(&head, cases[i].request,
							  strlen(cases[i].request), &cause),
				 0);
		if (lp_px_inject_wants(&head) != cases[i].wants)
			fail_msg("case %zu", i);
	}
}

static void inject_begin__takes_whole_plain_pages_only(void **state)
{
	static const struct {
		const char *fields;
		bool takes;
	} cases[] = {
		{"200 OK\r\nContent-Type: text/html\r\nContent-Length: 5", true},
		{"200 OK\r\ncontent-type: TEXT/HTML; charset=utf-8", true},
		{"200 OK\r\nContent-Type: text/html\r\nContent-Encoding: identity", true},
		{"200 OK\r\nContent-Type: text/html\r\n"
		 "Content-Security-Policy: default-src 'self'",
		 true},
		{"200 OK\r\nContent-Type: text/html; charset=UTF-16LE", false},
		{"200 OK\r\nContent-Type: text/htmlx", false},
		{"200 OK\r\nContent-Type: text/plain", false},
		{"200 OK", false},
		{"200 OK\r\nContent-Type: text/html\r\nContent-Length: 0", false},
		{"200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip", false},
		{"200 OK\r\nContent-Type: text/html\r\n"
		 "Content-Security-Policy: script-src 'nonce-r4nd0m'",
		 false},
		{"200 OK\r\nContent-Type: text/html\r\n"
		 "content-security-policy: script-src 'sha256-abc'",
		 false},
		{"200 OK\r\nContent-Type: text/html\r\n"
		 "Content-Disposition: attachment; filename=a.html",
		 false},
		{"206 Partial Content\r\nContent-Type: text/html\r\n"
		 "Content-Range: bytes 0-1/9",
		 false},
		{"304 Not Modified\r\nContent-Type: text/html", false},
		{"404 Not Found\r\nContent-Type: text/html", false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_px_inject j = {.tag = lp_px_tag_create(TAG)};
		struct lp_px_head head;
		const char *cause = "";
		char text[256];
		int len = snprintf(text, sizeof(text), "HTTP/1.1 %s\r\n\r\n", cases[i].fields);

		assert_int_equal(lp_px_http_parse_response(&head, text, (size_t)len, false, &cause),
				 0);
		if (lp_px_inject_begin(&j, &head) != cases[i].takes)
			fail_msg("case %zu: %s", i, cases[i].fields);
		lp_px_inject_finish(&j);
		assert_false(lp_px_inject_begin(&j, &head)); /* nothing was asked for */
	}
}

static void rewrite__says_what_is_true_of_the_changed_page(void **state)
{
	static const char response[] = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
				       "Content-Length: 10\r\nETag: \"x\"\r\n"
				       "Last-Modified: yesterday\r\nAccept-Ranges: bytes\r\n"
				       "Cache-Control: max-age=5\r\n\r\n";
	static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n"
				      "Accept-Encoding: gzip, br\r\n\r\n";
	const struct lp_px_reply reply = {.client_minor = 1, .keep_alive = true, .injected = 3};
	const struct lp_px_origin origin = {.ip = "", .identity = true};
	struct lp_px_buf out = {0};
	struct lp_px_head head;
	const char *cause = "";

	(void)state;
	assert_int_equal(
		lp_px_http_parse_response(&head, response, sizeof(response) - 1, false, &cause), 0);
	assert_int_equal(lp_px_rewrite_response(&out, &head, &reply), 0);
	put(&out, "", 1);
	assert_string_equal(lp_px_buf_at(&out),
			    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
			    "Cache-Control: max-age=5\r\nContent-Length: 13\r\n\r\n");
	lp_px_buf_drop(&out, lp_px_buf_len(&out));
	assert_int_equal(lp_px_http_parse_request(&head, request, sizeof(request) - 1, &cause), 0);
	assert_int_equal(lp_px_rewrite_request(&out, &head, &origin), 0);
	put(&out, "", 1);
	assert_non_null(strstr(lp_px_buf_at(&out), "\r\nAccept-Encoding: identity\r\n"));
	assert_null(strstr(lp_px_buf_at(&out), "gzip"));
	lp_px_buf_finish(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inject_scan__finds_the_place_however_it_comes),
		cmocka_unit_test(inject_scan__streams_what_never_ends),
		cmocka_unit_test(inject_scan__reports_what_is_cut),
		cmocka_unit_test(inject_wants__plain_gets_of_pages),
		cmocka_unit_test(inject_begin__takes_whole_plain_pages_only),
		cmocka_unit_test(rewrite__says_what_is_true_of_the_changed_page),
	};

	lp_px_http_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
