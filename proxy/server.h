/* proxy/server.h: the proxy itself: its thread, what other threads hand to it, and the listener.
 * Everything is the proxy thread's but what the lock guards and the counters. */
#ifndef LP_PROXY_SERVER_H
#define LP_PROXY_SERVER_H

#include "proxy/conn.h"
#include "proxy/http.h"
#include "proxy/list.h"
#include "proxy/proxy.h"
#include "proxy/route.h"
#include "proxy/timeq.h"
#include "proxy/upstream.h"

#include <pthread.h>
#include <stdatomic.h>

/* What is to be done with the requests of a retired upstream. */
enum lp_px_order_kind {
	LP_PX_ORDER_CUT,          /* all are closed */
	LP_PX_ORDER_CUT_REQUESTS, /* but for tunnels and event streams */
	LP_PX_ORDER_END_STREAMS,  /* these are ended, the others left alone */
};

struct lp_px_order {
	enum lp_px_order_kind kind;
	uint64_t id;
};

struct lp_proxy {
	struct lp_proxy_opts opts;
	pthread_t thread;
	int epoll_fd;
	struct lp_px_sock event;    /* eventfd: other threads have posted something */
	struct lp_px_sock listener; /* level-triggered */
	uint16_t port;
	bool paused; /* not accepting: out of descriptors or at max_conns */
	uint64_t resume_ms;

	uint64_t now_ms;
	struct lp_px_timeq waits[LP_PX_WAIT_COUNT_];
	struct lp_px_cache cache;
	size_t heads_bytes; /* taken up by heads that are not whole and by handshakes */
	struct lp_px_link conns;
	struct lp_px_link held;
	struct lp_px_link ready;
	struct lp_px_link dead_conns;
	struct lp_px_link dead_upconns;
	struct lp_px_table *table; /* NULL before the first */
	struct lp_px_upstreams upstreams;
	struct lp_px_head head; /* scratch: the head being parsed */
	struct ssl_ctx_st *tls; /* for new connections; NULL: plain HTTP */

	pthread_mutex_t lock;
	pthread_cond_t applied;
	struct lp_px_table *posted; /* tables to come into force, oldest first */
	uint64_t last_posted;       /* numbers of tables */
	uint64_t last_applied;
	struct lp_px_order *orders; /* oldest first */
	size_t n_orders;
	size_t cap_orders;
	struct lp_proxy_limits new_limits; /* to come into force */
	bool has_new_limits;
	struct ssl_ctx_st *new_tls; /* owned; to come into force */
	bool stop;

	_Atomic uint64_t n_requests;
	_Atomic uint64_t n_failed;
	_Atomic uint32_t n_conns;
	_Atomic uint32_t n_held;
	_Atomic uint32_t n_active;
};

/* Opens the listening socket of opts->listen; sets p->port. Returns an owned descriptor or
 * -errno. */
int lp_px_listen_open(struct lp_proxy *p, struct lp_err *err) LP_MUST_USE;

/* Accepts what waits, up to a bound. */
void lp_px_listen_on_event(struct lp_px_sock *s, uint32_t events);

/* Closes the client connection that has been without a request for longest or, where all have one,
 * whose head is not whole for longest. Returns whether there was one. */
bool lp_px_listen_make_room(struct lp_proxy *p);

/* Stops accepting until resume is called or a moment has passed. */
void lp_px_listen_pause(struct lp_proxy *p);

/* Accepts again if that is paused and there is room. */
void lp_px_listen_resume(struct lp_proxy *p);

/* settings.c: puts limits into force, with the defaults in the place of zeroes; takes over what
 * other threads have set. */
void lp_px_settings_limits(struct lp_proxy *p, const struct lp_proxy_limits *limits);
void lp_px_settings_take(struct lp_proxy *p);

/* Has the proxy's thread look at what was posted. Any thread. */
void lp_px_wake(struct lp_proxy *p);

/* Arms c's timer. */
void lp_px_wait(struct lp_px_conn *c, enum lp_px_wait wait);

#endif
