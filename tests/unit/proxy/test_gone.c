/* tests/unit/proxy/test_gone.c: requests whose upstream is gone before the table says so: which of
 * them wait for the next, how long, and which are answered. */
#include "harness_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: test\r\n\r\n"

/* The next table comes when the test sets it, however slow the machine is. */
static const struct lp_proxy_limits patient = {.next_ms = 600000};
static const struct lp_proxy_limits short_hold = {.next_ms = 600000, .hold_ms = 50};

static int set_up(void **state)
{
	(void)state;
	up_start(&up, "one", NULL);
	rig_start(&rig, &patient);
	rig_forward(&rig, 1, &up);
	return 0;
}

/* Between the end of an upstream and the table that says so. */
static void gone__requests_that_may_wait_for_the_next(void **state)
{
	static const char post[] =
		"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
	struct up first, next;
	struct reply reply;
	int get, refused;

	(void)state;
	up_start(&first, "first", NULL);
	up_start(&next, "next", NULL);
	up_open_gate(&next);
	rig_forward(&rig, 7, &first);
	get = client_open(&rig);
	client_send(get, GET("/gate"));
	up_await_gate(&first, 1);
	up_drop_conns(&first);
	rig_await(&rig, RIG_HELD, 1);
	up_stop(&first);
	refused = client_open(&rig);
	client_send(refused, post);
	rig_await(&rig, RIG_HELD, 2);
	rig_forward(&rig, 8, &next);
	reply_read(&reply, get, false);
	assert_int_equal(reply.status, 200);
	reply_finish(&reply);
	reply_read(&reply, refused, false);
	assert_int_equal(reply.status, 200);
	reply_finish(&reply);
	(void)close(get);
	(void)close(refused);
	rig_forward(&rig, 9, &up);
	rig_await_drained(&rig, 8);
	up_stop(&next);
}

/* What may have run is not sent again, and what ends one upstream after the other ends soon. */
static void gone__others_are_answered(void **state)
{
	static const char post[] = "POST /drop HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
	unsigned before = atomic_load(&up.requests);
	struct reply reply;
	struct up next;
	int fd = client_open(&rig);

	(void)state;
	assert_int_equal(ask(fd, post, NULL, 0), 502);
	assert_int_equal(atomic_load(&up.requests) - before, 1);
	(void)close(fd);
	fd = client_open(&rig);
	client_send(fd, GET("/drop"));
	rig_await(&rig, RIG_HELD, 1);
	up_start(&next, "next", NULL);
	rig_forward(&rig, 8, &next);
	reply_read(&reply, fd, false);
	assert_int_equal(reply.status, 502);
	reply_finish(&reply);
	assert_int_equal(atomic_load(&next.requests), 1);
	(void)close(fd);
	rig_forward(&rig, 9, &up);
	rig_await_drained(&rig, 8);
	up_stop(&next);
}

/* A reset may come from one that has run it and read a part of its body. */
static void gone__what_was_reset_runs_once(void **state)
{
	static const char post[] =
		"POST /reset HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
	int fd = client_open(&rig);

	(void)state;
	assert_int_equal(ask(fd, post, NULL, 0), 502);
	assert_int_equal(atomic_load(&up.requests), 1);
	(void)close(fd);
}

/* A request that was held before, is running at `first` and has to be held again. */
static int open_held_once(struct up *first)
{
	int fd;

	up_start(first, "first", NULL);
	rig_hold(&rig);
	fd = client_open(&rig);
	client_send(fd, GET("/gate"));
	rig_await(&rig, RIG_HELD, 1);
	rig_forward(&rig, 7, first);
	up_await_gate(first, 1);
	lp_proxy_set_limits(rig.proxy, &short_hold);
	return fd;
}

static void expect_given_up(int fd)
{
	struct reply reply;

	reply_read(&reply, fd, false);
	assert_int_equal(reply.status, 503);
	assert_string_equal(reply_header(&reply, "X-Livepush-Error"), "the app is not ready");
	reply_finish(&reply);
	(void)close(fd);
}

static void gone__held_again_has_the_time_of_a_hold(void **state)
{
	struct up first;
	int fd = open_held_once(&first);

	(void)state;
	up_drop_conns(&first);
	rig_await(&rig, RIG_HELD, 1);
	rig_hold(&rig);
	expect_given_up(fd);
	rig_forward(&rig, 1, &up);
	up_stop(&first);
}

static void gone__held_again_at_once_has_the_time_of_a_hold(void **state)
{
	struct up first;
	int fd = open_held_once(&first);

	(void)state;
	rig_hold(&rig);
	up_drop_conns(&first);
	expect_given_up(fd);
	rig_await_drained(&rig, 7);
	rig_forward(&rig, 1, &up);
	up_stop(&first);
}

static void gone__http2_waits_as_well(void **state)
{
	struct up first;
	char settings[9];
	int fd;

	(void)state;
	up_start(&first, "first", NULL);
	rig_forward(&rig, 7, &first);
	up_stop(&first);
	fd = client_open(&rig);
	client_send(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	rig_await(&rig, RIG_HELD, 1);
	rig_forward(&rig, 8, &up);
	assert_int_equal(recv(fd, settings, sizeof(settings), MSG_WAITALL), sizeof(settings));
	(void)close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, pair_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(gone__requests_that_may_wait_for_the_next),
		TEST(gone__others_are_answered),
		TEST(gone__what_was_reset_runs_once),
		TEST(gone__held_again_has_the_time_of_a_hold),
		TEST(gone__held_again_at_once_has_the_time_of_a_hold),
		TEST(gone__http2_waits_as_well),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
