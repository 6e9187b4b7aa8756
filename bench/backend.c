/* bench/backend.c: the app behind every proxy that `./dev bench front` measures, made to cost next
 * to nothing. One thread, epoll, HTTP/1.1 with kept connections and Content-Length only; it trusts
 * whoever talks to it. Listens on 127.0.0.1 at $PORT.
 *
 *   GET /          "hello" and $LIVEPUSH_GENERATION, as short as answers get
 *   GET /bytes/N   N bytes
 *   POST /...      reads the body, answers its length */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES 16384
#define BULK_BYTES ((size_t)256 * 1024)
#define MAX_FD     65536

struct client {
	int fd;
	size_t have;                /* of head */
	unsigned long long body;    /* of the request, still to come */
	unsigned long long taken;   /* of the request, come */
	unsigned long long to_send; /* of the response's body */
	int uploads;                /* the answer follows the body */
	char head[HEAD_BYTES + 1];
};

static struct client *clients[MAX_FD]; /* by descriptor */
static char bulk[BULK_BYTES];
static char trash[BULK_BYTES];
static int epoll_fd;

static void drop(struct client *c)
{
	clients[c->fd] = NULL;
	(void)close(c->fd);
	free(c);
}

static int send_text(struct client *c, const char *text, size_t len)
{
	/* A fresh or just emptied send buffer takes this much. */
	return send(c->fd, text, len, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -1;
}

static int answer(struct client *c, unsigned long long number)
{
	char body[64];
	char text[192];
	const char *generation = getenv("LIVEPUSH_GENERATION");
	int len = number ? snprintf(body, sizeof(body), "%llu\n", number)
			 : snprintf(body, sizeof(body), "hello %.20s\n",
				    generation ? generation : "");
	int n = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len,
			 body);

	return send_text(c, text, (size_t)n);
}

/* Sends what fits of the response's body. */
static int send_bulk(struct client *c)
{
	while (c->to_send) {
		size_t len = c->to_send < BULK_BYTES ? (size_t)c->to_send : BULK_BYTES;
		ssize_t n = send(c->fd, bulk, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return -1;
		c->to_send -= (unsigned long long)n;
	}
	return 0;
}

static unsigned long long length_of(const char *head)
{
	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
		if (strncasecmp(line + 2, "Content-Length:", 15) == 0)
			return strtoull(line + 17, NULL, 10);
	}
	return 0;
}

/* Takes the request of `len` bytes at the front of c->head. */
static int take(struct client *c, size_t len)
{
	char text[96];
	char end = c->head[len];
	int n;

	c->head[len] = '\0';
	c->uploads = c->head[0] == 'P';
	c->body = length_of(c->head);
	c->taken = 0;
	if (c->body && strstr(c->head, "100-continue") &&
	    send_text(c, "HTTP/1.1 100 Continue\r\n\r\n", 25) < 0)
		return -1;
	if (strncmp(c->head, "GET /bytes/", 11) == 0) {
		c->to_send = strtoull(c->head + 11, NULL, 10);
		n = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n",
			     c->to_send);
		if (send_text(c, text, (size_t)n) < 0 || send_bulk(c) < 0)
			return -1;
	} else if (!c->uploads && answer(c, 0) < 0) {
		return -1;
	}
	c->head[len] = end;
	memmove(c->head, c->head + len, c->have - len);
	c->have -= len;
	return 0;
}

/* Counts body bytes, which are thrown away, and answers behind the last. */
static int count(struct client *c, size_t n)
{
	c->body -= n;
	c->taken += n;
	if (c->body || !c->uploads)
		return 0;
	c->uploads = 0;
	return answer(c, c->taken);
}

/* Handles what stands in c->head. */
static int work(struct client *c)
{
	while (c->have || (c->uploads && !c->body)) {
		char *end;

		if (c->body || c->uploads) {
			size_t n = c->body < c->have ? (size_t)c->body : c->have;

			if (count(c, n) < 0)
				return -1;
			memmove(c->head, c->head + n, c->have - n);
			c->have -= n;
			continue;
		}
		c->head[c->have] = '\0';
		end = strstr(c->head, "\r\n\r\n");
		if (!end)
			return c->have < HEAD_BYTES ? 0 : -1;
		if (take(c, (size_t)(end + 4 - c->head)) < 0)
			return -1;
	}
	return 0;
}

static int on_readable(struct client *c)
{
	while (c->body > HEAD_BYTES) {
		size_t len = c->body < BULK_BYTES ? (size_t)c->body : BULK_BYTES;
		ssize_t n = recv(c->fd, trash, len, 0);

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0 || count(c, (size_t)n) < 0)
			return -1;
	}
	for (;;) {
		size_t room = HEAD_BYTES - c->have;
		ssize_t n = recv(c->fd, c->head + c->have, room, 0);

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return -1;
		c->have += (size_t)n;
		if (work(c) < 0)
			return -1;
		if (c->body > HEAD_BYTES)
			return on_readable(c);
		if ((size_t)n < room)
			return 0;
	}
}

static void accept_all(int listener)
{
	int fd;
	int on = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = fd};
		struct client *c = fd < MAX_FD ? calloc(1, sizeof(*c)) : NULL;

		if (!c) {
			(void)close(fd);
			return;
		}
		c->fd = fd;
		clients[fd] = c;
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
			drop(c);
	}
}

static int open_listener(void)
{
	const char *port = getenv("PORT");
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event ev = {.events = EPOLLIN};
	int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	ev.data.fd = fd;
	in.sin_port = htons((uint16_t)strtoul(port ? port : "8080", NULL, 10));
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0 || epoll_fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(fd, SOMAXCONN) < 0 ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -1;
	return fd;
}

int main(void)
{
	struct epoll_event events[128];
	int listener = open_listener();

	if (listener < 0) {
		perror("backend");
		return 1;
	}
	memset(bulk, 'x', sizeof(bulk));
	for (;;) {
		int n = epoll_wait(epoll_fd, events, 128, -1);

		for (int i = 0; i < n; i++) {
			struct client *c = clients[events[i].data.fd];

			if (events[i].data.fd == listener)
				accept_all(listener);
			else if (c && (on_readable(c) < 0 || send_bulk(c) < 0))
				drop(c);
		}
	}
}
