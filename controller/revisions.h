/* controller/revisions.h: what the tree was given, revision by revision, and what became of it: for
 * `livepush history`, and to know where a rollback leads. Bounded; kept in LP_STATE_DIR, so that it
 * survives the controller. Loop thread. */
#ifndef LP_CONTROLLER_REVISIONS_H
#define LP_CONTROLLER_REVISIONS_H

#include "controller/tree.h"

#define LP_REVISIONS_FILE "history" /* below LP_STATE_DIR */

struct lp_revisions; /* opaque */

/* Reads what an earlier run wrote below tree_fd (borrowed during the call). A file that cannot be
 * read is as one that is not there, and what cannot be written is in memory only: history is a
 * convenience, never a reason to stop. What an earlier run left pending stays so until the app was
 * started. */
struct lp_revisions *lp_revisions_open(int tree_fd);
void lp_revisions_close(struct lp_revisions *h); /* NULL is allowed */

/* A changeset became visible at that time. Without paths nothing is noted. */
void lp_revisions_applied(struct lp_revisions *h, const struct lp_applied *a, uint64_t at_ms);

/* Everything up to a revision is healthy, or it failed (error: one line). */
void lp_revisions_settled(struct lp_revisions *h, uint64_t revision);
void lp_revisions_failed(struct lp_revisions *h, uint64_t revision, const char *error);

/* Where a rollback leads. to: the revision it goes back to; before: the one that has to be taken
 * back for it, with all behind it, as lp_tree_rollback takes it. */
struct lp_goal {
	uint64_t to;
	uint64_t before;
};

/* The way to `wanted`, or with 0 to the newest healthy revision before the present one that has
 * another tree. Returns 0 or -ENOENT with the reason. */
int lp_revisions_goal(const struct lp_revisions *h, uint64_t wanted, struct lp_goal *out,
		      struct lp_err *err) LP_MUST_USE;

/* The way to the newest healthy revision when something came after it that is not; false: there is
 * none. */
bool lp_revisions_escape(const struct lp_revisions *h, struct lp_goal *out);

/* The tree went there. */
void lp_revisions_rolled(struct lp_revisions *h, const struct lp_goal *goal);

/* The newest `most` for REVISIONS, oldest first. reach: the oldest revision that the tree can take
 * back; 0: none. Texts are borrowed until the next call that changes something; the array is the
 * caller's. Returns how many. */
size_t lp_revisions_list(const struct lp_revisions *h, size_t most, uint64_t reach,
			 struct lp_wire_revision **out);

#endif
