/* cli/mirror_sync.c: fsync(2) and close(2) on the mount that wait for the instances. */
#include "cli/mirror_internal.h"

#include "common/base/lp_clock.h"

#include <time.h>

/* On the stack of the thread that waits, which takes it out of the list. seen: the loop has noted
 * all that was written before. covered: it has a revision. */
struct lp_sync_wait {
	struct lp_sync_wait *next;
	pthread_cond_t changed;
	bool seen;
	bool covered;
	bool done;
	int result;
	uint64_t revision;
};

static void run_syncs(struct lp_post *post)
{
	struct lp_syncs *s = LP_CONTAINER_OF(post, struct lp_syncs, post);
	struct lp_mirror *m = LP_CONTAINER_OF(s, struct lp_mirror, syncs);

	lp_mirror_drain(m);
	(void)pthread_mutex_lock(&s->lock);
	s->posted = false;
	for (struct lp_sync_wait *w = s->first; w; w = w->next)
		w->seen = true;
	(void)pthread_mutex_unlock(&s->lock);
	lp_mirror_pump(m); /* looks at the waiters as well */
}

void lp_mirror_sync_init(struct lp_mirror *m)
{
	(void)pthread_mutex_init(&m->syncs.lock, NULL);
	m->syncs.post.run = run_syncs;
}

void lp_mirror_sync_finish(struct lp_mirror *m)
{
	(void)pthread_mutex_destroy(&m->syncs.lock);
}

static void leave(struct lp_syncs *s, struct lp_sync_wait *w)
{
	struct lp_sync_wait **at = &s->first;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
}

int lp_mirror_barrier(void *ctx, const char *path, uint64_t deadline_us)
{
	const struct timespec until = {.tv_sec = (time_t)(deadline_us / 1000000),
				       .tv_nsec = (long)(deadline_us % 1000000) * 1000};
	struct lp_mirror *m = ctx;
	struct lp_syncs *s = &m->syncs;
	struct lp_sync_wait w = {0};
	pthread_condattr_t attr;
	bool post;
	int r = 0;

	(void)path;
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&w.changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	(void)pthread_mutex_lock(&s->lock);
	w.done = s->closed;
	w.result = -ESHUTDOWN;
	w.next = s->first;
	s->first = &w;
	post = !s->posted && !s->closed;
	s->posted |= post;
	if (post)
		lp_loop_post(m->loop, &s->post);
	while (!w.done && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&w.changed, &s->lock, &until);
	leave(s, &w);
	(void)pthread_mutex_unlock(&s->lock);
	(void)pthread_cond_destroy(&w.changed);
	return w.done ? w.result : -ETIME;
}

static bool is_applied(const struct lp_mirror *m, uint64_t revision)
{
	if (!m->fleet)
		return false;
	for (size_t i = 0; i < lp_fleet_size(m->fleet); i++) {
		const struct lp_link *link = lp_fleet_link(m->fleet, i);

		if (!lp_link_has_ended(link) &&
		    (!lp_link_is_streaming(link) || lp_link_applied(link) < revision))
			return false;
	}
	return true;
}

static void finish(struct lp_sync_wait *w, int result)
{
	w->done = true;
	w->result = result;
	(void)pthread_cond_signal(&w->changed);
}

void lp_mirror_check_syncs(struct lp_mirror *m)
{
	struct lp_syncs *s = &m->syncs;
	bool held, all_taken;

	(void)pthread_mutex_lock(&s->lock);
	if (s->first) {
		held = lp_workspace_held(m->ws) != NULL;
		all_taken = !lp_workspace_has_notes(m->ws);
		for (struct lp_sync_wait *w = s->first; w; w = w->next) {
			if (w->done || !w->seen)
				continue;
			if (!w->covered && all_taken) {
				w->covered = true;
				w->revision = lp_workspace_revision(m->ws);
			}
			if (held ||
			    (w->covered && m->guard.deletes == 0 && is_applied(m, w->revision)))
				finish(w, 0);
		}
	}
	(void)pthread_mutex_unlock(&s->lock);
}

void lp_mirror_close_syncs(struct lp_mirror *m)
{
	struct lp_syncs *s = &m->syncs;

	(void)pthread_mutex_lock(&s->lock);
	s->closed = true;
	for (struct lp_sync_wait *w = s->first; w; w = w->next)
		if (!w->done)
			finish(w, -ESHUTDOWN);
	(void)pthread_mutex_unlock(&s->lock);
}
