/* controller/apply.c: the apply thread and its queue; and what the loop's thread does in its place.
 */
#include "controller/apply_internal.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_thread.h"

#include <malloc.h>

#define LARGE_PATHS 1000

/* More than a message is given back to the system when it is freed. Without these the C library
 * would learn from one large changeset to keep as much for good. */
#define KEEP_BYTES (1024 * 1024)

/* Nobody waits for the tidying, and other instances of this machine may have a save to apply. */
#define TIDY_AFTER_US 8000u
#define UNTIDY_MAX    16

/* What could not be done is tried again each time after twice as long, up to that. */
#define OWED_MAX_US ((uint64_t)60000000)

/* A job, or a rollback; without one a connection comes or goes. Both are owned. */
struct queued {
	struct queued *next;
	struct lp_job *job;
	struct lp_rollback *rollback;
	uint64_t epoch;
	bool greets;
};

bool lp_apply_is_over(struct lp_apply *a, uint64_t epoch)
{
	bool over;

	(void)pthread_mutex_lock(&a->lock);
	over = a->stop || epoch < a->newest;
	(void)pthread_mutex_unlock(&a->lock);
	return over;
}

static void outcome_destroy(struct outcome *o)
{
	for (size_t i = 0; i < o->n_replies; i++)
		lp_buf_finish(&o->replies[i]);
	free(o->replies);
	lp_applied_finish(&o->applied);
	if (o->rollback)
		lp_applied_finish(&o->rollback->applied);
	free(o->rollback);
	free(o);
}

static void deliver(struct lp_post *post)
{
	struct outcome *o = LP_CONTAINER_OF(post, struct outcome, post);
	struct lp_apply *a = o->apply;
	bool is_large;

	(void)pthread_mutex_lock(&a->lock);
	if (o->prev)
		o->prev->next = o->next;
	else
		a->outcomes = o->next;
	if (o->next)
		o->next->prev = o->prev;
	(void)pthread_mutex_unlock(&a->lock);
	for (size_t i = 0; i < o->n_replies; i++)
		a->ops.on_reply(a->ctx, o->epoch, &o->replies[i]);
	if (o->consumed > 0)
		a->ops.on_consumed(a->ctx, o->epoch, o->consumed, o->content);
	if (o->has_applied)
		a->ops.on_applied(a->ctx, &o->applied);
	if (o->rollback)
		a->ops.on_rolled(a->ctx, o->rollback);
	if (o->is_mute)
		a->ops.on_mute(a->ctx, o->epoch);
	if (o->greets)
		a->ops.on_greeted(a->ctx, o->epoch);
	is_large = o->applied.n_paths > LARGE_PATHS;
	outcome_destroy(o);
	/* What a large changeset took goes back to the system. */
	if (is_large)
		(void)malloc_trim(0);
}

static void publish_state(struct lp_apply *a)
{
	struct lp_tree_state s = {
		.revision = lp_tree_revision(a->tree),
		.files = lp_tree_count(a->tree),
		.contents = lp_tree_files(a->tree),
		.bytes = lp_tree_bytes(a->tree),
		.root = lp_tree_root(a->tree),
		.foreign = lp_tree_count(a->tree) > 0 || lp_tree_is_foreign(a->tree),
	};

	(void)lp_tree_kept(a->tree, &s.reach);
	s.partial_have = lp_tree_partial(a->tree, &s.partial);
	(void)pthread_mutex_lock(&a->lock);
	a->state = s;
	(void)pthread_mutex_unlock(&a->lock);
}

/* A connection that comes ends the one before it. */
static void take_turn(struct lp_apply *a, const struct queued *q)
{
	bool is_lost = !q->job && !q->greets;

	if (is_lost ? a->epoch != q->epoch : a->epoch == q->epoch)
		return;
	lp_apply_run_lost(a);
	publish_state(a);
	if (!is_lost)
		a->epoch = q->epoch;
}

static void post(struct lp_apply *a, struct outcome *o)
{
	(void)pthread_mutex_lock(&a->lock);
	o->next = a->outcomes;
	if (o->next)
		o->next->prev = o;
	a->outcomes = o;
	(void)pthread_mutex_unlock(&a->lock);
	lp_loop_post(a->loop, &o->post);
}

/* Gives up what is kept of earlier changesets, when one failed for want of room. */
static void give_room(struct lp_apply *a)
{
	if (!a->wants_room)
		return;
	lp_tree_give_room(a->tree);
	a->wants_room = false;
	publish_state(a);
}

/* Whether something is to be tried again from time to time. */
static bool has_to_try(const struct lp_apply *a)
{
	return a->owes || a->is_old;
}

