/* proxy/timeq.c: queues of equal deadlines. */
#include "proxy/timeq.h"

#include "common/base/lp_util.h"

void lp_px_timeq_init(struct lp_px_timeq *q, uint32_t after_ms)
{
	lp_px_list_init(&q->timers);
	q->after_ms = after_ms;
}

void lp_px_timeq_change(struct lp_px_timeq *q, uint32_t after_ms, uint64_t now_ms)
{
	q->after_ms = after_ms;
	for (struct lp_px_link *l = q->timers.next; l != &q->timers; l = l->next) {
		struct lp_px_timer *t = LP_CONTAINER_OF(l, struct lp_px_timer, link);

		if (t->at_ms > now_ms + after_ms)
			t->at_ms = now_ms + after_ms;
	}
}

void lp_px_timer_set(struct lp_px_timeq *q, struct lp_px_timer *t, uint64_t now_ms)
{
	lp_px_link_drop(&t->link);
	t->at_ms = now_ms + q->after_ms;
	lp_px_list_push(&q->timers, &t->link);
}

void lp_px_timer_clear(struct lp_px_timer *t)
{
	lp_px_link_drop(&t->link);
}

static struct lp_px_timer *first_of(const struct lp_px_timeq *q)
{
	if (lp_px_list_empty(&q->timers))
		return NULL;
	return LP_CONTAINER_OF(q->timers.next, struct lp_px_timer, link);
}

struct lp_px_timer *lp_px_timeq_due(struct lp_px_timeq *q, uint64_t now_ms)
{
	struct lp_px_timer *t = first_of(q);

	if (!t || t->at_ms > now_ms)
		return NULL;
	lp_px_link_drop(&t->link);
	return t;
}

int64_t lp_px_timeq_wait_ms(const struct lp_px_timeq *q, uint64_t now_ms)
{
	const struct lp_px_timer *t = first_of(q);

	if (!t)
		return -1;
	return t->at_ms > now_ms ? (int64_t)(t->at_ms - now_ms) : 0;
}
