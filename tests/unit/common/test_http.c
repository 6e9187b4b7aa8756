/* test_http.c: plain HTTP requests beside WebSockets: bodies, answers at once and later, streams,
 * and peers that go away or do not read. Server and client take turns in one thread. */
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "common/loop/http.h"
#include "common/loop/loop_internal.h"
#include "common/loop/ws.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#define DEADLINE_US 30000000u
#define BODY_MAX    1000

static struct lp_loop *loop;
static struct lp_timer tick;
static char name[64];
static struct lp_http *held; /* a request that is answered later */
static unsigned n_heads, n_requests, n_gone;
static struct lp_buf seen; /* the last body */

static void on_gone(struct lp_http *h, void *user)
{
	assert_ptr_equal(user, &held);
	assert_ptr_equal(held, h);
	held = NULL;
	n_gone++;
}

static size_t on_head(void *ctx, struct lp_http *h)
{
	(void)ctx;
	n_heads++;
	if (strcmp(lp_http_path(h), "/no") == 0)
		lp_http_say(h, 403, "no");
	return BODY_MAX;
}

static void on_request(void *ctx, struct lp_http *h)
{
	const struct lp_buf *body = lp_http_body(h);
	char value[32] = "-";

	(void)ctx;
	n_requests++;
	lp_buf_finish(&seen);
	assert_int_equal(lp_buf_add(&seen, body->len ? body->data : (const uint8_t *)"", body->len),
			 0);
	if (strcmp(lp_http_path(h), "/held") == 0 || strcmp(lp_http_path(h), "/stream") == 0) {
		held = h;
		lp_http_on_gone(h, on_gone, &held);
		if (strcmp(lp_http_path(h), "/stream") == 0)
			lp_http_stream(h, 200, "text/event-stream");
	} else if (strcmp(lp_http_path(h), "/query") == 0) {
		(void)lp_http_parameter(h, "b", value, sizeof(value));
		lp_http_say(h, 200, value);
	} else if (strcmp(lp_http_path(h), "/cookie") == 0) {
		(void)lp_http_cookie(h, "b", value, sizeof(value));
		lp_http_say(h, 200, value);
	} else {
		lp_http_set(h, "x-seen", "a\r\nb");
		lp_http_answer(h, 200, "text/plain", body->data, body->len);
		lp_http_say(h, 500, "a second answer is none");
	}
}

static void on_tick(struct lp_timer *timer)
{
	lp_timer_set(loop, timer, lp_now_us() + 2000);
}

static const struct lp_ws_ops *refuse(void *ctx, struct lp_ws *ws, void **user)
{
	(void)ctx;
	(void)ws;
	(void)user;
	return NULL;
}

static int setup(void **state)
{
	const struct lp_ws_serve_opts opts = {.abstract_name = name,
					      .on_accept = refuse,
					      .on_head = on_head,
					      .on_request = on_request};

	(void)state;
	(void)snprintf(name, sizeof(name), "lp-test-http-%d-%llu", (int)getpid(),
		       (unsigned long long)lp_now_us());
	n_heads = n_requests = n_gone = 0;
	assert_int_equal(lp_loop_create(&loop, NULL), 0);
	assert_int_equal(lp_ws_serve(loop, &opts, NULL), 0);
	tick = (struct lp_timer){.on_fire = on_tick};
	on_tick(&tick);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lp_timer_clear(&tick);
	lp_loop_destroy(loop);
	lp_buf_finish(&seen);
	return 0;
}

static void step(void)
{
	assert_int_equal(loop->driver->service(loop), 0);
}

static int dial(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(to.sun_path + 1, name, strlen(name));
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, len), 0);
	return fd;
}

static void say(int fd, const char *data, size_t len)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;

	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		assert_true(lp_now_us() < deadline_us);
		assert_true(n > 0 || errno == EAGAIN);
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
		step();
	}
}

/* Reads until text has come, or the end of the connection when it is NULL. Owned. */
static char *hear(int fd, const char *text)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;
	struct lp_buf all = {0};
	char piece[4096];

	for (;;) {
		ssize_t n = recv(fd, piece, sizeof(piece), 0);

		assert_true(lp_now_us() < deadline_us);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			break;
		if (n > 0)
			assert_int_equal(lp_buf_add(&all, piece, (size_t)n), 0);
		if (text && all.len > 0 && strstr(lp_buf_text(&all), text))
			break;
		step();
	}
	assert_non_null(lp_buf_text(&all));
	return (char *)all.data;
}

