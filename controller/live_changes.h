/* controller/live_changes.h: the newest changesets of an instance, and what browsers have to be
 * told of them. Pure: no clock, no browser. Private to live*.c. */
#ifndef LP_CONTROLLER_LIVE_CHANGES_H
#define LP_CONTROLLER_LIVE_CHANGES_H

#include "controller/rules.h"

#define LP_CHANGES_MAX    32 /* changesets that are remembered */
#define LP_CHANGE_PATHS   12 /* paths of one that are kept for people */
#define LP_RELOAD_CSS_MAX 32 /* stylesheets that are swapped one by one; more: a reload */

/* What became of a changeset. */
enum lp_change_state {
	LP_CHANGE_APPLIED,
	LP_CHANGE_SETTLED,
	LP_CHANGE_FAILED,
	LP_CHANGE_STATE_COUNT_,
};

struct lp_change {
	uint64_t revision;
	uint64_t wall_us;
	uint64_t n_paths;
	enum lp_change_state state;
	char *paths[LP_CHANGE_PATHS]; /* owned; the first */
};

/* What browsers are to do about some changesets: nothing, to load these stylesheets anew, or to
 * reload. since: the oldest of the revisions; 0: none. */
struct lp_reload {
	uint64_t since;
	bool whole;
	char *css[LP_RELOAD_CSS_MAX]; /* owned */
	size_t n_css;
};

/* A zeroed struct is an empty one. changes: a ring, next is where the next goes. ready: what may be
 * told with the revision asked for; later: what came with newer ones. */
struct lp_changes {
	struct lp_change ring[LP_CHANGES_MAX];
	size_t next;
	struct lp_due {
		uint64_t revision;
		struct lp_reload what;
	} * due; /* oldest first; owned */
	size_t n_due;
	size_t cap_due;
};

void lp_changes_finish(struct lp_changes *c);

/* A changeset was applied. Paths whose rule says `none` are no business of browsers. */
void lp_changes_add(struct lp_changes *c, const struct lp_ruleset *rules, uint64_t revision,
		    uint64_t wall_us, const char *const *paths, size_t n);

/* Everything up to that revision has settled; the revision failed. */
void lp_changes_settle(struct lp_changes *c, uint64_t revision);
void lp_changes_fail(struct lp_changes *c, uint64_t revision);

/* The i-th newest, or NULL. */
const struct lp_change *lp_changes_at(const struct lp_changes *c, size_t i);

/* Takes what browsers have to be told up to that revision (lp_reload_finish by the caller). Returns
 * whether there is anything. */
bool lp_changes_take(struct lp_changes *c, uint64_t revision, struct lp_reload *out);
void lp_reload_finish(struct lp_reload *r);

#endif
