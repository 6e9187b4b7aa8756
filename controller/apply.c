/* controller/apply.c: the apply thread and its queue. */
#include "controller/apply.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct lp_apply {
	struct lp_loop *loop;
	struct lp_tree *tree; /* the apply thread's */
	struct lp_apply_ops ops;
	void *ctx;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct queued *first;       /* protected by lock */
	struct queued *last;        /* protected by lock */
	bool stop;                  /* protected by lock */
	struct lp_tree_state state; /* protected by lock */
	struct outcome *outcomes;   /* protected by lock: posted and not run yet */
	/* The changeset under way; the apply thread's. */
	uint64_t epoch;
	uint64_t begun_us;
	bool open;
	bool failed; /* its failure is reported when it ends */
	bool deaf;   /* after a resync was asked for: until the next LIST */
	struct lp_err failure;
};

struct queued {
	struct queued *next;
	struct lp_job *job;
	uint64_t epoch;
};

/* What a job led to, on its way to the loop's thread. */
struct outcome {
	struct lp_post post;
	struct outcome *prev, *next;
	struct lp_apply *apply;
	uint64_t epoch;
	size_t consumed;
	bool content;
	struct lp_buf *replies;
	size_t n_replies;
	size_t cap_replies;
	struct lp_applied applied;
	bool has_applied;
};

int lp_job_create(struct lp_job **out, const void *data, size_t len, struct lp_packer *packer,
		  struct lp_err *err)
{
	struct lp_job *job = lp_xcalloc(1, sizeof(*job));
	struct lp_buf inner = {0};
	int r = lp_buf_add(&job->bytes, data, len);

	if (r == 0)
		r = lp_msg_decode(&job->msg, job->bytes.data, job->bytes.len, err);
	if (r == 0 && job->msg.kind == LP_MSG_PACKED && !packer)
		r = lp_err_say(err, EBADMSG, "PACKED may not come yet");
	if (r == 0 && job->msg.kind == LP_MSG_PACKED) {
		r = lp_packer_unpack(packer, &job->msg.u.packed, &inner, err);
		lp_msg_finish(&job->msg);
		lp_buf_finish(&job->bytes);
		job->bytes = inner;
		if (r == 0)
			r = lp_msg_decode(&job->msg, job->bytes.data, job->bytes.len, err);
		if (r == 0 && job->msg.kind == LP_MSG_PACKED)
			r = lp_err_say(err, EBADMSG, "PACKED inside PACKED");
	}
	if (r < 0) {
		lp_job_destroy(job);
		return -EBADMSG;
	}
	*out = job;
	return 0;
}

void lp_job_destroy(struct lp_job *job)
{
	if (!job)
		return;
	lp_msg_finish(&job->msg);
	lp_buf_finish(&job->bytes);
	free(job);
}

static void reply(struct outcome *o, const struct lp_msg *msg)
{
	lp_grow(&o->replies, &o->cap_replies, o->n_replies + 1, sizeof(*o->replies));
	o->replies[o->n_replies] = (struct lp_buf){0};
	if (lp_msg_encode(msg, &o->replies[o->n_replies]) == 0)
		o->n_replies++;
}

static void reply_failed(struct lp_apply *a, struct outcome *o, uint64_t revision)
{
	struct lp_msg msg = {.kind = LP_MSG_FAILED};

	msg.u.failed.revision = revision;
	msg.u.failed.stage = LP_WIRE_STAGE_APPLY;
	msg.u.failed.resync = true;
	msg.u.failed.error = lp_bytes_of(a->failure.msg);
	reply(o, &msg);
	a->deaf = true;
}

/* LISTING messages for one path. */
struct lister {
	struct outcome *outcome;
	const struct lp_bytes *path;
	bool last_path;
};

