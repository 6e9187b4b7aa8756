/* tests/unit/proxy/test_rewrite.c: heads as they are passed on, and the proxy's own answers. */
#include "proxy/rewrite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static struct lp_px_head head;

static void assert_buf(struct lp_px_buf *b, const char *text)
{
	assert_int_equal(lp_px_buf_reserve(b, 1, LP_PX_TUNNEL_BYTES), 0);
	b->data[b->end] = '\0';
	assert_string_equal(lp_px_buf_at(b), text);
	lp_px_buf_finish(b);
}

static void rewrite_request__sets_framing_and_origin(void **state)
{
	static const struct {
		const char *in;
		const char *ip;
		const char *out;
	} cases[] = {
		{"GET /a?b HTTP/1.1\r\nHost: x:1\r\nAccept: */*\r\nConnection: close, X-Hop\r\n"
		 "X-Hop: 1\r\n\r\n",
		 "10.0.0.1",
		 "GET /a?b HTTP/1.1\r\nHost: x:1\r\nAccept: */*\r\nX-Forwarded-For: 10.0.0.1\r\n"
		 "X-Forwarded-Proto: http\r\nX-Forwarded-Host: x:1\r\n\r\n"},
		{"POST / HTTP/1.1\r\nhost: x\r\nX-Forwarded-For: 1.1.1.1\r\n"
		 "X-Forwarded-For: 2.2.2.2, 3.3.3.3\r\nX-Forwarded-Proto: https\r\n"
		 "X-Forwarded-Host: outer\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n",
		 "::1",
		 "POST / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\n"
		 "X-Forwarded-Host: outer\r\nTransfer-Encoding: chunked\r\n"
		 "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, ::1\r\n\r\n"},
		{"GET http://real/x HTTP/1.1\r\nHost: fake\r\nConnection: Upgrade\r\n"
		 "Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
		 "",
		 "GET /x HTTP/1.1\r\nHost: real\r\nSec-WebSocket-Key: k\r\nConnection: Upgrade\r\n"
		 "Upgrade: websocket\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: real\r\n\r\n"},
		{"GET / HTTP/1.0\r\n\r\n", "1.2.3.4",
		 "GET / HTTP/1.1\r\nHost: \r\nX-Forwarded-For: 1.2.3.4\r\n"
		 "X-Forwarded-Proto: http\r\n\r\n"},
		{"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
		 "Upgrade: h2c\r\nHTTP2-Settings: abc\r\n\r\n",
		 "",
		 "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: http\r\n"
		 "X-Forwarded-Host: x\r\n\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_px_origin origin = {.ip = cases[i].ip};
		struct lp_px_buf out = {0};
		const char *cause;

		assert_int_equal(
			lp_px_http_parse_request(&head, cases[i].in, strlen(cases[i].in), &cause),
			0);
		assert_int_equal(lp_px_rewrite_request(&out, &head, &origin), 0);
		assert_buf(&out, cases[i].out);
	}
}

static void rewrite_response__sets_framing_and_persistence(void **state)
{
	static const struct {
		const char *in;
		struct lp_px_reply reply;
		const char *out;
	} cases[] = {
		{"HTTP/1.1 200 Fine\r\nContent-Length: 3\r\nConnection: close\r\n"
		 "Keep-Alive: 3\r\nA: b\r\n\r\n",
		 {.client_minor = 1, .keep_alive = true},
		 "HTTP/1.1 200 Fine\r\nContent-Length: 3\r\nA: b\r\n\r\n"},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		 {.client_minor = 1, .chunked = true},
		 "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"HTTP/1.0 404\r\nContent-Length: 0\r\n\r\n",
		 {.client_minor = 0, .keep_alive = true},
		 "HTTP/1.1 404 \r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"},
		{"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: ws\r\nX: y\r\n\r\n",
		 {.client_minor = 1, .upgrade = true},
		 "HTTP/1.1 101 Switching\r\nX: y\r\nConnection: Upgrade\r\nUpgrade: ws\r\n\r\n"},
		{"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
		 {.client_minor = 1},
		 "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_px_buf out = {0};
		const char *cause;

		assert_int_equal(lp_px_http_parse_response(&head, cases[i].in, strlen(cases[i].in),
							   false, &cause),
				 0);
		assert_int_equal(lp_px_rewrite_response(&out, &head, &cases[i].reply), 0);
		assert_buf(&out, cases[i].out);
	}
}

static void rewrite_answer__names_cause_and_text(void **state)
{
	static const struct {
		struct lp_px_answer answer;
		const char *out;
	} cases[] = {
		{{.status = 503,
		  .cause = "not ready",
		  .client_minor = 1,
		  .keep_alive = true,
		  .retry = true},
		 "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
		 "Content-Length: 20\r\nX-Livepush-Error: not ready\r\nRetry-After: 1\r\n\r\n"
		 "Service Unavailable\n"},
		{{.status = 502,
		  .cause = "closed",
		  .text = "the app closed",
		  .client_minor = 1,
		  .to_head = true},
		 "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain; charset=utf-8\r\n"
		 "Content-Length: 15\r\nX-Livepush-Error: closed\r\nConnection: close\r\n\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_px_buf out = {0};

		assert_int_equal(lp_px_rewrite_answer(&out, &cases[i].answer), 0);
		assert_buf(&out, cases[i].out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rewrite_request__sets_framing_and_origin),
		cmocka_unit_test(rewrite_response__sets_framing_and_persistence),
		cmocka_unit_test(rewrite_answer__names_cause_and_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
