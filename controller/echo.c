/* controller/echo.c: a ring in front of a descriptor that is written to when it takes something. */
#include "controller/echo.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* Room that has to be there before anything is taken again after a loss. */
#define ROOM_BYTES (LP_ECHO_MAX_BYTES / 4)

/* How soon a pipe that is half full is looked at again; doubles while it stays so. */
#define RETRY_FIRST_US 2000u
#define RETRY_MAX_US   128000u

enum kind {
	ECHO_POLLED, /* written to when it is ready: pipes, terminals */
	ECHO_SOCKET,
	ECHO_FILE, /* always ready */
};

/* at, len: what waits in the ring. losing: bytes are dropped until there is room again; lost: how
 * many by that; line_open: the last byte that was taken did not end a line; mid_line: the last one
 * that came did not. */
struct lp_echo {
	struct lp_fd_src src; /* owned descriptor */
	struct lp_loop *loop;
	enum kind kind;
	bool may_block;
	bool is_full;    /* there was no space for the last bytes of a file */
	bool shares_log; /* a pipe that the log goes into, too */
	uint64_t retry_us;
	struct lp_timer retry;
	size_t at;
	size_t len;
	bool losing;
	bool line_open;
	bool mid_line;
	uint64_t lost;
	uint64_t dropped;
	char ring[LP_ECHO_MAX_BYTES];
};

static void warn(int code)
{
	char text[128];

	lp_log(LP_WARN, "echo", "the app's output cannot be written here: %s",
	       strerror_r(code, text, sizeof(text)));
}

static void give_up(struct lp_echo *e, int code)
{
	if (code != EPIPE)
		warn(code);
	lp_timer_clear(&e->retry);
	lp_loop_fd_remove(&e->src);
	lp_auto_close(&e->src.fd);
	e->src.fd = -1;
	e->dropped += e->len;
	e->len = 0;
}

/* What waits is lost; there may be space again for what comes. */
static void lose_all(struct lp_echo *e, int code)
{
	if (!e->is_full)
		warn(code);
	e->is_full = true;
	e->dropped += e->len;
	e->len = 0;
}

/* What may be written now. Half of a pipe that the log shares is left to it, so that none of its
 * lines is lost because nobody reads what the app writes. */
static size_t room_of(const struct lp_echo *e)
{
	int size = e->shares_log ? fcntl(e->src.fd, F_GETPIPE_SZ) : 0, queued = 0;

	if (size <= 0 || ioctl(e->src.fd, FIONREAD, &queued) < 0)
		return SIZE_MAX;
	return queued < size / 2 ? (size_t)(size / 2 - queued) : 0;
}

