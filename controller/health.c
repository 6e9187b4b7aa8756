/* controller/health.c: TCP, HTTP, process and command probes as a small machine of sockets and one
 * timer. */
#include "controller/health.h"

#include "common/base/lp_buf.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"

#include <ctype.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define US_PER_MS 1000u
#define US_PER_S  1000000u

static void probe(struct lp_health *h);

static void drop_socket(struct lp_health *h)
{
	lp_loop_fd_remove(&h->src);
	if (h->src.fd >= 0)
		lp_auto_close(&h->src.fd);
	h->src.fd = -1;
}

static void wake_at(struct lp_health *h, uint64_t due_us)
{
	lp_timer_set(h->loop, &h->timer, due_us < h->deadline_us ? due_us : h->deadline_us);
}

/* Ends one probe without success. */
static void retry(struct lp_health *h)
{
	uint64_t now_us = lp_now_us();
	uint64_t max_us = (uint64_t)h->conf.interval_ms * US_PER_MS;

	drop_socket(h);
	h->phase = LP_HEALTH_WAITING;
	h->good = 0;
	if (now_us - h->started_us > (uint64_t)LP_HEALTH_FAST_FOR_S * US_PER_S)
		h->wait_us *= 2;
	if (h->wait_us > max_us || h->conf.kind == LP_HEALTH_COMMAND)
		h->wait_us = max_us > US_PER_MS ? max_us : US_PER_MS;
	wake_at(h, now_us + h->wait_us);
}

/* A probe was good, but it takes more of them in a row. */
static void go_on(struct lp_health *h)
{
	drop_socket(h);
	h->phase = LP_HEALTH_WAITING;
	(void)snprintf(h->why, sizeof(h->why), "good %u times in a row (wanted: %u)", h->good,
		       h->conf.threshold);
	wake_at(h, lp_now_us() + (uint64_t)h->conf.interval_ms * US_PER_MS);
}

static void verdict(struct lp_health *h, bool healthy)
{
	char why[sizeof(h->why) + 64];

	why[0] = '\0';
	if (!healthy)
		(void)snprintf(why, sizeof(why), "not healthy after %u ms: %s", h->conf.timeout_ms,
			       h->why);
	if (!healthy || h->phase != LP_HEALTH_LINGERING) {
		drop_socket(h);
		lp_timer_clear(&h->timer);
		h->phase = LP_HEALTH_OFF;
	}
	h->on_verdict(h, healthy, why);
}

static void succeed(struct lp_health *h)
{
	if (++h->good < h->conf.threshold)
		go_on(h);
	else
		verdict(h, true);
}

static void say(struct lp_health *h, int code, const char *what)
{
	char text[128];

	(void)snprintf(h->why, sizeof(h->why), "%s 127.0.0.1:%u: %s", what, h->port,
		       strerror_r(code, text, sizeof(text)));
}

/* A connection to a port on which nobody listens can meet itself: the kernel may choose that very
 * port as the source (simultaneous open, RFC 9293 section 3.5). */
static bool connected_to_itself(int fd)
{
	struct sockaddr_in own = {0};
	struct sockaddr_in peer = {0};
	socklen_t own_len = sizeof(own);
	socklen_t peer_len = sizeof(peer);

	return getsockname(fd, (struct sockaddr *)&own, &own_len) == 0 &&
	       getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 &&
	       own.sin_port == peer.sin_port && own.sin_addr.s_addr == peer.sin_addr.s_addr;
}

static void failed_connect(struct lp_health *h, int code)
{
	if (code == ECONNREFUSED)
		(void)snprintf(h->why, sizeof(h->why),
			       "nothing listens on 127.0.0.1:%u; the app has to listen on the port "
			       "in $PORT",
			       h->port);
	else
		say(h, code, "connect to");
	retry(h);
}

static bool head_complete(const char *head, size_t len, size_t *out_end)
{
	const char *end = memmem(head, len, "\r\n\r\n", 4);

	if (!end)
		return false;
	*out_end = (size_t)(end - head) + 4;
	return true;
}

int lp_health_http_status(const char *head, size_t len)
{
	static const char version[] = "HTTP/1.";
	const size_t line = sizeof(version) - 1 + sizeof("1 200") - 1;

	for (;;) {
		size_t known = len < sizeof(version) - 1 ? len : sizeof(version) - 1;
		size_t end;
		int status;

		if (memcmp(head, version, known) != 0)
			return -1;
		if (len < line + 1)
			return 0;
		if (!isdigit((unsigned char)head[7]) || head[8] != ' ' ||
		    !isdigit((unsigned char)head[9]) || !isdigit((unsigned char)head[10]) ||
		    !isdigit((unsigned char)head[11]) || !strchr(" \r\n", head[12]) ||
		    head[12] == '\0')
			return -1;
		status = (head[9] - '0') * 100 + (head[10] - '0') * 10 + (head[11] - '0');
		if (status >= 200 || status == 101)
			return status;
		if (status < 100)
			return -1;
		if (!head_complete(head, len, &end))
			return 0;
		head += end;
		len -= end;
	}
}

