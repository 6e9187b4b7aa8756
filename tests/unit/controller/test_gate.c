/* test_gate.c: attempts are counted by the right address, slowed down and forgotten. */
#include "common/base/lp_util.h"
#include "controller/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOW UINT64_C(5000000000)

static void gate_peer__is_the_last_hop_that_is_no_router(void **state)
{
	static const struct {
		const char *forwarded_for, *peer;
	} cases[] = {
		{"", ""},
		{"203.0.113.9", "203.0.113.9"},
		{"127.0.0.1", "127.0.0.1"},
		{"198.51.100.1, 203.0.113.9", "203.0.113.9"},
		{"198.51.100.1, 10.0.0.7", "198.51.100.1"},
		{"192.0.2.1, 198.51.100.1 ,\t192.168.3.4 ", "198.51.100.1"},
		{"192.0.2.1,172.31.0.1", "192.0.2.1"},
		{"192.0.2.1,172.32.0.1", "172.32.0.1"},
		{"192.0.2.1, 100.64.0.1", "192.0.2.1"},
		{"192.0.2.1, 100.128.0.1", "100.128.0.1"},
		{"192.0.2.1, 169.254.1.1", "192.0.2.1"},
		{"2001:db8::1, ::1", "2001:db8::"},
		{"2001:db8::1, fd00::1", "2001:db8::"},
		{"2001:db8::1, ::ffff:10.0.0.1", "2001:db8::"},
		{"2001:db8::2, 2001:db8::1", "2001:db8::"},
		{"10.0.0.2, 10.0.0.1", "10.0.0.2"},
		{"192.0.2.1, 10.0.0.2, 10.0.0.1", "192.0.2.1"},
		{"192.0.2.1, 198.51.100.1, 10.0.0.2, 127.0.0.1", "198.51.100.1"},
		{"192.0.2.1, , 10.0.0.2, 10.0.0.1", "10.0.0.2"},
		{", 10.0.0.1", "10.0.0.1"},
		{"192.0.2.1, ", ""},
		{"unknown", "unknown"},
		/* A port is no part of who it is. */
		{"203.0.113.9:4711", "203.0.113.9"},
		{"198.51.100.1:4711, 10.0.0.7:80", "198.51.100.1"},
		{"[2001:db8::1]:4711", "2001:db8::"},
		{"[2001:0db8:1111:2222:3333:4444:5555:6666]:65535", "2001:db8:1111:2222::"},
		{"[2001:db8::1", "[2001:db8::1"},
		/* One host, one network. */
		{"2001:DB8:0:0:9:8:7:6", "2001:db8::"},
		{"2001:db8:0:1::1", "2001:db8:0:1::"},
		{"::ffff:203.0.113.9", "203.0.113.9"},
		{"::1", "::1"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		char peer[LP_GATE_ADDRESS_BYTES];

		lp_gate_peer(cases[i].forwarded_for, peer);
		assert_string_equal(peer, cases[i].peer);
	}
}

static void gate_peer__is_bounded(void **state)
{
	char text[4096], peer[LP_GATE_ADDRESS_BYTES];

	(void)state;
	memset(text, '1', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	lp_gate_peer(text, peer);
	assert_string_equal(peer, "");
}

static void gate_failed__waits_longer_each_time(void **state)
{
	static struct lp_gate g;
	uint64_t wait_us = LP_GATE_WAIT_US;

	(void)state;
	memset(&g, 0, sizeof(g));
	for (int i = 0; i < LP_GATE_FREE; i++) {
		lp_gate_failed(&g, "a", NOW);
		assert_int_equal(lp_gate_wait_us(&g, "a", NOW), 0);
	}
	for (int i = 0; i < 100; i++) {
		lp_gate_failed(&g, "a", NOW);
		assert_int_equal(lp_gate_wait_us(&g, "a", NOW), wait_us);
		wait_us = wait_us * 2 < LP_GATE_WAIT_MAX_US ? wait_us * 2 : LP_GATE_WAIT_MAX_US;
	}
	assert_int_equal(lp_gate_wait_us(&g, "b", NOW), 0);
	assert_int_equal(lp_gate_wait_us(&g, "a", NOW + LP_GATE_WAIT_MAX_US), 0);
}

static void gate_failed__forgets(void **state)
{
	static struct lp_gate g;

	(void)state;
	memset(&g, 0, sizeof(g));
	for (int i = 0; i < 20; i++)
		lp_gate_failed(&g, "a", NOW);
	lp_gate_failed(&g, "a", NOW + LP_GATE_FORGET_US + 1);
	assert_int_equal(lp_gate_wait_us(&g, "a", NOW + LP_GATE_FORGET_US + 1), 0);
	for (int i = 0; i < 20; i++)
		lp_gate_failed(&g, "a", NOW);
	lp_gate_passed(&g, "a");
	assert_int_equal(lp_gate_wait_us(&g, "a", NOW), 0);
	lp_gate_passed(&g, "nobody");
}

static void gate_failed__makes_room_for_the_newest(void **state)
{
	static struct lp_gate g;
	char address[LP_GATE_ADDRESS_BYTES];

	(void)state;
	memset(&g, 0, sizeof(g));
	for (int i = 0; i < 10; i++)
		lp_gate_failed(&g, "early", NOW);
	for (unsigned i = 0; i < LP_GATE_ADDRESSES; i++) {
		(void)snprintf(address, sizeof(address), "other %u", i);
		for (int k = 0; k < 10; k++)
			lp_gate_failed(&g, address, NOW + 1 + i);
	}
	assert_int_equal(lp_gate_wait_us(&g, "early", NOW + 1000), 0);
	assert_true(lp_gate_wait_us(&g, "other 0", NOW + 1000) > 0);
	assert_true(lp_gate_wait_us(&g, address, NOW + 1000) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gate_peer__is_the_last_hop_that_is_no_router),
		cmocka_unit_test(gate_peer__is_bounded),
		cmocka_unit_test(gate_failed__waits_longer_each_time),
		cmocka_unit_test(gate_failed__forgets),
		cmocka_unit_test(gate_failed__makes_room_for_the_newest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