/* One try. A descriptor that could not be opened anew may block beyond what poll(2) promises. */
static ssize_t write_some(const struct lp_echo *e, const char *data, size_t len)
{
	size_t room = room_of(e);

	if (e->kind == ECHO_SOCKET)
		return send(e->src.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (room > 0 && len > room)
		len = room;
	if (e->may_block && len > PIPE_BUF)
		len = PIPE_BUF;
	return write(e->src.fd, data, len);
}

/* Writes what is next in the ring. Returns false when nothing went out. */
static bool write_next(struct lp_echo *e)
{
	size_t len = e->len < sizeof(e->ring) - e->at ? e->len : sizeof(e->ring) - e->at;
	ssize_t n;

	if (len == 0)
		return false;
	n = write_some(e, e->ring + e->at, len);
	if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
		lose_all(e, errno);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		give_up(e, errno);
	if (n <= 0)
		return false;
	e->is_full = false;
	e->at = (e->at + (size_t)n) % sizeof(e->ring);
	e->len -= (size_t)n;
	return true;
}

static void on_ready(struct lp_fd_src *src, uint32_t ready)
{
	struct lp_echo *e = LP_CONTAINER_OF(src, struct lp_echo, src);

	if (!(ready & EPOLLOUT)) {
		give_up(e, EPIPE);
		return;
	}
	if (!(ready & EPOLLERR) && room_of(e) == 0) {
		lp_loop_fd_remove(src);
		lp_timer_set(e->loop, &e->retry, lp_now_us() + e->retry_us);
		e->retry_us = e->retry_us < RETRY_MAX_US ? e->retry_us * 2 : RETRY_MAX_US;
		return;
	}
	e->retry_us = RETRY_FIRST_US;
	(void)write_next(e);
	if (e->len == 0)
		lp_loop_fd_remove(src);
}

/* Writes what waits when the descriptor takes something. */
static void wait_ready(struct lp_echo *e)
{
	if (e->len > 0 && !e->src.loop && lp_loop_fd_add(e->loop, &e->src, NULL) < 0)
		give_up(e, EIO);
}

static void on_retry(struct lp_timer *timer)
{
	wait_ready(LP_CONTAINER_OF(timer, struct lp_echo, retry));
}

static bool is_log(const struct stat *st)
{
	struct stat log;

	return fstat(STDERR_FILENO, &log) == 0 && log.st_dev == st->st_dev &&
	       log.st_ino == st->st_ino;
}

/* A description of its own, which alone does not block; the one it came with is shared. Sockets
 * cannot be opened so, and what belongs to somebody else may not be. */
static int open_anew(int fd)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

int lp_echo_create(struct lp_echo **out, struct lp_loop *loop, int fd, struct lp_err *err)
{
	struct lp_echo *e;
	enum kind kind = ECHO_POLLED;
	struct stat st;
	bool may_block = false;
	int own = -1;

	if (fstat(fd, &st) < 0)
		return lp_err_set(err, errno, "look at the standard output");
	if (S_ISSOCK(st.st_mode))
		kind = ECHO_SOCKET;
	else if (!S_ISFIFO(st.st_mode) && !isatty(fd))
		kind = ECHO_FILE;
	if (kind == ECHO_POLLED) {
		own = open_anew(fd);
		may_block = own < 0;
	}
	if (own < 0)
		own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return lp_err_set(err, errno, "open the standard output");
	e = lp_xcalloc(1, sizeof(*e));
	e->loop = loop;
	e->kind = kind;
	e->may_block = may_block;
	e->shares_log = S_ISFIFO(st.st_mode) && is_log(&st);
	e->retry_us = RETRY_FIRST_US;
	e->retry.on_fire = on_retry;
	e->src = (struct lp_fd_src){.fd = own, .events = EPOLLOUT, .on_ready = on_ready};
	*out = e;
	return 0;
}

/* Whether it takes something at once. */
static bool is_ready(const struct lp_echo *e)
{
	struct pollfd pfd = {.fd = e->src.fd, .events = POLLOUT};

	return e->src.fd >= 0 && poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLOUT);
}

void lp_echo_destroy(struct lp_echo *e)
{
	if (!e)
		return;
	/* The last words. */
	while (e->len > 0 && is_ready(e) && write_next(e))
		continue;
	lp_timer_clear(&e->retry);
	lp_loop_fd_remove(&e->src);
	if (e->src.fd >= 0)
		lp_auto_close(&e->src.fd);
	free(e);
}

uint64_t lp_echo_dropped(const struct lp_echo *e)
{
	return e->dropped;
}

static void take(struct lp_echo *e, const char *data, size_t len)
{
	size_t end = (e->at + e->len) % sizeof(e->ring);
	size_t first = len < sizeof(e->ring) - end ? len : sizeof(e->ring) - end;

	if (len == 0)
		return;
	memcpy(e->ring + end, data, first);
	memcpy(e->ring, data + first, len - first);
	e->len += len;
	e->line_open = data[len - 1] != '\n';
}

/* Drops what comes until there is room, and then up to the end of the line. Returns how much. */
static size_t lose(struct lp_echo *e, const char *data, size_t len)
{
	const char *end = e->mid_line ? memchr(data, '\n', len) : NULL;
	size_t n = len;

	if (sizeof(e->ring) - e->len >= ROOM_BYTES) {
		if (!e->mid_line)
			n = 0;
		else if (end)
			n = (size_t)(end - data) + 1;
		e->losing = e->mid_line && !end;
	}
	e->lost += n;
	e->dropped += n;
	if (e->losing)
		return n;
	lp_log(LP_WARN, "echo", "%" PRIu64 " bytes of the app's output were not read in time",
	       e->lost);
	e->lost = 0;
	if (e->line_open)
		take(e, "\n", 1);
	return n;
}

void lp_echo_add(struct lp_echo *e, const char *data, size_t len)
{
	size_t room, n;

	if (!e || len == 0)
		return;
	if (e->src.fd < 0) {
		e->dropped += len;
		return;
	}
	n = e->losing ? lose(e, data, len) : 0;
	room = sizeof(e->ring) - e->len;
	if (!e->losing) {
		size_t taken = len - n < room ? len - n : room;

		take(e, data + n, taken);
		e->losing = taken < len - n;
		e->lost += len - n - taken;
		e->dropped += len - n - taken;
	}
	e->mid_line = data[len - 1] != '\n';
	if (e->kind == ECHO_FILE) {
		while (write_next(e))
			continue;
	} else if (!e->retry.loop) {
		wait_ready(e);
	}
}
