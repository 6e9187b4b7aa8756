/* common/loop/loop.c: descriptors, timers, posts and signals on one epoll descriptor. With
 * WebSockets in use that descriptor is adopted by libwebsockets' own poll loop (ws.c); without, it
 * is waited on directly. */
#include "common/loop/loop.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "common/loop/loop_internal.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static void on_timer_ready(struct lp_fd_src *src, uint32_t ready);
static void on_wake_ready(struct lp_fd_src *src, uint32_t ready);

int lp_loop_create(struct lp_loop **out, struct lp_err *err)
{
	struct lp_loop *loop = lp_xcalloc(1, sizeof(*loop));
	int r;

	loop->signal_fd = -1;
	(void)pthread_mutex_init(&loop->post_lock, NULL);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->epoll_fd < 0 || loop->timer_fd < 0 || loop->wake_fd < 0) {
		r = lp_err_set(err, errno, "cannot make the event loop");
		lp_loop_destroy(loop);
		return r;
	}
	loop->timer_src = (struct lp_fd_src){
		.fd = loop->timer_fd, .events = EPOLLIN, .on_ready = on_timer_ready};
	loop->wake_src = (struct lp_fd_src){
		.fd = loop->wake_fd, .events = EPOLLIN, .on_ready = on_wake_ready};
	if ((r = lp_loop_fd_add(loop, &loop->timer_src, err)) < 0 ||
	    (r = lp_loop_fd_add(loop, &loop->wake_src, err)) < 0) {
		lp_loop_destroy(loop);
		return r;
	}
	*out = loop;
	return 0;
}

void lp_loop_destroy(struct lp_loop *loop)
{
	if (!loop)
		return;
	if (loop->driver)
		loop->driver->finish(loop);
	lp_auto_close(&loop->epoll_fd);
	lp_auto_close(&loop->timer_fd);
	lp_auto_close(&loop->wake_fd);
	lp_auto_close(&loop->signal_fd);
	(void)pthread_mutex_destroy(&loop->post_lock);
	free(loop);
}

int lp_loop_dispatch(struct lp_loop *loop, int timeout_ms)
{
	int n = epoll_wait(loop->epoll_fd, loop->batch, LP_LOOP_BATCH, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	loop->batch_n = n;
	for (int i = 0; i < loop->batch_n; i++) {
		struct lp_fd_src *src = loop->batch[i].data.ptr;

		if (src)
			src->on_ready(src, loop->batch[i].events);
	}
	loop->batch_n = 0;
	return 0;
}

int lp_loop_run(struct lp_loop *loop, struct lp_err *err)
{
	int r;

	while (!atomic_load(&loop->stop)) {
		r = loop->driver ? loop->driver->service(loop) : lp_loop_dispatch(loop, -1);
		if (r < 0)
			return lp_err_set(err, -r, "the event loop broke");
	}
	return 0;
}

static void wake(struct lp_loop *loop)
{
	const uint64_t one = 1;

	/* EAGAIN means that the counter is full: it is awake already. */
	if (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		abort();
}

void lp_loop_stop(struct lp_loop *loop)
{
	atomic_store(&loop->stop, true);
	wake(loop);
}

int lp_loop_fd_add(struct lp_loop *loop, struct lp_fd_src *src, struct lp_err *err)
{
	struct epoll_event ev = {.events = src->events, .data.ptr = src};

	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, src->fd, &ev) < 0)
		return lp_err_set(err, errno, "cannot wait for descriptor %d", src->fd);
	src->loop = loop;
	return 0;
}

void lp_loop_fd_events(struct lp_fd_src *src, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = src};

	if (!src->loop || src->events == events)
		return;
	src->events = events;
	if (epoll_ctl(src->loop->epoll_fd, EPOLL_CTL_MOD, src->fd, &ev) < 0)
		abort(); /* the owner closed a descriptor before it removed the source */
}

void lp_loop_fd_remove(struct lp_fd_src *src)
{
	struct lp_loop *loop = src->loop;

	if (!loop)
		return;
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, src->fd, NULL);
	for (int i = 0; i < loop->batch_n; i++)
		if (loop->batch[i].data.ptr == src)
			loop->batch[i].data.ptr = NULL;
	src->loop = NULL;
}

