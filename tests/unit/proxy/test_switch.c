/* tests/unit/proxy/test_switch.c: holding, switching, draining and cutting while requests run. */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: test\r\n\r\n"

static struct up one;
static struct up two;
static struct rig rig;

static int set_up(void **state)
{
	struct lp_proxy_limits limits = {.hold_ms = 60000, .max_held = 8};

	(void)state;
	up_start(&one, "one", NULL);
	up_start(&two, "two", NULL);
	rig_start(&rig, &limits);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rig_stop(&rig);
	up_stop(&one);
	up_stop(&two);
	return 0;
}

static void expect(int fd, int status, const char *body)
{
	struct reply reply;

	reply_read(&reply, fd, false);
	assert_int_equal(reply.status, status);
	if (body)
		assert_string_equal(reply.body, body);
	reply_finish(&reply);
}

static void hold__keeps_requests_until_the_next_table(void **state)
{
	int fds[5];

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(fds); i++) { /* before the first table */
		fds[i] = client_open(&rig);
		client_send(fds[i], i == 2 ? "POST /upload HTTP/1.1\r\nHost: x\r\n"
					     "Content-Length: 6\r\n\r\nabc"
					   : GET("/name"));
		rig_await(&rig, RIG_HELD, (unsigned)i + 1);
	}
	rig_hold(&rig); /* one that says the same */
	rig_await(&rig, RIG_HELD, 5);
	(void)close(fds[4]); /* gone meanwhile */
	rig_await(&rig, RIG_HELD, 4);
	rig_await(&rig, RIG_CONNS, 4);
	rig_forward(&rig, 2, &two);
	client_send(fds[2], "def");
	for (size_t i = 0; i < 4; i++)
		expect(fds[i], 200, i == 2 ? NULL : "two");
	assert_int_equal(atomic_load(&two.requests), 4);
	for (size_t i = 0; i < 4; i++)
		(void)close(fds[i]);
}

static void hold__keeps_their_order(void **state)
{
	int fds[6];
	char body[256];

	(void)state;
	rig_hold(&rig);
	for (size_t i = 0; i < LP_COUNT_OF(fds); i++) {
		char text[128];

		fds[i] = client_open(&rig);
		(void)snprintf(text, sizeof(text),
			       "GET /name HTTP/1.1\r\nHost: x\r\nN: %zu\r\n\r\n", i);
		client_send(fds[i], text);
		rig_await(&rig, RIG_HELD, (unsigned)i + 1);
	}
	/* Two upstreams by turns show the order in which the held ones were routed. */
	{
		struct lp_proxy_upstream targets[] = {{.id = 1, .addr = one.addr, .weight = 1},
						      {.id = 2, .addr = two.addr, .weight = 1}};
		struct lp_proxy_route route = {.host = "",
					       .prefix = "/",
					       .kind = LP_ROUTE_FORWARD,
					       .upstreams = targets,
					       .n_upstreams = 2};

		assert_int_equal(lp_proxy_set_routes(rig.proxy, &route, 1, NULL), 0);
	}
	for (size_t i = 0; i < LP_COUNT_OF(fds); i++)
		expect(fds[i], 200, i % 2 ? "two" : "one");
	for (size_t i = 0; i < LP_COUNT_OF(fds); i++) {
		assert_int_equal(ask(fds[i], GET("/name"), body, sizeof(body)), 200);
		(void)close(fds[i]);
	}
}

static void hold__refuses_more_than_max_held(void **state)
{
	int fds[9];
	struct reply reply;

	(void)state;
	rig_hold(&rig);
	for (size_t i = 0; i < LP_COUNT_OF(fds); i++) {
		fds[i] = client_open(&rig);
		client_send(fds[i], GET("/name"));
		if (i < 8)
			rig_await(&rig, RIG_HELD, (unsigned)i + 1);
	}
	reply_read(&reply, fds[8], false);
	assert_int_equal(reply.status, 503);
	assert_string_equal(reply_header(&reply, "Retry-After"), "1");
	reply_finish(&reply);
	rig_forward(&rig, 1, &one);
	assert_int_equal(ask(fds[8], GET("/name"), NULL, 0), 200); /* its connection is fine */
	for (size_t i = 0; i < LP_COUNT_OF(fds); i++)
		(void)close(fds[i]);
}

static void hold__ends_in_503(void **state)
{
	struct lp_proxy_limits limits = {.hold_ms = 30};
	struct rig quick;
	struct reply reply;
	int fd;

	(void)state;
	rig_start(&quick, &limits);
	fd = client_open(&quick);
	for (int i = 0; i < 2; i++) {
		client_send(fd, GET("/name"));
		reply_read(&reply, fd, false);
		assert_int_equal(reply.status, 503);
		assert_string_equal(reply_header(&reply, "Retry-After"), "1");
		assert_non_null(reply_header(&reply, "X-Livepush-Error"));
		reply_finish(&reply);
	}
	(void)close(fd);
	rig_stop(&quick);
}

