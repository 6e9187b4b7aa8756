/* cli/mirror_fleet.c: what a session's instances are told of each other, and when the steps of a
 * save were over. */
#include "cli/mirror_internal.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"

#define TELL_US 50000u /* news that browsers do not wait for are gathered for so long */

static void tell(struct lp_mirror *m)
{
	struct lp_msg msg = {.kind = LP_MSG_FLEET};
	size_t n = lp_fleet_size(m->fleet);
	LP_AUTO_FREE struct lp_wire_member *members = NULL;

	lp_timer_clear(&m->tell_timer);
	n = n < LP_WIRE_MEMBERS_MAX ? n : LP_WIRE_MEMBERS_MAX;
	members = lp_xcalloc(n, sizeof(*members));
	for (unsigned i = 0; i < n; i++)
		lp_report_member(m->report, i, &members[i]);
	msg.u.fleet = (struct lp_msg_fleet){m->served, members, n};
	for (size_t i = 0; i < lp_fleet_size(m->fleet); i++)
		(void)!lp_link_send(lp_fleet_link(m->fleet, i),
				    &msg); /* it is told when it is up */
}

static void on_tell(struct lp_timer *timer)
{
	struct lp_mirror *m = LP_CONTAINER_OF(timer, struct lp_mirror, tell_timer);

	if (m->fleet && !m->stopping)
		tell(m);
}

void lp_mirror_tell(struct lp_mirror *m, bool at_once)
{
	uint64_t served = lp_report_served(m->report);

	if (!m->fleet || m->stopping)
		return;
	if (served > m->served) {
		m->served = served;
		lp_timeline_step(m->timeline, served, LP_SAVE_SERVED, lp_now_us(), true);
		at_once = true;
	}
	m->tell_timer.on_fire = on_tell;
	if (at_once)
		tell(m);
	else if (!m->tell_timer.loop)
		lp_timer_set(m->loop, &m->tell_timer, lp_now_us() + TELL_US);
}

/* Whether it is a save that failed, rather than something that happened later. */
static bool fails_save(const struct lp_msg_failed *f)
{
	return !f->resync && (f->stage == LP_WIRE_STAGE_CONFIG || f->stage == LP_WIRE_STAGE_RULE ||
			      f->stage == LP_WIRE_STAGE_START || f->stage == LP_WIRE_STAGE_HEALTH);
}

void lp_mirror_time_message(struct lp_mirror *m, const struct lp_msg *msg)
{
	uint64_t now_us = lp_now_us();
	const struct lp_msg_restarted *r = &msg->u.restarted;

	switch (msg->kind) {
	case LP_MSG_APPLIED:
		lp_timeline_step(m->timeline, msg->u.applied.revision, LP_SAVE_APPLIED, now_us,
				 false);
		break;
	case LP_MSG_RESTARTED:
		if (r->spawned_us <= r->took_us && r->took_us < now_us)
			lp_timeline_step(m->timeline, r->revision, LP_SAVE_RESTARTED,
					 now_us - r->took_us + r->spawned_us, true);
		lp_timeline_step(m->timeline, r->revision, LP_SAVE_HEALTHY, now_us, true);
		break;
	case LP_MSG_RELOADED:
		lp_timeline_step(m->timeline, msg->u.reloaded.revision, LP_SAVE_RELOADED, now_us,
				 false);
		break;
	case LP_MSG_FAILED:
		if (fails_save(&msg->u.failed))
			lp_timeline_fail(m->timeline, msg->u.failed.revision, now_us);
		lp_mirror_tell(m, false);
		break;
	case LP_MSG_SETTLED:
		lp_mirror_tell(m, false);
		break;
	default:
		break;
	}
}

void lp_mirror_on_timeline(struct lp_mirror *m, struct lp_control_client *client,
			   const json_t *request)
{
	json_t *answer = lp_timeline_json(m->timeline);

	(void)request;
	(void)json_object_set_new(answer, "ok", json_true());
	lp_control_answer(client, answer);
}