static void emit_listing(void *ctx, const struct lp_wire_entry *entries, size_t n, bool more)
{
	const struct lister *l = ctx;
	struct lp_msg msg = {.kind = LP_MSG_LISTING};

	msg.u.listing.path = *l->path;
	msg.u.listing.more = more;
	msg.u.listing.last = l->last_path && !more;
	msg.u.listing.entries = (struct lp_wire_entry *)(uintptr_t)entries;
	msg.u.listing.n_entries = n;
	reply(l->outcome, &msg);
}

static void do_list(struct lp_apply *a, struct outcome *o, const struct lp_msg_list *list)
{
	a->deaf = false;
	for (size_t i = 0; i < list->n_paths; i++) {
		struct lister l = {o, &list->paths[i], i + 1 == list->n_paths};
		LP_AUTO_FREE char *path =
			lp_xstrndup((const char *)list->paths[i].p, list->paths[i].len);
		struct lp_err err = {0};

		if (lp_tree_list(a->tree, path, emit_listing, &l, &err) == 0)
			continue;
		/* What cannot be read is compared as empty; putting something there will fail with
		 * the cause. */
		emit_listing(&l, NULL, 0, false);
	}
}

static void fail(struct lp_apply *a, int r)
{
	if (r < 0)
		a->failed = true;
}

static void do_commit(struct lp_apply *a, struct outcome *o, const struct lp_msg_change *change)
{
	static const uint8_t unknown[16];
	struct lp_msg msg = {.kind = LP_MSG_APPLIED};

	if (!a->failed)
		fail(a, lp_tree_commit(a->tree, change->revision, &o->applied, &a->failure));
	else
		lp_tree_drop(a->tree);
	a->open = false;
	if (a->failed) {
		reply_failed(a, o, change->revision);
		return;
	}
	o->has_applied = true;
	if (memcmp(change->root, unknown, 16) != 0 &&
	    memcmp(change->root, o->applied.root.b, 16) != 0) {
		(void)snprintf(a->failure.msg, sizeof(a->failure.msg),
			       "the tree differs from the workspace; comparing again");
		reply_failed(a, o, change->revision);
		return;
	}
	msg.u.applied.revision = change->revision;
	msg.u.applied.files = o->applied.files;
	msg.u.applied.bytes = o->applied.bytes;
	msg.u.applied.took_us = lp_now_us() - a->begun_us;
	memcpy(msg.u.applied.root, o->applied.root.b, 16);
	reply(o, &msg);
}

static void do_change(struct lp_apply *a, struct outcome *o, const struct lp_msg_change *change)
{
	if (change->flags & LP_CHANGE_FIRST) {
		lp_tree_begin(a->tree);
		a->open = true;
		a->failed = false;
		a->begun_us = lp_now_us();
	} else if (!a->open) {
		lp_err_say(&a->failure, EBADMSG, "a changeset without a beginning");
		fail(a, -EBADMSG);
	}
	for (size_t i = 0; i < change->n_ops && !a->failed; i++)
		fail(a, lp_tree_op(a->tree, &change->ops[i], &a->failure));
	if (change->flags & LP_CHANGE_LAST)
		do_commit(a, o, change);
}

static void run_job(struct lp_apply *a, struct outcome *o, const struct lp_msg *msg)
{
	if (a->epoch != o->epoch) {
		lp_tree_drop(a->tree);
		a->epoch = o->epoch;
		a->open = a->failed = a->deaf = false;
	}
	if (msg->kind == LP_MSG_LIST)
		do_list(a, o, &msg->u.list);
	else if (a->deaf)
		return;
	else if (msg->kind == LP_MSG_CHANGE)
		do_change(a, o, &msg->u.change);
	else if (msg->kind == LP_MSG_DATA && a->open && !a->failed)
		fail(a, lp_tree_data(a->tree, &msg->u.data.content, &a->failure));
	else if (msg->kind == LP_MSG_SKIP && a->open && !a->failed)
		fail(a, lp_tree_skip(a->tree, &a->failure));
}

