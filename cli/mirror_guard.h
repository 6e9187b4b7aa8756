/* cli/mirror_guard.h: keeps a changeset that would empty the instances from going out by itself:
 * asks, withholds it, and lets it go. sync/guard.h says which. */
#ifndef LP_CLI_MIRROR_GUARD_H
#define LP_CLI_MIRROR_GUARD_H

#include "common/loop/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct lp_changeset;
struct lp_mirror;
struct lp_mirror_instance;

/* deletes, of: how many files of how many would go, while something is withheld (deletes > 0).
 * allowed: by --allow-mass-delete, or by the answer to the question; once: until everything is
 * equal again. */
struct lp_guard {
	uint64_t deletes;
	uint64_t of;
	bool allowed;
	bool once;
	bool asking;
	bool posted;
	struct lp_fd_src answer;
	struct lp_post compare;
};

/* Whether the changeset, which was taken from a workspace of `before` files, may be given to the
 * links. When not it is said why, and comparing trees brings what it would have brought. */
bool lp_mirror_may_push(struct lp_mirror *m, const struct lp_changeset *cs, uint64_t before);

/* The same for what an instance needs to become equal that has just connected. */
bool lp_mirror_may_catch_up(struct lp_mirror *m, const struct lp_changeset *cs,
			    const struct lp_mirror_instance *in);

/* Something else changed while something is withheld: compares trees again, soon. */
void lp_mirror_reconsider(struct lp_mirror *m);

/* An instance holds all that the workspace holds: nothing is withheld from it any more. */
void lp_mirror_guard_passed(struct lp_mirror *m);

void lp_mirror_guard_close(struct lp_mirror *m);

#endif
