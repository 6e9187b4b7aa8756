/* controller/apply_internal.h: the state of applying, shared by apply.c (queue and thread) and
 * apply_run.c (what each message does). */
#ifndef LP_CONTROLLER_APPLY_INTERNAL_H
#define LP_CONTROLLER_APPLY_INTERNAL_H

#include "controller/apply.h"

#include <pthread.h>

struct queued;
struct outcome;

struct lp_apply {
	struct lp_loop *loop;
	struct lp_tree *tree; /* of who is busy, as what stands at the end */
	struct lp_apply_ops ops;
	void *ctx;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct queued *first; /* protected by lock */
	struct queued *last;  /* protected by lock */
	bool stop;            /* protected by lock */
	bool busy;            /* protected by lock: somebody has the tree, which is who set it */
	bool sleeps;          /* protected by lock: the thread waits without a deadline */
	uint64_t tidy_us;     /* protected by lock: when to tidy */
	uint64_t newest;      /* protected by lock: the epoch that was greeted last */
	struct lp_tree_state state; /* protected by lock */
	struct outcome *outcomes;   /* protected by lock: posted and not run yet */
	/* Of who is busy: the changeset under way. */
	uint64_t epoch;
	uint64_t begun_us;
	bool open;
	bool failed; /* its failure is reported when it ends */
	bool behind; /* the tree was rolled back: the owner has to list it before it sends more */
	bool deaf;   /* after a resync was asked for: until the next LIST */
	struct lp_err failure;
	unsigned n_verifies;   /* that are to be answered */
	bool owes;             /* something could not be put back */
	bool is_old;           /* the log could not be written anew */
	bool wants_room;       /* the disk is full; only the thread gives up what is kept */
	uint64_t owed_wait_us; /* until what cannot be done now is tried again */
	unsigned untidy;       /* how many changesets since lp_tree_tidy */
};

/* What a job led to, on its way to the loop's thread. */
struct outcome {
	struct lp_post post;
	struct outcome *prev, *next;
	struct lp_apply *apply;
	uint64_t epoch;
	size_t consumed;
	bool content;
	bool greets;  /* the sender's connection: all before it is done */
	bool is_mute; /* a reply could not be encoded */
	struct lp_buf *replies;
	size_t n_replies;
	size_t cap_replies;
	size_t reply_bytes;
	struct lp_applied applied;
	bool has_applied;
	struct lp_rollback *rollback; /* owned; NULL: it was a message */
};

/* apply_run.c. is_small: it is a whole changeset that takes no longer than waking up another
 * thread, however large the tree is, unless replaces_dir. The others are for who has the tree. run:
 * does what a message says. lost: what that connection had begun is dropped. verify: a turn of the
 * reading of all files; returns whether it ended, with the answers. rollback: does it and fills in
 * what came of it. */
bool lp_apply_is_small(const struct lp_job *job);
bool lp_apply_replaces_dir(const struct lp_apply *a, const struct lp_job *job);
void lp_apply_run(struct lp_apply *a, struct outcome *o, const struct lp_msg *msg);
void lp_apply_run_lost(struct lp_apply *a);
bool lp_apply_run_verify(struct lp_apply *a, struct outcome *o);
void lp_apply_run_rollback(struct lp_apply *a, struct lp_rollback *what);

/* apply_note.c: says in the log what is wrong with the tree, when that begins and when it is over.
 * damage: what an earlier run left that could not be read. state: what the tree owes, has to do
 * later, or left to the app; after whatever may change that. */
void lp_apply_note_damage(const struct lp_tree *t);
void lp_apply_note_state(struct lp_apply *a);

/* apply.c: whether it is to give up what was begun for a connection, because the thread ends or
 * because that one was replaced. */
bool lp_apply_is_over(struct lp_apply *a, uint64_t epoch);

#endif