static void outcome_destroy(struct outcome *o)
{
	for (size_t i = 0; i < o->n_replies; i++)
		lp_buf_finish(&o->replies[i]);
	free(o->replies);
	lp_applied_finish(&o->applied);
	free(o);
}

static void deliver(struct lp_post *post)
{
	struct outcome *o = LP_CONTAINER_OF(post, struct outcome, post);
	struct lp_apply *a = o->apply;

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
	a->ops.on_consumed(a->ctx, o->epoch, o->consumed, o->content);
	if (o->has_applied)
		a->ops.on_applied(a->ctx, &o->applied);
	outcome_destroy(o);
}

static void publish_state(struct lp_apply *a)
{
	struct lp_tree_state s = {
		.revision = lp_tree_revision(a->tree),
		.files = lp_tree_count(a->tree),
		.bytes = lp_tree_bytes(a->tree),
		.root = lp_tree_root(a->tree),
		.foreign = lp_tree_count(a->tree) > 0 || lp_tree_is_foreign(a->tree),
	};

	(void)pthread_mutex_lock(&a->lock);
	a->state = s;
	(void)pthread_mutex_unlock(&a->lock);
}

static void process(struct lp_apply *a, struct queued *q)
{
	struct outcome *o = lp_xcalloc(1, sizeof(*o));
	bool may_change;

	o->post.run = deliver;
	o->apply = a;
	o->epoch = q->epoch;
	o->consumed = q->job->bytes.len;
	o->content = q->job->msg.kind != LP_MSG_LIST;
	run_job(a, o, &q->job->msg);
	/* Between the messages of a changeset the index stays as it is. */
	may_change = o->has_applied || o->n_replies > 0;
	lp_job_destroy(q->job);
	free(q);
	if (may_change)
		publish_state(a);
	(void)pthread_mutex_lock(&a->lock);
	o->next = a->outcomes;
	if (o->next)
		o->next->prev = o;
	a->outcomes = o;
	(void)pthread_mutex_unlock(&a->lock);
	lp_loop_post(a->loop, &o->post);
}

static void *run(void *arg)
{
	struct lp_apply *a = arg;

	for (;;) {
		struct queued *q;

		(void)pthread_mutex_lock(&a->lock);
		while (!a->first && !a->stop)
			(void)pthread_cond_wait(&a->wake, &a->lock);
		if (a->stop) {
			(void)pthread_mutex_unlock(&a->lock);
			return NULL;
		}
		q = a->first;
		a->first = q->next;
		if (!a->first)
			a->last = NULL;
		(void)pthread_mutex_unlock(&a->lock);
		process(a, q);
	}
}

static int start_thread(struct lp_apply *a)
{
	sigset_t all, before;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &before);
	r = pthread_create(&a->thread, NULL, run, a);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int lp_apply_create(struct lp_apply **out, struct lp_loop *loop, const char *tree_path,
		    const struct lp_apply_ops *ops, void *ctx, struct lp_err *err)
{
	struct lp_apply *a = lp_xcalloc(1, sizeof(*a));
	int r = lp_tree_open(&a->tree, tree_path, err);

	if (r < 0) {
		free(a);
		return r;
	}
	a->loop = loop;
	a->ops = *ops;
	a->ctx = ctx;
	(void)pthread_mutex_init(&a->lock, NULL);
	(void)pthread_cond_init(&a->wake, NULL);
	publish_state(a);
	r = start_thread(a);
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

void lp_apply_submit(struct lp_apply *a, struct lp_job *job, uint64_t epoch)
{
	struct queued *q = lp_xcalloc(1, sizeof(*q));

	q->job = job;
	q->epoch = epoch;
	(void)pthread_mutex_lock(&a->lock);
	if (a->last)
		a->last->next = q;
	else
		a->first = q;
	a->last = q;
	(void)pthread_cond_signal(&a->wake);
	(void)pthread_mutex_unlock(&a->lock);
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
