/* fake_resolve.h: common/loop/resolve.h without a network: a test answers. Takes the place of
 * resolve.c when it is linked in. One look-up at a time. */
#ifndef LP_TESTS_FAKE_RESOLVE_H
#define LP_TESTS_FAKE_RESOLVE_H

#include "common/loop/resolve.h"

/* The host that is being looked up, or NULL. */
const char *fake_resolving(void);

/* Answers with addresses (ended by NULL), or with why there are none. */
void fake_resolve(const char *const *addresses, const char *fault);

#endif
