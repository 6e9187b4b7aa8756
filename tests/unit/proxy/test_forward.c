/* tests/unit/proxy/test_forward.c: single and pipelined requests over real sockets. */
#include "harness_pair.h"
#include "harness_tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: test\r\n\r\n"

static void forward__reuses_both_connections(void **state)
{
	char body[64];
	int fd = client_open(&rig);

	(void)state;
	for (int i = 0; i < 50; i++) {
		assert_int_equal(ask(fd, GET("/name"), body, sizeof(body)), 200);
		assert_string_equal(body, "one");
	}
	assert_int_equal(up_conns(&up), 1);
	(void)close(fd);
}

static void forward__passes_the_head_on(void **state)
{
	char body[1024], want[1024];
	int fd = client_open(&rig);

	(void)state;
	assert_int_equal(
		ask(fd,
		    "GET /echo HTTP/1.1\r\nHost: a.b:80\r\nX-One: 1\r\nConnection: x-two\r\n"
		    "X-Two: 2\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n",
		    body, sizeof(body)),
		200);
	(void)snprintf(want, sizeof(want),
		       "GET /echo HTTP/1.1\r\nHost: a.b:80\r\nX-One: 1\r\n"
		       "X-Forwarded-For: 9.9.9.9, 127.0.0.1\r\n"
		       "X-Forwarded-Proto: %s\r\nX-Forwarded-Host: a.b:80\r\n\r\n",
		       tls_wanted() ? "https" : "http");
	assert_string_equal(body, want);
	(void)close(fd);
}

static void forward__answers_pipelined_requests_in_order(void **state)
{
	int fd = client_open(&rig);
	struct reply reply;

	(void)state;
	client_send(
		fd,
		"\r\n" GET("/len/10") GET("/chunked/5000") GET(
			"/none") "HEAD /head HTTP/1.1\r\nHost: x\r\n\r\n"
				 "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
				 "POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
				 "chunked\r\n\r\n"
				 "3\r\nabc\r\n4;x\r\ndefg\r\n0\r\n\r\n" GET("/name") "GET /na");
	static const struct {
		int status;
		size_t len;
		const char *start;
	} want[] = {{200, 10, "abcdefghij"}, {200, 5000, "abc"}, {204, 0, NULL}, {200, 0, NULL},
		    {200, 7, "3 96354"},     {200, 12, "7 "},    {200, 3, "one"}};

	for (size_t i = 0; i < LP_COUNT_OF(want); i++) {
		reply_read(&reply, fd, i == 3);
		assert_int_equal(reply.status, want[i].status);
		if (want[i].start)
			assert_memory_equal(reply.body, want[i].start, strlen(want[i].start));
		if (i < 2)
			assert_int_equal(reply.body_len, want[i].len);
		reply_finish(&reply);
	}
	/* The request that was cut in the middle goes on with the next bytes. */
	assert_int_equal(ask(fd, "me HTTP/1.1\r\nHost: test\r\n\r\n", NULL, 0), 200);
	(void)close(fd);
}

static void forward__reads_a_head_that_comes_byte_by_byte(void **state)
{
	static const char text[] = "\r\nGET /name HTTP/1.1\r\nHost: test\r\n\r\n";
	int fd = client_open(&rig);
	struct reply reply;

	(void)state;
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		client_send_bytes(fd, text + i, 1);
	reply_read(&reply, fd, false);
	assert_int_equal(reply.status, 200);
	reply_finish(&reply);
	(void)close(fd);
}

static void forward__closes_when_asked(void **state)
{
	static const char *const texts[] = {
		"GET /name HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
		"GET /name HTTP/1.0\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
		int fd = client_open(&rig);
		struct reply reply;

		client_send(fd, texts[i]);
		reply_read(&reply, fd, false);
		assert_int_equal(reply.status, 200);
		assert_string_equal(reply_header(&reply, "Connection"), "close");
		assert_true(is_closed(fd));
		reply_finish(&reply);
		(void)close(fd);
	}
	assert_int_equal(up_conns(&up), 1);
}

