/* test_ws.c: WebSocket connections between two loops in two threads. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/common/ws_fixture.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define PATH "/_livepush/ws"
#define MOST ((size_t)LP_WS_MESSAGE_MAX_BYTES)

static const size_t sizes[] = {0,     1,     125,    126,    127,    65535, 65536,
			       65537, 70000, 262144, 262145, 524287, MOST};

/* The client side of a test: sends all of `sizes`, `window` at a time, and checks what comes back.
 */
static struct client {
	struct lp_loop *loop;
	size_t sent, received, window;
	bool opened, closed, in_connect;
	int send_result;
	char reason[128];
	uint8_t *pattern;
} client;

static void on_open(struct lp_ws *ws)
{
	assert_ptr_equal(lp_ws_user(ws), &client);
	client.opened = true;
	lp_ws_want_write(ws);
}

static void on_message(struct lp_ws *ws, const uint8_t *data, size_t len)
{
	assert_true(client.received < LP_COUNT_OF(sizes));
	assert_int_equal(len, sizes[client.received]);
	/* Each message begins at another place of the pattern. */
	if (len > 0)
		assert_memory_equal(data, client.pattern + client.received, len);
	if (++client.received == LP_COUNT_OF(sizes))
		lp_ws_close(ws, 1000, "all came back");
	lp_ws_want_write(ws);
}

static void on_writable(struct lp_ws *ws)
{
	if (client.sent == LP_COUNT_OF(sizes) || client.sent - client.received >= client.window)
		return;
	client.send_result = lp_ws_send(ws, client.pattern + client.sent, sizes[client.sent]);
	client.sent++;
	lp_ws_want_write(ws);
}

static void on_close(struct lp_ws *ws, const char *reason)
{
	assert_false(client.in_connect);
	assert_false(client.closed);
	assert_ptr_equal(lp_ws_user(ws), &client);
	client.closed = true;
	(void)snprintf(client.reason, sizeof(client.reason), "%s", reason);
	lp_loop_stop(client.loop);
}

static const struct lp_ws_ops client_ops = {.on_open = on_open,
					    .on_message = on_message,
					    .on_writable = on_writable,
					    .on_close = on_close};

static void on_deadline(struct lp_timer *timer)
{
	(void)timer;
	lp_loop_stop(client.loop);
}

static int try_connect(const char *url, const struct lp_ws_ops *ops, struct lp_err *err)
{
	const struct lp_ws_connect_opts opts = {.url = url, .ops = ops, .user = &client};
	struct lp_ws *ws = NULL;
	int r;

	client.in_connect = true;
	r = lp_ws_connect(client.loop, &ws, &opts, err);
	client.in_connect = false;
	assert_int_equal(r == 0, ws != NULL);
	return r;
}

/* Connects and runs until the connection is over. */
static void run_client(const char *url, const struct lp_ws_ops *ops, size_t window)
{
	struct lp_timer deadline = {.on_fire = on_deadline};
	struct lp_err err = {0};

	client = (struct client){.window = window};
	client.pattern = lp_xcalloc(1, MOST + LP_COUNT_OF(sizes));
	for (size_t i = 0; i < MOST + LP_COUNT_OF(sizes); i++)
		client.pattern[i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(lp_loop_create(&client.loop, &err), 0);
	if (try_connect(url, ops, &err) < 0)
		fail_msg("%s", err.msg);
	lp_timer_set(client.loop, &deadline, lp_now_us() + FIXTURE_DEADLINE_US);
	assert_int_equal(lp_loop_run(client.loop, &err), 0);
	lp_timer_clear(&deadline);
	lp_loop_destroy(client.loop);
	free(client.pattern);
	assert_true(client.closed);
}

static void messages__arrive_whole_in_both_directions(void **state)
{
	static const size_t windows[] = {1, 100};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(windows); i++) {
		char reason[128];

		fixture_start(FIXTURE_ECHO);
		run_client(fixture_url(), &client_ops, windows[i]);
		assert_int_equal(client.received, LP_COUNT_OF(sizes));
		assert_string_equal(client.reason, "all came back");
		fixture_wait_closed(1, reason, sizeof(reason));
		assert_string_equal(reason, "all came back");
		fixture_stop();
	}
}

