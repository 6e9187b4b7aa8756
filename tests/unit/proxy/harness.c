/* tests/unit/proxy/harness.c: proxy and client for the tests with sockets. */
#include "harness.h"

#include "common/base/lp_fs.h"
#include "harness_io.h"
#include "harness_tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void on_drained(void *ctx, uint64_t id)
{
	struct rig *r = ctx;

	(void)pthread_mutex_lock(&r->lock);
	if (r->n_drained < LP_COUNT_OF(r->drained))
		r->drained[r->n_drained++] = id;
	(void)pthread_cond_broadcast(&r->changed);
	(void)pthread_mutex_unlock(&r->lock);
}

void rig_start(struct rig *r, const struct lp_proxy_limits *limits)
{
	struct lp_proxy_opts opts = {.on_drained = on_drained, .ctx = r};
	struct tls_files tls;
	struct lp_err err = {0};

	memset(r, 0, sizeof(*r));
	if (tls_wanted()) {
		tls_make_files(&tls, "localhost", 0);
		opts.tls_cert = tls.cert;
		opts.tls_key = tls.key;
	}
	(void)pthread_mutex_init(&r->lock, NULL);
	(void)pthread_cond_init(&r->changed, NULL);
	if (limits)
		opts.limits = *limits;
	assert_int_equal(lp_proxy_addr_parse(&opts.listen, "127.0.0.1:0", &err), 0);
	assert_int_equal(lp_proxy_create(&r->proxy, &opts, &err), 0);
}

void rig_stop(struct rig *r)
{
	lp_proxy_destroy(r->proxy);
	tls_bridges_join();
	(void)pthread_mutex_destroy(&r->lock);
	(void)pthread_cond_destroy(&r->changed);
}

void rig_forward(struct rig *r, uint64_t id, const struct up *u)
{
	struct lp_proxy_upstream target = {.id = id, .addr = u->addr, .weight = 1};
	struct lp_proxy_route route = {.host = "",
				       .prefix = "/",
				       .kind = LP_ROUTE_FORWARD,
				       .upstreams = &target,
				       .n_upstreams = 1};

	assert_int_equal(lp_proxy_set_routes(r->proxy, &route, 1, NULL), 0);
}

void rig_hold(struct rig *r)
{
	struct lp_proxy_route route = {.host = "", .prefix = "/", .kind = LP_ROUTE_HOLD};

	assert_int_equal(lp_proxy_set_routes(r->proxy, &route, 1, NULL), 0);
}

size_t rig_n_drained(struct rig *r, uint64_t id)
{
	size_t n = 0;

	(void)pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < r->n_drained; i++)
		n += r->drained[i] == id;
	(void)pthread_mutex_unlock(&r->lock);
	return n;
}

void rig_await_drained(struct rig *r, uint64_t id)
{
	struct timespec until = io_deadline();
	size_t seen = 0;
	int e = 0;

	(void)pthread_mutex_lock(&r->lock);
	for (;;) {
		while (seen < r->n_drained && r->drained[seen] != id)
			seen++;
		if (seen < r->n_drained || e)
			break;
		e = pthread_cond_timedwait(&r->changed, &r->lock, &until);
	}
	(void)pthread_mutex_unlock(&r->lock);
	assert_int_equal(e, 0);
}

void rig_await(struct rig *r, enum rig_counter counter, unsigned value)
{
	struct timespec pause = {.tv_nsec = 1000000};

	for (int i = 0; i < DEADLINE_S * 1000; i++) {
		struct lp_proxy_stats s;
		unsigned got;

		lp_proxy_stats(r->proxy, &s);
		got = counter == RIG_HELD ? s.held : counter == RIG_ACTIVE ? s.active : s.conns;
		if (got == value)
			return;
		(void)nanosleep(&pause, NULL);
	}
	fail_msg("the proxy's counter did not become %u", value);
}

int client_open(const struct rig *r)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(lp_proxy_port(r->proxy)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	io_set_timeouts(fd);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return tls_wanted() ? tls_bridge(fd) : fd;
}

void client_send_bytes(int fd, const void *data, size_t len)
{
	assert_true(io_send_all(fd, data, len));
}

void client_send(int fd, const char *text)
{
	client_send_bytes(fd, text, strlen(text));
}

/* Reads the body of a reply whose head is there. */
static bool read_reply_body(struct reply *reply, int fd)
{
	char value[64];
	struct lp_buf all = {0};
	bool ok;

	if (io_find_header(reply->head, "Transfer-Encoding", value, sizeof(value))) {
		reply->chunked = true;
		return io_read_chunks(fd, &reply->body, &reply->body_len);
	}
	if (io_find_header(reply->head, "Content-Length", value, sizeof(value))) {
		reply->body_len = strtoul(value, NULL, 10);
		reply->body = calloc(1, reply->body_len + 1);
		return reply->body && io_read_exact(fd, reply->body, reply->body_len);
	}
	ok = lp_read_all(fd, &all) == 0 && lp_buf_text(&all);
	reply->body = (char *)all.data;
	reply->body_len = all.len;
	return ok;
}

void reply_read(struct reply *reply, int fd, bool to_head)
{
	memset(reply, 0, sizeof(*reply));
	reply->status = -1;
	if (!io_read_head(fd, reply->head, sizeof(reply->head)) ||
	    strncmp(reply->head, "HTTP/1.1 ", 9) != 0)
		return;
	reply->status = (int)strtol(reply->head + 9, NULL, 10);
	if (to_head || reply->status < 200 || reply->status == 204 || reply->status == 304)
		return;
	if (!read_reply_body(reply, fd))
		reply->status = -1;
}

void reply_finish(struct reply *reply)
{
	free(reply->body);
	reply->body = NULL;
}

const char *reply_header(const struct reply *reply, const char *name)
{
	static char value[1024];

	return io_find_header(reply->head, name, value, sizeof(value));
}

int ask(int fd, const char *text, char *body, size_t body_bytes)
{
	struct reply reply;

	client_send(fd, text);
	reply_read(&reply, fd, false);
	if (body)
		(void)snprintf(body, body_bytes, "%s", reply.body ? reply.body : "");
	reply_finish(&reply);
	return reply.status;
}

bool is_closed(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, 0);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}