static void on_status(struct lp_health *h, int status)
{
	h->answered = true;
	if (status < 0) {
		(void)snprintf(h->why, sizeof(h->why), "what answers on 127.0.0.1:%u is no HTTP/1",
			       h->port);
		retry(h);
		return;
	}
	if (status < h->conf.status_min || status > h->conf.status_max) {
		size_t len = (size_t)snprintf(h->why, sizeof(h->why),
					      "it answers with status %d (wanted: %d", status,
					      h->conf.status_min);

		if (h->conf.status_max != h->conf.status_min)
			len += (size_t)snprintf(h->why + len, sizeof(h->why) - len, " to %d",
						h->conf.status_max);
		(void)snprintf(h->why + len, sizeof(h->why) - len, ")");
		retry(h);
		return;
	}
	h->phase = LP_HEALTH_LINGERING;
	lp_timer_set(h->loop, &h->timer, lp_now_us() + LP_HEALTH_LINGER_US);
	if (++h->good >= h->conf.threshold)
		verdict(h, true);
}

static void read_answer(struct lp_health *h)
{
	ssize_t n = read(h->src.fd, h->head + h->head_len, sizeof(h->head) - h->head_len);
	int status;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		h->answered = true;
		if (n < 0)
			say(h, errno, "read from");
		else
			(void)snprintf(h->why, sizeof(h->why), "it closes without an answer");
		retry(h);
		return;
	}
	h->head_len += (size_t)n;
	status = lp_health_http_status(h->head, h->head_len);
	if (status == 0 && h->head_len < sizeof(h->head))
		return;
	on_status(h, status == 0 ? -1 : status);
}

static void send_request(struct lp_health *h)
{
	size_t left = strlen(h->request) - h->sent;
	ssize_t n = send(h->src.fd, h->request + h->sent, left, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		say(h, errno, "write to");
		retry(h);
		return;
	}
	if (n > 0)
		h->sent += (size_t)n;
	if (h->request[h->sent] == '\0')
		lp_loop_fd_events(&h->src, EPOLLIN);
}

static void connected(struct lp_health *h)
{
	if (connected_to_itself(h->src.fd)) {
		failed_connect(h, ECONNREFUSED);
		return;
	}
	if (h->conf.kind == LP_HEALTH_TCP) {
		succeed(h);
		return;
	}
	if (!h->answered)
		(void)snprintf(h->why, sizeof(h->why),
			       "it accepts connections but does not answer");
	h->phase = LP_HEALTH_ASKING;
	h->sent = 0;
	h->head_len = 0;
	send_request(h);
}

static void end_linger(struct lp_health *h)
{
	if (h->good < h->conf.threshold)
		go_on(h);
	else
		lp_health_stop(h);
}

static void linger(struct lp_health *h)
{
	ssize_t n = read(h->src.fd, h->head, sizeof(h->head));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		h->head_len += (size_t)n;
	if (n <= 0 || h->head_len > LP_HEALTH_LINGER_BYTES)
		end_linger(h);
}

