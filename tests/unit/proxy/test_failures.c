/* tests/unit/proxy/test_failures.c: bad requests, bad upstreams, and no descriptors left. */
#include "harness_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: test\r\n\r\n"

static void bad_requests__are_refused_and_never_forwarded(void **state)
{
#define LINE "POST /upload HTTP/1.1\r\nHost: x\r\n"
#define CASE(text, status)                                                                         \
	{                                                                                          \
		text, sizeof(text) - 1, status                                                     \
	}
	static const struct {
		const char *text;
		size_t len;
		int status;
	} cases[] = {
		CASE("\x16\x03\x01", 400),
		CASE("get / HTTP/1.1\r\n\r\n", 400),
		CASE("GET / HTTP/1.1\r\n\r\n", 400),
		CASE("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
		CASE("GET / HTTP/1.1\nHost: a\n\n", 400),
		CASE("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
		CASE("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
		CASE("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
		CASE("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
		CASE("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
		CASE("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
		CASE(LINE "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", 400),
		CASE(LINE "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
		CASE(LINE "Content-Length: three\r\n\r\nabc", 400),
		CASE(LINE "Transfer-Encoding: gzip\r\n\r\nabc", 400),
		CASE(LINE "Transfer-Encoding: gzip, chunked\r\n\r\nabc", 501),
		CASE("PRI / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		int fd = client_open(&rig);
		struct reply reply;

		client_send_bytes(fd, cases[i].text, cases[i].len);
		reply_read(&reply, fd, false);
		if (reply.status != cases[i].status)
			fail_msg("case %zu: %d", i, reply.status);
		assert_string_equal(reply_header(&reply, "Connection"), "close");
		assert_non_null(reply_header(&reply, "X-Livepush-Error"));
		assert_true(is_closed(fd));
		reply_finish(&reply);
		(void)close(fd);
	}
	assert_int_equal(up_conns(&up), 0);
}

static void limits__bound_head_and_waiting(void **state)
{
	struct lp_proxy_limits limits = {
		.max_header_bytes = 4096, .header_timeout_ms = 40, .idle_timeout_ms = 40};
	char text[5000];
	struct rig strict;
	struct reply reply;
	int fd;

	(void)state;
	rig_start(&strict, &limits);
	rig_forward(&strict, 1, &up);
	(void)snprintf(text, sizeof(text), "GET /%0*d", 4900, 0);
	fd = client_open(&strict);
	assert_int_equal(ask(fd, text, NULL, 0), 414);
	(void)close(fd);
	(void)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: x\r\nX: %0*d", 4900, 0);
	fd = client_open(&strict);
	assert_int_equal(ask(fd, text, NULL, 0), 431);
	(void)close(fd);
	fd = client_open(&strict);
	client_send(fd, "GET / HTTP/1.1\r\n");
	reply_read(&reply, fd, false);
	assert_int_equal(reply.status, 408);
	reply_finish(&reply);
	assert_true(is_closed(fd));
	(void)close(fd);
	fd = client_open(&strict); /* says nothing */
	assert_true(is_closed(fd));
	(void)close(fd);
	fd = client_open(&strict); /* nothing more */
	assert_int_equal(ask(fd, GET("/name"), NULL, 0), 200);
	assert_true(is_closed(fd));
	(void)close(fd);
	rig_stop(&strict);
}

static void max_conns__makes_the_others_wait(void **state)
{
	struct lp_proxy_limits limits = {.max_conns = 2};
	struct rig strict;
	struct pollfd p = {.events = POLLIN};
	struct reply reply;
	int fds[3];

	(void)state;
	rig_start(&strict, &limits);
	rig_forward(&strict, 1, &up);
	for (size_t i = 0; i < 2; i++) {
		fds[i] = client_open(&strict);
		client_send(fds[i], GET("/gate"));
	}
	up_await_gate(&up, 2);
	fds[2] = client_open(&strict);
	client_send(fds[2], GET("/name"));
	p.fd = fds[2];
	assert_int_equal(poll(&p, 1, 50), 0);
	up_open_gate(&up);
	(void)close(fds[0]);
	reply_read(&reply, fds[2], false);
	assert_int_equal(reply.status, 200);
	reply_finish(&reply);
	(void)close(fds[1]);
	(void)close(fds[2]);
	rig_stop(&strict);
}

static void upstream__that_refuses_gives_502(void **state)
{
	struct up gone;
	struct reply reply;
	int fd = client_open(&rig);

	(void)state;
	up_start(&gone, "gone", NULL);
	up_stop(&gone); /* its port is closed now */
	rig_forward(&rig, 2, &gone);
	for (int i = 0; i < 3; i++) {
		client_send(fd, i == 1 ? "POST /upload HTTP/1.1\r\nHost: x\r\n"
					 "Content-Length: 3\r\n\r\nabc"
				       : GET("/name"));
		reply_read(&reply, fd, false);
		assert_int_equal(reply.status, 502);
		assert_string_equal(reply_header(&reply, "X-Livepush-Error"),
				    "upstream refused the connection");
		reply_finish(&reply);
	}
	rig_forward(&rig, 3, &up);
	rig_await_drained(&rig, 2);
	assert_int_equal(ask(fd, GET("/name"), NULL, 0), 200);
	(void)close(fd);
}

static void upstream__that_does_not_accept_times_out(void **state)
{
	struct lp_proxy_limits limits = {.connect_timeout_ms = 40};
	struct up full = {0};
	struct rig quick;
	int fds[8];
	int fd;

	(void)state;
	/* A listening socket whose queue is full answers no SYN; a unix one says EAGAIN. */
	assert_int_equal(lp_proxy_addr_parse(&full.addr, "127.0.0.1:0", NULL), 0);
	full.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(full.listen_fd, &full.addr.u.any, full.addr.len), 0);
	assert_int_equal(listen(full.listen_fd, 0), 0);
	assert_int_equal(getsockname(full.listen_fd, &full.addr.u.any, &full.addr.len), 0);
	for (size_t i = 0; i < LP_COUNT_OF(fds); i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(fds[i], &full.addr.u.any, full.addr.len);
	}
	rig_start(&quick, &limits);
	rig_forward(&quick, 1, &full);
	fd = client_open(&quick);
	assert_int_equal(ask(fd, GET("/name"), NULL, 0), 504);
	(void)close(fd);
	rig_stop(&quick);
	for (size_t i = 0; i < LP_COUNT_OF(fds); i++)
		(void)close(fds[i]);
	(void)close(full.listen_fd);
}

static void upstream__with_a_full_unix_queue_is_tried_again(void **state)
{
	char path[] = "/tmp/lp-proxy-test-XXXXXX";
	struct up full = {0};
	char text[64];
	int blocker;
	int taken;
	int fd = client_open(&rig);
	struct reply reply;

	(void)state;
	assert_non_null(mkdtemp(path));
	(void)snprintf(text, sizeof(text), "unix:%s/s", path);
	assert_int_equal(lp_proxy_addr_parse(&full.addr, text, NULL), 0);
	full.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(full.listen_fd, &full.addr.u.any, full.addr.len), 0);
	assert_int_equal(listen(full.listen_fd, 0), 0);
	blocker = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(blocker, &full.addr.u.any, full.addr.len), 0);
	rig_forward(&rig, 2, &full);
	client_send(fd, GET("/name"));
	rig_await(&rig, RIG_ACTIVE, 1);
	assert_true((taken = accept4(full.listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0);
	(void)close(taken);
	assert_true((taken = accept4(full.listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0);
	client_send(taken, "HTTP/1.1 204 Fine\r\n\r\n");
	reply_read(&reply, fd, false);
	assert_int_equal(reply.status, 204);
	(void)close(taken);
	(void)close(blocker);
	(void)close(full.listen_fd);
	(void)close(fd);
	assert_int_equal(unlink(full.addr.u.un.sun_path), 0);
	assert_int_equal(rmdir(path), 0);
}

static void upstream__that_misbehaves_gives_502(void **state)
{
	static const char *const texts[] = {GET("/drop"), GET("/garbage")};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
		int fd = client_open(&rig);

		assert_int_equal(ask(fd, texts[i], NULL, 0), 502);
		assert_int_equal(ask(fd, GET("/name"), NULL, 0), 200);
		(void)close(fd);
	}
}

static void upstream__that_ends_early_ends_the_client(void **state)
{
	int fd = client_open(&rig);
	struct reply reply;

	(void)state;
	client_send(fd, GET("/short"));
	reply_read(&reply, fd, false);
	assert_int_equal(reply.status, -1); /* the body is cut off */
	reply_finish(&reply);
	assert_true(is_closed(fd));
	(void)close(fd);
	rig_await(&rig, RIG_ACTIVE, 0);
}

/* A client that knows no chunks takes the end of the connection for that of the body. */
static void upstream__that_ends_early_resets_an_old_client(void **state)
{
	int fd = client_open(&rig);
	char bytes[256];
	ssize_t n;

	(void)state;
	client_send(fd, "GET /torn HTTP/1.0\r\nHost: x\r\n\r\n");
	while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
		;
	assert_int_equal(n, -1);
	assert_int_equal(errno, ECONNRESET);
	(void)close(fd);
}

static void retry__never_runs_a_request_twice(void **state)
{
	int fd = client_open(&rig);

	(void)state;
	assert_int_equal(ask(fd, GET("/name"), NULL, 0), 200);
	assert_int_equal(atomic_load(&up.requests), 1);
	/* The upstream reads it and ends: nobody knows what it did, so it is not sent again. */
	assert_int_equal(
		ask(fd, "POST /drop HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na", NULL, 0),
		502);
	assert_int_equal(atomic_load(&up.requests), 2);
	assert_int_equal(ask(fd, GET("/name"), NULL, 0), 200);
	/* A GET may run twice, but on one fresh connection only. */
	assert_int_equal(ask(fd, GET("/drop"), NULL, 0), 502);
	assert_int_equal(atomic_load(&up.requests), 5);
	(void)close(fd);
}

static void *ask_often(void *arg)
{
	int fd = client_open(&rig);
	uintptr_t bad = 0;

	(void)arg;
	for (int i = 0; i < 300; i++)
		bad += ask(fd,
			   i % 2 ? GET("/name")
				 : "POST /upload HTTP/1.1\r\nHost: x\r\n"
				   "Content-Length: 5\r\n\r\nhello",
			   NULL, 0) != 200;
	(void)close(fd);
	return (void *)bad;
}

static void retry__hides_connections_that_the_upstream_closed(void **state)
{
	pthread_t threads[3];
	void *bad;

	(void)state;
	atomic_store(&up.close_after, true);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask_often, NULL), 0);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(threads[i], &bad), 0);
		assert_null(bad);
	}
	assert_int_equal(atomic_load(&up.requests), 900);
}

static double cpu_s(void)
{
	struct rusage r;

	(void)getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

/* Fills the descriptor table but for `leave` slots. Returns how many it opened into fds. */
static size_t use_up_descriptors(int *fds, size_t max, size_t leave)
{
	size_t n = 0;
	int fd;

	while (n < max && (fd = fcntl(0, F_DUPFD_CLOEXEC, 0)) >= 0)
		fds[n++] = fd;
	assert_int_equal(errno, EMFILE);
	while (leave-- && n)
		(void)close(fds[--n]);
	return n;
}

static void descriptors__run_out_without_harm(void **state)
{
	static int fillers[256];
	struct rlimit before;
	struct rlimit low;
	int fds[2];
	int probe = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct pollfd p = {.events = POLLIN};
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(lp_proxy_port(rig.proxy)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct reply reply;
	double cpu;
	size_t n;

	(void)state;
	for (size_t i = 0; i < 2; i++)
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = (rlim_t)probe + 64;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	/* None for accept: the client waits, and nobody spins. */
	n = use_up_descriptors(fillers, LP_COUNT_OF(fillers), 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&in, sizeof(in)), 0);
	client_send(fds[0], GET("/name"));
	p.fd = fds[0];
	cpu = cpu_s();
	assert_int_equal(poll(&p, 1, 250), 0);
	assert_true(cpu_s() - cpu < 0.15);
	while (n)
		(void)close(fillers[--n]);
	reply_read(&reply, fds[0], false);
	assert_int_equal(reply.status, 200);
	reply_finish(&reply);
	/* One for accept and none for the upstream. */
	rig_hold(&rig);
	rig_await_drained(&rig, 1);
	up_await_closed(&up);
	n = use_up_descriptors(fillers, LP_COUNT_OF(fillers), 1);
	assert_int_equal(connect(fds[1], (struct sockaddr *)&in, sizeof(in)), 0);
	client_send(fds[1], GET("/name"));
	rig_await(&rig, RIG_HELD, 1);
	rig_forward(&rig, 2, &up);
	reply_read(&reply, fds[1], false);
	assert_int_equal(reply.status, 503);
	assert_string_equal(reply_header(&reply, "X-Livepush-Error"), "out of file descriptors");
	reply_finish(&reply);
	while (n)
		(void)close(fillers[--n]);
	assert_int_equal(ask(fds[1], GET("/name"), NULL, 0), 200);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	(void)close(fds[0]);
	(void)close(fds[1]);
	(void)close(probe);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bad_requests__are_refused_and_never_forwarded,
						pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(limits__bound_head_and_waiting, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(max_conns__makes_the_others_wait, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(upstream__that_refuses_gives_502, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(upstream__that_does_not_accept_times_out,
						pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(upstream__with_a_full_unix_queue_is_tried_again,
						pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(upstream__that_misbehaves_gives_502, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(upstream__that_ends_early_ends_the_client,
						pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(upstream__that_ends_early_resets_an_old_client,
						pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(retry__never_runs_a_request_twice, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(retry__hides_connections_that_the_upstream_closed,
						pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(descriptors__run_out_without_harm, pair_set_up,
						pair_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
