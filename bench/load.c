/* bench/load.c: requests at an even rate over kept connections, for latencies in microseconds. A
 * latency counts from the moment when the request was due, so that whoever answers late cannot hide
 * it by slowing the load down. Trusts the server.
 *
 *   load PORT RATE SECONDS CONNECTIONS    prints: answers failures p50 p99 max (us) */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 256

static const char request[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";

struct connection {
	int fd;
	double due;
};

static struct connection connections[MAX_CONNECTIONS];
static struct connection *idle[MAX_CONNECTIONS];
static size_t n_idle;
static double *latencies;
static size_t n_latencies;
static size_t n_failed;

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dial(unsigned port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0) {
		perror("load: connect");
		exit(1);
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

/* The answers of the bench's app come in one piece. */
static void take_answer(struct connection *c)
{
	char buf[4096];
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 12 || memcmp(buf, "HTTP/1.1 200", 12) != 0)
		n_failed++;
	else
		latencies[n_latencies++] = now() - c->due;
	if (n <= 0) {
		(void)close(c->fd);
		return;
	}
	idle[n_idle++] = c;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double percentile_us(double share)
{
	size_t at = (size_t)(share * (double)n_latencies);

	return n_latencies ? latencies[at < n_latencies ? at : n_latencies - 1] * 1e6 : 0;
}

static void wait_until(int epoll_fd, double until)
{
	struct epoll_event events[64];
	double left = until - now();
	struct timespec t = {0};
	int n;

	if (left > 0)
		t = (struct timespec){.tv_sec = (time_t)left,
				      .tv_nsec = (long)((left - (double)(time_t)left) * 1e9)};
	n = epoll_pwait2(epoll_fd, events, 64, &t, NULL);
	for (int i = 0; i < n; i++)
		take_answer(events[i].data.ptr);
}

int main(int argc, char **argv)
{
	double rate = argc == 5 ? strtod(argv[2], NULL) : 0;
	size_t total = argc == 5 ? (size_t)(rate * strtod(argv[3], NULL)) : 0;
	size_t n = argc == 5 ? strtoul(argv[4], NULL, 10) : 0;
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	double began;

	if (!total || !n || n > MAX_CONNECTIONS || epoll_fd < 0) {
		fprintf(stderr, "usage: load PORT RATE SECONDS CONNECTIONS\n");
		return 2;
	}
	latencies = calloc(total, sizeof(*latencies));
	if (!latencies)
		return 1;
	for (size_t i = 0; i < n; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &connections[i]};

		connections[i].fd = dial((unsigned)strtoul(argv[1], NULL, 10));
		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, connections[i].fd, &ev) < 0)
			return 1;
		idle[n_idle++] = &connections[i];
	}
	began = now();
	for (size_t i = 0; i < total;) {
		double due = began + (double)i / rate;
		struct connection *c;

		if (now() < due || !n_idle) {
			wait_until(epoll_fd, n_idle ? due : now() + 1);
			continue;
		}
		c = idle[--n_idle];
		c->due = due;
		if (send(c->fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
			n_failed++;
		i++;
	}
	for (double end = now() + 2; n_latencies + n_failed < total && now() < end;)
		wait_until(epoll_fd, end);
	qsort(latencies, n_latencies, sizeof(*latencies), compare);
	printf("%zu %zu %.1f %.1f %.1f\n", n_latencies, total - n_latencies, percentile_us(0.5),
	       percentile_us(0.99), percentile_us(1));
	return 0;
}
