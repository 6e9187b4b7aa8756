/* tests/unit/proxy/test_tunnel.c: upgraded connections. */
#include "harness_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#define UPGRADE "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

/* An open tunnel; `early` follows the request at once. */
static int open_tunnel(const char *early)
{
	int fd = client_open(&rig);
	struct reply reply;
	char hello[5];

	client_send(fd, UPGRADE);
	client_send(fd, early);
	reply_read(&reply, fd, false);
	assert_int_equal(reply.status, 101);
	assert_string_equal(reply_header(&reply, "Upgrade"), "echo");
	assert_int_equal(recv(fd, hello, 5, MSG_WAITALL), 5);
	assert_memory_equal(hello, "hello", 5);
	return fd;
}

static void tunnel__passes_bytes_and_keeps_the_half_close(void **state)
{
	int fd = open_tunnel("early ");
	char back[16];

	(void)state;
	client_send(fd, "late");
	assert_int_equal(recv(fd, back, 10, MSG_WAITALL), 10);
	assert_memory_equal(back, "early late", 10);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_int_equal(recv(fd, back, 3, MSG_WAITALL), 3);
	assert_memory_equal(back, "bye", 3);
	assert_true(is_closed(fd));
	(void)close(fd);
	rig_await(&rig, RIG_ACTIVE, 0);
	rig_await(&rig, RIG_CONNS, 0);
}

static void *read_all(void *arg)
{
	int fd = *(int *)arg;
	static unsigned char buf[1 << 16];
	uint64_t got = 0;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		for (ssize_t i = 0; i < n; i++, got++) {
			if (got < 64ULL << 20 && buf[i] != (unsigned char)(got * 7 + (got >> 16)))
				return NULL;
		}
	}
	return n == 0 && got == (64ULL << 20) + 3 ? arg : NULL;
}

static void tunnel__carries_a_large_stream_both_ways(void **state)
{
	static unsigned char block[1 << 16];
	int fd = open_tunnel("");
	pthread_t reader;
	void *good;

	(void)state;
	assert_int_equal(pthread_create(&reader, NULL, read_all, &fd), 0);
	for (uint64_t at = 0; at < 64ULL << 20; at += sizeof(block)) {
		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = (unsigned char)((at + i) * 7 + ((at + i) >> 16));
		client_send_bytes(fd, block, sizeof(block));
	}
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_int_equal(pthread_join(reader, &good), 0);
	assert_non_null(good);
	(void)close(fd);
}

static void tunnel__ends_when_the_client_breaks_off(void **state)
{
	struct linger now = {.l_onoff = 1};
	int fd = open_tunnel("");

	(void)state;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	(void)close(fd); /* a reset */
	rig_await(&rig, RIG_ACTIVE, 0);
	rig_await(&rig, RIG_CONNS, 0);
}

static void tunnel__ends_when_the_upstream_breaks_off(void **state)
{
	int fd = open_tunnel("");

	(void)state;
	up_drop_conns(&up);
	assert_true(is_closed(fd));
	(void)close(fd);
	rig_await(&rig, RIG_ACTIVE, 0);
}

static void tunnel__needs_the_client_to_ask(void **state)
{
	int fd = client_open(&rig);

	(void)state;
	assert_int_equal(ask(fd, "GET /upgrade HTTP/1.1\r\nHost: x\r\n\r\n", NULL, 0), 502);
	(void)close(fd);
}

static void upgrade__that_is_declined_is_a_plain_response(void **state)
{
	int fd = client_open(&rig);

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(ask(fd,
				     "GET /name HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
				     "Upgrade: echo\r\n\r\n",
				     NULL, 0),
				 200);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tunnel__passes_bytes_and_keeps_the_half_close,
						pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(tunnel__carries_a_large_stream_both_ways,
						pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(tunnel__ends_when_the_client_breaks_off,
						pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(tunnel__ends_when_the_upstream_breaks_off,
						pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(tunnel__needs_the_client_to_ask, pair_set_up,
						pair_tear_down),
		cmocka_unit_test_setup_teardown(upgrade__that_is_declined_is_a_plain_response,
						pair_set_up, pair_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
