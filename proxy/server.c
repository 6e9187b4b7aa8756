/* proxy/server.c: the public calls, the thread with its epoll loop, and what passes between. */
#include "proxy/server.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_thread.h"
#include "proxy/addr.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 256
#define REDIAL_MS      2
#define GONE_MS        5000
#define LINGER_MS      2000

static void on_posted(struct lp_px_sock *s, uint32_t events)
{
	uint64_t count;

	(void)events;
	/* The count does not matter: what was posted stands in the queues. */
	while (read(s->fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

void lp_px_wake(struct lp_proxy *p)
{
	uint64_t one = 1;

	while (write(p->event.fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* Puts a table into force. Proxy thread. */
static void apply(struct lp_proxy *p, struct lp_px_table *t)
{
	struct lp_px_link held;
	struct lp_px_link *l;

	lp_px_upstreams_bind(p, t);
	lp_px_upstreams_retire(p, t->number);
	lp_px_table_destroy(p->table);
	p->table = t;
	lp_px_list_init(&held);
	lp_px_list_take_all(&held, &p->held);
	while ((l = held.next) != &held)
		lp_px_conn_release(LP_CONTAINER_OF(l, struct lp_px_conn, held));
}

/* Does what is ordered with one request of a retired upstream. It may leave the upstream. */
static void obey(struct lp_px_conn *c, enum lp_px_order_kind kind)
{
	bool is_stream = lp_px_conn_is_stream(c);

	if (kind == LP_PX_ORDER_END_STREAMS && is_stream)
		c->ending = true;
	else if (kind == LP_PX_ORDER_CUT || (kind == LP_PX_ORDER_CUT_REQUESTS && !is_stream))
		lp_px_exchange_fail(c, "the upstream was stopped", true);
	else
		return;
	lp_px_conn_pump(c);
}

static void follow_order(struct lp_proxy *p, const struct lp_px_order *order)
{
	struct lp_px_upstream *up = lp_px_upstreams_find(&p->upstreams, order->id);
	struct lp_px_link *l, *next;

	if (!up || !up->retired)
		return;
	for (l = up->running.next; l != &up->running; l = next) {
		next = l->next;
		obey(LP_CONTAINER_OF(l, struct lp_px_conn, running), order->kind);
	}
}

/* Does what other threads have posted. An order goes before a table that was posted after it. */
static void run_posted(struct lp_proxy *p)
{
	struct lp_px_table *t;

	lp_px_settings_take(p);
	for (;;) {
		struct lp_px_order *orders;
		size_t n;

		(void)pthread_mutex_lock(&p->lock);
		orders = p->orders;
		n = p->n_orders;
		p->orders = NULL;
		p->n_orders = p->cap_orders = 0;
		t = p->posted;
		if (t)
			p->posted = t->next;
		(void)pthread_mutex_unlock(&p->lock);
		for (size_t i = 0; i < n; i++)
			follow_order(p, &orders[i]);
		free(orders);
		if (!t)
			return;
		apply(p, t);
		(void)pthread_mutex_lock(&p->lock);
		p->last_applied = t->number;
		(void)pthread_cond_broadcast(&p->applied);
		(void)pthread_mutex_unlock(&p->lock);
	}
}

/* Tells the owner about drained upstreams. The callback may set another table, which may drain
 * others or bring one back. */
static void report_drained(struct lp_proxy *p)
{
	struct lp_px_link *l;

	while ((l = lp_px_list_pop(&p->upstreams.drained)) != NULL) {
		struct lp_px_upstream *up = LP_CONTAINER_OF(l, struct lp_px_upstream, drained);
		uint64_t id = up->id;

		lp_px_link_drop(&up->link);
		free(up);
		if (p->opts.on_drained)
			p->opts.on_drained(p->opts.ctx, id);
	}
}

static void run_timers(struct lp_proxy *p)
{
	struct lp_px_timer *t;

	for (size_t i = 0; i < LP_PX_WAIT_COUNT_; i++) {
		while ((t = lp_px_timeq_due(&p->waits[i], p->now_ms)) != NULL)
			lp_px_conn_expire(LP_CONTAINER_OF(t, struct lp_px_conn, timer));
	}
	if (p->paused && p->now_ms >= p->resume_ms)
		lp_px_listen_resume(p);
}

static void run_ready(struct lp_proxy *p)
{
	struct lp_px_link ready;
	struct lp_px_link *l;

	lp_px_list_init(&ready);
	lp_px_list_take_all(&ready, &p->ready);
	while ((l = lp_px_list_pop(&ready)) != NULL)
		lp_px_conn_pump(LP_CONTAINER_OF(l, struct lp_px_conn, ready));
}

static void reap(struct lp_proxy *p)
{
	struct lp_px_link *l;

	while ((l = lp_px_list_pop(&p->dead_upconns)) != NULL)
		free(LP_CONTAINER_OF(l, struct lp_px_upconn, link));
	while ((l = lp_px_list_pop(&p->dead_conns)) != NULL)
		free(LP_CONTAINER_OF(l, struct lp_px_conn, link));
}

/* How long epoll may wait. */
static int wait_ms(const struct lp_proxy *p)
{
	int64_t least = p->paused ? (int64_t)(p->resume_ms - p->now_ms) : -1;

	if (!lp_px_list_empty(&p->ready))
		return 0;
	if (p->paused && p->resume_ms <= p->now_ms)
		least = 100;
	for (size_t i = 0; i < LP_PX_WAIT_COUNT_; i++) {
		int64_t ms = lp_px_timeq_wait_ms(&p->waits[i], p->now_ms);

		if (ms >= 0 && (least < 0 || ms < least))
			least = ms;
	}
	return least > 60000 ? 60000 : (int)least;
}

static bool must_stop(struct lp_proxy *p)
{
	bool stop;

	(void)pthread_mutex_lock(&p->lock);
	stop = p->stop;
	(void)pthread_mutex_unlock(&p->lock);
	return stop;
}

static void *run(void *arg)
{
	struct lp_proxy *p = arg;
	struct epoll_event events[EVENTS_AT_ONCE];
	bool posted = false;

	while (!posted || !must_stop(p)) {
		int n = epoll_wait(p->epoll_fd, events, EVENTS_AT_ONCE, wait_ms(p));

		p->now_ms = lp_now_us() / 1000;
		posted = false;
		for (int i = 0; i < n; i++) {
			struct lp_px_sock *s = events[i].data.ptr;

			posted = posted || s == &p->event;
			if (s->fd >= 0) /* an earlier event may have closed it */
				s->on_event(s, events[i].events);
		}
		run_ready(p);
		run_timers(p);
		if (posted)
			run_posted(p);
		report_drained(p);
		reap(p);
	}
	return NULL;
}

static void init_fields(struct lp_proxy *p, const struct lp_proxy_opts *opts)
{
	p->opts = *opts;
	p->epoll_fd = -1;
	p->event.fd = -1;
	p->event.on_event = on_posted;
	p->listener.fd = -1;
	p->listener.on_event = lp_px_listen_on_event;
	p->now_ms = lp_now_us() / 1000;
	for (size_t i = 0; i < LP_PX_WAIT_COUNT_; i++)
		lp_px_timeq_init(&p->waits[i], 0);
	lp_px_timeq_init(&p->waits[LP_PX_WAIT_REDIAL], REDIAL_MS);
	lp_px_timeq_init(&p->waits[LP_PX_WAIT_GONE], GONE_MS);
	lp_px_timeq_init(&p->waits[LP_PX_WAIT_LINGER], LINGER_MS);
	lp_px_settings_limits(p, &opts->limits);
	lp_px_list_init(&p->conns);
	lp_px_list_init(&p->held);
	lp_px_list_init(&p->ready);
	lp_px_list_init(&p->dead_conns);
	lp_px_list_init(&p->dead_upconns);
	lp_px_upstreams_init(&p->upstreams);
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_cond_init(&p->applied, NULL);
}

static int watch(struct lp_proxy *p, struct lp_px_sock *s)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = s};

	return epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, s->fd, &ev) < 0 ? -errno : 0;
}

static int open_all(struct lp_proxy *p, struct lp_err *err)
{
	int r;

	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->epoll_fd < 0)
		return lp_err_set(err, errno, "create an epoll descriptor");
	p->event.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->event.fd < 0)
		return lp_err_set(err, errno, "create an eventfd");
	p->listener.fd = lp_px_listen_open(p, err);
	if (p->listener.fd < 0)
		return p->listener.fd;
	r = watch(p, &p->event);
	if (r == 0)
		r = watch(p, &p->listener);
	return r < 0 ? lp_err_set(err, -r, "watch the listening socket") : 0;
}

/* No signal reaches it, SIGPIPE included. */
static int start_thread(struct lp_proxy *p, struct lp_err *err)
{
	int r = lp_thread_start(&p->thread, run, p);

	return r < 0 ? lp_err_set(err, -r, "start the proxy's thread") : 0;
}

/* Releases everything; the thread does not run. */
static void dispose(struct lp_proxy *p)
{
	struct lp_px_table *t;

	while (!lp_px_list_empty(&p->conns))
		lp_px_conn_close(LP_CONTAINER_OF(p->conns.next, struct lp_px_conn, link), false);
	for (size_t i = 0; i < LP_COUNT_OF(p->upstreams.buckets); i++) {
		struct lp_px_link *bucket = &p->upstreams.buckets[i];

		for (struct lp_px_link *l = bucket->next; l != bucket; l = l->next)
			lp_px_upstream_drop_idle(LP_CONTAINER_OF(l, struct lp_px_upstream, link));
	}
	reap(p);
	lp_px_upstreams_finish(&p->upstreams);
	lp_px_table_destroy(p->table);
	while ((t = p->posted) != NULL) {
		p->posted = t->next;
		lp_px_table_destroy(t);
	}
	free(p->orders);
	lp_px_tls_unload(p->tls);
	lp_px_tls_unload(p->new_tls);
	lp_px_cache_finish(&p->cache);
	if (p->listener.fd >= 0 && p->opts.listen.u.any.sa_family == AF_UNIX)
		(void)unlink(p->opts.listen.u.un.sun_path);
	lp_auto_close(&p->listener.fd);
	lp_auto_close(&p->event.fd);
	lp_auto_close(&p->epoll_fd);
	(void)pthread_mutex_destroy(&p->lock);
	(void)pthread_cond_destroy(&p->applied);
	free(p);
}

int lp_proxy_create(struct lp_proxy **out, const struct lp_proxy_opts *opts, struct lp_err *err)
{
	struct lp_proxy *p = lp_xcalloc(1, sizeof(*p));
	int r;

	lp_px_http_setup();
	init_fields(p, opts);
	r = opts->tls_cert ? lp_px_tls_load(&p->tls, opts->tls_cert, opts->tls_key, err) : 0;
	if (r == 0)
		r = open_all(p, err);
	if (r == 0)
		r = start_thread(p, err);
	if (r < 0) {
		dispose(p);
		return r;
	}
	*out = p;
	return 0;
}

uint16_t lp_proxy_port(const struct lp_proxy *p)
{
	return p->port;
}

int lp_proxy_set_routes(struct lp_proxy *p, const struct lp_proxy_route *routes, size_t n,
			struct lp_err *err)
{
	bool inside = pthread_equal(pthread_self(), p->thread);
	struct lp_px_table **last;
	struct lp_px_table *t;
	uint64_t number;
	int r = lp_px_table_create(&t, routes, n, err);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&p->lock);
	number = ++p->last_posted;
	t->number = number;
	for (last = &p->posted; *last; last = &(*last)->next)
		;
	*last = t;
	if (!inside) {
		lp_px_wake(p);
		while (p->last_applied < number)
			(void)pthread_cond_wait(&p->applied, &p->lock);
	}
	(void)pthread_mutex_unlock(&p->lock);
	if (inside)
		run_posted(p);
	return 0;
}

