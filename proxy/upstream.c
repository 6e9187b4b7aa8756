/* proxy/upstream.c: the registry of upstreams and their connection pools. */
#include "proxy/upstream.h"

#include "common/base/lp_mem.h"
#include "proxy/addr.h"
#include "proxy/conn.h"
#include "proxy/route.h"
#include "proxy/server.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

void lp_px_upstreams_init(struct lp_px_upstreams *u)
{
	for (size_t i = 0; i < LP_COUNT_OF(u->buckets); i++)
		lp_px_list_init(&u->buckets[i]);
	lp_px_list_init(&u->drained);
}

void lp_px_upstreams_finish(struct lp_px_upstreams *u)
{
	struct lp_px_link *l;

	for (size_t i = 0; i < LP_COUNT_OF(u->buckets); i++) {
		while ((l = lp_px_list_pop(&u->buckets[i])) != NULL)
			free(LP_CONTAINER_OF(l, struct lp_px_upstream, link));
	}
}

static struct lp_px_link *bucket_of(struct lp_px_upstreams *u, uint64_t id)
{
	return &u->buckets[(id * 0x9e3779b97f4a7c15ULL >> 32) % LP_COUNT_OF(u->buckets)];
}

struct lp_px_upstream *lp_px_upstreams_find(struct lp_px_upstreams *u, uint64_t id)
{
	struct lp_px_link *bucket = bucket_of(u, id);

	for (struct lp_px_link *l = bucket->next; l != bucket; l = l->next) {
		struct lp_px_upstream *up = LP_CONTAINER_OF(l, struct lp_px_upstream, link);

		if (up->id == id)
			return up;
	}
	return NULL;
}

static struct lp_px_upstream *find_or_make(struct lp_proxy *p, const struct lp_px_target *t)
{
	struct lp_px_upstream *up = lp_px_upstreams_find(&p->upstreams, t->id);

	if (!up) {
		up = lp_xcalloc(1, sizeof(*up));
		up->id = t->id;
		up->addr = t->addr;
		lp_px_list_init(&up->running);
		lp_px_list_init(&up->idle);
		lp_px_list_push(bucket_of(&p->upstreams, t->id), &up->link);
	} else if (!lp_px_addr_same(&up->addr, &t->addr)) {
		lp_px_upstream_drop_idle(up);
		up->addr = t->addr;
		up->moves++;
	}
	return up;
}

void lp_px_upstreams_bind(struct lp_proxy *p, struct lp_px_table *t)
{
	for (size_t i = 0; i < t->n_routes; i++) {
		for (size_t k = 0; k < t->routes[i].n_targets; k++) {
			struct lp_px_target *target = &t->routes[i].targets[k];
			struct lp_px_upstream *up = find_or_make(p, target);

			target->upstream = up;
			up->table = t->number;
			up->retired = false;
			lp_px_link_drop(&up->drained);
		}
	}
}

static void check_drained(struct lp_proxy *p, struct lp_px_upstream *up)
{
	if (up->retired && !up->n_running && !lp_px_link_on(&up->drained))
		lp_px_list_push(&p->upstreams.drained, &up->drained);
}

/* Clients of HTTP/2 keep one connection for all that they ask: they are to make another. */
static void send_away(struct lp_proxy *p, struct lp_px_upstream *up)
{
	for (struct lp_px_link *l = up->running.next; l != &up->running; l = l->next) {
		struct lp_px_conn *c = LP_CONTAINER_OF(l, struct lp_px_conn, running);

		if (!c->is_http2)
			continue;
		c->ending = true;
		if (!lp_px_link_on(&c->ready))
			lp_px_list_push(&p->ready, &c->ready);
	}
}

void lp_px_upstreams_retire(struct lp_proxy *p, uint64_t table)
{
	for (size_t i = 0; i < LP_COUNT_OF(p->upstreams.buckets); i++) {
		struct lp_px_link *bucket = &p->upstreams.buckets[i];

		for (struct lp_px_link *l = bucket->next; l != bucket; l = l->next) {
			struct lp_px_upstream *up = LP_CONTAINER_OF(l, struct lp_px_upstream, link);

			if (up->table == table || up->retired)
				continue;
			up->retired = true;
			lp_px_upstream_drop_idle(up);
			send_away(p, up);
			check_drained(p, up);
		}
	}
}

void lp_px_upstream_drop_idle(struct lp_px_upstream *up)
{
	while (!lp_px_list_empty(&up->idle))
		lp_px_upconn_close(LP_CONTAINER_OF(up->idle.next, struct lp_px_upconn, link));
}

void lp_px_upstream_enter(struct lp_px_upstream *up, struct lp_px_conn *conn)
{
	assert(!conn->upstream);
	conn->upstream = up;
	lp_px_list_push(&up->running, &conn->running);
	up->n_running++;
	atomic_fetch_add_explicit(&conn->proxy->n_active, 1, memory_order_relaxed);
}

