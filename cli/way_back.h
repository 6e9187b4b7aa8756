/* cli/way_back.h: which revision of each instance `livepush rollback` means, so that all of them go
 * back to the same tree although their numbers may differ. Pure. */
#ifndef LP_CLI_WAY_BACK_H
#define LP_CLI_WAY_BACK_H

#include "common/base/lp_err.h"
#include "wire/msg.h"

/* Of the names that people write: "@" and so many digits of the root digest. */
#define LP_TREE_NAME_MIN 4u
#define LP_TREE_NAME_LEN 8u

/* What was asked for: a number; or the tree whose digest begins with n_digits hexadecimal digits;
 * or, with neither, the newest that was healthy on all. */
struct lp_way_wanted {
	uint64_t revision;
	size_t n_digits;
	char digits[33];
};

/* Reads "12" or "@1a2b3c4d". Returns 0 or -EINVAL. */
int lp_way_parse(struct lp_way_wanted *out, const char *text) LP_MUST_USE;

/* A revision that is in the tree of an instance. */
struct lp_way_step {
	uint64_t revision;
	uint8_t root[16];
	bool healthy;
	bool kept;
};

/* steps: owned, oldest first; the last is what the tree holds. goal: of the choice; 0: it is there.
 */
struct lp_way_place {
	struct lp_way_step *steps;
	size_t n;
	uint64_t goal;
};

/* Copies what is in the tree. */
void lp_way_take(struct lp_way_place *place, const struct lp_msg_revisions *m);
void lp_way_finish(struct lp_way_place *place);

/* Sets every goal. Returns 0 or -ENOENT with the reason, and then nobody is to go anywhere. */
int lp_way_choose(struct lp_way_place *places, size_t n, const struct lp_way_wanted *wanted,
		  struct lp_err *err) LP_MUST_USE;

#endif
