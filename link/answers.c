/* link/answers.c: what an instance says, and what follows for the link: what is in flight, what is
 * in doubt, and when trees are compared again. What it
 * says without having been asked ends the connection. */
#include "link/link_internal.h"

#include "common/base/lp_clock.h"

#include <string.h>

#define RESYNC_DELAY_US 1000000u
#define DOUBT_DELAY_US  125000u
#define DOUBTS_MAX      3

/* Failures that nobody waits for are shown to people: so many at once, and then one in that time.
 * An app that keeps failing is started again less often than that. */
#define FAILURES_MAX    50u
#define FAILURE_EACH_US 200000u

static void on_resync_timer(struct lp_timer *timer)
{
	struct lp_link *link = LP_CONTAINER_OF(timer, struct lp_link, resync_timer);

	if (link->held)
		link->missed = true;
	else if (link->state == LP_LINK_RESTING || (link->unsure && lp_link_is_idle(link)))
		lp_walk_start(link, false);
	else if (link->unsure && link->in_flight > 0)
		link->behind = true;
}

/* Longer each time. */
static void walk_later(struct lp_link *link, uint64_t wait_us, unsigned times)
{
	link->resync_timer.on_fire = on_resync_timer;
	lp_timer_set(link->loop, &link->resync_timer,
		     lp_now_us() + (wait_us << (times < 5 ? times : 5)));
}

void lp_stream_hurry(struct lp_link *link)
{
	uint64_t due_us = lp_now_us() + RESYNC_DELAY_US;

	if (link->resync_timer.loop && link->resync_timer.due_us > due_us)
		lp_timer_set(link->loop, &link->resync_timer, due_us);
}

/* The instance's tree is not what we took it for: compare again, slower when that keeps on. It
 * takes no changesets until then, so none are sent. */
static void resync(struct lp_link *link)
{
	lp_stream_drop(link);
	link->state = LP_LINK_RESTING;
	if (link->resyncs == 0)
		lp_walk_start(link, false);
	else
		walk_later(link, RESYNC_DELAY_US, link->resyncs - 1);
	link->resyncs++;
}

static int send_verify(struct lp_link *link)
{
	const struct lp_msg msg = {.kind = LP_MSG_VERIFY};

	link->verify = false;
	link->verifies++;
	return lp_link_queue(link, &msg);
}

int lp_link_verify(struct lp_link *link)
{
	bool waits = link->state == LP_LINK_READY && link->opts.role == LP_ROLE_OWNER;

	if (link->state < LP_LINK_RESTING && !waits)
		return -ENOTCONN;
	/* Nothing follows that would bring a held one back to it. One that waits for the workspace
	 * to be read is compared after that. */
	if (waits || lp_link_is_idle(link) || (link->held && link->state == LP_LINK_RESTING))
		return send_verify(link);
	link->verify = true;
	return 0;
}

static void answered(struct lp_link *link)
{
	if (link->in_flight > 0)
		link->in_flight--;
	if (link->state == LP_LINK_CATCHING) {
		link->state = LP_LINK_STREAMING;
		if (link->ops.on_caught_up)
			link->ops.on_caught_up(link->ops.ctx, link);
	}
	if (link->in_flight > 0)
		return;
	if (link->behind) {
		lp_walk_start(link, false);
		return;
	}
	if (link->verify && send_verify(link) < 0)
		lp_link_fail(link, "cannot ask to verify");
	if (link->ops.on_idle)
		link->ops.on_idle(link->ops.ctx, link);
}

/* Whether a root that the instance names is the workspace's as it is now. */
static bool is_present_root(const struct lp_link *link, const uint8_t root[16])
{
	struct lp_digest mine = lp_index_root(link->source.index(link->source.ctx));

	return memcmp(mine.b, root, sizeof(mine.b)) == 0;
}

/* Everything sent is applied. What was left out comes when it has settled; only when that takes
 * long are trees compared, because something else may be wrong. */
static void check_doubt(struct lp_link *link, const uint8_t root[16])
{
	if (link->unsure && is_present_root(link, root))
		link->unsure = false;
	if (!link->unsure)
		link->doubts = 0;
	else if (!link->resync_timer.loop)
		walk_later(link, DOUBT_DELAY_US, link->doubts++);
}

bool lp_link_is_idle(const struct lp_link *link)
{
	return link->state == LP_LINK_STREAMING && link->in_flight == 0;
}

bool lp_link_is_streaming(const struct lp_link *link)
{
	return link->state == LP_LINK_STREAMING;
}

bool lp_link_keeps_failing(const struct lp_link *link)
{
	return link->state == LP_LINK_RESTING && link->resyncs > 2;
}

bool lp_link_has_led_to(const struct lp_link *link, const uint8_t root[16])
{
	for (size_t i = 0; i < link->n_led && i < LP_LINK_QUEUE_MAX; i++)
		if (memcmp(link->led[i].b, root, sizeof(link->led[i].b)) == 0)
			return true;
	return false;
}

bool lp_link_is_in_doubt(const struct lp_link *link)
{
	return link->unsure && link->doubts <= DOUBTS_MAX;
}

