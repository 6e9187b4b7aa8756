/* cli/mirror_verify.c: has every instance read its tree again, and waits until what had drifted is
 * mended. Reading is the instance's, mending the link's. */
#include "cli/mirror_internal.h"

#include "cli/output.h"
#include "common/base/lp_clock.h"

#include <string.h>

#define PATHS_MAX 100 /* shown of an instance */

static const char *const check_names[LP_CHECK_COUNT_] = {
	[LP_CHECK_NONE] = "failed",   [LP_CHECK_ASKED] = "failed",  [LP_CHECK_MENDING] = "failed",
	[LP_CHECK_EQUAL] = "equal",   [LP_CHECK_MENDED] = "mended", [LP_CHECK_BEHIND] = "behind",
	[LP_CHECK_FAILED] = "failed",
};

static void forget(struct lp_mirror *m)
{
	lp_timer_clear(&m->verify.deadline);
	m->verify = (struct lp_verify){0};
	for (size_t i = 0; m->instances && i < m->target.n_urls; i++) {
		json_decref(m->instances[i].found);
		m->instances[i].found = NULL;
		m->instances[i].check = LP_CHECK_NONE;
	}
}

static json_t *results(const struct lp_mirror *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->target.n_urls; i++) {
		const struct lp_mirror_instance *in = &m->instances[i];

		(void)json_object_set_new(in->found, "state", json_string(check_names[in->check]));
		(void)json_array_append(list, in->found);
	}
	return list;
}

static void answer(struct lp_mirror *m)
{
	struct lp_control_client *client = m->verify.client;
	json_t *list = results(m);

	forget(m);
	if (client) {
		lp_control_answer(client, json_pack("{s:b, s:o}", "ok", 1, "instances", list));
		return;
	}
	lp_mirror_end(m, lp_verify_print(m->app, list, m->json));
	json_decref(list);
}

static void check_end(struct lp_mirror *m)
{
	if (!m->verify.active)
		return;
	for (size_t i = 0; i < m->target.n_urls; i++)
		if (m->instances[i].check < LP_CHECK_EQUAL)
			return;
	answer(m);
}

static void fail(struct lp_mirror_instance *in, const char *why)
{
	in->check = LP_CHECK_FAILED;
	(void)json_object_set_new(in->found, "error", lp_out_text(why, strlen(why)));
}

static void on_deadline(struct lp_timer *timer)
{
	struct lp_verify *v = LP_CONTAINER_OF(timer, struct lp_verify, deadline);
	struct lp_mirror *m = LP_CONTAINER_OF(v, struct lp_mirror, verify);

	for (size_t i = 0; i < m->target.n_urls; i++) {
		struct lp_mirror_instance *in = &m->instances[i];

		if (in->check >= LP_CHECK_EQUAL)
			continue;
		if (json_object_get(in->found, "error"))
			in->check = LP_CHECK_FAILED;
		else
			fail(in, in->check == LP_CHECK_ASKED ? "has not read its tree in time"
							     : "was not mended in time");
	}
	check_end(m);
}

void lp_mirror_verify(struct lp_mirror *m, struct lp_control_client *client, uint32_t timeout_ms)
{
	struct lp_verify *v = &m->verify;

	v->active = true;
	v->client = client;
	v->deadline.on_fire = on_deadline;
	lp_timer_set(m->loop, &v->deadline, lp_now_us() + (uint64_t)timeout_ms * 1000);
	for (size_t i = 0; i < lp_fleet_size(m->fleet); i++) {
		struct lp_mirror_instance *in = &m->instances[i];
		struct lp_link *link = lp_fleet_link(m->fleet, i);

		in->found = json_pack("{s:s, s:s}", "instance", in->id, "url", lp_link_url(link));
		in->check = LP_CHECK_ASKED;
		if (lp_link_verify(link) < 0)
			fail(in, "is not connected");
	}
	check_end(m);
}

void lp_mirror_on_verify(struct lp_mirror *m, struct lp_control_client *client,
			 const json_t *request)
{
	json_int_t timeout_ms = json_integer_value(json_object_get(request, "timeout_ms"));
	const char *why = NULL;

	if (!m->fleet)
		why = "its instance is not up yet";
	else if (m->verify.active)
		why = "it is being verified already; try again when that has ended";
	else if (m->guard.deletes > 0)
		why = "changes are held back because they would delete too much; see livepush "
		      "status";
	if (why)
		lp_control_answer(client, json_pack("{s:b, s:s}", "ok", 0, "error", why));
	else
		lp_mirror_verify(m, client, timeout_ms > 0 ? (uint32_t)timeout_ms : 0);
}

bool lp_mirror_verify_gone(struct lp_mirror *m, const struct lp_control_client *client)
{
	if (!m->verify.active || m->verify.client != client)
		return false;
	/* The instances go on and are mended; there is nobody to tell. */
	forget(m);
	return true;
}

/* Why an instance is behind on purpose, or NULL. */
static const char *why_behind(const struct lp_link *link)
{
	if (lp_link_is_rolled(link))
		return "it went back to an earlier revision; the next save brings everything";
	if (lp_link_is_held(link))
		return "it gets what is new when that serves on the first instance";
	return NULL;
}

