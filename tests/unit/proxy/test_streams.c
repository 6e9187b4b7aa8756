/* tests/unit/proxy/test_streams.c: what goes on for long when its upstream goes away (WebSocket,
 * event streams, HTTP/2), and the time and size limits of requests. */
#include "harness.h"
#include "harness_io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: test\r\n\r\n"
#define WEBSOCKET                                                                                  \
	"GET /websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static struct up one;
static struct up two;
static struct rig rig;

static int set_up(void **state)
{
	const struct lp_proxy_limits limits = {
		.body_timeout_ms = 100, .response_timeout_ms = 100, .max_body_bytes = 1000};

	(void)state;
	up_start(&one, "one", NULL);
	up_start(&two, "two", NULL);
	rig_start(&rig, &limits);
	rig_forward(&rig, 1, &one);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rig_stop(&rig);
	up_stop(&one);
	up_stop(&two);
	return 0;
}

static void expect_bytes(int fd, const char *bytes, size_t len)
{
	char got[64];

	assert_true(len <= sizeof(got));
	assert_true(io_read_exact(fd, got, len));
	assert_memory_equal(got, bytes, len);
}

static void end_streams__closes_a_websocket_between_two_frames(void **state)
{
	int fd = client_open(&rig);
	char head[512];

	(void)state;
	client_send(fd, WEBSOCKET);
	assert_true(io_read_head(fd, head, sizeof(head)) > 0);
	expect_bytes(fd, "\x81\x03one\x81", 6);
	up_await_gate(&one, 1);
	rig_forward(&rig, 2, &two);
	lp_proxy_end_streams(rig.proxy, 1);
	lp_proxy_cut_requests(rig.proxy, 1); /* it is none */
	up_open_gate(&one);                  /* the second frame is in the middle until now */
	expect_bytes(fd, "\x03two\x88\x02\x03\xf4", 8);
	rig_await_drained(&rig, 1);
	client_send_bytes(fd, "\x88\x82\0\0\0\0\x03\xf4", 8);
	assert_true(is_closed(fd));
	(void)close(fd);
}

static void end_streams__ends_an_event_stream_behind_its_last_chunk(void **state)
{
	int fd = client_open(&rig), old = client_open(&rig);
	char head[512];

	(void)state;
	client_send(fd, GET("/events"));
	assert_true(io_read_head(fd, head, sizeof(head)) > 0);
	expect_bytes(fd, "b\r\ndata: one\n\n\r\n", 16);
	client_send(old, "GET /events HTTP/1.0\r\n\r\n");
	assert_true(io_read_head(old, head, sizeof(head)) > 0);
	expect_bytes(old, "data: one\n\n", 11);
	rig_forward(&rig, 2, &two);
	lp_proxy_cut_requests(rig.proxy, 1);
	up_open_gate(&one);
	expect_bytes(fd, "b\r\ndata: two\n\n\r\n", 16);
	expect_bytes(old, "data: two\n\n", 11);
	lp_proxy_end_streams(rig.proxy, 1);
	expect_bytes(fd, "0\r\n\r\n", 5);
	assert_true(is_closed(fd));
	assert_true(is_closed(old));
	rig_await_drained(&rig, 1);
	(void)close(fd);
	(void)close(old);
}

static void cut_requests__leaves_streams(void **state)
{
	int waiting = client_open(&rig), tunnel = client_open(&rig);
	char bytes[16];
	struct reply reply;

	(void)state;
	client_send(tunnel, "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
			    "Upgrade: echo\r\n\r\n");
	reply_read(&reply, tunnel, false);
	assert_true(io_read_exact(tunnel, bytes, 5));
	client_send(waiting, "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
	rig_await(&rig, RIG_ACTIVE, 2);
	rig_forward(&rig, 2, &two);
	lp_proxy_cut_requests(rig.proxy, 1);
	reply_read(&reply, waiting, false);
	assert_int_equal(reply.status, 502);
	reply_finish(&reply);
	client_send(tunnel, "still here");
	expect_bytes(tunnel, "still here", 10);
	lp_proxy_end_streams(rig.proxy, 1); /* its frames are unknown: it just ends */
	assert_true(is_closed(tunnel));
	rig_await_drained(&rig, 1);
	(void)close(waiting);
	(void)close(tunnel);
}

static void http2__is_tunnelled_as_a_whole(void **state)
{
	static const char ping[] = "\0\0\x08\x06\0\0\0\0\0abcdefgh";
	static const char goaway[] = "\0\0\x08\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0";
	int fd = client_open(&rig);

	(void)state;
	for (size_t i = 0; i < sizeof(PREFACE) - 1; i++) /* byte by byte */
		client_send_bytes(fd, &PREFACE[i], 1);
	expect_bytes(fd, "\0\0\0\x04\0\0\0\0\0", 9);
	client_send_bytes(fd, ping, 17);
	expect_bytes(fd, ping, 17);
	rig_forward(&rig, 2, &two); /* a client that goes on for long must come to the new one */
	expect_bytes(fd, goaway, sizeof(goaway));
	client_send_bytes(fd, ping, 17); /* what it has begun goes on */
	expect_bytes(fd, ping, 17);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_true(is_closed(fd));
	rig_await_drained(&rig, 1);
	(void)close(fd);
}

static void http2__waits_at_a_hold(void **state)
{
	int fd = client_open(&rig);

	(void)state;
	rig_hold(&rig);
	client_send(fd, PREFACE);
	rig_await(&rig, RIG_HELD, 1);
	rig_forward(&rig, 2, &two);
	expect_bytes(fd, "\0\0\0\x04\0\0\0\0\0", 9);
	(void)close(fd);
	rig_await(&rig, RIG_ACTIVE, 0);
}

static void http2__is_closed_where_no_upstream_is(void **state)
{
	struct lp_proxy_route refuse = {
		.host = "", .prefix = "/", .kind = LP_ROUTE_REFUSE, .status = 503};
	int fd = client_open(&rig);

	(void)state;
	assert_int_equal(lp_proxy_set_routes(rig.proxy, &refuse, 1, NULL), 0);
	client_send(fd, PREFACE);
	assert_true(is_closed(fd));
	(void)close(fd);
}

static void limits__say_which_side_is_too_slow_or_too_large(void **state)
{
	static const struct {
		const char *text;
		int status;
		const char *cause;
	} cases[] = {
		{"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", 408,
		 "the request body took too long"},
		{"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
		 408, "the request body took too long"},
		{GET("/gate"), 504, "the upstream took too long to answer"},
		{"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413,
		 "the request body is too large"},
		{"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
		 "3e9\r\n",
		 0, NULL},
	};
	char many[1001];

	(void)state;
	memset(many, 'x', sizeof(many));
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		int fd = client_open(&rig);
		struct reply reply;

		client_send(fd, cases[i].text);
		if (!cases[i].status)
			client_send_bytes(fd, many, sizeof(many));
		reply_read(&reply, fd, false);
		assert_int_equal(reply.status, cases[i].status ? cases[i].status : 413);
		if (cases[i].cause)
			assert_string_equal(reply_header(&reply, "X-Livepush-Error"),
					    cases[i].cause);
		reply_finish(&reply);
		(void)close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(end_streams__closes_a_websocket_between_two_frames),
		TEST(end_streams__ends_an_event_stream_behind_its_last_chunk),
		TEST(cut_requests__leaves_streams),
		TEST(http2__is_tunnelled_as_a_whole),
		TEST(http2__waits_at_a_hold),
		TEST(http2__is_closed_where_no_upstream_is),
		TEST(limits__say_which_side_is_too_slow_or_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
