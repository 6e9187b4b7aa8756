/* common/loop/net.h: notices that the network of this machine came back, or that the machine itself
 * did, so that whoever waits to connect again need not wait longer. Costs nothing while nothing
 * happens. Loop thread only. */
#ifndef LP_COMMON_LOOP_NET_H
#define LP_COMMON_LOOP_NET_H

#include "common/loop/loop.h"

struct lp_net; /* opaque; owns a netlink socket and a timerfd */

/* Watches links, addresses and routes (rtnetlink(7)), and sleep: a clock that is set, as it is when
 * the machine wakes up, cancels a timerfd (TFD_TIMER_CANCEL_ON_SET, timerfd_create(2)), and
 * CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC then. on_back is called when something came up or the
 * machine has slept, once for all that was reported together; it may be called for nothing. Returns
 * 0, or -errno when neither can be watched. */
int lp_net_create(struct lp_net **out, struct lp_loop *loop, void (*on_back)(void *ctx), void *ctx,
		  struct lp_err *err) LP_MUST_USE;
void lp_net_destroy(struct lp_net *net); /* NULL is allowed */

/* Whether a batch of netlink messages, as recv(2) gives it, says that a link, an address or a route
 * has come up. Pure; for bytes from the kernel, but trusts no length in them. */
bool lp_net_says_back(const void *data, size_t len);

/* Whether the machine has slept, judged by how far CLOCK_BOOTTIME was ahead of CLOCK_MONOTONIC
 * before and is now. Pure. */
bool lp_net_has_slept(uint64_t ahead_before_us, uint64_t ahead_now_us);

#endif
