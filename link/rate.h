/* link/rate.h: a token bucket: how much content may go out, and when more. Pure: the time is given.
 * One bucket may serve many senders. */
#ifndef LP_LINK_RATE_H
#define LP_LINK_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* A message goes out whole when there is anything in the bucket, and may leave it in debt. Zeroed:
 * no limit. */
struct lp_rate {
	uint64_t bytes_per_s;
	int64_t tokens;   /* bytes that may go now; negative: a debt */
	uint64_t last_us; /* up to when the bucket was filled */
};

void lp_rate_init(struct lp_rate *rate, uint64_t bytes_per_s, uint64_t now_us);

/* Fills the bucket up to now. Returns 0 when something may be sent, or the microseconds until
 * then. */
uint64_t lp_rate_wait_us(struct lp_rate *rate, uint64_t now_us);

/* Takes what was sent. */
void lp_rate_spend(struct lp_rate *rate, uint64_t bytes);

#endif
