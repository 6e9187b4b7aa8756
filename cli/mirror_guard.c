/* cli/mirror_guard.c: withholds what would empty the instances, asks, and lets it go. Once
 * something is withheld the links get no changesets any more: trees are compared again whenever
 * something changes, so that what an instance has decides whether it is still dangerous. */
#include "cli/mirror_internal.h"

#include "cli/output.h"
#include "sync/guard.h"

#include <stdio.h>
#include <string.h>

/* A question can be put only to whoever sits in front of this very program. */
static bool can_ask(const struct lp_mirror *m)
{
	return !m->json && lp_out_is_terminal() && isatty(STDIN_FILENO) == 1 &&
	       tcgetpgrp(STDIN_FILENO) == getpgrp();
}

static void say_how(struct lp_mirror *m)
{
	const struct lp_guard *g = &m->guard;
	char text[512];

	(void)snprintf(text, sizeof(text),
		       "%s: %llu of %llu files would be deleted on the instances; %s; "
		       "--allow-mass-delete deletes them",
		       m->app, (unsigned long long)g->deletes, (unsigned long long)g->of,
		       lp_mirror_stays(m) ? "held back until they are there again"
					  : "nothing was changed");
	if (!lp_mirror_stays(m)) {
		lp_mirror_end(m, lp_out_fail(m->json, "%s", text));
		return;
	}
	if (m->json)
		(void)lp_out_json(json_pack("{s:s, s:s, s:I, s:I, s:o}", "event", "withheld", "app",
					    m->app, "deletes", (json_int_t)g->deletes, "of",
					    (json_int_t)g->of, "text",
					    lp_out_text(text, strlen(text))));
	else
		lp_out_say("%s…%s %s", lp_out_colour(LP_RED), lp_out_colour(LP_PLAIN), text);
}

static void stop_asking(struct lp_mirror *m)
{
	if (m->guard.asking)
		lp_loop_fd_remove(&m->guard.answer);
	m->guard.asking = false;
}

static void on_answer(struct lp_fd_src *src, uint32_t ready)
{
	struct lp_guard *g = LP_CONTAINER_OF(src, struct lp_guard, answer);
	struct lp_mirror *m = LP_CONTAINER_OF(g, struct lp_mirror, guard);
	char line[256];
	ssize_t n;

	(void)ready;
	/* In the background a read would stop the process. */
	if (tcgetpgrp(src->fd) != getpgrp()) {
		stop_asking(m);
		say_how(m);
		return;
	}
	n = read(src->fd, line, sizeof(line));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	stop_asking(m);
	if (g->deletes == 0)
		return;
	if (n > 0 && (line[0] == 'y' || line[0] == 'Y')) {
		g->allowed = g->once = true;
		lp_mirror_reconsider(m);
	} else {
		say_how(m);
	}
}

static void ask(struct lp_mirror *m)
{
	struct lp_guard *g = &m->guard;

	g->answer =
		(struct lp_fd_src){.fd = STDIN_FILENO, .events = EPOLLIN, .on_ready = on_answer};
	if (lp_loop_fd_add(m->loop, &g->answer, NULL) < 0) {
		say_how(m);
		return;
	}
	g->asking = true;
	lp_out_progress_end();
	(void)fprintf(stderr, "livepush: %s: delete %llu of %llu files on the instances? [y/N] ",
		      m->app, (unsigned long long)g->deletes, (unsigned long long)g->of);
}

/* Withholds what loses so much. */
static void withhold(struct lp_mirror *m, const struct lp_loss *loss)
{
	struct lp_guard *g = &m->guard;
	bool known = g->deletes == loss->files;

	g->deletes = loss->files;
	g->of = loss->of;
	if (known || g->asking)
		return;
	if (can_ask(m))
		ask(m);
	else
		say_how(m);
}

bool lp_mirror_may_push(struct lp_mirror *m, const struct lp_changeset *cs, uint64_t before)
{
	size_t after = lp_workspace_files(m->ws);
	struct lp_loss loss = lp_changeset_loss(cs, (size_t)before, after),
		       net = lp_loss_net((size_t)before, after);

	if (m->guard.deletes > 0) {
		lp_mirror_reconsider(m);
		return false;
	}
	if (m->guard.allowed || !lp_loss_is_mass(&net))
		return true;
	withhold(m, &loss);
	return false;
}

bool lp_mirror_may_catch_up(struct lp_mirror *m, const struct lp_changeset *cs,
			    const struct lp_mirror_instance *in)
{
	size_t before = (size_t)in->files, after = lp_workspace_files(m->ws);
	struct lp_loss loss = lp_changeset_loss(cs, before, after),
		       judged = in->known ? lp_loss_net(before, after) : loss;

	/* What it lacks was judged when it was taken. */
	if (in->known && m->guard.deletes == 0)
		return true;
	if (m->guard.allowed || !lp_loss_is_mass(&judged))
		return true;
	withhold(m, &loss);
	return false;
}

static void compare(struct lp_post *post)
{
	struct lp_guard *g = LP_CONTAINER_OF(post, struct lp_guard, compare);
	struct lp_mirror *m = LP_CONTAINER_OF(g, struct lp_mirror, guard);
	struct lp_err err = {0};

	g->posted = false;
	/* A new connection begins with comparing trees. */
	if (!m->stopping && g->deletes > 0 && lp_mirror_reconnect(m, &err) < 0)
		lp_mirror_end(m, lp_out_fail(m->json, "%s", err.msg));
}

void lp_mirror_reconsider(struct lp_mirror *m)
{
	if (m->guard.posted)
		return;
	m->guard.posted = true;
	m->guard.compare.run = compare;
	lp_loop_post(m->loop, &m->guard.compare);
}

void lp_mirror_guard_passed(struct lp_mirror *m)
{
	struct lp_guard *g = &m->guard;

	if (g->deletes == 0)
		return;
	for (size_t i = 0; i < lp_fleet_size(m->fleet); i++) {
		const struct lp_link *link = lp_fleet_link(m->fleet, i);

		if (!lp_link_has_ended(link) &&
		    (!lp_link_is_streaming(link) ||
		     lp_link_applied(link) < lp_workspace_revision(m->ws)))
			return;
	}
	stop_asking(m);
	if (!g->allowed && m->json)
		(void)lp_out_json(json_pack("{s:s, s:s}", "event", "restored", "app", m->app));
	else if (!g->allowed)
		lp_out_say("%s…%s %s: what was to be deleted is there again", lp_out_colour(LP_DIM),
			   lp_out_colour(LP_PLAIN), m->app);
	if (g->once)
		g->allowed = g->once = false;
	g->deletes = 0;
}

void lp_mirror_guard_close(struct lp_mirror *m)
{
	stop_asking(m);
}
