/* ws_fixture.c: server thread, bridge thread and raw client for the tests of common/loop/ws.h. */
#include "tests/unit/common/ws_fixture.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/loop/http.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#define MAX_PAIRS 8

/* A message on its way back. */
struct echo {
	struct echo *next;
	size_t len;
	uint8_t data[];
};

struct connection {
	struct echo *first;
	struct echo **last;
};

static struct {
	enum fixture_mode mode;
	struct lp_loop *loop;
	pthread_t server, bridge;
	char name[64];
	char url[64];
	int listen_fd;
	int stop_fd;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned n_closed;      /* protected by lock */
	char close_reason[128]; /* protected by lock */
} fx = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void queue_echo(struct lp_ws *ws, const void *data, size_t len)
{
	struct connection *c = lp_ws_user(ws);
	struct echo *e = lp_xcalloc(1, sizeof(*e) + len);

	e->len = len;
	if (len > 0)
		memcpy(e->data, data, len);
	*c->last = e;
	c->last = &e->next;
	lp_ws_want_write(ws);
}

static void on_open(struct lp_ws *ws)
{
	uint8_t *too_much;

	if (fx.mode == FIXTURE_CLOSE_ON_OPEN)
		lp_ws_close(ws, 4001, "held by somebody else");
	if (fx.mode != FIXTURE_SEND_TOO_MUCH)
		return;
	too_much = lp_xcalloc(1, LP_WS_MESSAGE_MAX_BYTES + 1);
	queue_echo(ws, too_much, LP_WS_MESSAGE_MAX_BYTES + 1);
	free(too_much);
}

static void on_message(struct lp_ws *ws, const uint8_t *data, size_t len)
{
	if (fx.mode == FIXTURE_CLOSE_ON_MESSAGE)
		lp_ws_close(ws, 4002, "that will do");
	else
		queue_echo(ws, data, len);
}

static void on_writable(struct lp_ws *ws)
{
	struct connection *c = lp_ws_user(ws);
	struct echo *e = c->first;
	int r;

	if (!e)
		return;
	c->first = e->next;
	if (!c->first)
		c->last = &c->first;
	r = lp_ws_send(ws, e->data, e->len);
	if (fx.mode == FIXTURE_SEND_TOO_MUCH && e->len > (size_t)LP_WS_MESSAGE_MAX_BYTES)
		queue_echo(ws, r < 0 ? "refused" : "sent", r < 0 ? 7 : 4);
	free(e);
	if (c->first)
		lp_ws_want_write(ws);
}

static void on_close(struct lp_ws *ws, const char *reason)
{
	struct connection *c = lp_ws_user(ws);

	while (c->first) {
		struct echo *e = c->first;

		c->first = e->next;
		free(e);
	}
	free(c);
	(void)pthread_mutex_lock(&fx.lock);
	fx.n_closed++;
	(void)snprintf(fx.close_reason, sizeof(fx.close_reason), "%s", reason);
	(void)pthread_cond_broadcast(&fx.changed);
	(void)pthread_mutex_unlock(&fx.lock);
}

static const struct lp_ws_ops *on_accept(void *ctx, struct lp_ws *ws, void **user)
{
	static const struct lp_ws_ops ops = {.on_open = on_open,
					     .on_message = on_message,
					     .on_writable = on_writable,
					     .on_close = on_close};
	struct connection *c;

	(void)ctx;
	(void)ws;
	if (fx.mode == FIXTURE_REFUSE)
		return NULL;
	c = lp_xcalloc(1, sizeof(*c));
	c->last = &c->first;
	*user = c;
	return &ops;
}

/* "/size/N" gives N bytes; "/auth" what the request was authorized with; others do not exist. */
static void on_request(void *ctx, struct lp_http *http)
{
	const char *path = lp_http_path(http);

	(void)ctx;
	if (strncmp(path, "/size/", 6) == 0) {
		size_t n = (size_t)strtoul(path + 6, NULL, 10);
		char *bytes = lp_xcalloc(n + 1, 1);

		memset(bytes, 'b', n);
		lp_http_answer(http, 200, "text/plain", bytes, n);
		free(bytes);
	} else if (strcmp(path, "/auth") == 0) {
		const char *given = lp_http_header(http, LP_HTTP_AUTHORIZATION);

		lp_http_answer(http, 203, "application/json", given, strlen(given));
	} else {
		lp_http_answer(http, 404, "text/plain", "", 0);
	}
}

