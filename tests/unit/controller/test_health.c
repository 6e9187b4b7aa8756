/* test_health.c: the HTTP status parser and the probes against servers in threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/health.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_util.h"
#include "common/loop/loop_internal.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void http_status__reads_status_lines(void **state)
{
	static const struct {
		const char *head;
		int status;
	} cases[] = {
		{"", 0},
		{"HTT", 0},
		{"HTTP/1.1 20", 0},
		{"HTTP/1.1 200", 0},
		{"HTTP/1.1 200 OK\r\n", 200},
		{"HTTP/1.0 404\r\n", 404},
		{"HTTP/1.1 200\n", 200},
		{"HTTP/1.1 599 \r\n", 599},
		{"HTTP/1.1 101 Up\r\n", 101},
		{"HTTP/1.1 100 Continue\r\n", 0},
		{"HTTP/1.1 100 Continue\r\n\r\n", 0},
		{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\n", 503},
		{"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 204 "
		 "No\r\n",
		 204},
		{"HTTP/1.1 100 Continue\r\n\r\nnonsense", -1},
		{"HTTP/1.1 2000 OK\r\n", -1},
		{"HTTP/1.1 099 OK\r\n", -1},
		{"HTTP/1.1 20a OK\r\n", -1},
		{"HTTP/1.1  200 OK\r\n", -1},
		{"HTTP/1.x 200 OK\r\n", -1},
		{"HTTP/2 200 OK\r\n....", -1},
		{"SSH-2.0-OpenSSH", -1},
		{"\r\n", -1},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		/* In memory of its exact size, so that a read beyond it is seen. */
		size_t len = strlen(cases[i].head);
		char *head = malloc(len ? len : 1);
		int status;

		assert_non_null(head);
		memcpy(head, cases[i].head, len);
		status = lp_health_http_status(head, len);
		free(head);
		if (status != cases[i].status)
			fail_msg("%s: %d, wanted %d", cases[i].head, status, cases[i].status);
	}
}

/* Answers each connection with the next of its scripts, in pieces, the last one for ever. */
struct server {
	int fd;
	uint16_t port;
	const char *const (*scripts)[4];
	size_t n;
	pthread_t thread;
	char asked[512];
	size_t served;
};

static void serve_one(struct server *srv, int fd)
{
	size_t i = srv->served < srv->n ? srv->served : srv->n - 1;
	ssize_t n = recv(fd, srv->asked, sizeof(srv->asked) - 1, 0);

	if (n > 0)
		srv->asked[n] = '\0';
	for (size_t piece = 0; piece < 4 && srv->scripts[i][piece]; piece++) {
		const char *text = srv->scripts[i][piece];

		(void)send(fd, text, strlen(text), MSG_NOSIGNAL);
		(void)poll(NULL, 0, 2); /* lets the pieces travel alone */
	}
	srv->served++;
}

