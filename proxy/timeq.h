/* proxy/timeq.h: deadlines of equal length in the order in which they were set, so that setting,
 * clearing and finding the next one cost the same however many there are. Reads no clock. */
#ifndef LP_PROXY_TIMEQ_H
#define LP_PROXY_TIMEQ_H

#include "proxy/list.h"

#include <stdint.h>

/* A deadline, embedded in its owner. Zeroed: not set. */
struct lp_px_timer {
	struct lp_px_link link;
	uint64_t at_ms;
};

/* Timers that fire after_ms after they were set. */
struct lp_px_timeq {
	struct lp_px_link timers;
	uint32_t after_ms;
};

void lp_px_timeq_init(struct lp_px_timeq *q, uint32_t after_ms);

/* Gives the queue another length. Timers that are set already fire by then, too. */
void lp_px_timeq_change(struct lp_px_timeq *q, uint32_t after_ms, uint64_t now_ms);

/* Sets the timer, whether it was set before (in any queue) or not. now_ms may not go back. */
void lp_px_timer_set(struct lp_px_timeq *q, struct lp_px_timer *t, uint64_t now_ms);

void lp_px_timer_clear(struct lp_px_timer *t);

/* Takes out one timer that is due; NULL when none is. */
struct lp_px_timer *lp_px_timeq_due(struct lp_px_timeq *q, uint64_t now_ms);

/* Milliseconds until the next timer fires; -1 when none is set. */
int64_t lp_px_timeq_wait_ms(const struct lp_px_timeq *q, uint64_t now_ms);

#endif
