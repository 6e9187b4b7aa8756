/* test_net.c: what the kernel says of the network and of sleep. The part with a real interface runs
 * in a network namespace of its own, where that is allowed. */
#include "common/base/lp_clock.h"
#include "common/loop/loop_internal.h"
#include "common/loop/net.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_US 10000000u

static unsigned calls;

static void on_back(void *ctx)
{
	assert_ptr_equal(ctx, &calls);
	calls++;
}

struct message {
	struct nlmsghdr head;
	struct ifinfomsg link;
};

static void says_back__tells_what_came_up(void **state)
{
	static const struct {
		const char *name;
		uint16_t type;
		unsigned flags;
		bool back;
	} cases[] = {
		{"a link that runs", RTM_NEWLINK, IFF_UP | IFF_RUNNING, true},
		{"a link without carrier", RTM_NEWLINK, IFF_UP, false},
		{"a link that is gone", RTM_DELLINK, IFF_UP | IFF_RUNNING, false},
		{"an address", RTM_NEWADDR, 0, true},
		{"an address that is gone", RTM_DELADDR, 0, false},
		{"a route", RTM_NEWROUTE, 0, true},
		{"a route that is gone", RTM_DELROUTE, 0, false},
		{"something else", NLMSG_DONE, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct message m[2];

		memset(m, 0, sizeof(m));
		for (size_t j = 0; j < 2; j++) {
			m[j].head.nlmsg_len = sizeof(m[j]);
			m[j].head.nlmsg_type = NLMSG_NOOP;
		}
		m[1].head.nlmsg_type = cases[i].type;
		m[1].link.ifi_flags = cases[i].flags;
		if (lp_net_says_back(m, sizeof(m)) != cases[i].back)
			fail_msg("%s", cases[i].name);
	}
}

static void says_back__believes_no_length(void **state)
{
	static const uint32_t lengths[] = {0, 1, sizeof(struct nlmsghdr) - 1, 4096, UINT32_MAX};
	struct message m = {.head.nlmsg_type = RTM_NEWROUTE};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(lengths); i++) {
		m.head.nlmsg_len = lengths[i];
		assert_false(lp_net_says_back(&m, sizeof(m)));
	}
	m.head.nlmsg_len = sizeof(m);
	for (size_t len = 0; len < sizeof(m); len++)
		assert_false(lp_net_says_back(&m, len));
	/* Too short to hold what a link has to say. */
	m.head.nlmsg_type = RTM_NEWLINK;
	m.head.nlmsg_len = sizeof(m.head) + 2;
	assert_false(lp_net_says_back(&m, sizeof(m.head) + 2));
}

static void has_slept__goes_by_the_clocks(void **state)
{
	(void)state;
	assert_false(lp_net_has_slept(0, 0));
	assert_false(lp_net_has_slept(5000000, 5000003));
	assert_true(lp_net_has_slept(5000000, 6000000));
	assert_false(lp_net_has_slept(5000000, 0));
}

static void set_loopback(bool up)
{
	struct ifreq req = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &req), 0);
	req.ifr_flags = (short)(up ? req.ifr_flags | IFF_UP : req.ifr_flags & ~IFF_UP);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &req), 0);
	(void)close(fd);
}

static void net__reports_an_interface_that_comes_up(void **state)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;
	struct lp_loop *loop = NULL;
	struct lp_net *net = NULL;

	(void)state;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		print_message("no network namespace here\n");
		skip();
	}
	assert_int_equal(lp_loop_create(&loop, NULL), 0);
	assert_int_equal(lp_net_create(&net, loop, on_back, &calls, NULL), 0);
	assert_int_equal(lp_loop_dispatch(loop, 0), 0);
	assert_int_equal(calls, 0);
	set_loopback(true);
	while (calls == 0 && lp_now_us() < deadline_us)
		assert_int_equal(lp_loop_dispatch(loop, 100), 0);
	assert_true(calls > 0);
	calls = 0;
	set_loopback(false);
	for (int i = 0; i < 5; i++)
		assert_int_equal(lp_loop_dispatch(loop, 0), 0);
	assert_int_equal(calls, 0);
	lp_net_destroy(net);
	lp_net_destroy(NULL);
	lp_loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_back__tells_what_came_up),
		cmocka_unit_test(says_back__believes_no_length),
		cmocka_unit_test(has_slept__goes_by_the_clocks),
		cmocka_unit_test(net__reports_an_interface_that_comes_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
