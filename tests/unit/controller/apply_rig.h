/* apply_rig.h: an apply thread with a tree in a temporary directory, messages for it, and what came
 * back, as text. */
#ifndef LP_TESTS_APPLY_RIG_H
#define LP_TESTS_APPLY_RIG_H

#include "controller/apply.h"
#include "tests/unit/controller/tree_rig.h"

#define DEADLINE_US 30000000u

/* rig.tree is NULL: the thread has it. failure: what the last failure said. submitted: how many
 * things the log waits for; a test adds one for each answer that comes later than its job is done.
 * unfit: the kind of message that does not fit for now; 0: none. */
extern struct lp_loop *loop;
extern struct lp_apply *apply;
extern struct rig rig;
extern char failure[512];
extern size_t submitted;
extern _Atomic int unfit;

int apply_set_up(void **state);
int apply_tear_down(void **state);

/* Submits a message; a piece of a changeset; a changeset of one small file, and one whose digest is
 * wrong; the question for a directory. */
void job_submit(const struct lp_msg *msg, uint64_t epoch);
void job_change(uint64_t epoch, uint64_t revision, uint64_t flags, const struct lp_wire_op *op);
void job_put(uint64_t epoch, uint64_t revision, const char *path, const char *content);
void job_put_wrong(uint64_t epoch, uint64_t revision);
void job_list(uint64_t epoch, const char *path);

/* What came back: "A3" for APPLIED 3, "F3" for FAILED 3 (small letter: without resync), "L" for a
 * LISTING ("L." for the last of a LIST), "V1/2" for VERIFIED with one of two files drifted, "+" for
 * on_applied, "G1" for on_greeted, "M1" for on_mute, with the epoch, "R2" for a tree that went back
 * to revision 2, "r" when it did not. A loop cannot be run again after a stop, so a test waits
 * once, for all there is to it. */
void expect_log(const char *text);

#endif