static void expect(int fd, const char *text)
{
	char *answer = hear(fd, text);

	if (!strstr(answer, text))
		fail_msg("'%s' in '%s'", text, answer);
	free(answer);
}

static void wait_gone(unsigned n)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;

	while (n_gone < n) {
		assert_true(lp_now_us() < deadline_us);
		step();
	}
	assert_int_equal(n_gone, n);
}

#define SAY(fd, text) say(fd, text, sizeof(text) - 1)

static void request__brings_its_body(void **state)
{
	static const char request[] =
		"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345";
	int fd = dial();

	(void)state;
	SAY(fd, request);
	expect(fd, "\r\n\r\n12345");
	for (size_t i = 0; i < sizeof(request) - 1; i++)
		say(fd, request + i, 1);
	expect(fd, "\r\n\r\n12345");
	assert_int_equal(seen.len, 5);
	assert_int_equal(n_requests, 2);
	(void)close(fd);
}

static void request__says_no_more_than_it_may(void **state)
{
	int fd = dial();

	(void)state;
	SAY(fd, "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n");
	for (int i = 0; i < 1001; i++)
		SAY(fd, "x");
	expect(fd, "413");
	/* What nobody wanted was read, so the connection goes on. */
	SAY(fd, "POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
	expect(fd, "403");
	assert_int_equal(n_requests, 0);
	SAY(fd, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
	expect(fd, "200");
	(void)close(fd);
}

static void request__without_a_known_length_ends_the_connection(void **state)
{
	static const struct {
		const char *request, *status;
	} cases[] = {
		{"POST /x HTTP/1.1\r\nHost: a\r\n\r\nGET /no HTTP/1.1\r\nHost: a\r\n\r\n", "200"},
		{"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		 "chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
		 "411"},
		{"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\nxxx", "413"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		int fd = dial();
		char *answer;

		say(fd, cases[i].request, strlen(cases[i].request));
		answer = hear(fd, NULL);
		if (!strstr(answer, cases[i].status) || !strstr(answer, "connection: close") ||
		    strstr(answer, "403"))
			fail_msg("%s: '%s'", cases[i].request, answer);
		free(answer);
		(void)close(fd);
	}
}

static void request__that_nobody_wants_holds_no_connection(void **state)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US, next_us = 0;
	int fd = dial();
	char *answer, byte;

	(void)state;
	SAY(fd, "POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
	/* Its body goes on coming, but slowly. */
	while (recv(fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN) {
		assert_true(lp_now_us() < deadline_us);
		if (lp_now_us() >= next_us) {
			SAY(fd, "x");
			next_us = lp_now_us() + 100000;
		}
		step();
	}
	answer = hear(fd, NULL);
	if (!strstr(answer, "403") || !strstr(answer, "connection: close"))
		fail_msg("'%s'", answer);
	free(answer);
	(void)close(fd);
}

static void request__that_nobody_wants_is_waited_for_in_few_places(void **state)
{
	static const char head[] = "POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
	int fds[65];
	char byte;

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(fds); i++) {
		fds[i] = dial();
		say(fds[i], head, sizeof(head) - 1);
		while (n_heads <= i)
			step();
	}
	expect(fds[64], "connection: close");
	assert_int_equal(recv(fds[0], &byte, 1, MSG_PEEK), -1); /* those before it still wait */
	SAY(fds[0], "abc");
	expect(fds[0], "403");
	(void)close(fds[64]);
	fds[64] = dial();
	say(fds[64], head, sizeof(head) - 1);
	SAY(fds[64], "abc");
	expect(fds[64], "content-length: 3\r\n\r\nno"); /* to its end: there is a place */
	for (size_t i = 0; i < LP_COUNT_OF(fds); i++)
		(void)close(fds[i]);
}

static void request__has_parameters_and_cookies(void **state)
{
	static const struct {
		const char *request, *value;
	} cases[] = {
		{"GET /query?a=1&b=2&c=3 HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\n2\n"},
		{"GET /query?xb=1&b=&b=2 HTTP/1.1\r\nHost: a\r\n\r\n", "content-length: 0"},
		{"GET /query?bb=1&b HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\n-\n"},
		{"GET /query HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\n-\n"},
		{"GET /query?b=0123456789012345678901234567890123456789 HTTP/1.1\r\nHost: "
		 "a\r\n\r\n",
		 "\r\n\r\n-\n"},
		{"GET /cookie HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=2; c=3\r\n\r\n", "\r\n\r\n2\n"},
		{"GET /cookie HTTP/1.1\r\nHost: a\r\nCookie: ab=1;b=2\r\n\r\n", "\r\n\r\n2\n"},
		{"GET /cookie HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\n-\n"},
	};
	int fd = dial();

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		say(fd, cases[i].request, strlen(cases[i].request));
		expect(fd, cases[i].value);
	}
	(void)close(fd);
}

static void answer__may_come_later(void **state)
{
	int fd = dial();

	(void)state;
	for (unsigned i = 1; i <= 3; i++) {
		SAY(fd, "GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
		while (!held)
			step();
		lp_http_say(held, 200, "late");
		expect(fd, "late");
		wait_gone(i);
	}
	/* The head's lines are what they were given as, on one line each. */
	SAY(fd, "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
	expect(fd, "x-seen: a??b\r\n");
	(void)close(fd);
}

static void answer__that_nobody_waits_for_is_told(void **state)
{
	int fd = dial();

	(void)state;
	SAY(fd, "GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
	while (!held)
		step();
	(void)close(fd);
	wait_gone(1);
	assert_null(held);
}

static void stream__goes_on_until_its_end(void **state)
{
	int fd = dial();

	(void)state;
	SAY(fd, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
	expect(fd, "\r\n\r\n");
	assert_int_equal(lp_http_send(held, "one", 3), 0);
	expect(fd, "one");
	assert_int_equal(lp_http_send(held, "two", 3), 0);
	assert_int_equal(lp_http_send(held, "three", 5), 0);
	lp_http_end(held);
	expect(fd, "twothree");
	free(hear(fd, NULL));
	wait_gone(1);
	(void)close(fd);
}

static void stream__is_cut_when_nobody_reads(void **state)
{
	char *piece = lp_xcalloc(1, 100000);
	int fd = dial(), r = 0;

	(void)state;
	SAY(fd, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
	while (!held)
		step();
	for (int i = 0; i < 1000 && r == 0; i++) {
		r = lp_http_send(held, piece, 100000);
		step();
	}
	assert_int_equal(r, -ENOBUFS);
	wait_gone(1);
	free(piece);
	(void)close(fd);
}

static void stream__keeps_no_more_than_its_bound(void **state)
{
	static char piece[1000];

	(void)state;
	for (unsigned i = 1; i <= 2; i++) {
		int fd = dial();

		SAY(fd, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
		while (!held)
			step();
		lp_http_bound(held, sizeof(piece));
		assert_int_equal(lp_http_send(held, piece, sizeof(piece)), 0);
		if (i == 1)
			assert_int_equal(lp_http_send(held, piece, 1), -ENOBUFS);
		else
			lp_http_cut(held);
		assert_non_null(held);
		wait_gone(i);
		assert_null(held);
		(void)close(fd);
	}
}

static void loop_destroy__ends_what_is_open(void **state)
{
	int held_fd, stream_fd = dial();

	(void)state;
	SAY(stream_fd, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
	while (!held)
		step();
	held_fd = dial();
	SAY(held_fd, "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12");
	while (n_heads < 2)
		step();
	lp_timer_clear(&tick);
	lp_loop_destroy(loop);
	assert_int_equal(n_gone, 1);
	assert_int_equal(lp_loop_create(&loop, NULL), 0); /* for teardown */
	(void)close(stream_fd);
	(void)close(held_fd);
}

#define HTTP_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HTTP_TEST(request__brings_its_body),
		HTTP_TEST(request__says_no_more_than_it_may),
		HTTP_TEST(request__without_a_known_length_ends_the_connection),
		HTTP_TEST(request__that_nobody_wants_holds_no_connection),
		HTTP_TEST(request__that_nobody_wants_is_waited_for_in_few_places),
		HTTP_TEST(request__has_parameters_and_cookies),
		HTTP_TEST(answer__may_come_later),
		HTTP_TEST(answer__that_nobody_waits_for_is_told),
		HTTP_TEST(stream__goes_on_until_its_end),
		HTTP_TEST(stream__is_cut_when_nobody_reads),
		HTTP_TEST(stream__keeps_no_more_than_its_bound),
		HTTP_TEST(loop_destroy__ends_what_is_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