static void *serve(void *arg)
{
	struct server *srv = arg;

	for (;;) {
		int fd = accept4(srv->fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			return NULL;
		serve_one(srv, fd);
		(void)close(fd);
	}
}

static void server_start(struct server *srv, bool accepting)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);

	srv->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(srv->fd >= 0);
	assert_int_equal(bind(srv->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(getsockname(srv->fd, (struct sockaddr *)&addr, &len), 0);
	srv->port = ntohs(addr.sin_port);
	if (!accepting)
		return;
	assert_int_equal(listen(srv->fd, 16), 0);
	if (srv->scripts)
		assert_int_equal(pthread_create(&srv->thread, NULL, serve, srv), 0);
}

static void server_stop(struct server *srv)
{
	(void)shutdown(srv->fd, SHUT_RDWR);
	if (srv->scripts)
		assert_int_equal(pthread_join(srv->thread, NULL), 0);
	(void)close(srv->fd);
}

struct watch {
	struct lp_health health;
	int verdicts;
	bool healthy;
	char why[512];
};

static void on_verdict(struct lp_health *health, bool healthy, const char *why)
{
	struct watch *w = LP_CONTAINER_OF(health, struct watch, health);

	w->verdicts++;
	w->healthy = healthy;
	(void)snprintf(w->why, sizeof(w->why), "%s", why);
}

/* Probes until the verdict, then until the probe has let go of its connection. */
static void probe(struct watch *w, const struct lp_conf_health *conf, uint16_t port)
{
	uint64_t deadline_us = lp_now_us() + 20000000u;
	struct lp_loop *loop;
	struct lp_err err;

	memset(w, 0, sizeof(*w));
	w->health.on_verdict = on_verdict;
	assert_int_equal(lp_loop_create(&loop, &err), 0);
	lp_health_start(&w->health, loop, conf, port);
	while (w->verdicts == 0 || w->health.phase != LP_HEALTH_OFF) {
		assert_true(lp_now_us() < deadline_us);
		assert_int_equal(lp_loop_dispatch(loop, 5), 0);
	}
	assert_int_equal(w->verdicts, 1);
	lp_health_stop(&w->health);
	lp_health_stop(&w->health);
	lp_loop_destroy(loop);
}

static const struct lp_conf_health http_conf = {.kind = LP_HEALTH_HTTP,
						.status_min = 200,
						.status_max = 299,
						.timeout_ms = 400,
						.probe_ms = 10000,
						.interval_ms = 100};

static void http__asks_and_waits_for_a_good_status(void **state)
{
	static const char *const scripts[][4] = {
		{"HTTP/1.1 503 Warming\r\n\r\n"},
		{NULL},
		{"garbage\r\n\r\n"},
		{"HTTP/1.1 302 Found\r\n\r\n"},
		{"HT", "TP/1.1 20", "0 OK\r\nX: y\r\n\r\n", "body"},
	};
	struct lp_conf_health conf = http_conf;
	struct server srv = {.scripts = scripts, .n = LP_COUNT_OF(scripts)};
	struct watch w;

	(void)state;
	conf.path = (char[]){"up and\r\nX: y"};
	conf.timeout_ms = 15000;
	server_start(&srv, true);
	probe(&w, &conf, srv.port);
	server_stop(&srv);
	assert_true(w.healthy);
	assert_string_equal(w.why, "");
	assert_int_equal(srv.served, LP_COUNT_OF(scripts));
	assert_string_equal(srv.asked, "GET /up%20and%0D%0AX:%20y HTTP/1.1\r\nHost: localhost\r\n"
				       "User-Agent: livepush-health\r\nAccept: */*\r\n"
				       "Connection: close\r\n\r\n");
}

static void http__has_to_be_good_so_many_times_in_a_row(void **state)
{
	static const char *const scripts[][4] = {
		{"HTTP/1.1 200 OK\r\n\r\n", "body"},
		{"HTTP/1.1 200 OK\r\n\r\n"},
		{"HTTP/1.1 500 Oh\r\n\r\n"},
		{"HTTP/1.1 200 OK\r\n\r\n"},
	};
	struct lp_conf_health conf = http_conf;
	struct server srv = {.scripts = scripts, .n = LP_COUNT_OF(scripts)};
	struct watch w;

	(void)state;
	conf.timeout_ms = 15000;
	conf.threshold = 3;
	conf.interval_ms = 5;
	server_start(&srv, true);
	probe(&w, &conf, srv.port);
	server_stop(&srv);
	assert_true(w.healthy);
	/* Two, a bad one, and three. */
	assert_int_equal(srv.served, 6);
}

static void tcp__says_how_often_it_was_good(void **state)
{
	const struct lp_conf_health conf = {.kind = LP_HEALTH_TCP,
					    .timeout_ms = 300,
					    .probe_ms = 10000,
					    .interval_ms = 200,
					    .threshold = 1000};
	struct server srv = {0};
	struct watch w;

	(void)state;
	server_start(&srv, false);
	assert_int_equal(listen(srv.fd, 64), 0);
	probe(&w, &conf, srv.port);
	server_stop(&srv);
	assert_false(w.healthy);
	assert_non_null(strstr(w.why, "times in a row (wanted: 1000)"));
}

static void http__says_why_it_is_not_healthy(void **state)
{
	static char flood[2 * LP_HEALTH_HEAD_MAX];
	static const char *const bad_status[][4] = {{"HTTP/1.1 404 Not Found\r\n\r\n"}};
	static const char *const no_http[][4] = {{"SSH-2.0-x\r\n"}};
	static const char *const closes[][4] = {{NULL}};
	static const char *const endless[][4] = {{"HTTP/1.1 100 Go on\r\n", flood, flood}};
	static const struct {
		const char *const (*scripts)[4];
		bool accepting;
		const char *why;
	} cases[] = {
		{bad_status, true, "it answers with status 404 (wanted: 200 to 299)"},
		{no_http, true, "is no HTTP/1"},
		{closes, true, "it closes without an answer"},
		{endless, true, "is no HTTP/1"},
		{NULL, true, "it accepts connections but does not answer"},
		{NULL, false, "nothing listens on 127.0.0.1:"},
	};

	(void)state;
	memset(flood, 'x', sizeof(flood) - 1);
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct server srv = {.scripts = cases[i].scripts, .n = 1};
		uint64_t start_us = lp_now_us();
		struct watch w;

		server_start(&srv, cases[i].accepting);
		probe(&w, &http_conf, srv.port);
		server_stop(&srv);
		assert_false(w.healthy);
		if (strncmp(w.why, "not healthy after 400 ms: ", 26) != 0 ||
		    !strstr(w.why, cases[i].why))
			fail_msg("'%s', wanted '%s'", w.why, cases[i].why);
		assert_true(lp_now_us() - start_us >= 400000);
	}
}