static void tidy(struct lp_apply *a)
{
	bool tried = has_to_try(a);

	give_room(a);
	lp_tree_tidy(a->tree);
	a->untidy = 0;
	lp_apply_note_state(a);
	if (has_to_try(a))
		a->owed_wait_us =
			a->owed_wait_us < OWED_MAX_US / 2 ? a->owed_wait_us * 2 : OWED_MAX_US;
	else if (tried)
		publish_state(a);
}

static struct outcome *outcome_create(struct lp_apply *a)
{
	struct outcome *o = lp_xcalloc(1, sizeof(*o));

	o->post.run = deliver;
	o->apply = a;
	return o;
}

static void roll_back(struct lp_apply *a, struct queued *q)
{
	struct outcome *o = outcome_create(a);

	o->epoch = a->epoch;
	o->rollback = q->rollback;
	free(q);
	lp_apply_run_rollback(a, o->rollback);
	lp_apply_note_state(a);
	publish_state(a);
	post(a, o);
}

static void process(struct lp_apply *a, struct queued *q)
{
	struct outcome *o;
	bool may_change = false;

	if (q->rollback) {
		roll_back(a, q);
		return;
	}
	take_turn(a, q);
	if (!q->job && !q->greets) {
		free(q);
		return;
	}
	o = outcome_create(a);
	o->epoch = q->epoch;
	o->greets = q->greets;
	if (q->job) {
		o->consumed = q->job->bytes.len;
		o->content = q->job->msg.kind != LP_MSG_LIST && q->job->msg.kind != LP_MSG_VERIFY;
		lp_apply_run(a, o, &q->job->msg);
		lp_apply_note_state(a);
		/* Between the messages of a changeset the index stays as it is. */
		may_change = o->has_applied || o->n_replies > 0;
	}
	lp_job_destroy(q->job);
	free(q);
	if (may_change)
		publish_state(a);
	post(a, o);
	if (may_change && ++a->untidy >= UNTIDY_MAX)
		tidy(a);
}

/* With the lock. The tree is free for the next who has something to do there. */
static void let_go(struct lp_apply *a)
{
	a->busy = false;
	a->tidy_us = lp_now_us() + (a->owes || a->untidy == 0 ? a->owed_wait_us : TIDY_AFTER_US);
}

/* A turn of what a VERIFY asked for, while no changeset is open. */
static void verify(struct lp_apply *a)
{
	struct outcome *o = outcome_create(a);

	o->epoch = a->epoch;
	if (!lp_apply_run_verify(a, o)) {
		outcome_destroy(o);
		return;
	}
	publish_state(a);
	post(a, o);
}

static bool may_verify(const struct lp_apply *a)
{
	return a->n_verifies > 0 && !a->open;
}

/* With the lock. Waits until there may be something to do; tidies when nothing comes for a while.
 */
static void await(struct lp_apply *a)
{
	const struct timespec until = {.tv_sec = (time_t)(a->tidy_us / 1000000),
				       .tv_nsec = (long)(a->tidy_us % 1000000) * 1000};

	if (a->busy || (a->untidy == 0 && !has_to_try(a))) {
		a->sleeps = true;
		(void)pthread_cond_wait(&a->wake, &a->lock);
		a->sleeps = false;
		return;
	}
	/* The loop's thread may have worked meanwhile, or may do so now. */
	if (pthread_cond_timedwait(&a->wake, &a->lock, &until) != ETIMEDOUT || a->busy ||
	    lp_now_us() < a->tidy_us)
		return;
	a->busy = true;
	(void)pthread_mutex_unlock(&a->lock);
	tidy(a);
	(void)pthread_mutex_lock(&a->lock);
	let_go(a);
}

/* Takes the next of the queue, and the tree; *out is NULL when there is something else to do.
 * Returns false to stop. */
static bool next(struct lp_apply *a, struct queued **out)
{
	struct queued *q = NULL;
	bool stop;

	(void)pthread_mutex_lock(&a->lock);
	let_go(a);
	while (!a->stop && (a->busy || (!a->first && !may_verify(a))))
		await(a);
	stop = a->stop;
	if (!stop && a->first) {
		q = a->first;
		a->first = q->next;
		if (!a->first)
			a->last = NULL;
	}
	a->busy = true;
	(void)pthread_mutex_unlock(&a->lock);
	*out = q;
	return !stop;
}

static void *run(void *arg)
{
	struct lp_apply *a = arg;
	struct queued *q;

	while (next(a, &q)) {
		give_room(a);
		if (q)
			process(a, q);
		if (may_verify(a))
			verify(a);
	}
	return NULL;
}

