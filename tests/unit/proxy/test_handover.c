/* tests/unit/proxy/test_handover.c: WebSockets that the owner of a route takes with their socket.
 */
#include "harness.h"
#include "harness_io.h"
#include "tests/unit/fds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define MAX_TAKEN 256
#define UPGRADE                                                                                    \
	"GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"

/* Who is given the sockets. */
struct owner {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool declines;
	unsigned asked;
	int fds[MAX_TAKEN];
	char bytes[MAX_TAKEN][1024];
	size_t n;
};

static struct up up;
static struct rig rig;
static struct owner owner;

static bool on_handover(void *ctx, int fd, const void *bytes, size_t len)
{
	struct owner *o = ctx;
	bool taken;

	(void)pthread_mutex_lock(&o->lock);
	taken = !o->declines && o->n < MAX_TAKEN && len < sizeof(o->bytes[0]);
	o->asked++;
	if (taken) {
		o->fds[o->n] = fd;
		memcpy(o->bytes[o->n++], bytes, len);
	}
	(void)pthread_cond_broadcast(&o->changed);
	(void)pthread_mutex_unlock(&o->lock);
	return taken;
}

/* Waits until that many sockets were taken; returns the last. */
static int await_taken(size_t n)
{
	struct timespec until = io_deadline();
	int fd;

	(void)pthread_mutex_lock(&owner.lock);
	while (owner.n < n)
		assert_int_equal(pthread_cond_timedwait(&owner.changed, &owner.lock, &until), 0);
	fd = owner.fds[n - 1];
	(void)pthread_mutex_unlock(&owner.lock);
	return fd;
}

static void set_route(const char *prefix, bool hands_over)
{
	struct lp_proxy_upstream target = {.id = 1, .addr = up.addr, .weight = 1};
	struct lp_proxy_route routes[] = {{.host = "",
					   .prefix = prefix,
					   .kind = LP_ROUTE_FORWARD,
					   .upstreams = &target,
					   .n_upstreams = 1,
					   .hands_over = hands_over},
					  {.host = "",
					   .prefix = "/",
					   .kind = LP_ROUTE_FORWARD,
					   .upstreams = &target,
					   .n_upstreams = 1}};

	assert_int_equal(lp_proxy_set_routes(rig.proxy, routes, 2, NULL), 0);
}

static int set_up(void **state)
{
	struct lp_proxy_opts opts = {.on_handover = on_handover, .ctx = &owner};

	(void)state;
	memset(&rig, 0, sizeof(rig));
	memset(&owner, 0, sizeof(owner));
	(void)pthread_mutex_init(&owner.lock, NULL);
	(void)pthread_cond_init(&owner.changed, NULL);
	up_start(&up, "one", NULL);
	assert_int_equal(lp_proxy_addr_parse(&opts.listen, "127.0.0.1:0", NULL), 0);
	assert_int_equal(lp_proxy_create(&rig.proxy, &opts, NULL), 0);
	set_route("/upgrade", true);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	lp_proxy_destroy(rig.proxy);
	for (size_t i = 0; i < owner.n; i++)
		(void)close(owner.fds[i]);
	(void)pthread_mutex_destroy(&owner.lock);
	(void)pthread_cond_destroy(&owner.changed);
	up_stop(&up);
	return 0;
}

static void expect_text(int fd, const char *text)
{
	char got[64] = {0};
	size_t len = strlen(text);

	io_set_timeouts(fd);
	assert_int_equal(recv(fd, got, len, MSG_WAITALL), len);
	assert_string_equal(got, text);
}

/* Non-blocking, as it was given. */
static void make_blocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	assert_true(flags >= 0 && (flags & O_NONBLOCK));
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(fcntl(fd, F_SETFL, flags & ~O_NONBLOCK), 0);
}

static void handover__gives_the_socket_its_head_and_what_came_behind(void **state)
{
	int client = client_open(&rig), fd;
	const char *head;

	(void)state;
	client_send(client,
		    "GET /upgrade/x?y HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, X-Mine\r\n"
		    "X-Mine: 1\r\nX-Forwarded-For: 192.0.2.7\r\nUpgrade: websocket\r\n"
		    "\r\nearly");
	fd = await_taken(1);
	head = owner.bytes[0];
	assert_ptr_equal(strstr(head, "GET /upgrade/x?y HTTP/1.1\r\nHost: x\r\n"), head);
	assert_non_null(strstr(head, "\r\nX-Forwarded-For: 192.0.2.7, 127.0.0.1\r\n"));
	assert_non_null(strstr(head, "\r\nX-Forwarded-Proto: http\r\n"));
	assert_non_null(strstr(head, "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"));
	assert_null(strstr(head, "X-Mine"));
	assert_string_equal(strstr(head, "\r\n\r\n"), "\r\n\r\nearly");
	rig_await(&rig, RIG_CONNS, 0);
	rig_await(&rig, RIG_ACTIVE, 0);
	make_blocking(fd);
	client_send(client, "late");
	expect_text(fd, "late");
	client_send(fd, "back");
	expect_text(client, "back");
	assert_int_equal(up_conns(&up), 0);
	(void)close(client);
}