struct loop {
	const struct rig *rig;
	_Atomic bool stop;
	_Atomic unsigned good;
	_Atomic unsigned bad;
};

static void *ask_in_a_loop(void *arg)
{
	struct loop *l = arg;
	int fd = client_open(l->rig);

	for (unsigned i = 0; !atomic_load(&l->stop); i++) {
		char body[64];
		int status;

		if (i % 16 == 15) { /* a fresh connection now and then */
			(void)close(fd);
			fd = client_open(l->rig);
		}
		status = i % 3 ? ask(fd, GET("/name"), body, sizeof(body))
			       : ask(fd,
				     "POST /upload HTTP/1.1\r\nHost: x\r\n"
				     "Content-Length: 5\r\n\r\nhello",
				     body, sizeof(body));
		if (status == 200)
			atomic_fetch_add(&l->good, 1);
		else
			atomic_fetch_add(&l->bad, 1);
	}
	(void)close(fd);
	return NULL;
}

/* Returns when the loops have got `more` further answers, bad ones included. */
static void await_answers(struct loop *loops, size_t n, unsigned more)
{
	struct timespec pause = {.tv_nsec = 200000};
	unsigned first = 0;

	for (int i = 0; i < DEADLINE_S * 5000; i++) {
		unsigned now = 0;

		for (size_t k = 0; k < n; k++)
			now += atomic_load(&loops[k].good) + atomic_load(&loops[k].bad);
		if (i == 0)
			first = now;
		if (now - first >= more)
			return;
		(void)nanosleep(&pause, NULL);
	}
	fail_msg("the requests in the loop got stuck");
}

static void switch__loses_no_request(void **state)
{
	struct loop loops[4] = {{.rig = &rig}, {.rig = &rig}, {.rig = &rig}, {.rig = &rig}};
	pthread_t threads[4];

	(void)state;
	rig_forward(&rig, 1, &one);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask_in_a_loop, &loops[i]), 0);
	for (uint64_t id = 2; id < 42; id++) {
		if (id % 3 == 0)
			rig_hold(&rig);
		rig_forward(&rig, id, id % 2 ? &one : &two);
		rig_await_drained(&rig, id - 1);
		await_answers(loops, 4, 8);
	}
	for (size_t i = 0; i < 4; i++) {
		atomic_store(&loops[i].stop, true);
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(atomic_load(&loops[i].bad), 0);
		assert_true(atomic_load(&loops[i].good) > 0);
	}
	for (uint64_t id = 1; id < 41; id++)
		assert_int_equal(rig_n_drained(&rig, id), 1);
	assert_int_equal(rig_n_drained(&rig, 41), 0);
}

static void retire__reports_when_the_last_request_has_ended(void **state)
{
	int fd = client_open(&rig);
	int other = client_open(&rig);
	char body[64];

	(void)state;
	rig_forward(&rig, 1, &one);
	client_send(fd, GET("/gate"));
	up_await_gate(&one, 1);
	rig_forward(&rig, 2, &two);
	assert_int_equal(ask(other, GET("/name"), body, sizeof(body)), 200);
	assert_string_equal(body, "two");
	assert_int_equal(rig_n_drained(&rig, 1), 0);
	up_open_gate(&one);
	expect(fd, 200, "through the gate");
	rig_await_drained(&rig, 1);
	/* The same client goes on with the new one. */
	assert_int_equal(ask(fd, GET("/name"), body, sizeof(body)), 200);
	assert_string_equal(body, "two");
	(void)close(fd);
	(void)close(other);
	rig_hold(&rig);
	rig_await_drained(&rig, 2);
	assert_int_equal(rig_n_drained(&rig, 1), 1);
}

static void retire__is_undone_by_a_table_that_names_the_id(void **state)
{
	int fd = client_open(&rig);

	(void)state;
	rig_forward(&rig, 1, &one);
	client_send(fd, GET("/gate"));
	up_await_gate(&one, 1);
	rig_forward(&rig, 2, &two);
	rig_forward(&rig, 1, &one);
	rig_await_drained(&rig, 2);
	up_open_gate(&one);
	expect(fd, 200, "through the gate");
	assert_int_equal(ask(fd, GET("/name"), NULL, 0), 200);
	assert_int_equal(rig_n_drained(&rig, 1), 0);
	(void)close(fd);
}