static void *run_server(void *arg)
{
	(void)arg;
	if (lp_loop_run(fx.loop, NULL) < 0)
		abort();
	return NULL;
}

int fixture_connect(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const struct timeval limit = {.tv_sec = FIXTURE_DEADLINE_US / 1000000};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(fx.name));

	memcpy(to.sun_path + 1, fx.name, strlen(fx.name));
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, len) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		abort();
	return fd;
}

/* Moves what is there from one side to the other. Returns whether the connection goes on. */
static bool forward(int from, int to)
{
	static char piece[65536];
	ssize_t n = recv(from, piece, sizeof(piece), 0);

	return n > 0 && lp_write_all(to, piece, (size_t)n) == 0;
}

static void *run_bridge(void *arg)
{
	struct pollfd p[2 + 2 * MAX_PAIRS] = {{.fd = fx.stop_fd, .events = POLLIN},
					      {.fd = fx.listen_fd, .events = POLLIN}};
	nfds_t n = 2;

	(void)arg;
	for (;;) {
		if (poll(p, n, -1) < 0)
			abort();
		if (p[0].revents)
			break;
		for (nfds_t i = 2; i < n; i++) {
			nfds_t pair = i & ~(nfds_t)1;

			if (!p[i].revents || forward(p[i].fd, p[i ^ 1].fd))
				continue;
			(void)close(p[pair].fd);
			(void)close(p[pair + 1].fd);
			n -= 2;
			p[pair] = p[n];
			p[pair + 1] = p[n + 1];
			break; /* the others come up again at once */
		}
		if (p[1].revents && n + 1 < LP_COUNT_OF(p)) {
			p[n] = (struct pollfd){
				.fd = accept4(fx.listen_fd, NULL, NULL, SOCK_CLOEXEC),
				.events = POLLIN};
			p[n + 1] = (struct pollfd){.fd = fixture_connect(), .events = POLLIN};
			if (p[n].fd < 0)
				abort();
			n += 2;
		}
	}
	for (nfds_t i = 2; i < n; i++)
		(void)close(p[i].fd);
	return NULL;
}

static void start_bridge(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);

	fx.stop_fd = eventfd(0, EFD_CLOEXEC);
	fx.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fx.stop_fd >= 0 && fx.listen_fd >= 0);
	assert_int_equal(bind(fx.listen_fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fx.listen_fd, MAX_PAIRS), 0);
	assert_int_equal(getsockname(fx.listen_fd, (struct sockaddr *)&at, &len), 0);
	(void)snprintf(fx.url, sizeof(fx.url), "ws://127.0.0.1:%u", ntohs(at.sin_port));
	assert_int_equal(pthread_create(&fx.bridge, NULL, run_bridge, NULL), 0);
}

