/* test_ws_client.c: the client side against a server made by hand in the loop's own thread, which
 * answers at the very moment that a test needs. */
#include "common/base/lp_buf.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/loop/ws.h"

#include <netinet/in.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define DEADLINE_US UINT64_C(30000000)
#define TOO_MUCH    ((size_t)LP_WS_MESSAGE_MAX_BYTES + 1)

/* What happens right after the server's answer was written, before the client's loop has seen it.
 */
enum plan {
	PLAN_CLOSE_AT_ONCE, /* closed before anything came */
	PLAN_ABANDON,
	PLAN_CLOSE,
	PLAN_TOO_MUCH, /* nothing; a message over the limit follows the answer */
	PLAN_TEXT,     /* nothing; a text message follows */
	PLAN_WRONG_PROTOCOL,
	PLAN_NO_UPGRADE,
	PLAN_SILENT, /* nothing ever again, and what comes is not read */
	PLAN_SILENT_PROBED,
};

static struct test {
	struct lp_loop *loop;
	struct lp_ws *ws;
	struct lp_timer tick;
	struct lp_timer deadline;
	enum plan plan;
	int listen_fd, fd;
	struct lp_buf request;
	bool answered, given_up, opened, timed_out;
	size_t poured;
	uint64_t opened_us, closed_us;
	int closed, messages;
	char reason[128];
} t;

static void on_open(struct lp_ws *ws)
{
	t.opened = true;
	t.opened_us = lp_now_us();
	if (t.plan == PLAN_SILENT_PROBED)
		lp_ws_probe(ws);
}

static void on_message(struct lp_ws *ws, const uint8_t *data, size_t len)
{
	(void)ws;
	(void)data;
	(void)len;
	t.messages++;
}

static void on_writable(struct lp_ws *ws)
{
	(void)ws;
}

static void on_close(struct lp_ws *ws, const char *reason)
{
	(void)ws;
	t.closed++;
	t.closed_us = lp_now_us();
	(void)snprintf(t.reason, sizeof(t.reason), "%s", reason);
}

static const struct lp_ws_ops ops = {.on_open = on_open,
				     .on_message = on_message,
				     .on_writable = on_writable,
				     .on_close = on_close};