static void post_order(struct lp_proxy *p, uint64_t id, enum lp_px_order_kind kind)
{
	(void)pthread_mutex_lock(&p->lock);
	lp_grow(&p->orders, &p->cap_orders, p->n_orders + 1, sizeof(*p->orders));
	p->orders[p->n_orders++] = (struct lp_px_order){.kind = kind, .id = id};
	(void)pthread_mutex_unlock(&p->lock);
	lp_px_wake(p);
}

void lp_proxy_cut(struct lp_proxy *p, uint64_t id)
{
	post_order(p, id, LP_PX_ORDER_CUT);
}

void lp_proxy_cut_requests(struct lp_proxy *p, uint64_t id)
{
	post_order(p, id, LP_PX_ORDER_CUT_REQUESTS);
}

void lp_proxy_end_streams(struct lp_proxy *p, uint64_t id)
{
	post_order(p, id, LP_PX_ORDER_END_STREAMS);
}

void lp_proxy_stats(const struct lp_proxy *p, struct lp_proxy_stats *out)
{
	out->requests = atomic_load_explicit(&p->n_requests, memory_order_relaxed);
	out->failed = atomic_load_explicit(&p->n_failed, memory_order_relaxed);
	out->conns = atomic_load_explicit(&p->n_conns, memory_order_relaxed);
	out->held = atomic_load_explicit(&p->n_held, memory_order_relaxed);
	out->active = atomic_load_explicit(&p->n_active, memory_order_relaxed);
}

void lp_proxy_destroy(struct lp_proxy *p)
{
	if (!p)
		return;
	assert(!pthread_equal(pthread_self(), p->thread));
	(void)pthread_mutex_lock(&p->lock);
	p->stop = true;
	(void)pthread_mutex_unlock(&p->lock);
	lp_px_wake(p);
	(void)pthread_join(p->thread, NULL);
	dispose(p);
}
