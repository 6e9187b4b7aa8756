/* common/loop/resolve.h: looks up the addresses of a host without stopping the loop: the resolver
 * of the C library blocks for as long as a name server is silent, so it runs in a thread. Loop
 * thread only. */
#ifndef LP_COMMON_LOOP_RESOLVE_H
#define LP_COMMON_LOOP_RESOLVE_H

#include "common/loop/loop.h"

#include <stddef.h>

#define LP_ADDRS_MAX      8
#define LP_ADDR_BYTES     64  /* numeric, with a scope, and NUL */
#define LP_HOST_MAX_BYTES 255 /* of a name, without NUL */

/* Numeric addresses, IPv4 or IPv6, in the order in which they should be tried (getaddrinfo(3)). */
struct lp_addrs {
	size_t n;
	char at[LP_ADDRS_MAX][LP_ADDR_BYTES];
};

struct lp_resolve; /* opaque: one look-up under way */

/* addrs: borrowed until it returns; none when `fault` says why. The look-up is over: it is released
 * when this returns. */
typedef void lp_resolved_fn(void *ctx, const struct lp_addrs *addrs, const char *fault);

/* Begins to look up. on_done is called once, never from inside. Returns 0 or -errno. */
int lp_resolve_start(struct lp_resolve **out, struct lp_loop *loop, const char *host,
		     lp_resolved_fn *on_done, void *ctx, struct lp_err *err) LP_MUST_USE;

/* on_done will not come. The thread ends when the resolver lets it. NULL is allowed. */
void lp_resolve_cancel(struct lp_resolve *r);

#endif
