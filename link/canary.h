/* link/canary.h: which instance of an app gets what is new first, and whether the others may have
 * it. Part of the fleet. */
#ifndef LP_LINK_CANARY_H
#define LP_LINK_CANARY_H

#include "link/link.h"

/* How long the one that has something to try may be away before another one is chosen. */
#define LP_CANARY_AWAY_US 15000000u

/* For whoever is told that another one is chosen: `from` was away for too long; to: the one that
 * gets it now, NULL: the first that is there again. */
typedef void lp_canary_moved_fn(void *ctx, const struct lp_link *from, const struct lp_link *to);

/* links: n of them, borrowed. is_trying: the chosen one has something that has not settled yet, or
 * that failed there (has_failed); the others are held. is_given: it was connected meanwhile. away:
 * it is not, and this is how long it may be. on_moved: or NULL. A zeroed struct is off. */
struct lp_canary {
	struct lp_link *const *links;
	size_t n;
	size_t chosen;
	bool is_on;
	bool is_trying;
	bool is_given;
	bool has_failed;
	uint64_t away_us;
	struct lp_loop *loop;
	struct lp_timer away;
	lp_canary_moved_fn *on_moved;
	void *ctx;
};

/* Begins with the first connections: what the workspace holds is new, too. on_moved and ctx stay as
 * they are. */
void lp_canary_begin(struct lp_canary *c, struct lp_loop *loop, struct lp_link *const *links,
		     size_t n);

/* For whoever releases the links. Harmless when it is off. */
void lp_canary_end(struct lp_canary *c);

/* Something new is about to be pushed: holds all but one. */
void lp_canary_try(struct lp_canary *c);

/* Whether a changeset may be taken: nobody is in the middle of something, so that none of the
 * others gets what the chosen one has not tried. */
bool lp_canary_wants(const struct lp_canary *c);

/* Whether that one is being tried. */
bool lp_canary_tries(const struct lp_canary *c, const struct lp_link *link);

/* A connection is welcome: it is chosen when the one that was has not been there yet. Before it
 * catches up. */
void lp_canary_up(struct lp_canary *c, struct lp_link *link);

/* What an instance said. When the chosen one has settled, the others are let go on; when it failed,
 * it is asked to go back: true. */
bool lp_canary_heard(struct lp_canary *c, struct lp_link *link, const struct lp_msg *msg);

/* Whether it is asked to go back after a failure of that stage (enum lp_wire_stage). */
bool lp_canary_undoes(uint64_t stage);

/* A connection is lost: when it is for good, or for long, another one is chosen. */
void lp_canary_lost(struct lp_canary *c, struct lp_link *link);

#endif