int lp_apply_create(struct lp_apply **out, struct lp_loop *loop, const char *tree_path,
		    const struct lp_apply_ops *ops, void *ctx, struct lp_err *err)
{
	struct lp_apply *a = lp_xcalloc(1, sizeof(*a));
	int r = lp_tree_open(&a->tree, tree_path, err);
	pthread_condattr_t attr;

	if (r < 0) {
		free(a);
		return r;
	}
	lp_apply_note_damage(a->tree);
	(void)mallopt(M_MMAP_THRESHOLD, KEEP_BYTES);
	(void)mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
	a->loop = loop;
	a->ops = *ops;
	a->ctx = ctx;
	(void)pthread_mutex_init(&a->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&a->wake, &attr);
	(void)pthread_condattr_destroy(&attr);
	lp_apply_note_state(a);
	publish_state(a);
	a->busy = true; /* until the thread begins to wait */
	r = lp_thread_start(&a->thread, run, a);
	if (r < 0) {
		lp_tree_close(a->tree);
		free(a);
		return lp_err_set(err, -r, "cannot start the apply thread");
	}
	*out = a;
	return 0;
}

void lp_apply_stop(struct lp_apply *a)
{
	if (!a || a->stop)
		return;
	(void)pthread_mutex_lock(&a->lock);
	a->stop = true;
	(void)pthread_cond_signal(&a->wake);
	(void)pthread_mutex_unlock(&a->lock);
	(void)pthread_join(a->thread, NULL);
	while (a->first) {
		struct queued *q = a->first;

		a->first = q->next;
		lp_job_destroy(q->job);
		free(q->rollback);
		free(q);
	}
	a->last = NULL;
}

void lp_apply_destroy(struct lp_apply *a)
{
	if (!a)
		return;
	lp_apply_stop(a);
	/* The loop does not run any more: what was posted stays undelivered. */
	while (a->outcomes) {
		struct outcome *o = a->outcomes;

		a->outcomes = o->next;
		outcome_destroy(o);
	}
	lp_tree_close(a->tree);
	(void)pthread_mutex_destroy(&a->lock);
	(void)pthread_cond_destroy(&a->wake);
	free(a);
}

static void enqueue(struct lp_apply *a, const struct queued *what)
{
	struct queued *q = lp_xcalloc(1, sizeof(*q));

	*q = *what;
	(void)pthread_mutex_lock(&a->lock);
	if (a->stop) {
		lp_job_destroy(q->job);
		free(q->rollback);
		free(q);
	} else {
		if (a->last)
			a->last->next = q;
		else
			a->first = q;
		a->last = q;
		if (q->greets)
			a->newest = q->epoch;
		(void)pthread_cond_signal(&a->wake);
	}
	(void)pthread_mutex_unlock(&a->lock);
}

/* Takes the tree for the loop's thread, to do a small job there, when the apply thread has nothing
 * to do. What was begun or is owed may be much, and comes before the job. */
static bool take_tree(struct lp_apply *a, const struct lp_job *job)
{
	bool is_free;

	(void)pthread_mutex_lock(&a->lock);
	is_free = !a->busy && !a->first && !a->stop && !a->open && !a->wants_room &&
		  a->untidy + 1 < UNTIDY_MAX && lp_tree_is_at_hand(a->tree) && !a->owes &&
		  !lp_apply_replaces_dir(a, job);
	a->busy = a->busy || is_free;
	(void)pthread_mutex_unlock(&a->lock);
	return is_free;
}

void lp_apply_submit(struct lp_apply *a, struct lp_job *job, uint64_t epoch)
{
	const struct queued what = {.job = job, .epoch = epoch};
	struct queued *q;
	bool sleeps;

	/* To wake the thread up would take as long as what there is to do. */
	if (!lp_apply_is_small(job) || !take_tree(a, job)) {
		enqueue(a, &what);
		return;
	}
	q = lp_xcalloc(1, sizeof(*q));
	*q = what;
	process(a, q);
	(void)pthread_mutex_lock(&a->lock);
	let_go(a);
	sleeps = a->sleeps;
	(void)pthread_mutex_unlock(&a->lock);
	if (sleeps) /* to tidy later */
		(void)pthread_cond_signal(&a->wake);
}

void lp_apply_greet(struct lp_apply *a, uint64_t epoch)
{
	enqueue(a, &(struct queued){.epoch = epoch, .greets = true});
}

void lp_apply_lost(struct lp_apply *a, uint64_t epoch)
{
	enqueue(a, &(struct queued){.epoch = epoch});
}

void lp_apply_rollback(struct lp_apply *a, const struct lp_rollback *what)
{
	struct lp_rollback *copy = lp_xcalloc(1, sizeof(*copy));

	*copy = *what;
	enqueue(a, &(struct queued){.rollback = copy});
}

int lp_apply_tree_fd(const struct lp_apply *a)
{
	return lp_tree_fd(a->tree);
}

void lp_apply_state(struct lp_apply *a, struct lp_tree_state *out)
{
	(void)pthread_mutex_lock(&a->lock);
	*out = a->state;
	(void)pthread_mutex_unlock(&a->lock);
}
