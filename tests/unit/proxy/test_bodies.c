/* tests/unit/proxy/test_bodies.c: bodies of any size, both ways, and slow readers. */
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
#include <time.h>
#include <unistd.h>

#define LARGE ((size_t)64 << 20)
#define KERNEL_BY                                                                                  \
	((size_t)24 << 20) /* more than the kernel keeps in the sockets of one exchange            \
			    */

static void pause_ms(long ms)
{
	struct timespec t = {.tv_nsec = ms * 1000000};

	(void)nanosleep(&t, NULL);
}

/* Reads a body of n bytes of the pattern. */
static void read_pattern(int fd, size_t n)
{
	static char buf[65536];

	for (size_t at = 0; at < n;) {
		size_t want = n - at < sizeof(buf) ? n - at : sizeof(buf);
		ssize_t got = recv(fd, buf, want, 0);

		assert_true(got > 0);
		for (ssize_t i = 0; i < got; i++, at++) {
			if (buf[i] != (char)('a' + at % 8192 % 26))
				fail_msg("wrong byte at %zu", at);
		}
	}
}

static void read_head_of(int fd, const char *start)
{
	char head[1024] = "";
	size_t n = 0;

	while (n + 1 < sizeof(head) && !strstr(head, "\r\n\r\n")) {
		assert_int_equal(recv(fd, head + n, 1, 0), 1);
		head[++n] = '\0';
	}
	assert_memory_equal(head, start, strlen(start));
}

static void download__waits_for_a_slow_reader(void **state)
{
	int small = 65536;
	int fd = client_open(&rig);
	char text[128];
	uint64_t before;
	uint64_t sent = 0;

	(void)state;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	(void)snprintf(text, sizeof(text), "GET /len/%zu HTTP/1.1\r\nHost: x\r\n\r\n", LARGE);
	client_send(fd, text);
	read_head_of(fd, "HTTP/1.1 200 OK\r\n");
	do { /* until all buffers on the way are full */
		before = sent;
		pause_ms(50);
		sent = atomic_load(&up.sent);
	} while (sent != before || !sent);
	assert_in_range(sent, 1, KERNEL_BY);
	read_pattern(fd, LARGE);
	assert_int_equal(ask(fd, "GET /name HTTP/1.1\r\nHost: x\r\n\r\n", NULL, 0), 200);
	assert_int_equal(up_conns(&up), 1);
	(void)close(fd);
}

static void upload__waits_for_a_slow_reader(void **state)
{
	static char block[65536];
	int fd = client_open(&rig);
	size_t sent = 0;
	struct reply reply;

	(void)state;
	memset(block, 'x', sizeof(block));
	client_send(fd, "POST /gate HTTP/1.1\r\nHost: x\r\nContent-Length: 67108864\r\n\r\n");
	up_await_gate(&up, 1);
	for (int idle = 0; idle < 3;) {
		ssize_t n = send(fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			sent += (size_t)n;
			idle = 0;
		} else {
			assert_int_equal(errno, EAGAIN);
			pause_ms(50);
			idle++;
		}
	}
	assert_in_range(sent, 1, KERNEL_BY);
	/* The answer comes although the body has not gone through; then the connection ends. */
	up_open_gate(&up);
	reply_read(&reply, fd, false);
	assert_int_equal(reply.status, 200);
	assert_string_equal(reply.body, "through the gate");
	assert_string_equal(reply_header(&reply, "Connection"), "close");
	reply_finish(&reply);
	assert_true(is_closed(fd));
	(void)close(fd);
}

/* Sends n pattern bytes, as chunks of odd sizes when asked for. Returns their sum. */
static uint32_t upload(int fd, size_t n, bool chunked)
{
	static char block[50000];
	uint32_t sum = 0;
	size_t at = 0;

	while (at < n) {
		size_t len = 1 + at * 7 % sizeof(block);
		char size[16];

		if (len > n - at)
			len = n - at;
		for (size_t i = 0; i < len; i++) {
			block[i] = (char)('a' + (at + i) % 19);
			sum = sum * 31 + (unsigned char)block[i];
		}
		(void)snprintf(size, sizeof(size), "%zx\r\n", len);
		if (chunked)
			client_send(fd, size);
		client_send_bytes(fd, block, len);
		if (chunked)
			client_send(fd, "\r\n");
		at += len;
	}
	if (chunked)
		client_send(fd, "0\r\nX-Sum: yes\r\n\r\n");
	return sum;
}

