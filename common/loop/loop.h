/* common/loop/loop.h: the one event loop of a process: descriptors, timers, work from other
 * threads, signals. Everything here belongs to the loop's thread, except lp_loop_post and
 * lp_loop_stop. WebSockets are in common/loop/ws.h, child processes in common/loop/child.h.
 *
 * Rules for callbacks: never block, never run the loop again, do bounded work. A callback may
 * remove or clear its own or any other source; what was pending for it is dropped. */
#ifndef LP_COMMON_LOOP_LOOP_H
#define LP_COMMON_LOOP_LOOP_H

#include "common/base/lp_err.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct lp_loop; /* opaque: owns the libwebsockets context and an epoll descriptor inside it */

/* Makes the loop. Returns 0 or -errno. */
int lp_loop_create(struct lp_loop **out, struct lp_err *err) LP_MUST_USE;

/* Releases it. Sources that are still added are forgotten; their descriptors stay open. */
void lp_loop_destroy(struct lp_loop *loop);

/* Dispatches until lp_loop_stop. Returns 0, or -errno when the loop broke. */
int lp_loop_run(struct lp_loop *loop, struct lp_err *err) LP_MUST_USE;

/* Makes lp_loop_run return after the current callback. Any thread. */
void lp_loop_stop(struct lp_loop *loop);

/* A descriptor to wait for. Embed it in its owner and recover that with LP_CONTAINER_OF. The owner
 * fills fd (borrowed: never closed here; remove the source before closing it), events (EPOLLIN,
 * EPOLLOUT, …; level-triggered) and on_ready, which gets what is ready, EPOLLHUP and EPOLLERR
 * included. */
struct lp_fd_src {
	int fd;
	uint32_t events;
	void (*on_ready)(struct lp_fd_src *src, uint32_t ready);
	struct lp_loop *loop; /* private; NULL when not added */
};

int lp_loop_fd_add(struct lp_loop *loop, struct lp_fd_src *src, struct lp_err *err) LP_MUST_USE;

/* Waits for other events from now on. src must be added. */
void lp_loop_fd_events(struct lp_fd_src *src, uint32_t events);

/* Forgets the source; harmless when it is not added. */
void lp_loop_fd_remove(struct lp_fd_src *src);

/* A one-shot timer, embedded like lp_fd_src. Zero it, set on_fire. */
struct lp_timer {
	void (*on_fire)(struct lp_timer *timer);
	struct lp_loop *loop; /* private; NULL when not set */
	struct lp_timer *next;
	uint64_t due_us;
};

/* Fires once when lp_now_us() reaches due_us (microsecond precision, a timerfd); replaces what was
 * set before. */
void lp_timer_set(struct lp_loop *loop, struct lp_timer *timer, uint64_t due_us);

/* Forgets it; harmless when it is not set. */
void lp_timer_clear(struct lp_timer *timer);

/* A piece of work for the loop's thread, embedded in what it is about. */
struct lp_post {
	void (*run)(struct lp_post *post);
	struct lp_post *next; /* private */
};

/* Runs post->run in the loop's thread, soon, in the order of posting. post must stay valid until
 * then and may not be posted again before. Any thread; from the loop's own thread it runs after the
 * current callback. */
void lp_loop_post(struct lp_loop *loop, struct lp_post *post);

/* Blocks `signals` in the calling thread (call it before other threads start) and reports each
 * through a signalfd. Once per loop. */
int lp_loop_on_signals(struct lp_loop *loop, const sigset_t *signals,
		       void (*on_signal)(void *ctx, int signo), void *ctx,
		       struct lp_err *err) LP_MUST_USE;

#endif