static void arm(struct lp_loop *loop)
{
	uint64_t due_us = loop->timers ? loop->timers->due_us : 0;
	struct itimerspec spec = {0};

	if (due_us == loop->armed_us)
		return;
	spec.it_value.tv_sec = (time_t)(due_us / 1000000u);
	spec.it_value.tv_nsec = (long)(due_us % 1000000u) * 1000;
	if (timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
		abort();
	loop->armed_us = due_us;
}

void lp_timer_set(struct lp_loop *loop, struct lp_timer *timer, uint64_t due_us)
{
	struct lp_timer **at = &loop->timers;

	lp_timer_clear(timer);
	timer->due_us = due_us > loop->firing_us ? due_us : loop->firing_us + 1;
	while (*at && (*at)->due_us <= timer->due_us)
		at = &(*at)->next;
	timer->next = *at;
	timer->loop = loop;
	*at = timer;
	arm(loop);
}

void lp_timer_clear(struct lp_timer *timer)
{
	struct lp_loop *loop = timer->loop;
	struct lp_timer **at;

	if (!loop)
		return;
	for (at = &loop->timers; *at; at = &(*at)->next) {
		if (*at == timer) {
			*at = timer->next;
			break;
		}
	}
	timer->loop = NULL;
	timer->next = NULL;
	arm(loop);
}

static void on_timer_ready(struct lp_fd_src *src, uint32_t ready)
{
	struct lp_loop *loop = LP_CONTAINER_OF(src, struct lp_loop, timer_src);
	uint64_t expirations;

	(void)ready;
	if (read(loop->timer_fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
		abort();
	loop->armed_us = 0;
	/* Timers that callbacks set for "now" or before wait for the next round (lp_timer_set sees
	 * to it), so a callback that re-arms itself cannot starve the descriptors. */
	loop->firing_us = lp_now_us();
	while (loop->timers && loop->timers->due_us <= loop->firing_us) {
		struct lp_timer *timer = loop->timers;

		loop->timers = timer->next;
		timer->loop = NULL;
		timer->next = NULL;
		timer->on_fire(timer);
	}
	loop->firing_us = 0;
	arm(loop);
}

void lp_loop_post(struct lp_loop *loop, struct lp_post *post)
{
	bool first;

	post->next = NULL;
	(void)pthread_mutex_lock(&loop->post_lock);
	first = !loop->post_first;
	if (first)
		loop->post_first = post;
	else
		loop->post_last->next = post;
	loop->post_last = post;
	(void)pthread_mutex_unlock(&loop->post_lock);
	if (first)
		wake(loop);
}

static void on_wake_ready(struct lp_fd_src *src, uint32_t ready)
{
	struct lp_loop *loop = LP_CONTAINER_OF(src, struct lp_loop, wake_src);
	struct lp_post *post, *next;
	uint64_t count;

	(void)ready;
	if (read(loop->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		abort();
	(void)pthread_mutex_lock(&loop->post_lock);
	post = loop->post_first;
	loop->post_first = loop->post_last = NULL;
	(void)pthread_mutex_unlock(&loop->post_lock);
	for (; post; post = next) {
		next = post->next;
		post->run(post);
	}
}

static void on_signal_ready(struct lp_fd_src *src, uint32_t ready)
{
	struct lp_loop *loop = LP_CONTAINER_OF(src, struct lp_loop, signal_src);
	struct signalfd_siginfo info;

	(void)ready;
	while (read(loop->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		loop->on_signal(loop->signal_ctx, (int)info.ssi_signo);
}

int lp_loop_on_signals(struct lp_loop *loop, const sigset_t *signals,
		       void (*on_signal)(void *ctx, int signo), void *ctx, struct lp_err *err)
{
	int r = pthread_sigmask(SIG_BLOCK, signals, NULL);

	if (r != 0)
		return lp_err_set(err, r, "cannot block signals");
	loop->signal_fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop->signal_fd < 0)
		return lp_err_set(err, errno, "cannot wait for signals");
	loop->on_signal = on_signal;
	loop->signal_ctx = ctx;
	loop->signal_src = (struct lp_fd_src){
		.fd = loop->signal_fd, .events = EPOLLIN, .on_ready = on_signal_ready};
	return lp_loop_fd_add(loop, &loop->signal_src, err);
}
