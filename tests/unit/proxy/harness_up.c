/* tests/unit/proxy/harness_up.c: the upstream of the tests. */
#include "harness.h"
#include "harness_io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Reads the request body. Returns its length and sum. */
static bool read_body(int fd, const char *head, uint64_t *len, uint32_t *sum)
{
	char value[64];
	char buf[65536];
	uint64_t left;

	*len = 0;
	*sum = 0;
	if (io_find_header(head, "Transfer-Encoding", value, sizeof(value))) {
		char *data = NULL;
		size_t n = 0;
		bool ok = io_read_chunks(fd, &data, &n);

		for (size_t i = 0; i < n; i++)
			*sum = *sum * 31 + (unsigned char)data[i];
		*len = n;
		free(data);
		return ok;
	}
	if (!io_find_header(head, "Content-Length", value, sizeof(value)))
		return true;
	for (left = strtoull(value, NULL, 10); left;) {
		size_t want = left < sizeof(buf) ? (size_t)left : sizeof(buf);
		ssize_t n = recv(fd, buf, want, 0);

		if (n <= 0)
			return false;
		for (ssize_t i = 0; i < n; i++)
			*sum = *sum * 31 + (unsigned char)buf[i];
		*len += (uint64_t)n;
		left -= (uint64_t)n;
	}
	return true;
}

static bool answer(int fd, const char *body)
{
	char text[20000];
	int n = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
			 strlen(body), body);

	return io_send_all(fd, text, (size_t)n);
}

/* n bytes of a pattern, in pieces; each as a chunk when asked for. */
static bool send_pattern(struct up *u, int fd, size_t n, bool chunked)
{
	char piece[8192];

	for (size_t i = 0; i < sizeof(piece); i++)
		piece[i] = (char)('a' + i % 26);
	while (n) {
		size_t len = n < sizeof(piece) ? n : sizeof(piece);
		char size[16];

		(void)snprintf(size, sizeof(size), "%zx\r\n", len);
		if (chunked && !io_send_all(fd, size, strlen(size)))
			return false;
		if (!io_send_all(fd, piece, len) || (chunked && !io_send_all(fd, "\r\n", 2)))
			return false;
		n -= len;
		atomic_fetch_add(&u->sent, len);
	}
	return !chunked || io_send_all(fd, "0\r\nX-Trailer: yes\r\n\r\n", 21);
}

static bool send_sized(struct up *u, int fd, const char *path)
{
	size_t n = strtoul(strrchr(path, '/') + 1, NULL, 10);
	char head[128];

	if (strncmp(path, "/len/", 5) == 0) {
		(void)snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
			       n);
		return io_send_all(fd, head, strlen(head)) && send_pattern(u, fd, n, false);
	}
	if (strncmp(path, "/chunked/", 9) == 0)
		return io_send_all(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
				   47) &&
		       send_pattern(u, fd, n, true);
	(void)(io_send_all(fd, "HTTP/1.0 200 OK\r\n\r\n", 19) && send_pattern(u, fd, n, false));
	return false; /* /close/N */
}

static bool await_gate(struct up *u)
{
	bool open;

	(void)pthread_mutex_lock(&u->lock);
	u->waiting++;
	(void)pthread_cond_broadcast(&u->changed);
	while (!u->gate_open && !u->stopping)
		(void)pthread_cond_wait(&u->changed, &u->lock);
	open = u->gate_open;
	u->waiting--;
	(void)pthread_mutex_unlock(&u->lock);
	return open;
}

static bool wait_at_gate(struct up *u, int fd)
{
	return await_gate(u) && answer(fd, "through the gate");
}

/* 101, then everything comes back until the client ends; then "bye" and the end. */
static bool echo_tunnel(int fd)
{
	char buf[65536];
	ssize_t n;

	if (!io_send_all(fd,
			 "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
			 "Upgrade: echo\r\n\r\nhello",
			 77))
		return false;
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		if (!io_send_all(fd, buf, (size_t)n))
			return false;
	}
	(void)io_send_all(fd, "bye", 3);
	return false;
}

/* Frames: a text of three bytes, the first byte of another; the rest of that and a third when the
 * gate opens. Then until the client ends. */
static bool websocket(struct up *u, int fd)
{
	static const char beginning[] =
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
		"Upgrade: websocket\r\n\r\n\x81\x03one\x81";
	char buf[256];
	bool open;

	if (!io_send_all(fd, beginning, sizeof(beginning) - 1))
		return false;
	open = await_gate(u);
	if (open)
		(void)io_send_all(fd, "\x03two", 4);
	while (open && recv(fd, buf, sizeof(buf), 0) > 0)
		;
	return false;
}

