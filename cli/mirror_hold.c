/* cli/mirror_hold.c: who holds the changes of a session back, for how long, and what is said about
 * it. The holding itself is the workspace's. */
#include "cli/mirror_internal.h"

#include "cli/output.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"

#include <stdio.h>
#include <string.h>

/* A git command or a build that is quick is nothing to talk about. */
#define SAY_AFTER_US 1000000u

static void end_hold(struct lp_mirror_hold *h)
{
	struct lp_mirror_hold **at = &h->mirror->holds;

	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	lp_timer_clear(&h->over);
	/* A hold that the workspace knows nothing of any more has ended already. */
	(void)lp_workspace_release(h->mirror->ws, h->id);
	free(h->who);
	free(h);
}

static void on_over(struct lp_timer *timer)
{
	struct lp_mirror_hold *h = LP_CONTAINER_OF(timer, struct lp_mirror_hold, over);
	struct lp_mirror *m = h->mirror;
	LP_AUTO_FREE char *text =
		lp_xasprintf("%s: the hold by %s is over after %u s; what was written goes out now",
			     m->app, h->who, h->for_ms / 1000);

	lp_mirror_notice(m, text);
	end_hold(h);
	lp_mirror_pump(m);
}

void lp_mirror_on_hold(struct lp_mirror *m, struct lp_control_client *client, const json_t *request)
{
	const char *who = json_string_value(json_object_get(request, "who"));
	json_int_t for_ms = json_integer_value(json_object_get(request, "for_ms"));
	bool attached = json_is_true(json_object_get(request, "attached"));
	struct lp_mirror_hold *h;

	if (for_ms < 0 || for_ms > LP_HOLD_MAX_MS || (for_ms == 0 && !attached)) {
		lp_control_answer(client, json_pack("{s:b, s:s}", "ok", 0, "error",
						    "a hold needs an end: at most a day"));
		return;
	}
	/* What was saved before the hold is no part of it. */
	lp_mirror_drain(m);
	lp_mirror_pump(m);
	h = lp_xcalloc(1, sizeof(*h));
	h->mirror = m;
	h->who = lp_xstrdup(who && who[0] ? who : "somebody");
	h->for_ms = (uint32_t)for_ms;
	h->client = attached ? client : NULL;
	h->over.on_fire = on_over;
	h->id = lp_workspace_hold(m->ws, h->who);
	h->next = m->holds;
	m->holds = h;
	if (for_ms > 0)
		lp_timer_set(m->loop, &h->over, lp_now_us() + (uint64_t)for_ms * 1000);
	if (attached)
		lp_control_say(client, json_pack("{s:b}", "ok", 1));
	else
		lp_control_answer(client, json_pack("{s:b}", "ok", 1));
	lp_mirror_watch_hold(m);
}

void lp_mirror_on_release(struct lp_mirror *m, struct lp_control_client *client)
{
	json_int_t n = 0;
	const char *held;

	for (; m->holds; n++)
		end_hold(m->holds);
	held = lp_workspace_held(m->ws);
	lp_control_answer(client, json_pack("{s:b, s:I, s:s?}", "ok", 1, "holds", n, "held", held));
	lp_mirror_drain(m);
	lp_mirror_pump(m);
}

bool lp_mirror_hold_gone(struct lp_mirror *m, const struct lp_control_client *client)
{
	for (struct lp_mirror_hold *h = m->holds; h; h = h->next) {
		if (h->client != client)
			continue;
		end_hold(h);
		lp_mirror_drain(m);
		lp_mirror_pump(m);
		return true;
	}
	return false;
}

void lp_mirror_end_holds(struct lp_mirror *m)
{
	for (struct lp_mirror_hold *h = m->holds, *next; h; h = next) {
		next = h->next;
		end_hold(h);
	}
	lp_timer_clear(&m->held_timer);
	free(m->held_by);
	m->held_by = NULL;
}

json_t *lp_mirror_holds(const struct lp_mirror *m)
{
	json_t *list = json_array();
	uint64_t now_us = lp_now_us();

	for (const struct lp_mirror_hold *h = m->holds; h; h = h->next) {
		json_t *o = json_pack("{s:o}", "by", lp_out_text(h->who, strlen(h->who)));

		if (h->over.loop)
			(void)json_object_set_new(
				o, "left_ms",
				json_integer(
					h->over.due_us > now_us
						? (json_int_t)((h->over.due_us - now_us) / 1000)
						: 0));
		(void)json_array_append_new(list, o);
	}
	return list;
}

static void say_held(struct lp_mirror *m)
{
	m->held_said = true;
	if (m->json)
		(void)lp_out_json(json_pack("{s:s, s:s, s:o}", "event", "held", "app", m->app, "by",
					    lp_out_text(m->held_by, strlen(m->held_by))));
	else
		lp_out_say("%s…%s %s: held by %s; changes wait", lp_out_colour(LP_DIM),
			   lp_out_colour(LP_PLAIN), m->app, m->held_by);
}

static void on_held_timer(struct lp_timer *timer)
{
	say_held(LP_CONTAINER_OF(timer, struct lp_mirror, held_timer));
}

void lp_mirror_watch_hold(struct lp_mirror *m)
{
	const char *held = lp_workspace_held(m->ws);

	if (held && m->held_by && strcmp(held, m->held_by) == 0)
		return;
	if (!held && !m->held_by)
		return;
	if (!held && m->held_said) {
		if (m->json)
			(void)lp_out_json(
				json_pack("{s:s, s:s}", "event", "released", "app", m->app));
		else
			lp_out_say("%s…%s %s: no longer held", lp_out_colour(LP_DIM),
				   lp_out_colour(LP_PLAIN), m->app);
	}
	/* Who was told of one holder hears of the next one, and that all of it is over. */
	m->held_said = m->held_said && held;
	lp_timer_clear(&m->held_timer);
	free(m->held_by);
	m->held_by = held ? lp_xstrdup(held) : NULL;
	if (!held)
		return;
	m->held_timer.on_fire = on_held_timer;
	/* Programs want to know of every hold that somebody asked for; people of long ones. */
	if (m->json && m->holds)
		say_held(m);
	else
		lp_timer_set(m->loop, &m->held_timer, lp_now_us() + SAY_AFTER_US);
}
