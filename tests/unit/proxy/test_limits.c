/* tests/unit/proxy/test_limits.c: clients that are slow, idle or too many, limits that change, and
 * what an answer of the proxy's own looks like. */
#include "harness.h"
#include "harness_io.h"

#include "common/base/lp_fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: test\r\n\r\n"

static struct up up;

static int set_up(void **state)
{
	(void)state;
	up_start(&up, "one", NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	up_stop(&up);
	return 0;
}

static void start(struct rig *rig, const struct lp_proxy_limits *limits)
{
	rig_start(rig, limits);
	rig_forward(rig, 1, &up);
}

static void write_timeout__ends_a_client_that_reads_nothing(void **state)
{
	static const char *const texts[] = {
		GET("/len/200000000"), /* the rest waits upstream */
		GET("/chunked/200000000"),
		"GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
	};
	const struct lp_proxy_limits limits = {.write_timeout_ms = 100};
	static const char piece[65536];
	struct rig rig;

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
		int fd;

		start(&rig, &limits);
		fd = client_open(&rig);
		client_send(fd, texts[i]);
		rig_await(&rig, RIG_ACTIVE, 1);
		if (i ==
		    2) { /* an echo that nobody reads: goes on until all is full, then breaks */
			while (io_send_all(fd, piece, sizeof(piece)))
				;
		}
		rig_await(&rig, RIG_ACTIVE, 0);
		rig_await(&rig, RIG_CONNS, 0);
		(void)close(fd);
		rig_stop(&rig);
	}
}

static void response_timeout__answers_for_an_upstream_that_takes_no_body(void **state)
{
	const struct lp_proxy_limits limits = {.response_timeout_ms = 200};
	static const char piece[65536];
	struct pollfd p = {.events = POLLIN | POLLOUT};
	struct rig rig;
	struct reply reply;
	int fd;

	(void)state;
	start(&rig, &limits);
	fd = client_open(&rig);
	client_send(fd, "POST /gate HTTP/1.1\r\nHost: x\r\nContent-Length: 200000000\r\n\r\n");
	p.fd = fd;
	while (poll(&p, 1, DEADLINE_S * 1000) > 0 && !(p.revents & POLLIN))
		(void)send(fd, piece, sizeof(piece), MSG_NOSIGNAL | MSG_DONTWAIT);
	reply_read(&reply, fd, false);
	assert_int_equal(reply.status, 504);
	assert_string_equal(reply_header(&reply, "X-Livepush-Error"),
			    "the upstream took too long to answer");
	reply_finish(&reply);
	(void)close(fd);
	rig_stop(&rig);
}

static void full__closes_who_is_idle_for_longest(void **state)
{
	const struct lp_proxy_limits limits = {.max_conns = 2};
	struct rig rig;
	int fds[3];

	(void)state;
	start(&rig, &limits);
	fds[0] = client_open(&rig);
	assert_int_equal(ask(fds[0], GET("/name"), NULL, 0), 200);
	fds[1] = client_open(&rig);
	assert_int_equal(ask(fds[1], GET("/name"), NULL, 0), 200);
	fds[2] = client_open(&rig);
	assert_int_equal(ask(fds[2], GET("/name"), NULL, 0), 200);
	assert_true(is_closed(fds[0]));
	assert_int_equal(ask(fds[1], GET("/name"), NULL, 0), 200);
	for (size_t i = 0; i < LP_COUNT_OF(fds); i++)
		(void)close(fds[i]);
	rig_stop(&rig);
}

/* Ten thousand who never end their heads take up no more than some do; the last that came stay. */
static void heads__that_are_not_whole_are_bounded_together(void **state)
{
	enum { N = 600 }; /* times 64 KiB is more than 32 MiB */
	static char part[40000];
	static int fds[N];
	struct rig rig;

	(void)state;
	(void)lp_raise_nofile();
	memset(part, ' ', sizeof(part)); /* an upstream need not take it */
	start(&rig, NULL);
	for (size_t i = 0; i < N; i++) {
		fds[i] = client_open(&rig);
		client_send(fds[i], "GET /name HTTP/1.1\r\nHost: x\r\nA: ");
		client_send_bytes(fds[i], part, sizeof(part));
	}
	rig_await(&rig, RIG_CONNS, 512);
	assert_true(is_closed(fds[0]));
	assert_int_equal(ask(fds[N - 1], "\r\n\r\n", NULL, 0), 200);
	for (size_t i = 0; i < N; i++)
		(void)close(fds[i]);
	rig_stop(&rig);
}

