/* fsmount/waits.c: see waits.h. */
#include "fsmount/waits.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_thread.h"
#include "fsmount/fs.h"

#include <string.h>
#include <time.h>

enum {
	/* A thread that had nothing to do for so long ends. */
	IDLE_S = 10,
};

/* What the caller is told when the barrier said r. */
static int error_for(const struct lp_fsmount *m, int r)
{
	return r < 0 && m->opts.barrier_strict ? EIO : 0;
}

static void do_wait(struct lp_waits *ws, struct lp_wait *wait)
{
	const struct lp_fsmount *m = ws->m;
	int r = -ETIME;

	if (lp_now_us() < wait->deadline_us)
		r = m->opts.barrier(m->opts.ctx, wait->path, wait->deadline_us);
	(void)fuse_reply_err(wait->req, error_for(m, r));
	free(wait);
}

/* With the lock held: the next one to wait for, NULL when this thread shall end. */
static struct lp_wait *take_locked(struct lp_waits *ws)
{
	struct timespec until;
	struct lp_wait *wait;
	int e = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_S;
	ws->idle++;
	while (ws->first == NULL && !ws->stopping && e == 0)
		e = pthread_cond_timedwait(&ws->changed, &ws->lock, &until);
	ws->idle--;
	wait = ws->first;
	if (wait != NULL) {
		ws->first = wait->next;
		ws->queued--;
	}
	return wait;
}

static void *run(void *arg)
{
	struct lp_waits *ws = arg;
	struct lp_wait *wait;

	(void)pthread_mutex_lock(&ws->lock);
	while ((wait = take_locked(ws)) != NULL) {
		(void)pthread_mutex_unlock(&ws->lock);
		do_wait(ws, wait);
		(void)pthread_mutex_lock(&ws->lock);
	}
	ws->alive--;
	(void)pthread_cond_broadcast(&ws->changed);
	(void)pthread_mutex_unlock(&ws->lock);
	return NULL;
}

void lp_waits_start(struct lp_waits *ws, struct lp_fsmount *m)
{
	pthread_condattr_t attr;

	*ws = (struct lp_waits){.m = m, .started = true};
	(void)pthread_mutex_init(&ws->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&ws->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
}

/* One more thread; that it cannot be had is no matter while there are others. */
static void spawn_locked(struct lp_waits *ws)
{
	if (lp_thread_start(NULL, run, ws) == 0)
		ws->alive++;
}

void lp_waits_add(struct lp_waits *ws, struct fuse_req *req, const char *path)
{
	size_t len = strlen(path) + 1;
	struct lp_wait *wait = lp_xcalloc(1, sizeof(*wait) + len);
	bool taken;

	wait->req = req;
	wait->deadline_us = lp_now_us() + ws->m->opts.barrier_us;
	memcpy(wait->path, path, len);
	(void)pthread_mutex_lock(&ws->lock);
	if (!ws->stopping && ws->idle <= ws->queued && ws->alive < LP_WAITS_MAX_THREADS)
		spawn_locked(ws);
	taken = !ws->stopping && ws->alive > 0;
	if (taken) {
		if (ws->first == NULL)
			ws->first = wait;
		else
			ws->last->next = wait;
		ws->last = wait;
		ws->queued++;
		(void)pthread_cond_signal(&ws->changed);
	}
	(void)pthread_mutex_unlock(&ws->lock);
	if (taken)
		return;
	(void)fuse_reply_err(req, error_for(ws->m, -EAGAIN));
	free(wait);
}

void lp_waits_stop(struct lp_waits *ws)
{
	if (!ws->started)
		return;
	(void)pthread_mutex_lock(&ws->lock);
	ws->stopping = true;
	while (ws->first != NULL) {
		struct lp_wait *wait = ws->first;

		ws->first = wait->next;
		(void)fuse_reply_err(wait->req, error_for(ws->m, -ECANCELED));
		free(wait);
	}
	(void)pthread_cond_broadcast(&ws->changed);
	while (ws->alive > 0)
		(void)pthread_cond_wait(&ws->changed, &ws->lock);
	(void)pthread_mutex_unlock(&ws->lock);
	ws->started = false; /* the lock stays: the mount is served for a moment longer */
}
