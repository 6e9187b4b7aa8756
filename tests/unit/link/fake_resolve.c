/* fake_resolve.c: see fake_resolve.h. */
#include "tests/unit/link/fake_resolve.h"

#include "common/base/lp_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct lp_resolve {
	char host[LP_HOST_MAX_BYTES + 1];
	lp_resolved_fn *on_done;
	void *ctx;
};

static struct lp_resolve *present;

int lp_resolve_start(struct lp_resolve **out, struct lp_loop *loop, const char *host,
		     lp_resolved_fn *on_done, void *ctx, struct lp_err *err)
{
	(void)loop;
	(void)err;
	assert_null(present);
	present = lp_xcalloc(1, sizeof(*present));
	(void)snprintf(present->host, sizeof(present->host), "%s", host);
	present->on_done = on_done;
	present->ctx = ctx;
	*out = present;
	return 0;
}

void lp_resolve_cancel(struct lp_resolve *r)
{
	if (!r)
		return;
	assert_ptr_equal(r, present);
	free(present);
	present = NULL;
}

const char *fake_resolving(void)
{
	return present ? present->host : NULL;
}

void fake_resolve(const char *const *addresses, const char *fault)
{
	struct lp_resolve *r = present;
	struct lp_addrs addrs = {0};

	assert_non_null(r);
	present = NULL;
	for (; addresses && *addresses; addresses++)
		(void)snprintf(addrs.at[addrs.n++], LP_ADDR_BYTES, "%s", *addresses);
	r->on_done(r->ctx, &addrs, fault);
	free(r);
}