/* Returns when the proxy has looked at what was sent before. */
static void await_look(const struct rig *rig)
{
	int fd = client_open(rig);

	assert_int_equal(ask(fd, "nonsense\r\n\r\n", NULL, 0), 400);
	(void)close(fd);
}

/* A preface in two parts is a head that is not whole, until the second has come. */
static void heads__of_http2_are_counted_until_they_are_whole(void **state)
{
	enum { HALF = 1100, N = 2 * HALF }; /* times 16 KiB: N is more than 32 MiB, HALF less */
	const struct lp_proxy_limits limits = {.max_held = N + 1};
	static int fds[N];
	struct rig rig;
	int slow, other;

	(void)state;
	(void)lp_raise_nofile();
	rig_start(&rig, &limits);
	rig_hold(&rig);
	for (unsigned n = 0; n < N; n += HALF) {
		for (unsigned i = n; i < n + HALF; i++) {
			fds[i] = client_open(&rig);
			client_send(fds[i], "PRI * HTTP/2.0\r\n");
		}
		await_look(&rig);
		for (unsigned i = n; i < n + HALF; i++)
			client_send(fds[i], "\r\nSM\r\n\r\n");
		rig_await(&rig, RIG_HELD, n + HALF);
	}
	slow = client_open(&rig);
	client_send(slow, "GET /name HT");
	await_look(&rig);
	other = client_open(&rig);
	client_send(other, "GET /name HT");
	await_look(&rig);
	client_send(slow, "TP/1.1\r\nHost: x\r\n\r\n");
	rig_await(&rig, RIG_HELD, N + 1);
	for (size_t i = 0; i < N; i++)
		(void)close(fds[i]);
	(void)close(slow);
	(void)close(other);
	rig_stop(&rig);
}

static void full__closes_who_is_slowest_with_a_head(void **state)
{
	const struct lp_proxy_limits limits = {.max_conns = 2};
	struct rig rig;
	int slow, other, next;

	(void)state;
	start(&rig, &limits);
	slow = client_open(&rig);
	client_send(slow, "GET /name HT");
	other = client_open(&rig);
	client_send(other, "GET /name HT");
	next = client_open(&rig);
	assert_int_equal(ask(next, GET("/name"), NULL, 0), 200);
	assert_true(is_closed(slow));
	assert_int_equal(ask(other, "TP/1.1\r\nHost: x\r\n\r\n", NULL, 0), 200);
	(void)close(slow);
	(void)close(other);
	(void)close(next);
	rig_stop(&rig);
}

static void http2__is_refused_when_it_is_switched_off(void **state)
{
	const struct lp_proxy_limits limits = {.no_h2 = true};
	struct rig rig;
	int fd;

	(void)state;
	start(&rig, &limits);
	fd = client_open(&rig);
	assert_int_equal(ask(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NULL, 0), 505);
	assert_true(is_closed(fd));
	assert_int_equal(up_conns(&up), 0);
	(void)close(fd);
	rig_stop(&rig);
}

static void set_limits__holds_for_what_comes(void **state)
{
	static const char post[] =
		"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world";
	struct lp_proxy_limits limits = {.max_body_bytes = 10, .via = true};
	struct rig rig;
	struct reply reply;
	int fd;

	(void)state;
	start(&rig, NULL);
	fd = client_open(&rig);
	client_send(fd, GET("/echo"));
	reply_read(&reply, fd, false);
	assert_null(strstr(reply.body, "Via"));
	assert_null(reply_header(&reply, "Via"));
	reply_finish(&reply);
	assert_int_equal(ask(fd, post, NULL, 0), 200);
	lp_proxy_set_limits(rig.proxy, &limits);
	rig_forward(&rig, 1, &up); /* returns behind what was posted before it */
	client_send(fd, "GET /echo HTTP/1.1\r\nHost: x\r\nVia: 1.0 other\r\n\r\n");
	reply_read(&reply, fd, false);
	assert_non_null(strstr(reply.body, "Via: 1.0 other\r\n"));
	assert_non_null(strstr(reply.body, "Via: 1.1 livepush\r\n"));
	assert_string_equal(reply_header(&reply, "Via"), "1.1 livepush");
	reply_finish(&reply);
	assert_int_equal(ask(fd, post, NULL, 0), 413);
	assert_true(is_closed(fd));
	(void)close(fd);
	limits = (struct lp_proxy_limits){0};
	lp_proxy_set_limits(rig.proxy, &limits);
	rig_forward(&rig, 1, &up);
	fd = client_open(&rig);
	assert_int_equal(ask(fd, post, NULL, 0), 200);
	(void)close(fd);
	rig_stop(&rig);
}

