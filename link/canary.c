/* link/canary.c: one instance of several gets what is new first. The others are held until it has
 * come to serve there. */
#include "link/canary.h"

#include "common/base/lp_clock.h"
#include "link/link_internal.h"

void lp_link_hold(struct lp_link *link, bool held)
{
	link->held = held;
	if (held || !link->missed)
		return;
	link->missed = false;
	if (link->state == LP_LINK_RESTING || lp_link_is_idle(link))
		lp_walk_start(link, false);
	else if (link->in_flight > 0)
		link->behind = true;
}

bool lp_link_is_held(const struct lp_link *link)
{
	return link->held && link->missed;
}

bool lp_link_is_rolled(const struct lp_link *link)
{
	return link->rolled;
}

static void hold_others(const struct lp_canary *c, bool held)
{
	for (size_t i = 0; i < c->n; i++)
		lp_link_hold(c->links[i], held && i != c->chosen);
}

/* The first that is there; when none is, the first that may come back. */
static void choose(struct lp_canary *c)
{
	lp_timer_clear(&c->away); /* of the one before */
	c->chosen = 0;
	while (c->chosen + 1 < c->n && lp_link_has_ended(c->links[c->chosen]))
		c->chosen++;
	for (size_t i = c->chosen; i < c->n; i++) {
		if (c->links[i]->state < LP_LINK_READY)
			continue;
		c->chosen = i;
		return;
	}
}

/* The chosen one has not come back. Where what it was given failed before, nobody else gets it. */
static void on_away(struct lp_timer *timer)
{
	struct lp_canary *c = LP_CONTAINER_OF(timer, struct lp_canary, away);
	const struct lp_link *from = c->links[c->chosen];

	if (!c->is_trying || c->has_failed || from->state >= LP_LINK_READY)
		return;
	choose(c);
	c->is_given = c->links[c->chosen]->state >= LP_LINK_READY;
	if (c->on_moved)
		c->on_moved(c->ctx, from, c->is_given ? c->links[c->chosen] : NULL);
	hold_others(c, true);
}

void lp_canary_begin(struct lp_canary *c, struct lp_loop *loop, struct lp_link *const *links,
		     size_t n)
{
	c->loop = loop;
	c->links = links;
	c->n = n;
	c->is_on = true;
	c->away_us = LP_CANARY_AWAY_US;
	c->away.on_fire = on_away;
	lp_canary_try(c);
}

void lp_canary_end(struct lp_canary *c)
{
	lp_timer_clear(&c->away);
}

void lp_canary_try(struct lp_canary *c)
{
	/* One that has not settled yet goes on with it: another one would have something that is
	 * not tried, too, and nobody would ask this one to go back. */
	if (!c->is_trying || c->links[c->chosen]->state < LP_LINK_READY)
		choose(c);
	c->is_trying = true;
	c->has_failed = false;
	c->is_given = c->links[c->chosen]->state >= LP_LINK_READY;
	hold_others(c, true);
}

bool lp_canary_tries(const struct lp_canary *c, const struct lp_link *link)
{
	return c->is_on && c->is_trying && lp_link_index(link) == c->chosen;
}

void lp_canary_up(struct lp_canary *c, struct lp_link *link)
{
	if (c->is_on && lp_link_index(link) == c->chosen)
		lp_timer_clear(&c->away);
	if (!c->is_on || !c->is_trying || c->is_given)
		return;
	c->chosen = lp_link_index(link);
	c->is_given = true;
	hold_others(c, true);
}

bool lp_canary_wants(const struct lp_canary *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct lp_link *link = c->links[i];
		bool is_busy = link->state >= LP_LINK_WALKING && !lp_link_is_idle(link);

		if (is_busy)
			return false;
	}
	return true;
}

/* The app failed with what the canary was given: it goes back, and nobody else gets it. An instance
 * that goes back by itself has nothing to do then. */
static void refuse(struct lp_link *link)
{
	struct lp_msg msg = {.kind = LP_MSG_ROLLBACK};

	msg.u.rollback.only_failed = true;
	if (lp_link_send(link, &msg) < 0)
		return; /* it is compared when it is back */
}

bool lp_canary_undoes(uint64_t stage)
{
	return stage == LP_WIRE_STAGE_RULE || stage == LP_WIRE_STAGE_START ||
	       stage == LP_WIRE_STAGE_HEALTH;
}

bool lp_canary_heard(struct lp_canary *c, struct lp_link *link, const struct lp_msg *msg)
{
	if (!lp_canary_tries(c, link))
		return false;
	if (msg->kind == LP_MSG_FAILED) {
		const struct lp_msg_failed *f = &msg->u.failed;

		/* Of what it was given last. */
		if (f->resync || f->revision < link->applied || !lp_link_is_idle(link) ||
		    !lp_canary_undoes(f->stage))
			return false;
		c->has_failed = true;
		refuse(link);
		return true;
	}
	if (msg->kind != LP_MSG_SETTLED || !lp_link_is_idle(link) || link->rolled ||
	    msg->u.settled.revision < link->applied)
		return false;
	c->is_trying = false;
	lp_timer_clear(&c->away);
	hold_others(c, false);
	return false;
}

void lp_canary_lost(struct lp_canary *c, struct lp_link *link)
{
	if (!c->is_on || lp_link_index(link) != c->chosen)
		return;
	if (lp_link_has_ended(link) && c->has_failed)
		return; /* nobody else gets what failed there */
	if (lp_link_has_ended(link)) {
		choose(c);
		c->is_given = c->links[c->chosen]->state >= LP_LINK_READY;
		hold_others(c, c->is_trying);
	} else if (c->is_trying && c->is_given && !c->away.loop) {
		lp_timer_set(c->loop, &c->away, lp_now_us() + c->away_us);
	}
}