/* An event; another one when the gate opens; no end. */
static bool events(struct up *u, int fd)
{
	static const char beginning[] =
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
		"Transfer-Encoding: chunked\r\n\r\nb\r\ndata: one\n\n\r\n";

	if (!io_send_all(fd, beginning, sizeof(beginning) - 1))
		return false;
	if (await_gate(u))
		(void)io_send_all(fd, "b\r\ndata: two\n\n\r\n", 16);
	while (await_gate(u) && io_send_all(fd, "", 0) && recv(fd, (char[1]){0}, 1, 0) > 0)
		;
	return false;
}

/* HTTP/2 with prior knowledge: sends SETTINGS, then every byte back. */
static bool http2(int fd)
{
	char buf[256];
	ssize_t n;

	if (!io_read_exact(fd, buf, 6) || memcmp(buf, "SM\r\n\r\n", 6) != 0 ||
	    !io_send_all(fd, "\0\0\0\x04\0\0\0\0\0", 9))
		return false;
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0 && io_send_all(fd, buf, (size_t)n))
		;
	return false;
}

/* Reads the whole request and answers its length and sum. */
static bool count_upload(int fd, const char *head)
{
	uint64_t len;
	uint32_t sum;
	char text[64];

	if (strstr(head, "100-continue") && !io_send_all(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25))
		return false;
	if (!read_body(fd, head, &len, &sum))
		return false;
	(void)snprintf(text, sizeof(text), "%llu %u", (unsigned long long)len, sum);
	return answer(fd, text);
}

/* Reads the whole request and says nothing. */
static bool drop(int fd, const char *head)
{
	uint64_t len;
	uint32_t sum;

	(void)read_body(fd, head, &len, &sum);
	return false;
}

/* Closes as a program does that has run a request without reading its body. */
static bool reset(int fd)
{
	const struct linger now = {.l_onoff = 1};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	return false;
}

/* Returns whether the connection goes on. */
static bool serve_request(struct up *u, int fd, const char *head)
{
	char path[256] = "";

	(void)sscanf(head, "%*s %255s", path);
	if (strcmp(path, "/echo") == 0)
		return answer(fd, head);
	if (strcmp(path, "/name") == 0)
		return answer(fd, u->name);
	if (strcmp(path, "/gate") == 0)
		return wait_at_gate(u, fd);
	if (strcmp(path, "/upload") == 0)
		return count_upload(fd, head);
	if (strcmp(path, "/upgrade") == 0)
		return echo_tunnel(fd);
	if (strcmp(path, "/websocket") == 0)
		return websocket(u, fd);
	if (strcmp(path, "/events") == 0)
		return events(u, fd);
	if (strncmp(head, "PRI ", 4) == 0)
		return http2(fd);
	if (strcmp(path, "/early") == 0) {
		(void)io_send_all(fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig", 48);
		return false;
	}
	if (strcmp(path, "/none") == 0)
		return io_send_all(fd, "HTTP/1.1 204 No Content\r\n\r\n", 27);
	if (strcmp(path, "/head") == 0)
		return io_send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", 41);
	if (strcmp(path, "/short") == 0)
		(void)io_send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", 42);
	if (strcmp(path, "/garbage") == 0)
		(void)io_send_all(fd, "this is no response\r\n\r\n", 23);
	if (strcmp(path, "/drop") == 0)
		return drop(fd, head);
	if (strcmp(path, "/reset") == 0)
		return reset(fd);
	if (strcmp(path, "/torn") == 0)
		(void)io_send_all(fd,
				  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
				  "3\r\nabc\r\n",
				  55);
	if (strcmp(path, "/torn") == 0 || strcmp(path, "/short") == 0 ||
	    strcmp(path, "/garbage") == 0)
		return false;
	return send_sized(u, fd, path);
}

struct job {
	struct up *u;
	size_t slot;
};

static void *serve(void *arg)
{
	struct job *job = arg;
	struct up *u = job->u;
	size_t slot = job->slot;
	int fd = u->fds[slot];
	char head[16384];

	free(job);
	while (io_read_head(fd, head, sizeof(head)) != 0) {
		atomic_fetch_add(&u->requests, 1);
		if (!serve_request(u, fd, head) || atomic_load(&u->close_after))
			break;
	}
	(void)pthread_mutex_lock(&u->lock);
	u->fds[slot] = -1;
	(void)close(fd);
	(void)pthread_cond_broadcast(&u->changed);
	(void)pthread_mutex_unlock(&u->lock);
	return NULL;
}

static void *accept_all(void *arg)
{
	struct up *u = arg;
	struct timespec pause = {.tv_nsec = 1000000};

	for (;;) {
		int fd = accept4(u->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		struct job *job;

		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ECONNABORTED)) {
			(void)nanosleep(&pause, NULL);
			continue;
		}
		if (fd < 0)
			return NULL;
		io_set_timeouts(fd);
		(void)pthread_mutex_lock(&u->lock);
		if (u->stopping || u->n_conns == MAX_UP_CONNS) {
			(void)close(fd);
		} else {
			job = malloc(sizeof(*job));
			*job = (struct job){u, u->n_conns};
			u->fds[u->n_conns] = fd;
			(void)pthread_create(&u->threads[u->n_conns], NULL, serve, job);
			u->n_conns++;
			(void)pthread_cond_broadcast(&u->changed);
		}
		(void)pthread_mutex_unlock(&u->lock);
	}
}