void fixture_start(enum fixture_mode mode)
{
	struct lp_ws_serve_opts opts = {
		.abstract_name = fx.name, .on_accept = on_accept, .on_request = on_request};
	struct lp_err err = {0};

	fx.mode = mode;
	fx.n_closed = 0;
	fx.close_reason[0] = '\0';
	(void)snprintf(fx.name, sizeof(fx.name), "lp-test-ws-%d-%llu", (int)getpid(),
		       (unsigned long long)lp_now_us());
	assert_int_equal(lp_loop_create(&fx.loop, &err), 0);
	if (lp_ws_serve(fx.loop, &opts, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(pthread_create(&fx.server, NULL, run_server, NULL), 0);
	start_bridge();
}

void fixture_stop(void)
{
	const uint64_t one = 1;

	assert_int_equal(lp_write_all(fx.stop_fd, &one, sizeof(one)), 0);
	assert_int_equal(pthread_join(fx.bridge, NULL), 0);
	lp_loop_stop(fx.loop);
	assert_int_equal(pthread_join(fx.server, NULL), 0);
	lp_loop_destroy(fx.loop);
	(void)close(fx.listen_fd);
	(void)close(fx.stop_fd);
}

const char *fixture_url(void)
{
	return fx.url;
}

void fixture_wait_closed(unsigned n, char *reason, size_t reason_bytes)
{
	uint64_t until_us = lp_wall_us() + FIXTURE_DEADLINE_US;
	const struct timespec until = {.tv_sec = (time_t)(until_us / 1000000u)};
	int r = 0;

	(void)pthread_mutex_lock(&fx.lock);
	while (fx.n_closed < n && r == 0)
		r = pthread_cond_timedwait(&fx.changed, &fx.lock, &until);
	(void)snprintf(reason, reason_bytes, "%s", fx.close_reason);
	(void)pthread_mutex_unlock(&fx.lock);
	assert_int_equal(r, 0);
}

static bool read_more(int fd, struct lp_buf *b)
{
	char piece[65536];
	ssize_t n = recv(fd, piece, sizeof(piece), 0);

	if (n < 0 && errno == EAGAIN)
		fail_msg("the server did not answer in time");
	return n > 0 && lp_buf_add(b, piece, (size_t)n) == 0;
}

int fixture_http(int fd, const char *request, struct lp_buf *answer)
{
	assert_int_equal(lp_write_all(fd, request, strlen(request)), 0);
	answer->len = 0;
	while (!strstr(lp_buf_text(answer), "\r\n\r\n"))
		if (!read_more(fd, answer))
			return 0;
	if (strncmp(lp_buf_text(answer), "HTTP/1.1 ", 9) != 0)
		return 0;
	return (int)strtol(lp_buf_text(answer) + 9, NULL, 10);
}

int fixture_upgrade(int fd, const char *path, const char *protocol)
{
	struct lp_buf request = {0}, answer = {0};
	int status;

	assert_int_equal(lp_buf_addf(&request,
				     "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
				     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
				     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
				     path),
			 0);
	if (protocol)
		assert_int_equal(lp_buf_addf(&request, "Sec-WebSocket-Protocol: %s\r\n", protocol),
				 0);
	assert_int_equal(lp_buf_add_str(&request, "\r\n"), 0);
	status = fixture_http(fd, lp_buf_text(&request), &answer);
	/* The accept value of RFC 6455, 1.3, for this key. */
	if (status == 101)
		assert_non_null(strstr(lp_buf_text(&answer), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
	lp_buf_finish(&request);
	lp_buf_finish(&answer);
	return status;
}

void fixture_send_frame(int fd, unsigned first, const void *data, size_t len)
{
	static const uint8_t mask[4] = {0x11, 0x22, 0x33, 0x44};
	const uint8_t *p = data;
	struct lp_buf b = {0};
	uint8_t head[14] = {(uint8_t)first, 0x80 | 127};

	for (unsigned i = 0; i < 8; i++)
		head[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
	memcpy(head + 10, mask, sizeof(mask));
	/* Short forms are a must: RFC 6455, 5.2. */
	if (len < 126) {
		head[1] = (uint8_t)(0x80 | len);
		memcpy(head + 2, mask, sizeof(mask));
		assert_int_equal(lp_buf_add(&b, head, 6), 0);
	} else if (len < 65536) {
		head[1] = 0x80 | 126;
		head[2] = (uint8_t)(len >> 8);
		head[3] = (uint8_t)len;
		memcpy(head + 4, mask, sizeof(mask));
		assert_int_equal(lp_buf_add(&b, head, 8), 0);
	} else {
		assert_int_equal(lp_buf_add(&b, head, 14), 0);
	}
	for (size_t i = 0; i < len; i++) {
		uint8_t masked = p[i] ^ mask[i % 4];

		assert_int_equal(lp_buf_add(&b, &masked, 1), 0);
	}
	/* A server that has closed already is what some tests are after. */
	if (send(fd, b.data, b.len, MSG_NOSIGNAL) < 0)
		assert_true(errno == EPIPE || errno == ECONNRESET);
	lp_buf_finish(&b);
}

static bool read_exactly(int fd, void *out, size_t len)
{
	uint8_t *p = out;

	while (len > 0) {
		ssize_t n = recv(fd, p, len, 0);

		if (n < 0 && errno == EAGAIN)
			fail_msg("the server did not answer in time");
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

int fixture_read_frame(int fd, struct lp_buf *payload)
{
	uint8_t head[2], extended[8] = {0};
	size_t n_extended, len = 0;

	payload->len = 0;
	if (!read_exactly(fd, head, 2))
		return -1;
	n_extended = head[1] == 127 ? 8 : head[1] == 126 ? 2 : 0;
	if (!read_exactly(fd, extended, n_extended))
		return -1;
	for (size_t i = 0; i < n_extended; i++)
		len = len << 8 | extended[i];
	len = n_extended ? len : head[1];
	assert_int_equal(lp_buf_reserve(payload, len + 1), 0);
	if (!read_exactly(fd, payload->data, len))
		return -1;
	payload->len = len;
	return head[0];
}
