/* lp_log_out.c: stderr behind a queue, which a thread empties while there is something in it. */
#include "common/base/lp_log_out.h"

#include "common/base/lp_thread.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#define FAREWELL_MS 250

enum kind {
	OUT_UNKNOWN,
	OUT_PLAIN,  /* a file, or a device that is always ready */
	OUT_SOCKET, /* can be asked not to wait */
	OUT_OWN,    /* a pipe or terminal, opened anew so as not to wait */
	OUT_SHARED, /* one that cannot be: only the thread writes, which may wait */
};

/* Everything but the descriptor that the thread is at is guarded by the lock. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t empty;
	enum kind kind;
	dev_t dev; /* what stderr was when kind was found */
	ino_t ino;
	int own;         /* of OUT_OWN; owned */
	bool is_running; /* the thread */
	bool has_farewell;
	unsigned long lost; /* lines since the last one that was kept */
	size_t at;
	size_t len;
	char ring[LP_LOG_QUEUE_BYTES];
} out = {.lock = PTHREAD_MUTEX_INITIALIZER, .empty = PTHREAD_COND_INITIALIZER, .own = -1};

/* A description of its own, which alone does not wait. */
static int open_anew(void)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", STDERR_FILENO);
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* Nothing is kept open between lines: descriptors are for others. */
static void forget(void)
{
	lp_auto_close(&out.own);
	out.own = -1;
	out.kind = OUT_UNKNOWN;
}

/* Finds out what stderr is, again when it has become another. Returns whether it is there. */
static bool look(void)
{
	struct stat st;

	if (fstat(STDERR_FILENO, &st) < 0)
		return false;
	if (out.kind != OUT_UNKNOWN && st.st_dev == out.dev && st.st_ino == out.ino)
		return true;
	forget();
	out.dev = st.st_dev;
	out.ino = st.st_ino;
	if (S_ISSOCK(st.st_mode)) {
		out.kind = OUT_SOCKET;
	} else if (!S_ISFIFO(st.st_mode) && !isatty(STDERR_FILENO)) {
		out.kind = OUT_PLAIN;
	} else {
		out.own = open_anew();
		out.kind = out.own >= 0 ? OUT_OWN : OUT_SHARED;
	}
	return true;
}

/* One try. Only OUT_SHARED may wait. Returns as write(2) does. */
static ssize_t write_once(enum kind kind, int own, const char *data, size_t len)
{
	ssize_t n;

	do {
		if (kind == OUT_SOCKET)
			n = send(STDERR_FILENO, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		else
			n = write(kind == OUT_OWN ? own : STDERR_FILENO, data, len);
	} while (n < 0 && errno == EINTR);
	return n;
}

static void put(const char *data, size_t len)
{
	size_t end = (out.at + out.len) % sizeof(out.ring);
	size_t first = len < sizeof(out.ring) - end ? len : sizeof(out.ring) - end;

	memcpy(out.ring + end, data, first);
	memcpy(out.ring, data + first, len - first);
	out.len += len;
}

static void drop(size_t len)
{
	out.at = (out.at + len) % sizeof(out.ring);
	out.len -= len;
}

/* Tells how many lines there was no room for, where there is room now for that and `more`. Returns
 * whether there is. */
static bool tell_lost(size_t more)
{
	char text[96];
	size_t len = 0;

	if (out.lost)
		len = (size_t)snprintf(text, sizeof(text),
				       "warn log: %lu lines were not read in time\n", out.lost);
	if (sizeof(out.ring) - out.len < len + more)
		return false;
	if (len)
		put(text, len);
	out.lost = 0;
	return true;
}

static void enqueue(const char *line, size_t len)
{
	if (tell_lost(len))
		put(line, len);
	else
		out.lost++;
}

/* Copies what is next, in whole lines, so that nobody else's come in between: of that much a pipe
 * takes all or nothing (pipe(7)), and no line is longer. Returns how much. */
static size_t copy_next(char piece[PIPE_BUF])
{
	size_t len = out.len < PIPE_BUF ? out.len : PIPE_BUF;
	size_t first = len < sizeof(out.ring) - out.at ? len : sizeof(out.ring) - out.at;
	const char *end;

	memcpy(piece, out.ring + out.at, first);
	memcpy(piece + first, out.ring, len - first);
	end = memrchr(piece, '\n', len);
	return end ? (size_t)(end + 1 - piece) : len;
}

/* Waits until stderr takes something and writes what is next. The lock is held but while it waits.
 */
static void write_next(void)
{
	struct pollfd pfd = {.events = POLLOUT};
	char piece[PIPE_BUF];
	size_t len;
	enum kind kind;
	ssize_t n;

	(void)look();
	kind = out.kind;
	pfd.fd = kind == OUT_OWN ? out.own : STDERR_FILENO;
	len = copy_next(piece);
	(void)pthread_mutex_unlock(&out.lock);
	(void)poll(&pfd, 1, -1);
	n = write_once(kind, pfd.fd, piece, len);
	if (n < 0 && errno != EAGAIN)
		n = (ssize_t)len; /* there is nowhere left to say so */
	(void)pthread_mutex_lock(&out.lock);
	if (n > 0)
		drop((size_t)n);
}

static void *run(void *arg)
{
	(void)arg;
	(void)pthread_mutex_lock(&out.lock);
	while (out.len || out.lost) {
		if (!out.len)
			(void)tell_lost(0);
		write_next();
	}
	forget();
	out.is_running = false;
	(void)pthread_cond_broadcast(&out.empty);
	(void)pthread_mutex_unlock(&out.lock);
	return NULL;
}

/* At exit: what waits is worth a moment. */
static void say_farewell(void)
{
	struct timespec end;

	(void)clock_gettime(CLOCK_REALTIME, &end);
	end.tv_nsec += (long)FAREWELL_MS * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_nsec -= 1000000000;
		end.tv_sec++;
	}
	(void)pthread_mutex_lock(&out.lock);
	while (out.is_running && pthread_cond_timedwait(&out.empty, &out.lock, &end) == 0)
		continue;
	(void)pthread_mutex_unlock(&out.lock);
}

/* Has a thread see to the queue; to it, a pipe without readers is an error and no signal. */
static void start_thread(void)
{
	if (!out.has_farewell)
		out.has_farewell = atexit(say_farewell) == 0;
	if (!out.is_running)
		out.is_running = lp_thread_start(NULL, run, NULL) == 0;
}

void lp_log_out(const char *line, size_t len)
{
	int saved = errno;
	ssize_t n = 0;

	(void)pthread_mutex_lock(&out.lock);
	/* The thread looks itself: it may be at what was found before. */
	if (out.is_running || look()) {
		if (!out.len && out.kind != OUT_SHARED)
			n = write_once(out.kind, out.own, line, len);
		if (n < 0 && errno == EAGAIN)
			n = 0;
		if (n >= 0 && (size_t)n < len)
			enqueue(line + n, len - (size_t)n);
		if (out.len)
			start_thread();
		if (!out.is_running)
			forget();
	}
	(void)pthread_mutex_unlock(&out.lock);
	errno = saved;
}