static void cut__ends_what_still_runs(void **state)
{
	int waiting = client_open(&rig);
	int tunnel = client_open(&rig);
	int upload = client_open(&rig);
	char hello[5];
	struct reply reply;

	(void)state;
	rig_forward(&rig, 1, &one);
	client_send(waiting, GET("/gate"));
	up_await_gate(&one, 1);
	client_send(tunnel, "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
			    "Upgrade: echo\r\n\r\n");
	reply_read(&reply, tunnel, false);
	assert_int_equal(reply.status, 101);
	assert_int_equal(recv(tunnel, hello, 5, MSG_WAITALL), 5);
	client_send(upload, "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
	rig_await(&rig, RIG_ACTIVE, 3);
	lp_proxy_cut(rig.proxy, 1); /* not retired: nothing happens */
	lp_proxy_cut(rig.proxy, 77);
	rig_forward(&rig, 2, &two);
	rig_await(&rig, RIG_ACTIVE, 3);
	assert_int_equal(rig_n_drained(&rig, 1), 0);
	lp_proxy_cut(rig.proxy, 1);
	expect(waiting, 502, NULL);
	expect(upload, 502, NULL);
	assert_true(is_closed(tunnel));
	rig_await_drained(&rig, 1);
	assert_int_equal(rig_n_drained(&rig, 1), 1);
	assert_int_equal(ask(waiting, GET("/name"), NULL, 0), 200);
	(void)close(waiting);
	(void)close(tunnel);
	(void)close(upload);
}

/* A rig whose on_drained sets the next table. */
static struct {
	struct lp_proxy *proxy;
	struct lp_proxy_upstream target;
	_Atomic unsigned calls;
} chain;

static void set_next(void *ctx, uint64_t id)
{
	struct lp_proxy_route route = {.host = "",
				       .prefix = "/",
				       .kind = LP_ROUTE_FORWARD,
				       .upstreams = &chain.target,
				       .n_upstreams = 1};

	(void)ctx;
	if (id < 5) {
		chain.target.id = id + 2;
		if (lp_proxy_set_routes(chain.proxy, &route, 1, NULL) < 0)
			return;
	}
	atomic_fetch_add(&chain.calls, 1);
}

static void set_routes__works_inside_on_drained(void **state)
{
	struct lp_proxy_opts opts = {.on_drained = set_next};
	struct rig inner = {0};
	char body[64];
	int fd;

	(void)state;
	assert_int_equal(lp_proxy_addr_parse(&opts.listen, "127.0.0.1:0", NULL), 0);
	assert_int_equal(lp_proxy_create(&inner.proxy, &opts, NULL), 0);
	chain.proxy = inner.proxy;
	chain.target = (struct lp_proxy_upstream){.addr = two.addr, .weight = 1};
	atomic_store(&chain.calls, 0);
	rig_forward(&inner, 1, &one);
	rig_forward(&inner, 2, &one); /* 1 drains: 3; 2 drains: 4; ... 5 drains */
	fd = client_open(&inner);
	while (atomic_load(&chain.calls) < 5)
		assert_int_equal(ask(fd, GET("/name"), body, sizeof(body)), 200);
	assert_int_equal(ask(fd, GET("/name"), body, sizeof(body)), 200);
	assert_string_equal(body, "two");
	(void)close(fd);
	lp_proxy_destroy(inner.proxy);
}

/* One route "/" to both upstreams. */
static void forward_to_both(uint32_t weight_one, uint32_t weight_two)
{
	struct lp_proxy_upstream targets[] = {{.id = 1, .addr = one.addr, .weight = weight_one},
					      {.id = 2, .addr = two.addr, .weight = weight_two}};
	struct lp_proxy_route route = {.host = "",
				       .prefix = "/",
				       .kind = LP_ROUTE_FORWARD,
				       .upstreams = targets,
				       .n_upstreams = 2};

	assert_int_equal(lp_proxy_set_routes(rig.proxy, &route, 1, NULL), 0);
}

static void weights__share_out_requests_and_change_with_the_table(void **state)
{
	int running = client_open(&rig), fd = client_open(&rig);
	unsigned before;

	(void)state;
	rig_forward(&rig, 1, &one);
	client_send(running, GET("/gate"));
	up_await_gate(&one, 1);
	forward_to_both(3, 1);
	for (int i = 0; i < 40; i++)
		assert_int_equal(ask(fd, GET("/name"), NULL, 0), 200);
	assert_int_equal(atomic_load(&one.requests), 1 + 30);
	assert_int_equal(atomic_load(&two.requests), 10);
	before = atomic_load(&two.requests);
	forward_to_both(1, 4);
	for (int i = 0; i < 40; i++)
		assert_int_equal(ask(fd, GET("/name"), NULL, 0), 200);
	assert_int_equal(atomic_load(&two.requests) - before, 32);
	up_open_gate(&one); /* it runs since before the tables */
	expect(running, 200, "through the gate");
	(void)close(running);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(hold__keeps_requests_until_the_next_table, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(hold__keeps_their_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hold__refuses_more_than_max_held, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(hold__ends_in_503, set_up, tear_down),
		cmocka_unit_test_setup_teardown(switch__loses_no_request, set_up, tear_down),
		cmocka_unit_test_setup_teardown(retire__reports_when_the_last_request_has_ended,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(retire__is_undone_by_a_table_that_names_the_id,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			weights__share_out_requests_and_change_with_the_table, set_up, tear_down),
		cmocka_unit_test_setup_teardown(cut__ends_what_still_runs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(set_routes__works_inside_on_drained, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