static void on_verified(struct lp_mirror *m, const struct lp_link *link,
			const struct lp_msg_verified *msg)
{
	struct lp_mirror_instance *in = &m->instances[lp_link_index(link)];
	const char *behind = why_behind(link);
	struct lp_digest root = lp_index_root(lp_workspace_index(m->ws));
	bool equal = msg->drifted == 0 && memcmp(root.b, msg->root, sizeof(root.b)) == 0;
	json_t *paths = json_array();

	for (size_t i = 0; i < msg->n_paths && i < PATHS_MAX; i++)
		(void)json_array_append_new(paths, lp_out_text(msg->paths[i].p, msg->paths[i].len));
	(void)json_object_set_new(in->found, "files", json_integer((json_int_t)msg->files));
	(void)json_object_set_new(in->found, "bytes", json_integer((json_int_t)msg->bytes));
	(void)json_object_set_new(in->found, "drifted", json_integer((json_int_t)msg->drifted));
	(void)json_object_set_new(in->found, "paths", paths);
	in->check = equal ? LP_CHECK_EQUAL : LP_CHECK_MENDING;
	if (equal || !behind)
		return;
	in->check = LP_CHECK_BEHIND;
	(void)json_object_set_new(in->found, "error", json_string(behind));
}

/* Whether something is still on its way to the instance. What failed on the one that was to try it
 * first comes to none of the others. */
static bool is_awaited(const struct lp_mirror *m, size_t i, bool has_trial_failed)
{
	const struct lp_link *link = lp_fleet_link(m->fleet, i);
	const struct lp_mirror_instance *in = &m->instances[i];

	if (lp_link_has_ended(link) || lp_link_keeps_failing(link) ||
	    (has_trial_failed && lp_link_is_held(link)))
		return false;
	return !lp_link_is_streaming(link) || (in->going_back && !in->went_back);
}

/* The command of that name first makes the instances equal to the workspace. */
static void begin_when_ready(struct lp_mirror *m)
{
	bool has_trial_failed = false;

	if (m->mode != LP_MIRROR_VERIFY || m->verify.active || m->stopping)
		return;
	for (size_t i = 0; i < lp_fleet_size(m->fleet); i++) {
		const struct lp_link *link = lp_fleet_link(m->fleet, i);

		has_trial_failed |= m->instances[i].going_back ||
				    (lp_fleet_tries(m->fleet, link) && lp_link_keeps_failing(link));
	}
	for (size_t i = 0; i < lp_fleet_size(m->fleet); i++)
		if (is_awaited(m, i, has_trial_failed))
			return;
	lp_mirror_verify(m, NULL, m->verify_timeout_ms);
}

/* It could not apply what it was given. One that asks for another comparison is tried again; what
 * it said last counts when the time is over. */
static void on_not_applied(struct lp_mirror *m, const struct lp_link *link,
			   const struct lp_msg_failed *f)
{
	struct lp_mirror_instance *in = &m->instances[lp_link_index(link)];
	bool is_hopeless =
		!f->resync || (in->check == LP_CHECK_ASKED && lp_link_keeps_failing(link));

	if (in->check == LP_CHECK_ASKED || in->check == LP_CHECK_MENDING) {
		(void)json_object_set_new(in->found, "error",
					  lp_out_text(f->error.p, f->error.len));
		in->check = is_hopeless ? LP_CHECK_FAILED : in->check;
	} else if (m->mode == LP_MIRROR_VERIFY && !f->resync && lp_fleet_tries(m->fleet, link)) {
		/* There is nothing that it could go back from. */
		in->going_back = in->went_back = true;
	}
	begin_when_ready(m);
}

void lp_mirror_verify_message(struct lp_mirror *m, struct lp_link *link, const struct lp_msg *msg)
{
	struct lp_mirror_instance *in = &m->instances[lp_link_index(link)];

	if (msg->kind == LP_MSG_ROLLED && in->going_back) {
		in->went_back = true;
		begin_when_ready(m);
	} else if (msg->kind == LP_MSG_VERIFIED && in->check == LP_CHECK_ASKED) {
		on_verified(m, link, &msg->u.verified);
	} else if (msg->kind == LP_MSG_FAILED && msg->u.failed.stage == LP_WIRE_STAGE_APPLY) {
		on_not_applied(m, link, &msg->u.failed);
	}
	check_end(m);
}

void lp_mirror_verify_caught_up(struct lp_mirror *m, unsigned i)
{
	struct lp_mirror_instance *in = &m->instances[i];

	if (in->check == LP_CHECK_MENDING) {
		uint64_t drifted =
			(uint64_t)json_integer_value(json_object_get(in->found, "drifted"));

		(void)json_object_del(in->found, "error");
		/* Without drift the trees differed because something was on its way. */
		in->check = drifted > 0 ? LP_CHECK_MENDED : LP_CHECK_EQUAL;
		check_end(m);
	} else {
		begin_when_ready(m);
	}
}

void lp_mirror_verify_lost(struct lp_mirror *m, unsigned i, const char *reason)
{
	struct lp_mirror_instance *in = &m->instances[i];

	if (in->check == LP_CHECK_ASKED || in->check == LP_CHECK_MENDING) {
		fail(in, reason);
		check_end(m);
	} else if (lp_fleet_size(m->fleet) > 1) {
		begin_when_ready(m);
	}
}

void lp_mirror_end_verify(struct lp_mirror *m, const char *why)
{
	struct lp_control_client *client = m->verify.client;

	forget(m);
	if (client)
		lp_control_answer(client, json_pack("{s:b, s:s}", "ok", 0, "error", why));
}
