/* test_ws_rules.c: the serving side of WebSocket connections and peers that break rules, come in
 * pieces, or vanish. */
#include "common/base/lp_buf.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "tests/unit/common/ws_fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define BINARY 0x82
#define TEXT   0x81
#define CLOSE  0x88
#define PING   0x89
#define PONG   0x8a
#define PATH   "/_livepush/ws"
#define MOST   ((size_t)LP_WS_MESSAGE_MAX_BYTES)

static int open_raw(void)
{
	int fd = fixture_connect();

	assert_int_equal(fixture_upgrade(fd, PATH, "livepush.v1"), 101);
	return fd;
}

static void server__closes_on_broken_rules(void **state)
{
	static uint8_t big[LP_WS_MESSAGE_MAX_BYTES + 1];
	static const struct {
		const char *name;
		unsigned first[2]; /* 0: no second frame */
		size_t len;
		unsigned code;
	} cases[] = {
		{"text", {TEXT, 0}, 5, 1003},
		{"empty text", {TEXT, 0}, 0, 1003},
		{"too long", {BINARY, 0}, sizeof(big), 1009},
		{"too long in two pieces", {0x02, 0x80}, sizeof(big) / 2 + 1, 1009},
		{"text in pieces", {0x01, 0x80}, 10, 1003},
	};

	(void)state;
	fixture_start(FIXTURE_ECHO);
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_buf payload = {0};
		int fd = open_raw(), first;
		char reason[128];

		memset(big, 'x', sizeof(big));
		fixture_send_frame(fd, cases[i].first[0], big, cases[i].len);
		if (cases[i].first[1])
			fixture_send_frame(fd, cases[i].first[1], big, cases[i].len);
		first = fixture_read_frame(fd, &payload);
		if (first != CLOSE || payload.len < 2 ||
		    (unsigned)(payload.data[0] << 8 | payload.data[1]) != cases[i].code)
			fail_msg("%s: first byte %d", cases[i].name, first);
		(void)close(fd);
		fixture_wait_closed((unsigned)i + 1, reason, sizeof(reason));
		assert_true(reason[0] != '\0');
		lp_buf_finish(&payload);
	}
	fixture_stop();
}

/* The head of a frame that promises that many bytes, and the first of them. */
static void send_promise(int fd, unsigned first, uint64_t promised)
{
	uint8_t b[15] = {(uint8_t)first, 0x80 | 127};

	for (unsigned i = 0; i < 8; i++)
		b[2 + i] = (uint8_t)(promised >> (56 - 8 * i));
	assert_int_equal(send(fd, b, sizeof(b), MSG_NOSIGNAL), sizeof(b));
}

/* What would be too long is refused when it is announced. */
static void server__refuses_a_promise_over_the_limit(void **state)
{
	static uint8_t most[LP_WS_MESSAGE_MAX_BYTES];
	static const struct {
		const char *name;
		unsigned first;
		uint64_t promised;
		size_t before; /* bytes of the same message in a frame before */
	} cases[] = {
		{"huge", BINARY, UINT64_C(1) << 62, 0},
		{"one too many", BINARY, MOST + 1, 0},
		{"huge, as a second frame", 0x80, UINT64_C(1) << 62, 1000},
		{"with the first too long", 0x80, 70000, MOST - 69999},
	};

	(void)state;
	fixture_start(FIXTURE_ECHO);
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_buf payload = {0};
		uint64_t began_us = lp_now_us();
		int fd = open_raw(), first;
		char reason[128];

		if (cases[i].before > 0)
			fixture_send_frame(fd, 0x02, most, cases[i].before);
		send_promise(fd, cases[i].first, cases[i].promised);
		first = fixture_read_frame(fd, &payload);
		if (first != CLOSE || payload.len < 2 ||
		    (payload.data[0] << 8 | payload.data[1]) != 1009)
			fail_msg("%s: first byte %d", cases[i].name, first);
		assert_true(lp_now_us() - began_us < 3000000);
		(void)close(fd);
		fixture_wait_closed((unsigned)i + 1, reason, sizeof(reason));
		lp_buf_finish(&payload);
	}
	fixture_stop();
}

