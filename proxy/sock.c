/* proxy/sock.c: edge-triggered stream sockets. */
#include "proxy/sock.h"

#include <errno.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#define LEAST_ROOM ((size_t)4096) /* below this a buffer is rearranged before a read */

int lp_px_sock_open(struct lp_px_sock *s, int epoll_fd, int fd, bool connecting)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = s};

	if (connecting)
		ev.events |= EPOLLOUT;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int e = errno;

		(void)close(fd);
		return -e;
	}
	s->fd = fd;
	s->epoll_fd = epoll_fd;
	s->writable = !connecting;
	s->wants_out = connecting;
	return 0;
}

void lp_px_sock_close(struct lp_px_sock *s)
{
	if (s->fd < 0)
		return;
	if (s->tls && !s->broken && !s->reset && !s->shut)
		(void)lp_px_tls_end(s->tls);
	lp_px_tls_destroy(s->tls);
	s->tls = NULL;
	/* close alone does not end the watch while a child between fork and exec has a copy. */
	(void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
	(void)close(s->fd);
	s->fd = -1;
	s->readable = false;
	s->writable = false;
	lp_px_buf_finish(&s->in);
	lp_px_buf_finish(&s->out);
}

void lp_px_sock_abort(struct lp_px_sock *s)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	if (s->fd >= 0)
		(void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	s->broken = true;
	lp_px_sock_close(s);
}

void lp_px_sock_note(struct lp_px_sock *s, uint32_t events)
{
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->readable = !s->eof;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->hup = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		s->writable = true;
	/* Reading may have waited for its side of a handshake to go out. */
	if (s->tls && s->writable)
		s->readable = !s->eof;
}

/* Makes room for the next read; false when max bytes wait already. */
static bool make_room(struct lp_px_sock *s, size_t max)
{
	size_t len = lp_px_buf_len(&s->in);
	size_t want = LEAST_ROOM;

	if (len >= max)
		return false;
	if (!len && s->bulk && s->in.cap < max) {
		lp_px_buf_finish(&s->in);
		want = max;
	}
	if (lp_px_buf_room(&s->in) >= want)
		return true;
	if (want > max - len)
		want = max - len;
	return lp_px_buf_reserve(&s->in, want, max) == 0;
}

/* Has epoll say when the socket takes more, from now on. */
static void want_out(struct lp_px_sock *s)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				 .data.ptr = s};

	s->writable = false;
	if (s->wants_out)
		return;
	s->wants_out = true;
	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, s->fd, &ev) < 0)
		s->broken = true;
}

/* Reads records until there is no room or no record. */
static bool fill_tls(struct lp_px_sock *s, size_t room)
{
	size_t got = 0;
	ssize_t n;

	do {
		n = lp_px_tls_read(s->tls, s->in.data + s->in.end, room - got);
		if (n > 0) {
			s->in.end += (size_t)n;
			got += (size_t)n;
		}
	} while (n > 0 && got < room);
	s->bulk = got == room;
	if (n > 0 || n == -EINPROGRESS)
		return true;
	s->readable = false;
	if (n == -ENOBUFS)
		want_out(s);
	if (n == -EAGAIN || n == -ENOBUFS) {
		lp_px_buf_relax(&s->in);
		return got > 0;
	}
	s->eof = true;
	s->reset = n < 0;
	return true;
}