static void tcp__is_healthy_when_somebody_accepts(void **state)
{
	const struct lp_conf_health conf = {
		.kind = LP_HEALTH_TCP, .timeout_ms = 300, .probe_ms = 10000, .interval_ms = 100};
	struct server srv = {0};
	struct watch w;

	(void)state;
	server_start(&srv, false);
	probe(&w, &conf, srv.port);
	assert_false(w.healthy);
	assert_int_equal(listen(srv.fd, 4), 0);
	probe(&w, &conf, srv.port);
	assert_true(w.healthy);
	server_stop(&srv);
}

static void process__is_healthy_after_it_settled(void **state)
{
	const struct lp_conf_health conf = {
		.kind = LP_HEALTH_PROCESS, .timeout_ms = 1, .settle_ms = 50};
	uint64_t start_us = lp_now_us();
	struct watch w;

	(void)state;
	probe(&w, &conf, 1);
	assert_true(w.healthy);
	assert_true(lp_now_us() - start_us >= 50000);
}

static void stop__ends_the_probing(void **state)
{
	struct server srv = {0};
	struct lp_loop *loop;
	struct lp_err err;
	struct watch w = {.health.on_verdict = on_verdict};
	uint64_t until_us;

	(void)state;
	server_start(&srv, true);
	assert_int_equal(lp_loop_create(&loop, &err), 0);
	lp_health_start(&w.health, loop, &http_conf, srv.port);
	while (w.health.phase != LP_HEALTH_ASKING)
		assert_int_equal(lp_loop_dispatch(loop, 5), 0);
	lp_health_stop(&w.health);
	until_us = lp_now_us() + 500000;
	while (lp_now_us() < until_us)
		assert_int_equal(lp_loop_dispatch(loop, 50), 0);
	assert_int_equal(w.verdicts, 0);
	lp_loop_destroy(loop);
	server_stop(&srv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http_status__reads_status_lines),
		cmocka_unit_test(http__asks_and_waits_for_a_good_status),
		cmocka_unit_test(http__has_to_be_good_so_many_times_in_a_row),
		cmocka_unit_test(tcp__says_how_often_it_was_good),
		cmocka_unit_test(http__says_why_it_is_not_healthy),
		cmocka_unit_test(tcp__is_healthy_when_somebody_accepts),
		cmocka_unit_test(process__is_healthy_after_it_settled),
		cmocka_unit_test(stop__ends_the_probing),
	};

	return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