static void handover__that_is_declined_goes_to_the_upstream(void **state)
{
	int client = client_open(&rig);
	struct reply reply;

	(void)state;
	owner.declines = true;
	client_send(client, UPGRADE "early ");
	reply_read(&reply, client, false);
	assert_int_equal(reply.status, 101);
	reply_finish(&reply);
	expect_text(client, "hello");
	client_send(client, "late");
	expect_text(client, "early late");
	rig_await(&rig, RIG_ACTIVE, 1);
	(void)close(client);
	rig_await(&rig, RIG_CONNS, 0);
	assert_int_equal(owner.asked, 1);
}

static void handover__is_for_websockets_on_such_routes(void **state)
{
	static const char *const others[] = {
		"GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
		"GET /upgrade HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
		"GET /upgrade HTTP/1.0\r\nHost: x\r\nConnection: Upgrade\r\n"
		"Upgrade: websocket\r\n\r\n",
		"POST /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nContent-Length: 1\r\n"
		"Upgrade: websocket\r\n\r\nx",
		"GET /name HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		"\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		int client = client_open(&rig);

		assert_true(ask(client, others[i], NULL, 0) > 0);
		(void)close(client);
	}
	set_route("/upgrade", false);
	for (size_t i = 0; i < 2; i++) {
		int client = client_open(&rig);

		assert_int_equal(ask(client, UPGRADE, NULL, 0), 101);
		(void)close(client);
	}
	assert_int_equal(owner.asked, 0);
}

static void handover__comes_after_the_answers_before_it(void **state)
{
	int client = client_open(&rig);
	struct reply reply;

	(void)state;
	client_send(client, "GET /name HTTP/1.1\r\nHost: x\r\n\r\n" UPGRADE "early");
	reply_read(&reply, client, false);
	assert_int_equal(reply.status, 200);
	assert_string_equal(reply.body, "one");
	reply_finish(&reply);
	(void)await_taken(1);
	assert_ptr_equal(strstr(owner.bytes[0], "GET /upgrade "), owner.bytes[0]);
	assert_string_equal(strstr(owner.bytes[0], "\r\n\r\n"), "\r\n\r\nearly");
	(void)close(client);
}

static void handover__waits_while_its_route_holds(void **state)
{
	int client;

	(void)state;
	rig_hold(&rig);
	client = client_open(&rig);
	client_send(client, UPGRADE);
	rig_await(&rig, RIG_HELD, 1);
	set_route("/upgrade", true);
	(void)await_taken(1);
	rig_await(&rig, RIG_HELD, 0);
	rig_await(&rig, RIG_CONNS, 0);
	(void)close(client);
}

static void handover__survives_the_proxy(void **state)
{
	int client = client_open(&rig), fd;

	(void)state;
	client_send(client, UPGRADE);
	fd = await_taken(1);
	lp_proxy_destroy(rig.proxy);
	rig.proxy = NULL;
	make_blocking(fd);
	client_send(client, "still");
	expect_text(fd, "still");
	(void)close(client);
	assert_int_equal(recv(fd, &(char){0}, 1, 0), 0);
}

static bool has_fds_besides_taken(size_t n)
{
	bool is_so;

	(void)pthread_mutex_lock(&owner.lock);
	is_so = count_fds() == n + owner.n;
	(void)pthread_mutex_unlock(&owner.lock);
	return is_so;
}

/* Half of them are reset before they are looked at. */
static void handover__leaks_nothing_of_clients_that_leave(void **state)
{
	const struct linger now = {.l_onoff = 1};
	const struct timespec until = io_deadline();
	size_t before = count_fds();

	(void)state;
	for (size_t i = 0; i < 100; i++) {
		int client = client_open(&rig);

		client_send(client, UPGRADE);
		if (i % 2)
			(void)setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		(void)close(client);
	}
	(void)await_taken(50);
	/* Those that were reset may still be on their way to the proxy. */
	while (!has_fds_besides_taken(before)) {
		assert_true(time(NULL) < until.tv_sec);
		(void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(handover__gives_the_socket_its_head_and_what_came_behind),
		TEST(handover__that_is_declined_goes_to_the_upstream),
		TEST(handover__is_for_websockets_on_such_routes),
		TEST(handover__comes_after_the_answers_before_it),
		TEST(handover__waits_while_its_route_holds),
		TEST(handover__survives_the_proxy),
		TEST(handover__leaks_nothing_of_clients_that_leave),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