static void close_when_both_have_tried(struct lp_ws *ws)
{
	if (client.sent && client.received)
		lp_ws_close(ws, 1000, "seen");
}

static void on_refused_message(struct lp_ws *ws, const uint8_t *data, size_t len)
{
	assert_int_equal(len, 7);
	assert_memory_equal(data, "refused", 7);
	client.received++;
	close_when_both_have_tried(ws);
}

static void on_writable_too_much(struct lp_ws *ws)
{
	static uint8_t too_much[LP_WS_MESSAGE_MAX_BYTES + 1];

	if (!client.sent++)
		client.send_result = lp_ws_send(ws, too_much, sizeof(too_much));
	close_when_both_have_tried(ws);
}

static void send__refuses_a_message_over_the_limit(void **state)
{
	static const struct lp_ws_ops ops = {.on_open = on_open,
					     .on_message = on_refused_message,
					     .on_writable = on_writable_too_much,
					     .on_close = on_close};

	(void)state;
	fixture_start(FIXTURE_SEND_TOO_MUCH);
	run_client(fixture_url(), &ops, 1);
	assert_int_equal(client.send_result, -EPIPE);
	assert_int_equal(client.received, 1);
	fixture_stop();
}

static void close__delivers_the_reason(void **state)
{
	static const struct {
		enum fixture_mode mode;
		const char *reason;
	} cases[] = {{FIXTURE_CLOSE_ON_OPEN, "held by somebody else"},
		     {FIXTURE_CLOSE_ON_MESSAGE, "that will do"}};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		char reason[128];

		fixture_start(cases[i].mode);
		run_client(fixture_url(), &client_ops, 1);
		assert_true(client.opened);
		assert_string_equal(client.reason, cases[i].reason);
		fixture_wait_closed(1, reason, sizeof(reason));
		assert_string_equal(reason, cases[i].reason);
		fixture_stop();
	}
}

static void connect__reports_failure_through_on_close(void **state)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char url[64];

	(void)state;
	/* Bound, not listening: nobody else gets the port and nobody answers. */
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	(void)snprintf(url, sizeof(url), "ws://127.0.0.1:%u", ntohs(at.sin_port));
	run_client(url, &client_ops, 1);
	assert_false(client.opened);
	assert_true(client.reason[0] != '\0');
	run_client("ws://no-such-host.invalid:1/", &client_ops, 1);
	assert_false(client.opened);
	assert_true(client.reason[0] != '\0');
	(void)close(fd);
	fixture_start(FIXTURE_REFUSE);
	run_client(fixture_url(), &client_ops, 1);
	assert_true(client.reason[0] != '\0');
	(void)snprintf(url, sizeof(url), "%s/elsewhere", fixture_url());
	run_client(url, &client_ops, 1);
	assert_false(client.opened);
	fixture_stop();
}

static void connect__refuses_what_is_no_address(void **state)
{
	static const char *const urls[] = {
		"",        "nonsense",          "http://127.0.0.1:1/",   "ws://",
		"ws:///x", "ws://127.0.0.1:0/", "ws://127.0.0.1:65536/", "WS:127.1",
		"ftp://x"};

	(void)state;
	client = (struct client){0};
	assert_int_equal(lp_loop_create(&client.loop, NULL), 0);
	for (size_t i = 0; i < LP_COUNT_OF(urls); i++) {
		struct lp_err err = {0};

		if (try_connect(urls[i], &client_ops, &err) != -EINVAL)
			fail_msg("'%s'", urls[i]);
		assert_int_equal(err.code, EINVAL);
		assert_memory_equal(err.msg, urls[i], strlen(urls[i]));
	}
	lp_loop_destroy(client.loop);
	assert_false(client.closed);
}

static void on_open_stop(struct lp_ws *ws)
{
	(void)ws;
	client.opened = true;
	lp_loop_stop(client.loop);
}

static void on_close_count(struct lp_ws *ws, const char *reason)
{
	(void)ws;
	assert_true(reason[0] != '\0');
	client.received++;
}

