/* cli/control.c: the control socket of a session, both ends. */
#include "cli/control.h"

#include "common/base/lp_buf.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define REQUEST_MAX_BYTES ((size_t)64 * 1024)
#define ANSWER_MAX_BYTES  ((size_t)64 * 1024 * 1024)

/* Whoever does not read for so long gets no more of the answer. */
#define PATIENCE_US 5000000u

/* out: an answer, or what the socket had no room for. leaves: closed when that is sent; nobody
 * outside knows the client any more. */
struct lp_control_client {
	struct lp_control_client *next;
	struct lp_control_server *server;
	struct lp_fd_src src;
	struct lp_buf line;
	char *out; /* owned */
	size_t out_len;
	size_t sent;
	struct lp_timer patience;
	bool asked;
	bool leaves;
};

struct lp_control_server {
	struct lp_loop *loop;
	struct lp_control_ops ops;
	struct lp_fd_src src;
	struct lp_control_client *clients;
};

static void release(struct lp_control_client *c)
{
	lp_timer_clear(&c->patience);
	lp_loop_fd_remove(&c->src);
	(void)close(c->src.fd);
	lp_buf_finish(&c->line);
	free(c->out);
	free(c);
}

static void drop(struct lp_control_client *c)
{
	struct lp_control_client **at = &c->server->clients;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	release(c);
}

/* The client is gone, or does not read. */
static void leave(struct lp_control_client *c)
{
	if (c->asked && !c->leaves)
		c->server->ops.on_gone(c->server->ops.ctx, c);
	drop(c);
}

static void on_impatient(struct lp_timer *timer)
{
	leave(LP_CONTAINER_OF(timer, struct lp_control_client, patience));
}

/* Sends as much of the answer as there is room for now. Returns 0, -EAGAIN when there is more, or
 * another -errno. */
