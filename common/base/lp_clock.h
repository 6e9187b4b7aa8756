/* lp_clock.h: the monotonic and the wall clock in microseconds. */
#ifndef LP_COMMON_BASE_LP_CLOCK_H
#define LP_COMMON_BASE_LP_CLOCK_H

#include <stdint.h>

/* Microseconds since an arbitrary point, never going back (CLOCK_MONOTONIC). */
uint64_t lp_now_us(void);

/* Microseconds since 1970-01-01 UTC (CLOCK_REALTIME). */
uint64_t lp_wall_us(void);

#endif