void up_start(struct up *u, const char *name, const char *unix_path)
{
	char text[128] = "127.0.0.1:0";

	memset(u, 0, sizeof(*u));
	u->name = name;
	(void)pthread_mutex_init(&u->lock, NULL);
	(void)pthread_cond_init(&u->changed, NULL);
	if (unix_path)
		(void)snprintf(text, sizeof(text), "unix:%s", unix_path);
	assert_int_equal(lp_proxy_addr_parse(&u->addr, text, NULL), 0);
	u->listen_fd = socket(u->addr.u.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(u->listen_fd >= 0);
	assert_int_equal(bind(u->listen_fd, &u->addr.u.any, u->addr.len), 0);
	assert_int_equal(listen(u->listen_fd, 512), 0);
	if (!unix_path)
		assert_int_equal(getsockname(u->listen_fd, &u->addr.u.any, &u->addr.len), 0);
	assert_int_equal(pthread_create(&u->thread, NULL, accept_all, u), 0);
}

void up_drop_conns(struct up *u)
{
	(void)pthread_mutex_lock(&u->lock);
	for (size_t i = 0; i < u->n_conns; i++) {
		if (u->fds[i] >= 0)
			(void)shutdown(u->fds[i], SHUT_RDWR);
	}
	(void)pthread_mutex_unlock(&u->lock);
}

void up_stop(struct up *u)
{
	(void)pthread_mutex_lock(&u->lock);
	u->stopping = true;
	(void)pthread_cond_broadcast(&u->changed);
	(void)pthread_mutex_unlock(&u->lock);
	(void)shutdown(u->listen_fd, SHUT_RDWR);
	(void)pthread_join(u->thread, NULL);
	up_drop_conns(u);
	for (size_t i = 0; i < u->n_conns; i++)
		(void)pthread_join(u->threads[i], NULL);
	(void)close(u->listen_fd);
	if (u->addr.u.any.sa_family == AF_UNIX)
		(void)unlink(u->addr.u.un.sun_path);
	(void)pthread_mutex_destroy(&u->lock);
	(void)pthread_cond_destroy(&u->changed);
}

void up_open_gate(struct up *u)
{
	(void)pthread_mutex_lock(&u->lock);
	u->gate_open = true;
	(void)pthread_cond_broadcast(&u->changed);
	(void)pthread_mutex_unlock(&u->lock);
}

void up_await_gate(struct up *u, unsigned n)
{
	struct timespec until = io_deadline();
	int e = 0;

	(void)pthread_mutex_lock(&u->lock);
	while (u->waiting < n && e == 0)
		e = pthread_cond_timedwait(&u->changed, &u->lock, &until);
	(void)pthread_mutex_unlock(&u->lock);
	assert_int_equal(e, 0);
}

static bool has_open_conns(const struct up *u)
{
	for (size_t i = 0; i < u->n_conns; i++) {
		if (u->fds[i] >= 0)
			return true;
	}
	return false;
}

void up_await_closed(struct up *u)
{
	struct timespec until = io_deadline();
	int e = 0;

	(void)pthread_mutex_lock(&u->lock);
	while (has_open_conns(u) && e == 0)
		e = pthread_cond_timedwait(&u->changed, &u->lock, &until);
	(void)pthread_mutex_unlock(&u->lock);
	assert_int_equal(e, 0);
}

size_t up_conns(struct up *u)
{
	size_t n;

	(void)pthread_mutex_lock(&u->lock);
	n = u->n_conns;
	(void)pthread_mutex_unlock(&u->lock);
	return n;
}