/* Bytes that never become a message are no sign of life. */
static void server__drops_who_only_drips(void **state)
{
	uint64_t began_us = lp_now_us(), took_us;
	struct pollfd ready;
	char piece[256], reason[128];
	ssize_t n = 1;
	int fd;

	(void)state;
	fixture_start(FIXTURE_ECHO);
	fd = open_raw();
	ready = (struct pollfd){.fd = fd, .events = POLLIN};
	send_promise(fd, BINARY, 100000);
	while (n != 0 && lp_now_us() - began_us < FIXTURE_DEADLINE_US) {
		(void)send(fd, "12", 2, MSG_NOSIGNAL);
		/* Its pings, in time. */
		if (poll(&ready, 1, 300) > 0)
			n = recv(fd, piece, sizeof(piece), 0) > 0;
	}
	took_us = lp_now_us() - began_us;
	assert_true(took_us > 8000000 && took_us < 12000000);
	fixture_wait_closed(1, reason, sizeof(reason));
	assert_string_equal(reason, "it does not answer any more");
	(void)close(fd);
	fixture_stop();
}

static void server__puts_fragments_together(void **state)
{
	struct lp_buf payload = {0};
	int fd;

	(void)state;
	fixture_start(FIXTURE_ECHO);
	fd = open_raw();
	fixture_send_frame(fd, 0x02, "frag", 4);
	fixture_send_frame(fd, 0x00, "", 0);
	fixture_send_frame(fd, 0x89, "ping", 4); /* control frames may come in between */
	fixture_send_frame(fd, 0x00, "men", 3);
	fixture_send_frame(fd, 0x80, "ts", 2);
	fixture_send_frame(fd, BINARY, "next", 4);
	assert_int_equal(fixture_read_frame(fd, &payload), 0x8a);
	assert_string_equal(lp_buf_text(&payload), "ping");
	assert_int_equal(fixture_read_frame(fd, &payload), BINARY);
	assert_string_equal(lp_buf_text(&payload), "fragments");
	assert_int_equal(fixture_read_frame(fd, &payload), BINARY);
	assert_string_equal(lp_buf_text(&payload), "next");
	(void)close(fd);
	lp_buf_finish(&payload);
	fixture_stop();
}

static void server__notices_a_peer_that_vanishes(void **state)
{
	char reason[128];
	int fd;

	(void)state;
	fixture_start(FIXTURE_ECHO);
	fd = open_raw();
	fixture_send_frame(fd, BINARY, "half", 4);
	(void)close(fd);
	fixture_wait_closed(1, reason, sizeof(reason));
	assert_string_equal(reason, "connection lost");
	fixture_stop();
}

/* Who answers pings stays, however long it says nothing; who does not is dropped. */
static void server__pings_and_drops_who_does_not_answer(void **state)
{
	struct lp_buf payload = {0};
	uint64_t began_us, answered_us = 0;
	char reason[128];
	int fd;

	(void)state;
	fixture_start(FIXTURE_ECHO);
	fd = open_raw();
	began_us = lp_now_us();
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fixture_read_frame(fd, &payload), PING);
		fixture_send_frame(fd, PONG, payload.data, payload.len);
		answered_us = lp_now_us();
	}
	assert_true(answered_us - began_us > 8000000 && answered_us - began_us < 12000000);
	assert_int_equal(fixture_read_frame(fd, &payload), PING);
	fixture_wait_closed(1, reason, sizeof(reason));
	assert_string_equal(reason, "it does not answer any more");
	assert_true(lp_now_us() - answered_us < 10000000);
	(void)close(fd);
	lp_buf_finish(&payload);
	fixture_stop();
}

/* A pong that nobody asked for is a sign of life: its sender is not asked. */
static void server__does_not_ask_who_says_that_it_is_there(void **state)
{
	struct pollfd ready;
	uint64_t began_us;
	int fd;

	(void)state;
	fixture_start(FIXTURE_ECHO);
	fd = open_raw();
	began_us = lp_now_us();
	ready = (struct pollfd){.fd = fd, .events = POLLIN};
	while (lp_now_us() - began_us < 12000000) {
		if (poll(&ready, 1, 2000) > 0)
			fail_msg("something came after %d ms",
				 (int)((lp_now_us() - began_us) / 1000));
		fixture_send_frame(fd, PONG, "x", 1);
	}
	(void)close(fd);
	fixture_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(server__closes_on_broken_rules),
		cmocka_unit_test(server__refuses_a_promise_over_the_limit),
		cmocka_unit_test(server__drops_who_only_drips),
		cmocka_unit_test(server__puts_fragments_together),
		cmocka_unit_test(server__notices_a_peer_that_vanishes),
		cmocka_unit_test(server__pings_and_drops_who_does_not_answer),
		cmocka_unit_test(server__does_not_ask_who_says_that_it_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
