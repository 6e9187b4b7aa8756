/* link/rate.c: see rate.h. */
#include "link/rate.h"

/* What an idle bucket holds: a tenth of a second, so that a save after a rest goes at once. */
#define FULL_PART  10u
#define SECOND_US  1000000u
#define LONGEST_US (60u * (uint64_t)SECOND_US) /* of filling at once; keeps the product small */

static int64_t full_of(const struct lp_rate *rate)
{
	uint64_t full = rate->bytes_per_s / FULL_PART;

	return full > 0 ? (int64_t)full : 1;
}

void lp_rate_init(struct lp_rate *rate, uint64_t bytes_per_s, uint64_t now_us)
{
	/* A product of it with microseconds has to fit. */
	if (bytes_per_s > UINT64_MAX / 2 / LONGEST_US)
		bytes_per_s = 0;
	*rate = (struct lp_rate){
		.bytes_per_s = bytes_per_s,
		.last_us = now_us,
	};
	rate->tokens = full_of(rate);
}

uint64_t lp_rate_wait_us(struct lp_rate *rate, uint64_t now_us)
{
	uint64_t passed, earned;

	if (rate->bytes_per_s == 0)
		return 0;
	passed = now_us > rate->last_us ? now_us - rate->last_us : 0;
	if (passed > LONGEST_US) {
		passed = LONGEST_US;
		rate->last_us = now_us - passed;
	}
	earned = rate->bytes_per_s * passed / SECOND_US;
	rate->tokens += (int64_t)earned;
	/* Only the time of whole bytes: what is left over counts the next time. */
	rate->last_us += (earned * SECOND_US + rate->bytes_per_s - 1) / rate->bytes_per_s;
	if (rate->tokens > full_of(rate))
		rate->tokens = full_of(rate);
	if (rate->tokens > 0)
		return 0;
	return (uint64_t)(1 - rate->tokens) * SECOND_US / rate->bytes_per_s + 1;
}

void lp_rate_spend(struct lp_rate *rate, uint64_t bytes)
{
	if (rate->bytes_per_s > 0)
		rate->tokens -= (int64_t)bytes;
}