void lp_px_upstream_leave(struct lp_proxy *p, struct lp_px_conn *conn)
{
	struct lp_px_upstream *up = conn->upstream;

	if (!up)
		return;
	conn->upstream = NULL;
	lp_px_link_drop(&conn->running);
	up->n_running--;
	atomic_fetch_sub_explicit(&p->n_active, 1, memory_order_relaxed);
	check_drained(p, up);
}

bool lp_px_upstreams_evict(struct lp_px_upstreams *u)
{
	for (size_t i = 0; i < LP_COUNT_OF(u->buckets); i++) {
		struct lp_px_link *bucket = &u->buckets[i];

		for (struct lp_px_link *l = bucket->next; l != bucket; l = l->next) {
			struct lp_px_upstream *up = LP_CONTAINER_OF(l, struct lp_px_upstream, link);

			if (lp_px_list_empty(&up->idle))
				continue;
			lp_px_upconn_close(
				LP_CONTAINER_OF(up->idle.next, struct lp_px_upconn, link));
			return true;
		}
	}
	return false;
}

struct lp_px_upconn *lp_px_upconn_take(struct lp_px_upstream *up)
{
	struct lp_px_link *l = lp_px_list_pop_last(&up->idle);
	struct lp_px_upconn *uc;

	if (!l)
		return NULL;
	up->n_idle--;
	uc = LP_CONTAINER_OF(l, struct lp_px_upconn, link);
	uc->reused = true;
	uc->sent_before = uc->s.sent;
	return uc;
}

static void on_connected(struct lp_px_upconn *uc)
{
	int r = lp_px_sock_connect_result(&uc->s);

	uc->connecting = false;
	lp_px_timer_clear(&uc->conn->timer);
	if (r < 0)
		lp_px_exchange_fail(uc->conn, "upstream refused the connection", false);
}

static void on_event(struct lp_px_sock *s, uint32_t events)
{
	struct lp_px_upconn *uc = LP_CONTAINER_OF(s, struct lp_px_upconn, s);

	if (!uc->conn) { /* idle: closed by the upstream, or bytes that nobody asked for */
		if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			lp_px_upconn_close(uc);
		return;
	}
	lp_px_sock_note(s, events);
	if (uc->connecting) {
		struct lp_px_conn *conn = uc->conn;

		if (!(events & (EPOLLOUT | EPOLLHUP | EPOLLERR)))
			return;
		on_connected(uc);
		lp_px_conn_pump(conn);
		return;
	}
	lp_px_conn_pump(uc->conn);
}

struct lp_px_upconn *lp_px_upconn_open(struct lp_proxy *p, struct lp_px_upstream *up, int *r)
{
	struct lp_px_upconn *uc;
	bool connecting;
	int fd = lp_px_sock_connect(&up->addr, &connecting);

	if ((fd == -EMFILE || fd == -ENFILE) &&
	    (lp_px_upstreams_evict(&p->upstreams) || lp_px_listen_make_room(p)))
		fd = lp_px_sock_connect(&up->addr, &connecting);
	if (fd < 0) {
		*r = fd;
		return NULL;
	}
	uc = lp_xcalloc(1, sizeof(*uc));
	uc->s.fd = -1;
	uc->s.on_event = on_event;
	uc->s.in.cache = &p->cache;
	uc->s.out.cache = &p->cache;
	uc->proxy = p;
	uc->upstream = up;
	uc->moves = up->moves;
	uc->connecting = connecting;
	*r = lp_px_sock_open(&uc->s, p->epoll_fd, fd, connecting);
	if (*r < 0) {
		free(uc);
		return NULL;
	}
	return uc;
}

void lp_px_upconn_close(struct lp_px_upconn *uc)
{
	if (lp_px_link_on(&uc->link)) {
		lp_px_link_drop(&uc->link);
		uc->upstream->n_idle--;
	}
	uc->conn = NULL;
	lp_px_sock_close(&uc->s);
	lp_px_list_push(&uc->proxy->dead_upconns, &uc->link);
}

void lp_px_upconn_put(struct lp_px_upconn *uc, bool reusable)
{
	struct lp_px_upstream *up = uc->upstream;

	uc->conn = NULL;
	if (!reusable || up->retired || uc->moves != up->moves || !lp_px_sock_is_quiet(&uc->s) ||
	    up->n_idle >= uc->proxy->opts.limits.max_idle_upstream) {
		lp_px_upconn_close(uc);
		return;
	}
	lp_px_buf_finish(&uc->s.in);
	lp_px_buf_finish(&uc->s.out);
	lp_px_list_push(&up->idle, &uc->link);
	up->n_idle++;
}