static void on_ready(struct lp_fd_src *src, uint32_t ready)
{
	struct lp_health *h = LP_CONTAINER_OF(src, struct lp_health, src);
	socklen_t len = sizeof(int);
	int code = 0;

	if (h->phase == LP_HEALTH_LINGERING) {
		linger(h);
	} else if (h->phase == LP_HEALTH_ASKING) {
		if (src->events & EPOLLOUT)
			send_request(h);
		else
			read_answer(h);
	} else if (ready & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
		if (getsockopt(src->fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
			code = errno;
		if (code != 0)
			failed_connect(h, code);
		else
			connected(h);
	}
}

static void run_command(struct lp_health *h)
{
	struct lp_err err = {0};

	h->phase = LP_HEALTH_RUNNING;
	if (h->run_command(h, &err) == 0) {
		wake_at(h, h->probe_end_us);
		return;
	}
	(void)snprintf(h->why, sizeof(h->why), "health.command: %.200s", err.msg);
	retry(h);
}

void lp_health_answer(struct lp_health *h, bool good, const char *why)
{
	if (h->phase != LP_HEALTH_RUNNING)
		return;
	if (good) {
		succeed(h);
		return;
	}
	(void)snprintf(h->why, sizeof(h->why), "health.command %.220s", why);
	retry(h);
}

static void probe(struct lp_health *h)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons(h->port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct lp_err err;

	h->probe_end_us = lp_now_us() + (uint64_t)h->conf.probe_ms * US_PER_MS;
	if (h->conf.kind == LP_HEALTH_COMMAND) {
		run_command(h);
		return;
	}
	h->src = (struct lp_fd_src){.events = EPOLLOUT, .on_ready = on_ready};
	h->src.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->src.fd < 0) {
		say(h, errno, "make a socket for");
		retry(h);
		return;
	}
	h->phase = LP_HEALTH_CONNECTING;
	if (connect(h->src.fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 &&
	    errno != EINPROGRESS) {
		failed_connect(h, errno);
		return;
	}
	if (lp_loop_fd_add(h->loop, &h->src, &err) < 0) {
		(void)snprintf(h->why, sizeof(h->why), "%.200s", err.msg);
		retry(h);
		return;
	}
	wake_at(h, h->probe_end_us);
}

static void end_command(struct lp_health *h)
{
	if (h->phase == LP_HEALTH_RUNNING)
		h->end_command(h);
}

static void on_timer(struct lp_timer *timer)
{
	struct lp_health *h = LP_CONTAINER_OF(timer, struct lp_health, timer);
	uint64_t now_us = lp_now_us();

	if (h->phase == LP_HEALTH_LINGERING) {
		end_linger(h);
	} else if (h->conf.kind == LP_HEALTH_PROCESS) {
		verdict(h, true);
	} else if (now_us >= h->deadline_us) {
		end_command(h);
		verdict(h, false);
	} else if (h->phase == LP_HEALTH_WAITING) {
		probe(h);
	} else if (now_us >= h->probe_end_us) {
		(void)snprintf(h->why, sizeof(h->why), "%s within %u ms",
			       h->phase == LP_HEALTH_RUNNING ? "health.command did not end"
							     : "no answer",
			       h->conf.probe_ms);
		end_command(h);
		retry(h);
	}
}

/* Bytes that would end the request line are percent-encoded (RFC 3986, section 2.1). */
static char *make_request(const char *path)
{
	struct lp_buf b = {0};
	char *request;

	for (const char *p = path && *path ? path : "/"; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (c <= ' ' || c >= 0x7f) {
			if (lp_buf_addf(&b, "%%%02X", (unsigned int)c) < 0)
				abort();
		} else if (lp_buf_add(&b, p, 1) < 0) {
			abort();
		}
	}
	request = lp_xasprintf("GET %s%.*s HTTP/1.1\r\nHost: localhost\r\n"
			       "User-Agent: livepush-health\r\nAccept: */*\r\n"
			       "Connection: close\r\n\r\n",
			       b.data[0] == '/' ? "" : "/", (int)b.len, (const char *)b.data);
	lp_buf_finish(&b);
	return request;
}

void lp_health_start(struct lp_health *h, struct lp_loop *loop, const struct lp_conf_health *conf,
		     uint16_t port)
{
	lp_health_stop(h);
	h->loop = loop;
	h->conf = *conf;
	h->conf.path = NULL;
	h->conf.command = (struct lp_conf_command){0};
	h->port = port;
	h->request = make_request(conf->path);
	h->phase = LP_HEALTH_WAITING;
	h->src.fd = -1;
	h->timer.on_fire = on_timer;
	h->started_us = lp_now_us();
	h->wait_us = (uint64_t)LP_HEALTH_FAST_MS * US_PER_MS;
	h->answered = false;
	h->good = 0;
	(void)snprintf(h->why, sizeof(h->why), "no probe came to an end");
	if (conf->kind == LP_HEALTH_PROCESS) {
		h->deadline_us = h->started_us + (uint64_t)conf->settle_ms * US_PER_MS;
		lp_timer_set(loop, &h->timer, h->deadline_us);
		return;
	}
	h->deadline_us = h->started_us + (uint64_t)conf->timeout_ms * US_PER_MS;
	wake_at(h, h->started_us + h->wait_us);
}

void lp_health_stop(struct lp_health *h)
{
	end_command(h);
	if (h->phase != LP_HEALTH_OFF)
		drop_socket(h);
	if (h->loop)
		lp_timer_clear(&h->timer);
	free(h->request);
	h->request = NULL;
	h->phase = LP_HEALTH_OFF;
}