/* RFC 6455, 4.2.2: base64 of SHA-1 of the key and a fixed text. */
static void accept_value(const char *request, char out[64])
{
	static const char fixed[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	const char *key = strcasestr(request, "Sec-WebSocket-Key: ");
	uint8_t digest[20];
	char text[128];

	assert_non_null(key);
	key += 19;
	(void)snprintf(text, sizeof(text), "%.*s%s", (int)strcspn(key, "\r"), key, fixed);
	assert_true(EVP_Digest(text, strlen(text), digest, NULL, EVP_sha1(), NULL));
	(void)EVP_EncodeBlock((uint8_t *)out, digest, sizeof(digest));
}

static void answer(void)
{
	const char *request = lp_buf_text(&t.request);
	struct lp_buf b = {0};
	char value[64];

	assert_non_null(strstr(request, "GET /_livepush/ws HTTP/1.1\r\n"));
	assert_non_null(strcasestr(request, "Sec-WebSocket-Protocol: livepush.v1\r\n"));
	accept_value(request, value);
	if (t.plan == PLAN_NO_UPGRADE)
		assert_int_equal(
			lp_buf_add_str(&b, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
			0);
	else
		assert_int_equal(
			lp_buf_addf(&b,
				    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
				    "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
				    "Sec-WebSocket-Protocol: %s\r\n\r\n",
				    value, t.plan == PLAN_WRONG_PROTOCOL ? "chat" : "livepush.v1"),
			0);
	if (t.plan == PLAN_TEXT)
		assert_int_equal(lp_buf_add(&b, "\x81\x02hi", 4), 0);
	if (t.plan == PLAN_TOO_MUCH) {
		uint8_t head[10] = {0x82, 127};

		for (unsigned i = 0; i < 8; i++)
			head[2 + i] = (uint8_t)((uint64_t)TOO_MUCH >> (56 - 8 * i));
		assert_int_equal(lp_buf_add(&b, head, sizeof(head)), 0);
	}
	assert_int_equal(lp_write_all(t.fd, b.data, b.len), 0);
	lp_buf_finish(&b);
}

/* The rest of the message over the limit, as fast as the client takes it. */
static void pour(void)
{
	static uint8_t piece[16384];

	while (t.plan == PLAN_TOO_MUCH && t.poured < TOO_MUCH) {
		size_t rest = TOO_MUCH - t.poured;
		ssize_t sent = send(t.fd, piece, rest < sizeof(piece) ? rest : sizeof(piece),
				    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent <= 0)
			return;
		t.poured += (size_t)sent;
	}
}

static bool request_is_complete(void)
{
	char piece[4096];
	ssize_t n;

	if (t.fd < 0)
		t.fd = accept4(t.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	n = t.fd < 0 ? -1 : recv(t.fd, piece, sizeof(piece), 0);
	if (n > 0)
		assert_int_equal(lp_buf_add(&t.request, piece, (size_t)n), 0);
	return strstr(lp_buf_text(&t.request), "\r\n\r\n") != NULL;
}

static bool is_gone(int fd)
{
	char piece[4096];
	ssize_t n = recv(fd, piece, sizeof(piece), 0);

	return n == 0 || (n < 0 && errno != EAGAIN);
}

static void give_up(void)
{
	if (t.plan == PLAN_ABANDON)
		lp_ws_abandon(t.ws);
	else if (t.plan == PLAN_CLOSE)
		lp_ws_close(t.ws, 1000, "changed my mind");
	t.given_up = true;
}

/* Once a millisecond: the server's work, and the end of the test. Only after the answer comes a
 * tick at once: it and the answer are then ready in the same round of the loop, the tick first. */
static void on_tick(struct lp_timer *timer)
{
	uint64_t next_us = lp_now_us() + 1000;

	if (t.answered && !t.given_up)
		give_up();
	if (!t.answered && request_is_complete()) {
		answer();
		pour();
		t.answered = true;
		next_us = 0;
	} else if (t.answered) {
		pour();
	}
	/* Abandoned, it says nothing; the server sees that it is gone. */
	if (t.closed || (t.given_up && t.plan == PLAN_ABANDON && is_gone(t.fd))) {
		lp_loop_stop(t.loop);
		return;
	}
	lp_timer_set(t.loop, timer, next_us);
}

static void on_deadline(struct lp_timer *timer)
{
	(void)timer;
	t.timed_out = true;
	lp_loop_stop(t.loop);
}

static void run_plan(enum plan plan)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct lp_ws_connect_opts opts = {.ops = &ops};
	socklen_t len = sizeof(at);
	char url[64];

	t = (struct test){.plan = plan, .fd = -1, .tick.on_fire = on_tick};
	t.deadline.on_fire = on_deadline;
	t.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(t.listen_fd >= 0);
	assert_int_equal(bind(t.listen_fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(t.listen_fd, 1), 0);
	assert_int_equal(getsockname(t.listen_fd, (struct sockaddr *)&at, &len), 0);
	(void)snprintf(url, sizeof(url), "ws://127.0.0.1:%u", ntohs(at.sin_port));
	opts.url = url;
	assert_int_equal(lp_loop_create(&t.loop, NULL), 0);
	assert_int_equal(lp_ws_connect(t.loop, &t.ws, &opts, NULL), 0);
	if (plan == PLAN_CLOSE_AT_ONCE)
		lp_ws_close(t.ws, 1000, "never mind");
	assert_int_equal(t.closed, 0); /* never from inside a call */
	lp_timer_set(t.loop, &t.tick, lp_now_us());
	lp_timer_set(t.loop, &t.deadline, lp_now_us() + DEADLINE_US);
	assert_int_equal(lp_loop_run(t.loop, NULL), 0);
	lp_timer_clear(&t.tick);
	lp_timer_clear(&t.deadline);
	lp_loop_destroy(t.loop);
	lp_buf_finish(&t.request);
	lp_auto_close(&t.fd);
	lp_auto_close(&t.listen_fd);
	assert_false(t.timed_out);
	assert_true(t.answered || plan == PLAN_CLOSE_AT_ONCE);
	assert_int_equal(t.messages, 0);
	assert_int_equal(t.closed, plan != PLAN_ABANDON);
}

/* The answer is there already, unread, when the owner gives up. */
static void client__given_up_while_the_answer_comes_never_opens(void **state)
{
	(void)state;
	run_plan(PLAN_CLOSE_AT_ONCE);
	assert_false(t.opened);
	assert_string_equal(t.reason, "never mind");
	run_plan(PLAN_ABANDON);
	assert_false(t.opened);
	run_plan(PLAN_CLOSE);
	assert_false(t.opened);
	assert_string_equal(t.reason, "changed my mind");
}

static void client__closes_on_broken_rules(void **state)
{
	(void)state;
	run_plan(PLAN_TOO_MUCH);
	assert_true(t.opened);
	assert_string_equal(t.reason, "message too large");
	run_plan(PLAN_TEXT);
	assert_true(t.opened);
	assert_string_equal(t.reason, "binary messages only");
}

static void client__needs_the_upgrade_and_the_subprotocol(void **state)
{
	(void)state;
	run_plan(PLAN_WRONG_PROTOCOL);
	assert_false(t.opened);
	assert_true(t.reason[0] != '\0');
	run_plan(PLAN_NO_UPGRADE);
	assert_false(t.opened);
	assert_true(t.reason[0] != '\0');
}

/* A peer that was cut off without a word: noticed within 10 s, and sooner when there is a reason to
 * doubt. */
static void client__notices_a_peer_that_is_silent(void **state)
{
	uint64_t silent_us;

	(void)state;
	run_plan(PLAN_SILENT);
	silent_us = t.closed_us - t.opened_us;
	assert_true(silent_us > 8000000 && silent_us < 10000000);
	assert_string_equal(t.reason, "it does not answer any more");
	run_plan(PLAN_SILENT_PROBED);
	silent_us = t.closed_us - t.opened_us;
	assert_true(silent_us > 1900000 && silent_us < 4000000);
	assert_string_equal(t.reason, "it does not answer any more");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(client__given_up_while_the_answer_comes_never_opens),
		cmocka_unit_test(client__closes_on_broken_rules),
		cmocka_unit_test(client__needs_the_upgrade_and_the_subprotocol),
		cmocka_unit_test(client__notices_a_peer_that_is_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
