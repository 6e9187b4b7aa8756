/* changes.h: a tree, and a changeset with every sort of operation in it, for tests that let them
 * fail. */
#ifndef LP_TESTS_CHANGES_H
#define LP_TESTS_CHANGES_H

#include "tests/unit/controller/tree_rig.h"

/* Once, before anything else. */
void changes_init(void);

/* Opens a rig with what is there before; revision 2. */
void changes_set_up(struct rig *r);

/* The changeset, as revision 9. Returns 0, or what failed first with r->err. */
int changes_apply(struct rig *r);

/* Another one behind it, which writes into a file that it wrote into; revision 10. */
int changes_patch_again(struct rig *r);

/* Everything in the tree with root and revision, as text; the caller's. */
char *changes_state(struct rig *r);
void changes_expect(struct rig *r, const char *wanted, const char *what, size_t at);

/* What changes_state says before and after; the caller's. */
void changes_states(char **old, char **new);

/* The last system call (faults.h) without which the changeset fails: everything was done by then.
 */
size_t changes_last_call(void);

#endif