static void upload__arrives_whole(void **state)
{
	static const struct {
		size_t len;
		bool chunked;
	} cases[] = {{1, false}, {15000, false}, {16384, false}, {70000, false},  {20 << 20, false},
		     {1, true},  {15000, true},  {70000, true},  {20 << 20, true}};
	int fd = client_open(&rig);

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		char head[128];
		char want[64];
		struct reply reply;
		uint32_t sum;

		(void)snprintf(head, sizeof(head), "Content-Length: %zu", cases[i].len);
		client_send(fd, "POST /upload HTTP/1.1\r\nHost: x\r\n");
		client_send(fd, cases[i].chunked ? "Transfer-Encoding: chunked" : head);
		client_send(fd, "\r\n\r\n");
		sum = upload(fd, cases[i].len, cases[i].chunked);
		reply_read(&reply, fd, false);
		assert_int_equal(reply.status, 200);
		(void)snprintf(want, sizeof(want), "%zu %u", cases[i].len, sum);
		assert_string_equal(reply.body, want);
		reply_finish(&reply);
	}
	assert_int_equal(up_conns(&up), 1);
	(void)close(fd);
}

static void expect__is_the_upstreams_to_answer(void **state)
{
	int fd = client_open(&rig);
	struct reply reply;

	(void)state;
	for (int i = 0; i < 2; i++) {
		client_send(fd, "POST /upload HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
				"Content-Length: 4\r\n\r\n");
		reply_read(&reply, fd, false);
		assert_int_equal(reply.status, 100);
		assert_int_equal(ask(fd, "body", NULL, 0), 200);
	}
	(void)close(fd);
}

static void expect__may_be_answered_without_the_body(void **state)
{
	int fd = client_open(&rig);
	struct reply reply;

	(void)state;
	client_send(fd, "POST /early HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
			"Content-Length: 4\r\n\r\n");
	reply_read(&reply, fd, false);
	assert_int_equal(reply.status, 413);
	assert_string_equal(reply.body, "big");
	assert_string_equal(reply_header(&reply, "Connection"), "close");
	reply_finish(&reply);
	assert_true(is_closed(fd));
	(void)close(fd);
}

static void upload__refused_early_shows_the_answer(void **state)
{
	static char block[1 << 20];
	int fd = client_open(&rig);
	struct reply reply;

	(void)state;
	memset(block, 'x', sizeof(block));
	client_send(fd, "POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n");
	for (int i = 0; i < 4; i++)
		client_send_bytes(fd, block, sizeof(block));
	reply_read(&reply, fd, false);
	assert_true(reply.status == 413 || reply.status == 502); /* the reset may win the race */
	reply_finish(&reply);
	(void)close(fd);
}

static void upload__broken_chunks_end_it(void **state)
{
	static const struct {
		const char *first;
		const char *then;
	} cases[] = {
		{"zz\r\n", NULL},
		{"3\r\nabcX", NULL},
		{"3\r\nabc\r\n", "-1\r\n"},
		{"3\r\nabc\r\n", "0\r\nX\r\n\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		int fd = client_open(&rig);
		struct reply reply;

		client_send(fd, "POST /upload HTTP/1.1\r\nHost: x\r\n"
				"Transfer-Encoding: chunked\r\n\r\n");
		client_send(fd, cases[i].first);
		if (cases[i].then) {
			rig_await(&rig, RIG_ACTIVE, 1);
			client_send(fd, cases[i].then);
		}
		reply_read(&reply, fd, false);
		assert_int_equal(reply.status, 400);
		reply_finish(&reply);
		assert_true(is_closed(fd));
		(void)close(fd);
		rig_await(&rig, RIG_ACTIVE, 0);
	}
}

static void upload__ends_with_a_client_that_goes(void **state)
{
	int fd = client_open(&rig);

	(void)state;
	client_send(fd, "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
	rig_await(&rig, RIG_ACTIVE, 1);
	(void)close(fd);
	rig_await(&rig, RIG_ACTIVE, 0);
	rig_await(&rig, RIG_CONNS, 0);
}

static void half_close__still_gets_the_response(void **state)
{
	int fd = client_open(&rig);
	struct reply reply;

	(void)state;
	client_send(fd, "GET /gate HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	up_await_gate(&up, 1);
	up_open_gate(&up);
	reply_read(&reply, fd, false);
	assert_int_equal(reply.status, 200);
	reply_finish(&reply);
	assert_true(is_closed(fd));
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(download__waits_for_a_slow_reader, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(upload__waits_for_a_slow_reader, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(upload__arrives_whole, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(expect__is_the_upstreams_to_answer, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(expect__may_be_answered_without_the_body,
						pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(upload__refused_early_shows_the_answer, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(upload__broken_chunks_end_it, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(upload__ends_with_a_client_that_goes, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(half_close__still_gets_the_response, pair_set_up,
						pair_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
