/* lp_clock.c: clocks in microseconds. */
#include "common/base/lp_clock.h"

#include <time.h>

static uint64_t read_us(clockid_t id)
{
	struct timespec ts = {0};

	(void)clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

uint64_t lp_now_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

uint64_t lp_wall_us(void)
{
	return read_us(CLOCK_REALTIME);
}
