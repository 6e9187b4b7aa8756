/* common/loop/loop_internal.h: what loop.c and ws.c share. Nobody else includes it. */
#ifndef LP_COMMON_LOOP_LOOP_INTERNAL_H
#define LP_COMMON_LOOP_LOOP_INTERNAL_H

#include "common/loop/loop.h"

#include <pthread.h>
#include <stdatomic.h>

#define LP_LOOP_BATCH 64

struct lws_context;

/* The WebSocket side plugs itself in here when it is first used, so that a process without
 * WebSockets runs on epoll alone. service: one round of libwebsockets, which waits on epoll_fd too.
 * finish: releases everything of it. */
struct lp_loop_driver {
	int (*service)(struct lp_loop *loop);
	void (*finish)(struct lp_loop *loop);
};

struct lp_loop {
	int epoll_fd;
	int timer_fd;
	int wake_fd;
	int signal_fd;
	struct lp_fd_src timer_src;
	struct lp_fd_src wake_src;
	struct lp_fd_src signal_src;
	void (*on_signal)(void *ctx, int signo);
	void *signal_ctx;
	struct lp_timer *timers; /* sorted by due_us */
	uint64_t armed_us;       /* what timer_fd is set to; 0: nothing */
	uint64_t firing_us;      /* timers due until then are being fired; 0: none are */
	struct epoll_event batch[LP_LOOP_BATCH];
	int batch_n;
	pthread_mutex_t post_lock;
	struct lp_post *post_first; /* protected by post_lock */
	struct lp_post *post_last;  /* protected by post_lock */
	atomic_bool stop;
	const struct lp_loop_driver *driver;
	struct lp_ws_host *ws; /* owned by ws.c */
};

/* Dispatches what is ready now, waiting at most timeout_ms (-1: for ever). Returns 0 or -errno. */
int lp_loop_dispatch(struct lp_loop *loop, int timeout_ms);

#endif