static void on_applied(struct lp_link *link, const struct lp_msg *msg)
{
	bool expected = link->state == LP_LINK_STREAMING || link->state == LP_LINK_CATCHING;

	link->applied = msg->u.applied.revision;
	link->resyncs = 0;
	link->tries = 0; /* a connection that gets this far may come back at once */
	if (expected && link->in_flight <= 1) {
		lp_old_forget(link);
		check_doubt(link, msg->u.applied.root);
	}
	link->ops.on_message(link->ops.ctx, link, msg);
	if (expected)
		answered(link);
}

/* Whether a changeset was sent whole and is not answered. */
static bool awaits_answer(const struct lp_link *link)
{
	unsigned unsent = 0;

	for (const struct lp_outgoing *o = link->out_first; o; o = o->next)
		unsent++;
	return link->in_flight > unsent;
}

/* What was in flight meanwhile may make the roots differ, too; then comparing finds nothing. One
 * that is behind on purpose stays so: comparing would bring it what failed there, or was undone. */
static void on_verified(struct lp_link *link, const struct lp_msg *msg)
{
	bool equal = msg->u.verified.drifted == 0 && is_present_root(link, msg->u.verified.root);

	link->verifies--;
	if (link->held && !equal)
		link->missed = true;
	if (link->rolled)
		memcpy(link->rolled_root.b, msg->u.verified.root, sizeof(link->rolled_root.b));
	link->ops.on_message(link->ops.ctx, link, msg);
	if (equal || link->held || link->rolled)
		return;
	if (lp_link_is_idle(link))
		lp_walk_start(link, false);
	else if (link->state == LP_LINK_WALKING)
		link->again = true;
	else if (link->in_flight > 0)
		link->behind = true;
}

/* What is under way by now leads to a comparison by itself. */
static void on_rolled(struct lp_link *link, const struct lp_msg *msg)
{
	if (msg->u.rolled.done && lp_link_is_idle(link)) {
		link->rolled = true;
		/* Nor is looked for what was left out before: the next comparison finds it. */
		link->unsure = false;
		lp_timer_clear(&link->resync_timer);
		memcpy(link->rolled_root.b, msg->u.rolled.root, sizeof(link->rolled_root.b));
	}
	link->ops.on_message(link->ops.ctx, link, msg);
}

/* Whether a failure is passed on; connecting again gives no instance more of them. */
static bool may_report(struct lp_link *link)
{
	uint64_t now_us = lp_now_us(), back = (now_us - link->failures_us) / FAILURE_EACH_US;

	if (back > 0) {
		link->failures -= (unsigned)(back < link->failures ? back : link->failures);
		link->failures_us = now_us;
	}
	if (link->failures >= FAILURES_MAX)
		return false;
	link->failures++;
	return true;
}

/* Something went wrong; at stage APPLY, a changeset was not applied. */
static void on_failed(struct lp_link *link, const struct lp_msg *msg)
{
	bool expected = link->state == LP_LINK_STREAMING || link->state == LP_LINK_CATCHING;
	bool resyncs = msg->u.failed.resync && expected;
	bool answers =
		msg->u.failed.stage == LP_WIRE_STAGE_APPLY && !msg->u.failed.resync && expected;

	if (resyncs)
		resync(link);
	if (answers || may_report(link))
		link->ops.on_message(link->ops.ctx, link, msg);
	if (answers)
		answered(link);
}

/* Whether an instance may say that now (docs/protocol.md, Roles): an answer follows a question. */
static bool may_say(const struct lp_link *link, const struct lp_msg *msg)
{
	bool is_owner = link->opts.role == LP_ROLE_OWNER;
	bool expected = link->state == LP_LINK_STREAMING || link->state == LP_LINK_CATCHING;

	switch (msg->kind) {
	case LP_MSG_RESTARTED:
	case LP_MSG_SETTLED:
	case LP_MSG_ROLLED:
	case LP_MSG_LOG:
	case LP_MSG_STATUS:
	case LP_MSG_REVISIONS:
		return true;
	case LP_MSG_LISTING:
	case LP_MSG_CREDIT:
	case LP_MSG_RELOADED:
		return is_owner;
	case LP_MSG_VERIFIED:
		return link->verifies > 0;
	case LP_MSG_APPLIED:
		return is_owner && (!expected || awaits_answer(link));
	case LP_MSG_FAILED:
		if (msg->u.failed.stage != LP_WIRE_STAGE_APPLY && !msg->u.failed.resync)
			return true;
		return is_owner && (!expected || msg->u.failed.resync || awaits_answer(link));
	default: /* what only clients say, or belongs before WELCOME */
		return false;
	}
}

void lp_stream_message(struct lp_link *link, const struct lp_msg *msg)
{
	if (!may_say(link, msg)) {
		lp_link_fail(link, "the instance answers out of order");
		return;
	}
	switch (msg->kind) {
	case LP_MSG_LISTING:
		lp_walk_listing(link, &msg->u.listing);
		return;
	case LP_MSG_CREDIT:
		if (msg->u.credit.consumed <= link->sent)
			link->consumed = msg->u.credit.consumed;
		lp_ws_want_write(link->ws);
		return;
	case LP_MSG_APPLIED:
		on_applied(link, msg);
		return;
	case LP_MSG_VERIFIED:
		on_verified(link, msg);
		return;
	case LP_MSG_ROLLED:
		on_rolled(link, msg);
		return;
	case LP_MSG_FAILED:
		on_failed(link, msg);
		return;
	default:
		break;
	}
	link->ops.on_message(link->ops.ctx, link, msg);
}