static int send_out(struct lp_control_client *c)
{
	while (c->sent < c->out_len) {
		ssize_t n = send(c->src.fd, c->out + c->sent, c->out_len - c->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		c->sent += (size_t)n;
		lp_timer_clear(&c->patience);
	}
	free(c->out);
	c->out = NULL;
	c->out_len = c->sent = 0;
	return 0;
}

/* Goes on with the answer whenever there is room for more. Whoever is to leave does when all is
 * sent or cannot be. */
static void go_on(struct lp_control_client *c)
{
	int r = send_out(c);

	if (r != -EAGAIN && c->leaves) {
		drop(c);
		return;
	}
	if (r == -EAGAIN && !c->patience.loop)
		lp_timer_set(c->server->loop, &c->patience, lp_now_us() + PATIENCE_US);
	lp_loop_fd_events(&c->src, r == -EAGAIN ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* What is to be sent; the text is terminated by a line's end instead of a zero. */
static void put_answer(struct lp_control_client *c, json_t *answer)
{
	free(c->out);
	c->out = json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	c->sent = 0;
	c->out_len = c->out ? strlen(c->out) + 1 : 0;
	if (c->out)
		c->out[c->out_len - 1] = '\n';
}

void lp_control_say(struct lp_control_client *c, json_t *answer)
{
	put_answer(c, answer);
	go_on(c);
}

void lp_control_answer(struct lp_control_client *c, json_t *answer)
{
	c->leaves = true;
	put_answer(c, answer);
	go_on(c);
}

static void on_client(struct lp_fd_src *src, uint32_t ready)
{
	struct lp_control_client *c = LP_CONTAINER_OF(src, struct lp_control_client, src);
	struct lp_control_server *s = c->server;
	char buf[4096];
	json_t *request;
	ssize_t n;

	if (ready & EPOLLOUT && c->out) {
		go_on(c);
		return; /* the client may be gone */
	}
	n = recv(src->fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		leave(c);
		return;
	}
	if (c->asked)
		return; /* one request a connection */
	if (lp_buf_add(&c->line, buf, (size_t)n) < 0) {
		drop(c);
		return;
	}
	if (!memchr(c->line.data, '\n', c->line.len))
		return;
	request = json_loadb((const char *)c->line.data, c->line.len, JSON_DISABLE_EOF_CHECK, NULL);
	if (!json_is_object(request)) {
		json_decref(request);
		lp_control_answer(c, json_pack("{s:b, s:s}", "ok", 0, "error", "not a request"));
		return;
	}
	c->asked = true;
	s->ops.on_request(s->ops.ctx, c, request);
	json_decref(request);
}

/* Whoever may read our memory anyway may ask. */
static bool is_ours(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

static void on_accept(struct lp_fd_src *src, uint32_t ready)
{
	struct lp_control_server *s = LP_CONTAINER_OF(src, struct lp_control_server, src);
	struct lp_control_client *c;
	int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)ready;
	if (fd < 0)
		return;
	if (!is_ours(fd)) {
		(void)close(fd);
		return;
	}
	c = lp_xcalloc(1, sizeof(*c));
	c->server = s;
	lp_buf_init(&c->line, REQUEST_MAX_BYTES);
	c->src = (struct lp_fd_src){.fd = fd, .events = EPOLLIN, .on_ready = on_client};
	c->patience.on_fire = on_impatient;
	c->next = s->clients;
	s->clients = c;
	if (lp_loop_fd_add(s->loop, &c->src, NULL) < 0)
		drop(c);
}

/* Names the session that has the address. */
static int say_who(const char *app, struct lp_err *err)
{
	const char *dir = NULL, *mode = NULL;
	json_t *answer = NULL;

	if (lp_control_ask(&answer, app, json_pack("{s:s}", "cmd", "endpoints"), 2000, NULL) == 0) {
		dir = json_string_value(json_object_get(answer, "dir"));
		mode = json_string_value(json_object_get(answer, "mode"));
	}
	(void)lp_err_say(err, EADDRINUSE,
			 "%s: already held by a %s of %s (pid %lld); --take-over ends it", app,
			 mode ? mode : "session", dir ? dir : "this user",
			 (long long)json_integer_value(json_object_get(answer, "pid")));
	json_decref(answer);
	return -EADDRINUSE;
}

int lp_control_serve(struct lp_control_server **out, struct lp_loop *loop, const char *app,
		     const struct lp_control_ops *ops, struct lp_err *err)
{
	struct lp_control_server *s = lp_xcalloc(1, sizeof(*s));
	struct lp_session_addr addr;
	int r = 0;

	s->loop = loop;
	s->ops = *ops;
	s->src = (struct lp_fd_src){.events = EPOLLIN, .on_ready = on_accept};
	s->src.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	lp_runtime_address(&addr, app);
	if (s->src.fd < 0 || bind(s->src.fd, (const struct sockaddr *)&addr.un, addr.len) < 0 ||
	    listen(s->src.fd, 16) < 0)
		r = errno == EADDRINUSE ? say_who(app, err)
					: lp_err_set(err, errno, "%s: cannot listen", app);
	if (r == 0)
		r = lp_loop_fd_add(loop, &s->src, err);
	if (r < 0) {
		lp_auto_close(&s->src.fd);
		free(s);
		return r;
	}
	*out = s;
	return 0;
}

void lp_control_close(struct lp_control_server *s)
{
	struct lp_control_client *next;

	if (!s)
		return;
	for (struct lp_control_client *c = s->clients; c; c = next) {
		next = c->next;
		release(c);
	}
	lp_loop_fd_remove(&s->src);
	(void)close(s->src.fd);
	free(s);
}

/* Reads one line, or up to the end. */
static int read_answer(int fd, struct lp_buf *line, uint64_t deadline_us)
{
	while (line->len == 0 || line->data[line->len - 1] != '\n') {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		uint64_t now_us = lp_now_us();
		char buf[4096];
		ssize_t n;

		if (now_us >= deadline_us)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)((deadline_us - now_us) / 1000 + 1)) < 0 && errno != EINTR)
			return -errno;
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return line->len > 0 ? 0 : -EPIPE;
		if (lp_buf_add(line, buf, (size_t)n) < 0)
			return -EMSGSIZE;
	}
	return 0;
}

