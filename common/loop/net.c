/* common/loop/net.c: see net.h. */
#include "common/loop/net.h"

#include "common/base/lp_mem.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>

#define SLEPT_US 500000u

struct lp_net {
	int netlink_fd;
	int clock_fd;
	struct lp_fd_src netlink_src;
	struct lp_fd_src clock_src;
	uint64_t ahead_us; /* CLOCK_BOOTTIME before CLOCK_MONOTONIC, when last looked */
	void (*on_back)(void *ctx);
	void *ctx;
};

static uint64_t clock_us(clockid_t id)
{
	struct timespec t = {0};

	(void)clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static uint64_t ahead_now_us(void)
{
	uint64_t monotonic_us = clock_us(CLOCK_MONOTONIC), boot_us = clock_us(CLOCK_BOOTTIME);

	return boot_us > monotonic_us ? boot_us - monotonic_us : 0;
}

bool lp_net_has_slept(uint64_t ahead_before_us, uint64_t now_us)
{
	return now_us > ahead_before_us && now_us - ahead_before_us >= SLEPT_US;
}

/* Whether one message says that something came up. */
static bool message_says_back(const struct nlmsghdr *head)
{
	struct ifinfomsg link;

	switch (head->nlmsg_type) {
	case RTM_NEWADDR:
	case RTM_NEWROUTE:
		return true;
	case RTM_NEWLINK:
		if (head->nlmsg_len < NLMSG_LENGTH(sizeof(link)))
			return false;
		memcpy(&link, (const uint8_t *)head + NLMSG_HDRLEN, sizeof(link));
		return (link.ifi_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
	default:
		return false;
	}
}

bool lp_net_says_back(const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr head;
		size_t step;

		memcpy(&head, at, sizeof(head));
		if (head.nlmsg_len < sizeof(head) || head.nlmsg_len > len)
			return false;
		if (message_says_back((const struct nlmsghdr *)(const void *)at))
			return true;
		step = NLMSG_ALIGN((size_t)head.nlmsg_len);
		if (step >= len)
			return false;
		at += step;
		len -= step;
	}
	return false;
}

static void on_netlink(struct lp_fd_src *src, uint32_t ready)
{
	struct lp_net *net = LP_CONTAINER_OF(src, struct lp_net, netlink_src);
	_Alignas(struct nlmsghdr) uint8_t buf[8192];
	bool back = false;
	ssize_t n;

	(void)ready;
	while ((n = recv(src->fd, buf, sizeof(buf), 0)) > 0)
		back |= lp_net_says_back(buf, (size_t)n);
	/* Too many for the socket's buffer: some were lost, among them perhaps the one that counts.
	 */
	back |= n < 0 && errno == ENOBUFS;
	if (back)
		net->on_back(net->ctx);
}

/* Armed far away: it is there to be cancelled. */
static int arm_clock(struct lp_net *net)
{
	const struct itimerspec spec = {.it_value.tv_sec = (time_t)INT32_MAX * 2};

	return timerfd_settime(net->clock_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &spec,
			       NULL);
}

static void on_clock(struct lp_fd_src *src, uint32_t ready)
{
	struct lp_net *net = LP_CONTAINER_OF(src, struct lp_net, clock_src);
	uint64_t expirations, before_us = net->ahead_us;

	(void)ready;
	/* ECANCELED is what it waits for. */
	(void)!read(src->fd, &expirations, sizeof(expirations));
	if (arm_clock(net) < 0)
		lp_loop_fd_remove(src);
	net->ahead_us = ahead_now_us();
	if (lp_net_has_slept(before_us, net->ahead_us))
		net->on_back(net->ctx);
}

static int open_netlink(struct lp_net *net, struct lp_loop *loop, struct lp_err *err)
{
	struct sockaddr_nl addr = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
			     RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
	};

	net->netlink_fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (net->netlink_fd < 0 ||
	    bind(net->netlink_fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return lp_err_set(err, errno, "cannot listen to the kernel's network messages");
	net->netlink_src = (struct lp_fd_src){
		.fd = net->netlink_fd, .events = EPOLLIN, .on_ready = on_netlink};
	return lp_loop_fd_add(loop, &net->netlink_src, err);
}

static int open_clock(struct lp_net *net, struct lp_loop *loop, struct lp_err *err)
{
	net->clock_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (net->clock_fd < 0 || arm_clock(net) < 0)
		return lp_err_set(err, errno, "cannot watch the clock");
	net->clock_src =
		(struct lp_fd_src){.fd = net->clock_fd, .events = EPOLLIN, .on_ready = on_clock};
	return lp_loop_fd_add(loop, &net->clock_src, err);
}

int lp_net_create(struct lp_net **out, struct lp_loop *loop, void (*on_back)(void *ctx), void *ctx,
		  struct lp_err *err)
{
	struct lp_net *net = lp_xcalloc(1, sizeof(*net));
	int r;

	net->netlink_fd = net->clock_fd = -1;
	net->ahead_us = ahead_now_us();
	net->on_back = on_back;
	net->ctx = ctx;
	r = open_netlink(net, loop, err);
	/* In a container one of them may be forbidden. */
	if (open_clock(net, loop, r < 0 ? err : NULL) < 0 && r < 0) {
		lp_net_destroy(net);
		return r;
	}
	*out = net;
	return 0;
}

void lp_net_destroy(struct lp_net *net)
{
	if (!net)
		return;
	lp_loop_fd_remove(&net->netlink_src);
	lp_loop_fd_remove(&net->clock_src);
	lp_auto_close(&net->netlink_fd);
	lp_auto_close(&net->clock_fd);
	free(net);
}
