/* controller/past.c: revisions of an instance and the ways back to them. */
#include "controller/past.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Whether a revision came while the tree's livepush.yml was broken. */
static bool has_bad_conf(const struct lp_instance *in, uint64_t revision)
{
	const struct lp_past_conf *bad = &in->bad_conf;

	return bad->error[0] && revision >= bad->from && revision < bad->until;
}

static void conf_failed(struct lp_instance *in, const struct lp_sup_failure *f)
{
	struct lp_past_conf *bad = &in->bad_conf;

	/* Broken still, or after a rollback into the middle of that. */
	if (!has_bad_conf(in, f->revision))
		bad->from = f->revision;
	bad->until = UINT64_MAX;
	(void)snprintf(bad->error, sizeof(bad->error), "%.511s", f->error);
	lp_revisions_failed(in->revisions, f->revision, f->error);
}

void lp_past_conf_good(struct lp_instance *in, uint64_t revision)
{
	in->bad_conf.until = revision;
}

void lp_past_applied(struct lp_instance *in, const struct lp_applied *a)
{
	lp_revisions_applied(in->revisions, a, lp_wall_us() / 1000);
}

void lp_past_settled(struct lp_instance *in, uint64_t revision)
{
	if (has_bad_conf(in, revision))
		lp_revisions_failed(in->revisions, revision, in->bad_conf.error);
	else
		lp_revisions_settled(in->revisions, revision);
}

/* Back to what was healthy, unless something newer is there to be tried. */
static void escape(struct lp_instance *in, uint64_t failed)
{
	struct lp_tree_state tree;
	struct lp_goal goal;

	lp_apply_state(in->apply, &tree);
	if (tree.revision > failed || !lp_revisions_escape(in->revisions, &goal))
		return;
	lp_apply_rollback(in->apply, &(struct lp_rollback){.to = goal.to,
							   .before = goal.before,
							   .expected = tree.revision});
}

void lp_past_failed(struct lp_instance *in, const struct lp_sup_failure *f)
{
	if (f->stage == LP_STAGE_CONFIG)
		conf_failed(in, f);
	if (f->stage != LP_STAGE_RULE && f->stage != LP_STAGE_START && f->stage != LP_STAGE_HEALTH)
		return;
	lp_revisions_failed(in->revisions, f->revision, f->error);
	if (in->conf->restart.on_failure == LP_ON_FAILURE_ROLLBACK && !in->stopping)
		escape(in, f->revision);
}

void lp_past_rolled(struct lp_instance *in, const struct lp_rollback *r)
{
	struct lp_msg msg = {.kind = LP_MSG_ROLLED};
	struct lp_msg_rolled *m = &msg.u.rolled;

	*m = (struct lp_msg_rolled){.done = r->error.code == 0,
				    .asked = r->asked,
				    .revision = r->error.code == 0 ? r->to : r->from,
				    .from = r->from,
				    .files = r->applied.n_paths,
				    .text = lp_bytes_of(r->error.msg)};
	memcpy(m->root, r->applied.root.b, sizeof(m->root));
	if (m->done) {
		const struct lp_goal goal = {r->to, r->before};

		lp_log(LP_INFO, "past", "went back from revision %" PRIu64 " to %" PRIu64, r->from,
		       r->to);
		lp_revisions_rolled(in->revisions, &goal);
		/* Unless a good one came back with it, which is read next. */
		if (in->bad_conf.until == UINT64_MAX && r->to < in->bad_conf.from)
			in->bad_conf.from = r->to;
	} else {
		lp_log(LP_WARN, "past", "cannot go back to revision %" PRIu64 ": %s", r->to,
		       r->error.msg);
	}
	/* Nobody asked, and what came meanwhile is tried instead. */
	if (m->done || m->asked || r->error.code != ESTALE)
		lp_sessions_tell(in, &msg);
}

void lp_past_list(struct lp_instance *in, uint64_t most, struct lp_msg_revisions *out)
{
	struct lp_tree_state tree;

	lp_apply_state(in->apply, &tree);
	out->revision = tree.revision;
	out->n_revisions =
		lp_revisions_list(in->revisions, (size_t)most, tree.reach, &out->revisions);
}

int lp_past_rollback(struct lp_instance *in, const struct lp_msg_rollback *what, struct lp_err *err)
{
	struct lp_goal goal;
	int r = 0;

	if (!what->only_failed)
		r = lp_revisions_goal(in->revisions, what->revision, &goal, err);
	else if (!lp_revisions_escape(in->revisions, &goal))
		r = lp_err_say(err, ENOENT, "there is no healthy revision to go back to");
	if (r == 0)
		lp_apply_rollback(in->apply, &(struct lp_rollback){.to = goal.to,
								   .before = goal.before,
								   .asked = !what->only_failed});
	return r;
}
