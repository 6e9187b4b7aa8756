/* link/greet.c: what follows for an owner from the tree that its instance was welcomed with. */
#include "link/link_internal.h"

#include "common/base/lp_clock.h"

/* Between two turns of reading what the workspace has not read yet. */
#define PAUSE_US 1000u

/* What an instance lacks that has nothing is no question. */
static bool is_bare(const struct lp_link *link)
{
	return lp_digest_is_none(&link->welcomed_root) && !link->welcomed_foreign;
}

/* Makes the instance's tree what the workspace is. */
static void begin(struct lp_link *link, bool equal)
{
	const struct lp_digest *root = &link->welcomed_root;
	uint64_t revision = link->welcomed_revision; /* which was checked */

	/* What changes nothing takes no number. */
	link->source.raise_revision(link->source.ctx, revision + (revision == 0 || !equal));
	if (equal) {
		/* Equal already: an empty changeset tells the instance its revision. */
		struct lp_changeset *cs = lp_changeset_create();

		cs->root = *root;
		cs->revision = link->source.revision(link->source.ctx);
		lp_walk_catch_up(link, cs);
		lp_changeset_unref(cs);
		return;
	}
	if (link->held) {
		link->missed = true;
		link->state = LP_LINK_RESTING;
		return;
	}
	if (link->rolled && lp_digest_equal(root, &link->rolled_root)) {
		link->state = LP_LINK_STREAMING;
		if (link->ops.on_caught_up)
			link->ops.on_caught_up(link->ops.ctx, link);
		return;
	}
	lp_walk_start(link, is_bare(link));
}

static void on_pause(struct lp_timer *timer)
{
	lp_link_greet(LP_CONTAINER_OF(timer, struct lp_link, resync_timer));
}

void lp_link_greet(struct lp_link *link)
{
	const struct lp_source *s = &link->source;
	bool unread = s->sketch && s->sketch(s->ctx);
	struct lp_digest mine;

	if (unread && is_bare(link)) {
		begin(link, false);
		return;
	}
	if (unread && !s->fill(s->ctx)) {
		link->resync_timer.on_fire = on_pause;
		lp_timer_set(link->loop, &link->resync_timer, lp_now_us() + PAUSE_US);
		return;
	}
	mine = lp_index_root(s->index(s->ctx));
	begin(link, lp_digest_equal(&link->welcomed_root, &mine));
}
