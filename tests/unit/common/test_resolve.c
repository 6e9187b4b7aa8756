/* test_resolve.c: looking up addresses beside the loop. */
#include "common/base/lp_clock.h"
#include "common/loop/loop_internal.h"
#include "common/loop/resolve.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define DEADLINE_US UINT64_C(30000000)

static struct lp_loop *loop;
static struct lp_addrs found;
static bool has_fault, timed_out;
static unsigned times, threads;

/* How many threads this process has; a sanitizer may have one of its own. */
static unsigned count_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	assert_int_equal(closedir(dir), 0);
	return n;
}

static int set_up(void **state)
{
	(void)state;
	has_fault = timed_out = false;
	times = 0;
	threads = count_threads();
	return lp_loop_create(&loop, NULL);
}

/* What was given up ends by itself, later. */
static int tear_down(void **state)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;

	(void)state;
	lp_loop_destroy(loop);
	while (count_threads() > threads && lp_now_us() < deadline_us)
		(void)nanosleep(&pause, NULL);
	return count_threads() > threads;
}

static void on_done(void *ctx, const struct lp_addrs *addrs, const char *fault)
{
	assert_ptr_equal(ctx, &found);
	found = *addrs;
	has_fault = fault != NULL;
	assert_true(has_fault ? addrs->n == 0 && fault[0] : addrs->n > 0);
	times++;
	lp_loop_stop(loop);
}

static void on_unwanted(void *ctx, const struct lp_addrs *addrs, const char *fault)
{
	(void)ctx;
	(void)addrs;
	(void)fault;
	times++;
}

static void on_deadline(struct lp_timer *timer)
{
	(void)timer;
	timed_out = true;
	lp_loop_stop(loop);
}

static void look_up(const char *host)
{
	struct lp_timer deadline = {.on_fire = on_deadline};
	struct lp_resolve *r;

	assert_int_equal(lp_resolve_start(&r, loop, host, on_done, &found, NULL), 0);
	assert_int_equal(times, 0);
	lp_timer_set(loop, &deadline, lp_now_us() + DEADLINE_US);
	assert_int_equal(lp_loop_run(loop, NULL), 0);
	lp_timer_clear(&deadline);
	assert_false(timed_out);
	assert_int_equal(times, 1);
}

static void resolve__finds_this_machine(void **state)
{
	uint8_t bytes[16];

	(void)state;
	look_up("localhost");
	assert_false(has_fault);
	for (size_t i = 0; i < found.n; i++)
		assert_true(inet_pton(AF_INET, found.at[i], bytes) == 1 ||
			    inet_pton(AF_INET6, found.at[i], bytes) == 1);
}

/* .invalid is kept free for this (RFC 6761, 6.4). */
static void resolve__says_that_there_is_none(void **state)
{
	(void)state;
	look_up("no-such-host.invalid");
	assert_true(has_fault);
}

static void resolve__refuses_a_name_that_is_too_long(void **state)
{
	char host[LP_HOST_MAX_BYTES + 2] = {0};
	struct lp_resolve *r;
	struct lp_err err = {0};

	(void)state;
	memset(host, 'h', sizeof(host) - 1);
	assert_int_equal(lp_resolve_start(&r, loop, host, on_done, &found, &err), -ENAMETOOLONG);
	assert_int_equal(err.code, ENAMETOOLONG);
}

static void resolve__may_be_given_up(void **state)
{
	struct lp_resolve *r;

	(void)state;
	lp_resolve_cancel(NULL);
	for (int i = 0; i < 20; i++) {
		times = 0;
		assert_int_equal(
			lp_resolve_start(&r, loop, "no-such-host.invalid", on_unwanted, NULL, NULL),
			0);
		if (i % 2)
			assert_int_equal(lp_loop_dispatch(loop, 0), 0);
		if (times == 0)
			lp_resolve_cancel(r);
	}
	/* What they leave behind reaches nobody. */
	times = 0;
	look_up("localhost");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(resolve__finds_this_machine, set_up, tear_down),
		cmocka_unit_test_setup_teardown(resolve__says_that_there_is_none, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(resolve__refuses_a_name_that_is_too_long, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(resolve__may_be_given_up, set_up, tear_down),
	};

	/* Where no name server answers that is found out soon (resolv.conf(5)). */
	(void)setenv("RES_OPTIONS", "timeout:1 attempts:1", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