static void others__are_served_beside_slow_and_idle_ones(void **state)
{
	int slow[24], idle[200];
	struct rig rig;
	int fd;

	(void)state;
	start(&rig, NULL);
	for (size_t i = 0; i < LP_COUNT_OF(idle); i++)
		idle[i] = client_open(&rig);
	for (size_t i = 0; i < LP_COUNT_OF(slow); i++) {
		slow[i] = client_open(&rig);
		client_send(slow[i], i % 2 ? GET("/len/100000000")
					   : "POST /upload HTTP/1.1\r\nHost: x\r\n"
					     "Content-Length: 100\r\n\r\nhalf of it");
	}
	rig_await(&rig, RIG_ACTIVE, LP_COUNT_OF(slow));
	fd = client_open(&rig);
	for (int i = 0; i < 500; i++)
		assert_int_equal(ask(fd, GET("/name"), NULL, 0), 200);
	/* What nobody reads waits upstream, but for what the kernel's buffers take. */
	assert_true(atomic_load(&up.sent) < UINT64_C(12) * 40000000);
	(void)close(fd);
	for (size_t i = 0; i < LP_COUNT_OF(slow); i++)
		(void)close(slow[i]);
	for (size_t i = 0; i < LP_COUNT_OF(idle); i++)
		(void)close(idle[i]);
	rig_stop(&rig);
}

/* Asks for what fails and looks at the answer as a whole. */
static void expect_failure(const struct rig *rig, const char *text, int status, const char *cause)
{
	int fd = client_open(rig);
	struct reply reply;
	const char *retry;

	client_send(fd, text);
	reply_read(&reply, fd, false);
	assert_int_equal(reply.status, status);
	assert_string_equal(reply_header(&reply, "X-Livepush-Error"), cause);
	assert_string_equal(reply_header(&reply, "Content-Type"), "text/plain; charset=utf-8");
	assert_in_range(reply.body_len, 4, 100);
	retry = reply_header(&reply, "Retry-After");
	assert_int_equal(retry != NULL, status == 503);
	reply_finish(&reply);
	(void)close(fd);
}

static void failures__are_short_and_name_their_cause(void **state)
{
	const struct lp_proxy_limits limits = {
		.response_timeout_ms = 50, .hold_ms = 50, .body_timeout_ms = 50};
	struct up gone;
	struct rig rig;

	(void)state;
	start(&rig, &limits);
	expect_failure(&rig, GET("/drop"), 502,
		       "upstream closed the connection without a response");
	expect_failure(&rig, GET("/garbage"), 502, "upstream sent an invalid response");
	expect_failure(&rig, GET("/gate"), 504, "the upstream took too long to answer");
	expect_failure(&rig, "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\na", 408,
		       "the request body took too long");
	up_start(&gone, "gone", NULL);
	up_stop(&gone);
	rig_forward(&rig, 2, &gone);
	expect_failure(&rig, GET("/name"), 502, "upstream refused the connection");
	rig_hold(&rig);
	expect_failure(&rig, GET("/name"), 503, "the app is not ready");
	rig_stop(&rig);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(write_timeout__ends_a_client_that_reads_nothing),
		TEST(response_timeout__answers_for_an_upstream_that_takes_no_body),
		TEST(full__closes_who_is_idle_for_longest),
		TEST(full__closes_who_is_slowest_with_a_head),
		TEST(heads__that_are_not_whole_are_bounded_together),
		TEST(heads__of_http2_are_counted_until_they_are_whole),
		TEST(http2__is_refused_when_it_is_switched_off),
		TEST(set_limits__holds_for_what_comes),
		TEST(others__are_served_beside_slow_and_idle_ones),
		TEST(failures__are_short_and_name_their_cause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