static void forward__keeps_http_1_0_alive_when_asked(void **state)
{
	int fd = client_open(&rig);
	struct reply reply;

	(void)state;
	for (int i = 0; i < 2; i++) {
		client_send(fd, "GET /len/5 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
		reply_read(&reply, fd, false);
		assert_int_equal(reply.status, 200);
		assert_string_equal(reply_header(&reply, "Connection"), "keep-alive");
		reply_finish(&reply);
	}
	(void)close(fd);
}

static void forward__reframes_for_the_client(void **state)
{
	static const struct {
		const char *text;
		bool chunked;
	} cases[] = {
		{"GET /chunked/100000 HTTP/1.0\r\n\r\n", false},
		{"GET /close/100000 HTTP/1.0\r\n\r\n", false},
		{GET("/chunked/100000"), true},
		{GET("/close/100000"), true},
		{"GET /chunked/100000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		int fd = client_open(&rig);
		struct reply reply;

		client_send(fd, cases[i].text);
		reply_read(&reply, fd, false);
		assert_int_equal(reply.status, 200);
		assert_int_equal(reply.body_len, 100000);
		assert_int_equal(reply.chunked, cases[i].chunked);
		for (size_t k = 0; k < reply.body_len; k++)
			assert_int_equal(reply.body[k], 'a' + (int)(k % 8192 % 26));
		reply_finish(&reply);
		if (cases[i].chunked)
			assert_int_equal(ask(fd, GET("/name"), NULL, 0), 200);
		else
			assert_true(is_closed(fd));
		(void)close(fd);
	}
}

static void forward__reaches_unix_sockets(void **state)
{
	char path[] = "/tmp/lp-proxy-test-XXXXXX";
	char sock[64];
	char body[64];
	struct up other;
	struct lp_proxy_upstream targets[2] = {{.id = 1, .addr = up.addr, .weight = 1}};
	struct lp_proxy_route routes[] = {
		{.host = "",
		 .prefix = "/",
		 .kind = LP_ROUTE_FORWARD,
		 .upstreams = &targets[0],
		 .n_upstreams = 1},
		{.host = "",
		 .prefix = "/len",
		 .kind = LP_ROUTE_FORWARD,
		 .upstreams = &targets[1],
		 .n_upstreams = 1},
		{.host = "test",
		 .prefix = "/no",
		 .kind = LP_ROUTE_REFUSE,
		 .status = 410,
		 .text = "gone for good"},
	};
	int fd = client_open(&rig);

	(void)state;
	assert_non_null(mkdtemp(path));
	(void)snprintf(sock, sizeof(sock), "%s/s", path);
	up_start(&other, "unix", sock);
	targets[1] = (struct lp_proxy_upstream){.id = 2, .addr = other.addr, .weight = 1};
	assert_int_equal(lp_proxy_set_routes(rig.proxy, routes, 3, NULL), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ask(fd, GET("/len/4"), body, sizeof(body)), 200);
		assert_string_equal(body, "abcd");
		assert_int_equal(ask(fd, GET("/name"), body, sizeof(body)), 200);
		assert_string_equal(body, "one");
		assert_int_equal(ask(fd, GET("/no/x"), body, sizeof(body)), 410);
		assert_string_equal(body, "gone for good\n");
	}
	assert_int_equal(up_conns(&other), 1);
	(void)close(fd);
	rig_forward(&rig, 1, &up);
	rig_await_drained(&rig, 2);
	up_stop(&other);
	assert_int_equal(rmdir(path), 0);
}

static void forward__answers_404_where_no_route_matches(void **state)
{
	int fd = client_open(&rig);
	struct reply reply;

	(void)state;
	assert_int_equal(lp_proxy_set_routes(rig.proxy, NULL, 0, NULL), 0);
	client_send(fd, GET("/name"));
	reply_read(&reply, fd, false);
	assert_int_equal(reply.status, 404);
	assert_string_equal(reply_header(&reply, "X-Livepush-Error"), "no route");
	reply_finish(&reply);
	rig_forward(&rig, 1, &up);
	assert_int_equal(ask(fd, GET("/name"), NULL, 0), 200);
	(void)close(fd);
}

static void forward__listens_on_a_unix_socket(void **state)
{
	char path[] = "/tmp/lp-proxy-test-XXXXXX";
	char text[64];
	struct lp_proxy_opts opts = {0};
	struct rig other = {0};
	struct lp_err err = {0};
	char body[1024];
	int fd;

	(void)state;
	assert_non_null(mkdtemp(path));
	(void)snprintf(text, sizeof(text), "unix:%s/s", path);
	assert_int_equal(lp_proxy_addr_parse(&opts.listen, text, &err), 0);
	for (int i = 0; i < 2; i++) { /* the second finds the path of a dead socket */
		int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_int_equal(bind(stale, &opts.listen.u.any, opts.listen.len), 0);
		(void)close(stale);
		assert_int_equal(lp_proxy_create(&other.proxy, &opts, &err), 0);
		assert_int_equal(lp_proxy_port(other.proxy), 0);
		rig_forward(&other, 1, &up);
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fd, &opts.listen.u.any, opts.listen.len), 0);
		assert_int_equal(ask(fd, GET("/echo"), body, sizeof(body)), 200);
		assert_null(strstr(body, "X-Forwarded-For"));
		(void)close(fd);
		lp_proxy_destroy(other.proxy);
	}
	assert_int_equal(rmdir(path), 0);
}

static void create__names_the_address_in_use(void **state)
{
	struct lp_proxy_opts opts = {0};
	struct lp_proxy *second;
	struct lp_err err = {0};
	char text[64];

	(void)state;
	(void)snprintf(text, sizeof(text), "127.0.0.1:%u", lp_proxy_port(rig.proxy));
	assert_int_equal(lp_proxy_addr_parse(&opts.listen, text, &err), 0);
	assert_int_equal(lp_proxy_create(&second, &opts, &err), -EADDRINUSE);
	assert_non_null(strstr(err.msg, text));
}

static void stats__count(void **state)
{
	struct lp_proxy_stats s;
	int fd = client_open(&rig);

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(ask(fd, GET("/name"), NULL, 0), 200);
	assert_int_equal(ask(fd, GET("/drop"), NULL, 0), 502);
	lp_proxy_stats(rig.proxy, &s);
	assert_int_equal(s.requests, 4);
	assert_int_equal(s.failed, 1);
	assert_int_equal(s.conns, 1);
	(void)close(fd);
	rig_await(&rig, RIG_CONNS, 0);
	rig_await(&rig, RIG_ACTIVE, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(forward__reuses_both_connections, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(forward__passes_the_head_on, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(forward__answers_pipelined_requests_in_order,
						pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(forward__reads_a_head_that_comes_byte_by_byte,
						pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(forward__closes_when_asked, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(forward__keeps_http_1_0_alive_when_asked,
						pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(forward__reframes_for_the_client, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(forward__reaches_unix_sockets, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(forward__answers_404_where_no_route_matches,
						pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(forward__listens_on_a_unix_socket, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(create__names_the_address_in_use, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(stats__count, pair_set_up, pair_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
