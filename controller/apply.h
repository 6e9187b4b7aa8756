/* controller/apply.h: applies changesets in a thread of its own, in the order they come, so that a
 * large one holds up neither requests nor control messages; a small one that comes alone at once.
 * Knows nothing of who sent a change. */
#ifndef LP_CONTROLLER_APPLY_H
#define LP_CONTROLLER_APPLY_H

#include "common/loop/loop.h"
#include "controller/tree.h"
#include "wire/msg.h"

struct lp_apply; /* opaque: owns the tree and the thread */

/* A decoded message with the bytes that it points into. */
struct lp_job {
	struct lp_buf bytes;
	struct lp_msg msg;
};

/* Copies, unpacks where needed and decodes. packer NULL: PACKED is refused. Returns 0 and the job
 * (the caller's), or -EBADMSG. */
int lp_job_create(struct lp_job **out, const void *data, size_t len, struct lp_packer *packer,
		  struct lp_err *err) LP_MUST_USE;
void lp_job_destroy(struct lp_job *job); /* NULL is allowed */

/* How the tree is, for others; a copy. */
struct lp_tree_state {
	uint64_t revision;
	uint64_t files;    /* entries, directories included */
	uint64_t contents; /* those that are no directories */
	uint64_t bytes;
	uint64_t reach; /* the oldest revision that can be taken back; 0: none */
	struct lp_digest root;
	struct lp_digest partial; /* of which the first partial_have bytes are here */
	uint64_t partial_have;
	bool foreign;
};

/* What a rollback is to do, and came to. before: the revision to be taken back, with all that came
 * after it. expected: do it only while the tree is at that revision and nothing new is under way;
 * 0: whatever it is at. to, asked: for whoever hears of it. error.code: 0, or why it was not done.
 */
struct lp_rollback {
	uint64_t to;
	uint64_t before;
	uint64_t expected;
	uint64_t from; /* that the tree was at */
	bool asked;
	struct lp_err error;
	struct lp_applied applied;
};

/* All in the loop's thread. epoch: as given with lp_apply_submit. on_reply: encoded messages for
 * the sender (LISTING, APPLIED, FAILED, VERIFIED), in order; borrowed. on_consumed: a job of that
 * many bytes is done. on_applied: a changeset is visible, after its APPLIED went to on_reply;
 * borrowed. on_rolled: a rollback came to its end, after the state of the tree did. */
struct lp_apply_ops {
	void (*on_reply)(void *ctx, uint64_t epoch, const struct lp_buf *bytes);
	void (*on_consumed)(void *ctx, uint64_t epoch, size_t bytes, bool content);
	void (*on_applied)(void *ctx, const struct lp_applied *applied);
	void (*on_rolled)(void *ctx, const struct lp_rollback *rollback);
	void (*on_greeted)(void *ctx, uint64_t epoch);
	void (*on_mute)(void *ctx, uint64_t epoch);
};

/* Opens the tree and starts the thread. */
int lp_apply_create(struct lp_apply **out, struct lp_loop *loop, const char *tree_path,
		    const struct lp_apply_ops *ops, void *ctx, struct lp_err *err) LP_MUST_USE;

/* Finishes the job under way, forgets the others and ends the thread: nothing is posted to the loop
 * any more. What was posted stays there, so the loop must end before lp_apply_destroy. */
void lp_apply_stop(struct lp_apply *a); /* NULL is allowed */

/* Stops it unless that was done and closes the tree. The loop may not run any more. */
void lp_apply_destroy(struct lp_apply *a); /* NULL is allowed */

/* Hands over a LIST, CHANGE, DATA, PATCH, SKIP or VERIFY (taken). epoch: names the sender's
 * connection; a changeset begun under another epoch is dropped. What came of it is told later, even
 * of what is done at once. */
void lp_apply_submit(struct lp_apply *a, struct lp_job *job, uint64_t epoch);

/* A sender's connection begins, in the place of the one before: on_greeted follows when all that
 * came of that one is done, or was dropped as with lp_apply_lost. Its questions that are still
 * unanswered need no answer. epoch: larger than any before. */
void lp_apply_greet(struct lp_apply *a, uint64_t epoch);

/* Takes revisions back as soon as what was submitted before is done; on_rolled follows. A changeset
 * that is under way then, and the next one, fail with resync: they build on what is not there any
 * more. */
void lp_apply_rollback(struct lp_apply *a, const struct lp_rollback *what);

/* The connection is gone: what it had begun is dropped, apart from the beginning of a large
 * content, with which the next connection may go on. */
void lp_apply_lost(struct lp_apply *a, uint64_t epoch);

/* Loop thread. The tree's directory, borrowed; a copy of its state. */
int lp_apply_tree_fd(const struct lp_apply *a);
void lp_apply_state(struct lp_apply *a, struct lp_tree_state *out);

#endif
