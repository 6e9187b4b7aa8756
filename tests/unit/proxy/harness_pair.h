/* harness_pair.h: a proxy and one upstream behind it, for tests that need no more. */
#ifndef LP_TESTS_PROXY_HARNESS_PAIR_H
#define LP_TESTS_PROXY_HARNESS_PAIR_H

#include "harness.h"

extern struct up up;   /* "one" */
extern struct rig rig; /* forwards everything to it */

/* For cmocka_unit_test_setup_teardown. */
int pair_set_up(void **state);
int pair_tear_down(void **state);

#endif
