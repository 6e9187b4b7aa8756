/* test_door.c: WebSockets on their way through an instance's front door into its loop. */
#include "common/base/lp_buf.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "tests/unit/controller/instance_rig.h"
#include "tests/unit/fds.h"
#include "wire/msg.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define DEADLINE_US 30000000u
#define BINARY      0x82

static struct instance instance;
static size_t fds_before; /* descriptors of this process, the instance's included */

static void await_fds(size_t n)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;

	while (count_fds() != n) {
		if (lp_now_us() > deadline_us)
			fail_msg("%zu descriptors for %zu", count_fds(), n);
		(void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
}

static int set_up(void **state)
{
	(void)state;
	instance_init(&instance, INSTANCE_SECRET);
	instance_start(&instance);
	fds_before = count_fds();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	instance_finish(&instance);
	return 0;
}

static int connect_to_it(void)
{
	const struct timeval patience = {.tv_sec = DEADLINE_US / 1000000u};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_port = htons((uint16_t)strtoul(strrchr(instance.address, ':') + 1, NULL, 10));
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/* Asks for a WebSocket; more: further header lines, each with its end. behind: bytes that follow in
 * the same packet. */
static void send_upgrade(int fd, const char *path, const char *more, const struct lp_buf *behind)
{
	struct lp_buf b = {0};

	assert_int_equal(lp_buf_addf(&b,
				     "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
				     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
				     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
				     "Sec-WebSocket-Protocol: livepush.v1\r\n%s\r\n",
				     path, instance.address, more),
			 0);
	if (behind)
		assert_int_equal(lp_buf_add(&b, behind->data, behind->len), 0);
	assert_int_equal(send(fd, b.data, b.len, MSG_NOSIGNAL), b.len);
	lp_buf_finish(&b);
}

/* Reads an answer and not a byte more; returns its status, 0 for none. */
static int read_status(int fd)
{
	char head[4096] = {0}, body[4096];
	const char *length;
	size_t len;

	for (size_t n = 0; n < sizeof(head) - 1 && !strstr(head, "\r\n\r\n"); n++)
		if (recv(fd, head + n, 1, 0) != 1)
			return 0;
	if (strncmp(head, "HTTP/1.", 7) != 0)
		return 0;
	length = strcasestr(head, "\r\ncontent-length:");
	len = length ? strtoul(length + 17, NULL, 10) : 0;
	assert_true(len <= sizeof(body));
	if (len > 0) /* or it would wait for a byte */
		assert_int_equal(recv(fd, body, len, MSG_WAITALL), len);
	return (int)strtol(head + 9, NULL, 10);
}

/* A message to the instance as a masked frame. */
static void add_frame(struct lp_buf *out, const struct lp_msg *msg)
{
	uint8_t head[] = {BINARY, 0x80 | 126, 0, 0, 0, 0, 0, 0};
	struct lp_buf b = {0};

	assert_int_equal(lp_msg_encode(msg, &b), 0);
	assert_true(b.len >= 126 && b.len < 65536);
	head[2] = (uint8_t)(b.len >> 8);
	head[3] = (uint8_t)b.len;
	assert_int_equal(lp_buf_add(out, head, sizeof(head)), 0); /* a mask of zeroes */
	assert_int_equal(lp_buf_add(out, b.data, b.len), 0);
	lp_buf_finish(&b);
}

/* Reads one frame that carries a message of that kind. */
static void expect_message(int fd, enum lp_msg_kind kind)
{
	uint8_t head[2], length[2] = {0}, body[1024];
	struct lp_msg msg = {0};
	size_t len;

	assert_int_equal(recv(fd, head, 2, MSG_WAITALL), 2);
	assert_int_equal(head[0], BINARY);
	len = head[1];
	if (len == 126) {
		assert_int_equal(recv(fd, length, 2, MSG_WAITALL), 2);
		len = (size_t)length[0] << 8 | length[1];
	}
	assert_true(len <= sizeof(body));
	assert_int_equal(recv(fd, body, len, MSG_WAITALL), len);
	assert_int_equal(lp_msg_decode(&msg, body, len, NULL), 0);
	assert_int_equal(msg.kind, kind);
	lp_msg_finish(&msg);
}

static struct lp_msg hello(void)
{
	static char holder[200]; /* for a frame of middle length */
	struct lp_msg msg = {.kind = LP_MSG_HELLO};

	memset(holder, 'h', sizeof(holder) - 1);
	msg.u.hello = (struct lp_msg_hello){.version = LP_WIRE_VERSION,
					    .role = LP_ROLE_OBSERVER,
					    .app = lp_bytes_of("app"),
					    .holder = lp_bytes_of(holder)};
	return msg;
}

/* One socket at each end, and no other on the way. */
static void websocket__comes_with_its_socket(void **state)
{
	const struct lp_msg msg = hello();
	struct lp_buf behind = {0};
	int fd = connect_to_it();

	(void)state;
	add_frame(&behind, &msg);
	send_upgrade(fd, "/_livepush/ws", "", &behind);
	assert_int_equal(read_status(fd), 101);
	expect_message(fd, LP_MSG_CHALLENGE);
	assert_int_equal(count_fds(), fds_before + 2);
	(void)close(fd);
	await_fds(fds_before);
	lp_buf_finish(&behind);
}

static void websocket__may_come_after_plain_requests(void **state)
{
	static const char plain[] = "GET /_livepush/none HTTP/1.1\r\nHost: x\r\n\r\n";
	const struct lp_msg msg = hello();
	struct lp_buf frame = {0};
	int fd = connect_to_it();

	(void)state;
	assert_int_equal(send(fd, plain, sizeof(plain) - 1, 0), sizeof(plain) - 1);
	assert_true(read_status(fd) >= 400);
	send_upgrade(fd, "/_livepush/ws", "", NULL);
	assert_int_equal(read_status(fd), 101);
	add_frame(&frame, &msg);
	assert_int_equal(send(fd, frame.data, frame.len, 0), frame.len);
	expect_message(fd, LP_MSG_CHALLENGE);
	(void)close(fd);
	lp_buf_finish(&frame);
}

/* It goes by the control socket, as plain requests do. */
static void websocket__with_a_long_head_is_tunnelled(void **state)
{
	LP_AUTO_FREE char *cookie = lp_xcalloc(1, 10001);
	LP_AUTO_FREE char *line = NULL;
	int fd = connect_to_it();

	(void)state;
	memset(cookie, 'c', 10000);
	line = lp_xasprintf("Cookie: %s\r\n", cookie);
	send_upgrade(fd, "/_livepush/ws", line, NULL);
	assert_int_equal(read_status(fd), 431);
	(void)close(fd);
	fd = connect_to_it();
	free(lp_take_ptr(&line));
	line = lp_xasprintf("X-A: %.4000s\r\nX-B: %.4000s\r\nX-C: %.500s\r\n", cookie, cookie,
			    cookie);
	send_upgrade(fd, "/_livepush/ws", line, NULL);
	assert_int_equal(read_status(fd), 101);
	assert_int_equal(count_fds(), fds_before + 4);
	(void)close(fd);
	await_fds(fds_before);
}

static void websocket__is_refused_with_a_status(void **state)
{
	static const struct {
		const char *path, *more;
		int status;
	} cases[] = {
		{"/_livepush/other", "", 404},
		{"/_livepush/ws", "Origin: http://elsewhere.example\r\n", 403},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		int fd = connect_to_it();
		char rest[4096];

		send_upgrade(fd, cases[i].path, cases[i].more, NULL);
		assert_int_equal(read_status(fd), cases[i].status);
		while (recv(fd, rest, sizeof(rest), 0) > 0)
			;
		(void)close(fd);
	}
	await_fds(fds_before);
}

static void websocket__of_a_client_that_leaves_is_forgotten(void **state)
{
	const struct linger now = {.l_onoff = 1};

	(void)state;
	for (size_t i = 0; i < 150; i++) {
		int fd = connect_to_it();

		send_upgrade(fd, "/_livepush/ws", "", NULL);
		if (i % 3 == 0)
			assert_int_equal(read_status(fd), 101);
		if (i % 2)
			(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		(void)close(fd);
	}
	await_fds(fds_before);
}

/* More at once than may be on their way from one thread to the other. */
static void instance__ends_while_websockets_come(void **state)
{
	int fds[100];
	size_t all;

	(void)state;
	instance_stop(&instance);
	all = count_fds();
	for (size_t round = 0; round < 5; round++) {
		instance_start(&instance);
		for (size_t i = 0; i < LP_COUNT_OF(fds); i++) {
			fds[i] = connect_to_it();
			send_upgrade(fds[i], "/_livepush/ws", "", NULL);
		}
		instance_stop(&instance);
		for (size_t i = 0; i < LP_COUNT_OF(fds); i++)
			(void)close(fds[i]);
		assert_int_equal(count_fds(), all);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(websocket__comes_with_its_socket),
		TEST(websocket__may_come_after_plain_requests),
		TEST(websocket__with_a_long_head_is_tunnelled),
		TEST(websocket__is_refused_with_a_status),
		TEST(websocket__of_a_client_that_leaves_is_forgotten),
		TEST(instance__ends_while_websockets_come),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
