/* test_resolve.c: a link whose instance has to be looked up. */
#include "tests/unit/link/fake_resolve.h"
#include "tests/unit/link/link_rig.h"

#include "common/base/lp_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const two[] = {"2001:db8::1", "192.0.2.1", NULL};

/* A link to url, begun. */
static void begin(const char *url, bool reconnect)
{
	const struct lp_link_opts opts = {.url = url,
					  .secret = LINK_SECRET,
					  .app = "app",
					  .holder = "test",
					  .workspace = id,
					  .role = LP_ROLE_OWNER,
					  .reconnect = reconnect};

	assert_int_equal(lp_link_create(&link_, loop, &opts, &ops, &source, NULL), 0);
	assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
}

static int make_loop(void **state)
{
	(void)state;
	ups = downs = finals = 0;
	revision = 0;
	workspace = lp_index_create();
	return lp_loop_create(&loop, NULL);
}

static void resolve__is_asked_for_names_alone(void **state)
{
	static const struct {
		const char *url;
		const char *host; /* NULL: is not looked up */
	} cases[] = {
		{"ws://instance", "instance"},
		{"ws://instance:80", "instance"},
		{"ws://instance/path:1", "instance"},
		{"ws://in-stance.example:80/x", "in-stance.example"},
		{"ws://127.0.0.1:80/", NULL},
		{"ws://[::1]:80/", NULL},
		{"ws://127.0.0.1.example", "127.0.0.1.example"},
		{"ws:///x", NULL},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		begin(cases[i].url, false);
		if (cases[i].host)
			assert_string_equal(fake_resolving(), cases[i].host);
		else
			assert_null(fake_resolving());
		lp_link_destroy(link_);
		link_ = NULL;
		assert_null(fake_resolving());
		fake_reset();
	}
}

static void resolve__tries_all_addresses(void **state)
{
	(void)state;
	begin("ws://instance:80/", false);
	fake_resolve(two, NULL);
	assert_string_equal(fake_address(), two[0]);
	fake_lose("refused by the first");
	assert_int_equal(downs, 0);
	assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	assert_string_equal(fake_address(), two[1]);
	fake_lose("refused by the second");
	assert_int_equal(downs, 1);
	assert_int_equal(finals, 1);
	assert_string_equal(reason, "refused by the second");
	assert_true(lp_link_has_ended(link_));
}

/* What is lost after it was open is not looked for elsewhere: it is looked up again. */
static void resolve__is_done_again_for_each_connection(void **state)
{
	(void)state;
	begin("ws://instance:80/", true);
	fake_resolve(two, NULL);
	fake_accept();
	fake_lose("lost");
	assert_int_equal(downs, 1);
	assert_int_equal(finals, 0);
	assert_null(fake_resolving());
	assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	assert_string_equal(fake_resolving(), "instance");
	fake_resolve(NULL, "Name or service not known");
	assert_int_equal(downs, 2);
	assert_int_equal(finals, 0);
	assert_string_equal(reason, "Name or service not known");
	assert_non_null(link_->retry.loop);
}

/* A name server that is silent keeps nobody waiting for ever, and not the loop at all. */
static void resolve__may_take_too_long(void **state)
{
	(void)state;
	begin("ws://instance:80/", true);
	assert_non_null(link_->opening.loop);
	lp_timer_set(loop, &link_->opening, lp_now_us());
	assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	assert_null(fake_resolving());
	assert_int_equal(downs, 1);
	assert_int_equal(finals, 0);
	assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	assert_non_null(fake_resolving());
	/* The network is back: asked again, once. */
	link_->connect_us = 0;
	lp_link_nudge(link_);
	assert_string_equal(fake_resolving(), "instance");
}

/* An address that swallows everything is not the first one the next time. */
static void resolve__begins_elsewhere_after_a_silence(void **state)
{
	(void)state;
	begin("ws://instance:80/", true);
	fake_resolve(two, NULL);
	assert_string_equal(fake_address(), two[0]);
	lp_timer_set(loop, &link_->opening, lp_now_us());
	assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	assert_true(fake_was_closed());
	fake_lose("it does not answer");
	assert_int_equal(downs, 1);
	assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	fake_resolve(two, NULL);
	assert_string_equal(fake_address(), two[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(resolve__is_asked_for_names_alone, make_loop,
						tear_down),
		cmocka_unit_test_setup_teardown(resolve__tries_all_addresses, make_loop, tear_down),
		cmocka_unit_test_setup_teardown(resolve__is_done_again_for_each_connection,
						make_loop, tear_down),
		cmocka_unit_test_setup_teardown(resolve__may_take_too_long, make_loop, tear_down),
		cmocka_unit_test_setup_teardown(resolve__begins_elsewhere_after_a_silence,
						make_loop, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
