/* proxy/listen.c: the listening socket: opening it, accepting, pausing when there is no room. */
#include "proxy/addr.h"
#include "proxy/server.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_PER_EVENT 64
#define LEAST_IDLE_MS     1000 /* before a connection has to make room for another */
#define PAUSE_MS          100  /* descriptors may come free elsewhere in the process */

/* Whether a unix socket was left behind by a process that is gone. */
static bool is_stale(const struct lp_proxy_addr *addr)
{
	LP_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd >= 0 && connect(fd, &addr->u.any, addr->len) < 0 && errno == ECONNREFUSED;
}

static int bind_to(int fd, const struct lp_proxy_addr *addr)
{
	int on = 1;
	int off = 0;

	if (addr->u.any.sa_family != AF_UNIX)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (addr->u.any.sa_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (addr->u.any.sa_family == AF_UNIX && is_stale(addr))
		(void)unlink(addr->u.un.sun_path);
	return bind(fd, &addr->u.any, addr->len) < 0 ? -errno : 0;
}

static int open_at(const struct lp_proxy_addr *addr)
{
	LP_AUTO_CLOSE int fd =
		socket(addr->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;
	r = bind_to(fd, addr);
	if (r < 0)
		return r;
	if (listen(fd, SOMAXCONN) < 0)
		return -errno;
	return lp_take_fd(&fd);
}

/* Every address on a machine without IPv6. */
static bool fall_back(struct lp_proxy_addr *addr, int r)
{
	struct lp_proxy_addr any = {0};

	if ((r != -EAFNOSUPPORT && r != -EADDRNOTAVAIL) || addr->u.any.sa_family != AF_INET6 ||
	    !IN6_IS_ADDR_UNSPECIFIED(&addr->u.in6.sin6_addr))
		return false;
	any.u.in.sin_family = AF_INET;
	any.u.in.sin_port = addr->u.in6.sin6_port;
	any.len = sizeof(any.u.in);
	*addr = any;
	return true;
}

int lp_px_listen_open(struct lp_proxy *p, struct lp_err *err)
{
	struct lp_proxy_addr *addr = &p->opts.listen;
	char text[LP_PX_ADDR_TEXT_BYTES];
	struct lp_proxy_addr got = {.len = sizeof(got.u)};
	int fd = open_at(addr);

	if (fd < 0 && fall_back(addr, fd))
		fd = open_at(addr);
	if (fd < 0) {
		lp_px_addr_text(addr, text);
		return lp_err_set(err, -fd, "listen on %s", text);
	}
	if (addr->u.any.sa_family != AF_UNIX && getsockname(fd, &got.u.any, &got.len) == 0)
		p->port = ntohs(got.u.any.sa_family == AF_INET6 ? got.u.in6.sin6_port
								: got.u.in.sin_port);
	return fd;
}

static void watch(struct lp_proxy *p, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = &p->listener};

	(void)epoll_ctl(p->epoll_fd, EPOLL_CTL_MOD, p->listener.fd, &ev);
}

void lp_px_listen_pause(struct lp_proxy *p)
{
	p->resume_ms = p->now_ms + PAUSE_MS;
	if (p->paused)
		return;
	p->paused = true;
	watch(p, 0);
}

/* The connection that has been at that for longest, NULL when none has for a while. */
static struct lp_px_conn *find_oldest(const struct lp_proxy *p, enum lp_px_wait wait)
{
	const struct lp_px_timeq *q = &p->waits[wait];
	struct lp_px_timer *t;

	if (lp_px_list_empty(&q->timers))
		return NULL;
	t = LP_CONTAINER_OF(q->timers.next, struct lp_px_timer, link);
	if (t->at_ms + LEAST_IDLE_MS > p->now_ms + q->after_ms)
		return NULL;
	return LP_CONTAINER_OF(t, struct lp_px_conn, timer);
}

/* The connection that can best be done without, NULL when there is none. */
static struct lp_px_conn *find_idlest(const struct lp_proxy *p)
{
	struct lp_px_conn *c = find_oldest(p, LP_PX_WAIT_IDLE);

	return c ? c : find_oldest(p, LP_PX_WAIT_HEAD);
}

bool lp_px_listen_make_room(struct lp_proxy *p)
{
	struct lp_px_conn *c = find_idlest(p);

	if (c)
		lp_px_conn_close(c, false);
	return c != NULL;
}

static bool is_full(const struct lp_proxy *p)
{
	return atomic_load_explicit(&p->n_conns, memory_order_relaxed) >= p->opts.limits.max_conns;
}

void lp_px_listen_resume(struct lp_proxy *p)
{
	if (!p->paused || (is_full(p) && !find_idlest(p)))
		return;
	p->paused = false;
	watch(p, EPOLLIN);
}

void lp_px_listen_on_event(struct lp_px_sock *s, uint32_t events)
{
	struct lp_proxy *p = LP_CONTAINER_OF(s, struct lp_proxy, listener);

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
		struct lp_proxy_addr peer = {.len = sizeof(peer.u)};
		int fd;

		if (is_full(p) && !find_idlest(p)) {
			lp_px_listen_pause(p);
			return;
		}
		fd = accept4(s->fd, &peer.u.any, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			if (is_full(p))
				(void)lp_px_listen_make_room(p);
			lp_px_conn_open(p, fd, &peer.u.any);
			continue;
		}
		if ((errno == EMFILE || errno == ENFILE) && lp_px_listen_make_room(p))
			continue;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			lp_px_listen_pause(p);
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}