/* Connections that are open, begun or failed when their loop goes leave nothing behind. */
static void destroy__ends_what_is_open(void **state)
{
	static const struct lp_ws_ops ops = {.on_open = on_open_stop,
					     .on_message = on_message,
					     .on_writable = on_writable,
					     .on_close = on_close_count};
	struct lp_timer deadline = {.on_fire = on_deadline};
	char reason[128];

	(void)state;
	fixture_start(FIXTURE_ECHO);
	client = (struct client){0};
	assert_int_equal(lp_loop_create(&client.loop, NULL), 0);
	assert_int_equal(try_connect(fixture_url(), &ops, NULL), 0);
	lp_timer_set(client.loop, &deadline, lp_now_us() + FIXTURE_DEADLINE_US);
	assert_int_equal(lp_loop_run(client.loop, NULL), 0);
	lp_timer_clear(&deadline);
	assert_true(client.opened);
	assert_int_equal(try_connect(fixture_url(), &ops, NULL), 0);
	assert_int_equal(try_connect("ws://no-such-host.invalid:1/", &ops, NULL), 0);
	lp_loop_destroy(client.loop);
	assert_int_equal(client.received, 3);
	fixture_wait_closed(1, reason, sizeof(reason));
	fixture_stop();
}

static void request__is_answered(void **state)
{
	static const struct {
		const char *path, *authorization;
		int status;
		const char *body; /* NULL: as many 'b' as the path says */
	} cases[] = {
		{"/size/0", "", 200, ""},
		{"/size/1", "", 200, NULL},
		{"/size/5000", "", 200, NULL},
		{"/size/300000", "", 200, NULL},
		{"/auth", "Bearer abc", 203, "Bearer abc"},
		{"/auth", "", 203, ""},
		{"/missing", "", 404, ""},
		{PATH, "", 404, ""},
	};

	(void)state;
	fixture_start(FIXTURE_ECHO);
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_buf request = {0}, answer = {0};
		size_t want, head;
		int fd = fixture_connect();

		assert_int_equal(lp_buf_addf(&request,
					     "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
					     "Authorization: %s\r\n\r\n",
					     cases[i].path, cases[i].authorization),
				 0);
		assert_int_equal(fixture_http(fd, lp_buf_text(&request), &answer), cases[i].status);
		want = cases[i].body ? strlen(cases[i].body) : strtoul(cases[i].path + 6, NULL, 10);
		head = (size_t)(strstr(lp_buf_text(&answer), "\r\n\r\n") - (char *)answer.data) + 4;
		assert_int_equal(lp_read_all(fd, &answer), 0);
		assert_int_equal(answer.len - head, want);
		if (cases[i].body)
			assert_string_equal(lp_buf_text(&answer) + head, cases[i].body);
		else
			assert_int_equal(strspn(lp_buf_text(&answer) + head, "b"), want);
		(void)close(fd);
		lp_buf_finish(&request);
		lp_buf_finish(&answer);
	}
	fixture_stop();
}

static void upgrade__needs_the_path_and_the_subprotocol(void **state)
{
	static const struct {
		const char *path, *protocol;
		bool accepted;
	} cases[] = {
		{PATH, "livepush.v1", true},
		{PATH, "chat, livepush.v1", true},
		{PATH, NULL, false},
		{PATH, "livepush.v2", false},
		{PATH, "http", false},
		{PATH, "lp-epoll", false},
		{PATH, "", false},
		{"/", "livepush.v1", false},
		{PATH "/x", "livepush.v1", false},
		{"/_livepush/w", "livepush.v1", false},
	};

	(void)state;
	fixture_start(FIXTURE_ECHO);
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		int fd = fixture_connect();
		int status = fixture_upgrade(fd, cases[i].path, cases[i].protocol);

		if ((status == 101) != cases[i].accepted)
			fail_msg("case %zu: status %d", i, status);
		(void)close(fd);
	}
	fixture_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages__arrive_whole_in_both_directions),
		cmocka_unit_test(send__refuses_a_message_over_the_limit),
		cmocka_unit_test(close__delivers_the_reason),
		cmocka_unit_test(connect__reports_failure_through_on_close),
		cmocka_unit_test(connect__refuses_what_is_no_address),
		cmocka_unit_test(destroy__ends_what_is_open),
		cmocka_unit_test(request__is_answered),
		cmocka_unit_test(upgrade__needs_the_path_and_the_subprotocol),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
