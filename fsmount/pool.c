/* fsmount/pool.c: the threads; see pool.h.
 *
 * The library's own loop is not used: it cannot be made to end while processes keep a lazily
 * unmounted file system busy. These threads wait for requests in a blocking read, which wakes
 * exactly one of them at no further cost, and are cancelled only there. */
#include "fsmount/ops.h"

#include "common/base/lp_thread.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	GREETING_TIMEOUT_S = 10,
};

/* What one thread has in its hands while it may be cancelled. */
struct worker {
	struct lp_pool *pool;
	struct fuse_buf buf;
	bool waiting; /* counted as idle */
};

static void *run(void *arg);

/* With the lock held. A thread that cannot be had is no error: those that are there do its work. */
static int spawn_locked(struct lp_pool *p)
{
	int r;

	if (p->n == LP_POOL_MAX_THREADS)
		return -EAGAIN;
	r = lp_thread_start(&p->threads[p->n], run, p);
	if (r < 0)
		return r;
	p->n++;
	p->alive++;
	return 0;
}

/* The end of a thread, by itself or by cancellation. */
static void finish_worker(void *arg)
{
	struct worker *w = arg;
	struct lp_pool *p = w->pool;
	bool ended;

	free(w->buf.mem);
	(void)pthread_mutex_lock(&p->lock);
	if (w->waiting)
		p->idle--;
	p->alive--;
	ended = p->alive == 0 && p->ready && !p->muted && p->failed == 0;
	(void)pthread_cond_broadcast(&p->changed);
	(void)pthread_mutex_unlock(&p->lock);
	if (ended)
		p->on_ended(p->ctx);
}

/* Counts this thread as waiting. Returns false when it shall end instead. */
static bool begin_wait(struct worker *w)
{
	struct lp_pool *p = w->pool;

	(void)pthread_mutex_lock(&p->lock);
	w->waiting = !p->stopping && p->failed == 0;
	if (w->waiting)
		p->idle++;
	(void)pthread_mutex_unlock(&p->lock);
	return w->waiting;
}

/* The thread has something to do; when it was the last that waited another takes its place. */
static void end_wait(struct worker *w, bool have_request)
{
	struct lp_pool *p = w->pool;

	(void)pthread_mutex_lock(&p->lock);
	p->idle--;
	w->waiting = false;
	if (have_request && p->idle == 0 && !p->stopping)
		(void)spawn_locked(p);
	(void)pthread_mutex_unlock(&p->lock);
}

static void serve(struct worker *w)
{
	struct fuse_session *se = w->pool->se;

	while (begin_wait(w)) {
		int off;
		int r;

		(void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &off);
		r = fuse_session_receive_buf(se, &w->buf);
		(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &off);
		end_wait(w, r > 0);
		if (r > 0 && !lp_op_raw(w->pool->ctx, w->buf.mem, w->buf.size))
			fuse_session_process_buf(se, &w->buf);
		else if (r != -EINTR && r != -EAGAIN)
			return; /* unmounted, or the connection is broken */
	}
}

static void *run(void *arg)
{
	struct worker w = {.pool = arg};
	int off;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &off);
	pthread_cleanup_push(finish_worker, &w);
	/* A umask of its own: see lp_fs_act_begin. */
	if (unshare(CLONE_FS) == 0) {
		serve(&w);
	} else {
		(void)pthread_mutex_lock(&w.pool->lock);
		w.pool->failed = -errno;
		(void)pthread_mutex_unlock(&w.pool->lock);
	}
	pthread_cleanup_pop(1);
	return NULL;
}

/* Waits for the greeting, the end of all threads or the time-out. Returns 0 or -errno. */
static int wait_ready(struct lp_pool *p, struct lp_err *err)
{
	struct timespec deadline;
	int e = 0;
	int r = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += GREETING_TIMEOUT_S;
	(void)pthread_mutex_lock(&p->lock);
	while (!p->ready && p->alive > 0 && e == 0)
		e = pthread_cond_timedwait(&p->changed, &p->lock, &deadline);
	if (p->failed != 0)
		r = lp_err_set(err, -p->failed, "give a thread of its own a umask (unshare)");
	else if (!p->ready)
		r = lp_err_say(err, EPROTO, "the kernel's FUSE did not establish the session");
	(void)pthread_mutex_unlock(&p->lock);
	return r;
}

int lp_pool_start(struct lp_pool *p, struct fuse_session *se, void (*on_ended)(void *ctx),
		  void *ctx, struct lp_err *err)
{
	pthread_condattr_t attr;
	int r;

	*p = (struct lp_pool){.se = se, .on_ended = on_ended, .ctx = ctx, .started = true};
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&p->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	(void)pthread_mutex_lock(&p->lock);
	r = spawn_locked(p);
	(void)pthread_mutex_unlock(&p->lock);
	if (r < 0)
		(void)lp_err_set(err, -r, "start a thread for the file system");
	else
		r = wait_ready(p, err);
	if (r < 0)
		lp_pool_stop(p);
	return r;
}

void lp_pool_set_ready(struct lp_pool *p)
{
	(void)pthread_mutex_lock(&p->lock);
	p->ready = true;
	(void)pthread_cond_broadcast(&p->changed);
	(void)pthread_mutex_unlock(&p->lock);
}

void lp_pool_mute(struct lp_pool *p)
{
	if (!p->started)
		return;
	(void)pthread_mutex_lock(&p->lock);
	p->muted = true;
	(void)pthread_mutex_unlock(&p->lock);
}

void lp_pool_stop(struct lp_pool *p)
{
	unsigned n;

	if (!p->started)
		return;
	(void)pthread_mutex_lock(&p->lock);
	p->muted = true;
	p->stopping = true;
	n = p->n; /* grows no more */
	(void)pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < n; i++)
		(void)pthread_cancel(p->threads[i]);
	for (unsigned i = 0; i < n; i++)
		(void)pthread_join(p->threads[i], NULL);
	(void)pthread_cond_destroy(&p->changed);
	(void)pthread_mutex_destroy(&p->lock);
	p->started = false;
}