static int no_session(const char *name, struct lp_err *err)
{
	return lp_err_say(err, ENOENT,
			  "%s: no mount or watch of it runs on this machine; start one with "
			  "'livepush watch DIR %s'",
			  name, name);
}

/* A session that is stopped or busy lets its queue fill up: EAGAIN. */
static int connect_until(int fd, const struct lp_session_addr *addr, uint64_t deadline_us)
{
	while (connect(fd, (const struct sockaddr *)&addr->un, addr->len) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (lp_now_us() >= deadline_us)
			return -ETIMEDOUT;
		(void)poll(NULL, 0, 10);
	}
	return 0;
}

/* Sends the request and reads the answer. */
static int exchange(json_t **out, int fd, const char *request, uint64_t deadline_us)
{
	struct lp_buf line;
	int r;

	lp_buf_init(&line, ANSWER_MAX_BYTES);
	r = lp_write_all(fd, request, strlen(request));
	if (r == 0)
		r = lp_write_all(fd, "\n", 1);
	if (r == 0)
		r = read_answer(fd, &line, deadline_us);
	*out = r == 0 ? json_loadb((const char *)line.data, line.len, JSON_DISABLE_EOF_CHECK, NULL)
		      : NULL;
	lp_buf_finish(&line);
	return r == 0 && !*out ? -EPROTO : r;
}

/* Which session is asked for what; name is for messages. */
struct question {
	const struct lp_session_addr *addr;
	const char *name;
	char *request; /* owned */
	uint64_t deadline_us;
};

/* The connection stays open in *out_fd. */
static int ask(json_t **out, int *out_fd, const struct question *q, struct lp_err *err)
{
	LP_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (!q->request)
		return lp_err_say(err, EINVAL, "%s: cannot be asked for", q->name);
	if (fd < 0)
		return lp_err_set(err, errno, "%s", q->name);
	r = connect_until(fd, q->addr, q->deadline_us);
	if (r == -ETIMEDOUT)
		return lp_err_set(err, ETIMEDOUT, "%s: its session does not answer", q->name);
	if (r < 0)
		return no_session(q->name, err);
	if (!is_ours(fd))
		return lp_err_say(err, EPERM, "%s: its session belongs to another user", q->name);
	r = exchange(out, fd, q->request, q->deadline_us);
	if (r < 0)
		return lp_err_set(err, -r, "%s: its session does not answer", q->name);
	*out_fd = lp_take_fd(&fd);
	return 0;
}

int lp_control_ask_at(json_t **out, const struct lp_session_addr *addr, const char *name,
		      json_t *request, uint32_t timeout_ms, struct lp_err *err)
{
	const struct question q = {addr, name, json_dumps(request, JSON_COMPACT),
				   lp_now_us() + (uint64_t)timeout_ms * 1000};
	LP_AUTO_CLOSE int fd = -1;
	int r;

	json_decref(request);
	r = ask(out, &fd, &q, err);
	free(q.request);
	return r;
}

int lp_control_ask(json_t **out, const char *app, json_t *request, uint32_t timeout_ms,
		   struct lp_err *err)
{
	struct lp_session_addr addr;

	lp_runtime_address(&addr, app);
	return lp_control_ask_at(out, &addr, app, request, timeout_ms, err);
}

int lp_control_ask_open(json_t **out, int *fd, const char *app, json_t *request,
			uint32_t timeout_ms, struct lp_err *err)
{
	struct lp_session_addr addr;
	const struct question q = {&addr, app, json_dumps(request, JSON_COMPACT),
				   lp_now_us() + (uint64_t)timeout_ms * 1000};
	int r;

	json_decref(request);
	lp_runtime_address(&addr, app);
	r = ask(out, fd, &q, err);
	free(q.request);
	return r;
}

bool lp_control_is_ok(const json_t *answer, const char *name, struct lp_err *err)
{
	const char *why = json_string_value(json_object_get(answer, "error"));

	if (json_is_true(json_object_get(answer, "ok")))
		return true;
	(void)lp_err_say(err, EIO, "%s: %s", name, why ? why : "its session cannot do that");
	return false;
}