bool lp_px_sock_fill(struct lp_px_sock *s, size_t max)
{
	size_t room;
	ssize_t n;

	if (!s->readable || s->eof || s->fd < 0 || !make_room(s, max))
		return false;
	room = lp_px_buf_room(&s->in);
	if (room > max - lp_px_buf_len(&s->in))
		room = max - lp_px_buf_len(&s->in);
	if (s->tls && lp_px_tls_is_refused(s->tls)) {
		lp_px_tls_destroy(s->tls);
		s->tls = NULL;
		s->refused_tls = true;
	}
	if (s->tls)
		return fill_tls(s, room);
	do {
		n = recv(s->fd, s->in.data + s->in.end, room, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		s->in.end += (size_t)n;
		s->bulk = (size_t)n == room;
		/* Less than asked for: the next byte raises a new edge. An end that was
		 * reported together with the bytes does not. */
		s->readable = s->bulk || s->hup;
		return true;
	}
	s->readable = false;
	if (n < 0 && errno == EAGAIN) {
		lp_px_buf_relax(&s->in);
		return false;
	}
	s->eof = true;
	s->reset = n < 0;
	return true;
}

/* Moves of `more` behind what waits in `out` as much as there is room for, so that a head and its
 * body need one record. */
static void top_up(struct lp_px_buf *out, struct lp_px_buf *more, size_t *cleared)
{
	size_t n = lp_px_buf_room(out);

	if (n > *cleared)
		n = *cleared;
	lp_px_buf_put(out, lp_px_buf_at(more), n);
	lp_px_buf_drop(more, n);
	*cleared -= n;
}

/* As lp_px_sock_send, record by record. The bytes of a record that did not go out whole have to
 * come again: nothing is put before them in between. */
static bool send_tls(struct lp_px_sock *s, struct lp_px_buf *more, size_t *cleared)
{
	uint64_t before = s->sent;

	while (!s->broken && (lp_px_buf_len(&s->out) || (more && *cleared))) {
		bool is_own = lp_px_buf_len(&s->out) > 0;
		struct lp_px_buf *from = is_own ? &s->out : more;
		ssize_t n;

		if (is_own && more)
			top_up(&s->out, more, cleared);
		n = lp_px_tls_write(s->tls, lp_px_buf_at(from),
				    is_own ? lp_px_buf_len(from) : *cleared);
		if (n == -EAGAIN) {
			want_out(s);
			break;
		}
		if (n < 0) {
			s->broken = true;
			break;
		}
		s->sent += (uint64_t)n;
		lp_px_buf_drop(from, (size_t)n);
		if (!is_own)
			*cleared -= (size_t)n;
	}
	return s->sent > before || s->broken;
}

bool lp_px_sock_send(struct lp_px_sock *s, struct lp_px_buf *more, size_t *cleared)
{
	size_t own = lp_px_buf_len(&s->out);
	size_t extra = more ? *cleared : 0;
	struct iovec iov[2] = {{NULL, own}, {NULL, extra}};
	struct msghdr msg = {.msg_iov = own ? iov : iov + 1,
			     .msg_iovlen = (own ? 1U : 0U) + (extra ? 1U : 0U)};
	size_t n;
	ssize_t r;

	if (!s->writable || s->broken || s->fd < 0 || !(own + extra))
		return false;
	if (s->tls)
		return send_tls(s, more, cleared);
	if (own)
		iov[0].iov_base = s->out.data + s->out.start;
	if (extra)
		iov[1].iov_base = more->data + more->start;
	do {
		r = sendmsg(s->fd, &msg, MSG_NOSIGNAL);
	} while (r < 0 && errno == EINTR);
	if (r < 0 && errno != EAGAIN) {
		s->broken = true;
		return true;
	}
	n = r < 0 ? 0 : (size_t)r;
	if (n < own + extra)
		want_out(s);
	s->sent += n;
	lp_px_buf_drop(&s->out, n < own ? n : own);
	if (n > own) {
		lp_px_buf_drop(more, n - own);
		*cleared -= n - own;
	}
	return n > 0 || s->broken;
}

void lp_px_sock_shutdown(struct lp_px_sock *s)
{
	if (s->shut || s->fd < 0)
		return;
	if (s->tls && !s->broken && lp_px_tls_end(s->tls) == -EAGAIN) {
		want_out(s);
		return;
	}
	s->shut = true;
	(void)shutdown(s->fd, SHUT_WR);
}

bool lp_px_sock_may_close(struct lp_px_sock *s)
{
	if (!s->tls)
		return true;
	lp_px_sock_shutdown(s);
	return s->shut;
}

enum lp_px_input lp_px_sock_input(const struct lp_px_sock *s)
{
	if (!s->eof)
		return LP_PX_IN_OPEN;
	return s->reset ? LP_PX_IN_RESET : LP_PX_IN_EOF;
}

bool lp_px_sock_is_quiet(struct lp_px_sock *s)
{
	char byte;

	if (s->eof || s->hup || s->broken || lp_px_buf_len(&s->in))
		return false;
	if (!s->readable)
		return true;
	if (s->tls) {
		s->readable = lp_px_tls_has_input(s->tls) != 0;
		return !s->readable;
	}
	if (recv(s->fd, &byte, 1, MSG_PEEK) >= 0 || errno != EAGAIN)
		return false;
	s->readable = false;
	return true;
}

bool lp_px_sock_delivered(const struct lp_px_sock *s, uint64_t before)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	/* A reset comes from a socket that was closed with bytes unread, or before they came; a
	 * program that read them and then ended sends an orderly end. */
	if (s->reset || s->broken)
		return false;
	if (getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return true; /* a unix socket */
	/* A closed socket acknowledges nothing. The SYN counts as one. */
	return info.tcpi_bytes_acked > before + 1;
}

void lp_px_sock_tune(int fd, sa_family_t family)
{
	int on = 1;
	int idle_s = 60;

	if (family == AF_UNIX)
		return;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
}

int lp_px_sock_connect(const struct lp_proxy_addr *addr, bool *connecting)
{
	LP_AUTO_CLOSE int fd =
		socket(addr->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	lp_px_sock_tune(fd, addr->u.any.sa_family);
	*connecting = false;
	if (connect(fd, &addr->u.any, addr->len) < 0) {
		if (errno != EINPROGRESS)
			return -errno;
		*connecting = true;
	}
	return lp_take_fd(&fd);
}

int lp_px_sock_connect_result(const struct lp_px_sock *s)
{
	int e = 0;
	socklen_t len = sizeof(e);

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0)
		return -errno;
	return -e;
}
