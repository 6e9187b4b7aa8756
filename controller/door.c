/* controller/door.c: the instance's routes: control traffic to our own socket, its WebSockets to
 * our own loop, everything else to the generation that serves. */
#include "controller/cert.h"
#include "controller/fastpush.h"
#include "controller/instance_internal.h"
#include "controller/page.h"

#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "common/loop/ws.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CONTROL_ID UINT64_MAX
#define HANDED_MAX 64 /* sockets on their way to the loop; more go by the control socket */

/* A client's socket with its request for a WebSocket. */
struct handed {
	struct handed *next;
	int fd; /* owned */
	size_t len;
	uint8_t bytes[];
};

/* Drained generations and clients' sockets on their way from the proxy's thread to the loop's. */
struct lp_door {
	struct lp_instance *in;
	struct lp_post post;
	struct lp_post handed_post;
	pthread_mutex_t lock;
	struct handed *handed; /* protected by lock; the oldest first */
	size_t n_handed;       /* protected by lock */
	uint64_t *ids;         /* protected by lock */
	size_t n_ids;          /* protected by lock */
	size_t cap_ids;
	uint64_t generation; /* where requests go; 0: nowhere */
	uint16_t port;
};

static void run_drained(struct lp_post *post)
{
	struct lp_door *door = LP_CONTAINER_OF(post, struct lp_door, post);
	LP_AUTO_FREE uint64_t *ids = NULL;
	size_t n;

	(void)pthread_mutex_lock(&door->lock);
	ids = door->ids;
	n = door->n_ids;
	door->ids = NULL;
	door->n_ids = door->cap_ids = 0;
	(void)pthread_mutex_unlock(&door->lock);
	for (size_t i = 0; i < n && door->in->sup; i++)
		if (ids[i] != CONTROL_ID)
			lp_sup_drained(door->in->sup, ids[i]);
}

/* In the proxy's thread. */
static void on_drained(void *ctx, uint64_t id)
{
	struct lp_door *door = ctx;

	(void)pthread_mutex_lock(&door->lock);
	lp_grow(&door->ids, &door->cap_ids, door->n_ids + 1, sizeof(*door->ids));
	door->ids[door->n_ids++] = id;
	if (door->n_ids == 1)
		lp_loop_post(door->in->loop, &door->post);
	(void)pthread_mutex_unlock(&door->lock);
}

static struct handed *take_handed(struct lp_door *door)
{
	struct handed *all;

	(void)pthread_mutex_lock(&door->lock);
	all = door->handed;
	door->handed = NULL;
	door->n_handed = 0;
	(void)pthread_mutex_unlock(&door->lock);
	return all;
}

static void run_handed(struct lp_post *post)
{
	struct lp_door *door = LP_CONTAINER_OF(post, struct lp_door, handed_post);
	struct handed *next;

	for (struct handed *h = take_handed(door); h; h = next) {
		next = h->next;
		lp_ws_adopt(door->in->loop, h->fd, h->bytes, h->len);
		free(h);
	}
}

/* In the proxy's thread. */
static bool on_handover(void *ctx, int fd, const void *bytes, size_t len)
{
	struct lp_door *door = ctx;
	struct handed **last = &door->handed, *h;
	bool has_room;

	if (len > LP_WS_ADOPT_MAX_BYTES)
		return false;
	(void)pthread_mutex_lock(&door->lock);
	has_room = door->n_handed < HANDED_MAX;
	if (has_room) {
		h = lp_xcalloc(1, sizeof(*h) + len);
		h->fd = fd;
		h->len = len;
		memcpy(h->bytes, bytes, len);
		while (*last)
			last = &(*last)->next;
		*last = h;
		if (door->n_handed++ == 0)
			lp_loop_post(door->in->loop, &door->handed_post);
	}
	(void)pthread_mutex_unlock(&door->lock);
	return has_room;
}

static void control_addr(const struct lp_instance *in, struct lp_proxy_addr *addr)
{
	size_t len = strlen(in->control_name);

	*addr = (struct lp_proxy_addr){.u.un.sun_family = AF_UNIX};
	/* An abstract name begins with NUL and has no terminator. */
	memcpy(addr->u.un.sun_path + 1, in->control_name, len);
	addr->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
}

static void set_route(struct lp_instance *in, const struct lp_proxy_route *app)
{
	struct lp_proxy_upstream control = {.id = CONTROL_ID, .weight = 1};
	struct lp_proxy_route routes[4];
	size_t n = 0;
	struct lp_err err = {0};

	control_addr(in, &control.addr);
	routes[n++] = (struct lp_proxy_route){
		.host = "",
		.prefix = "/_livepush/",
		.kind = LP_ROUTE_FORWARD,
		.upstreams = &control,
		.n_upstreams = 1,
		.hands_over = true,
	};
	if (lp_fastpush_path(in)) {
		routes[n] = routes[0];
		routes[n].hands_over = false;
		routes[n++].prefix = lp_fastpush_path(in);
	}
	/* An app that serves its directory shall not serve what we keep there. */
	routes[n++] = (struct lp_proxy_route){
		.host = "", .prefix = "/**/" LP_STATE_DIR, .kind = LP_ROUTE_REFUSE, .status = 404};
	routes[n] = *app;
	routes[n].host = "";
	routes[n++].prefix = "/";
	in->door->generation = app->kind == LP_ROUTE_FORWARD ? app->upstreams->id : 0;
	if (lp_proxy_set_routes(in->proxy, routes, n, &err) < 0)
		lp_log(LP_ERROR, "door", "%s", err.msg);
}

static void door_forward(void *ctx, uint64_t generation, uint16_t port)
{
	struct lp_instance *in = ctx;
	struct lp_proxy_upstream up = {.id = generation, .weight = 1};
	LP_AUTO_FREE char *tag = lp_page_tag(in);

	in->door->port = port;
	up.addr.u.in = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	up.addr.len = sizeof(up.addr.u.in);
	set_route(in, &(struct lp_proxy_route){.kind = LP_ROUTE_FORWARD,
					       .upstreams = &up,
					       .n_upstreams = 1,
					       .inject = tag});
}

void lp_door_retag(struct lp_instance *in)
{
	if (in->door->generation)
		door_forward(in, in->door->generation, in->door->port);
}

static void door_hold(void *ctx)
{
	set_route(ctx, &(struct lp_proxy_route){.kind = LP_ROUTE_HOLD});
}

static void door_refuse(void *ctx, const char *text)
{
	set_route(ctx,
		  &(struct lp_proxy_route){.kind = LP_ROUTE_REFUSE, .status = 503, .text = text});
}

static void door_cut(void *ctx, uint64_t generation)
{
	struct lp_instance *in = ctx;

	lp_proxy_cut(in->proxy, generation);
}

static void door_cut_requests(void *ctx, uint64_t generation)
{
	struct lp_instance *in = ctx;

	lp_proxy_cut_requests(in->proxy, generation);
}

static void door_end_streams(void *ctx, uint64_t generation)
{
	struct lp_instance *in = ctx;

	lp_proxy_end_streams(in->proxy, generation);
}

void lp_door_mirror(struct lp_instance *in)
{
	set_route(in, &(struct lp_proxy_route){
			      .kind = LP_ROUTE_REFUSE,
			      .status = 404,
			      .text = "This livepush instance keeps a mirror; it runs no app.\n"});
}

struct lp_sup_door lp_door_of(struct lp_instance *in)
{
	return (struct lp_sup_door){
		.ctx = in,
		.forward = door_forward,
		.hold = door_hold,
		.refuse = door_refuse,
		.cut = door_cut,
		.cut_requests = door_cut_requests,
		.end_streams = door_end_streams,
	};
}

static struct lp_proxy_limits limits_of(const struct lp_conf *conf)
{
	const struct lp_conf_front *front = &conf->front;

	return (struct lp_proxy_limits){
		/* To the proxy, 0 is its default. */
		.hold_ms = conf->restart.hold_ms > 0 ? conf->restart.hold_ms : 1,
		.max_body_bytes = front->max_body_bytes,
		.max_conns = front->max_conns,
		.header_timeout_ms = front->header_ms,
		.body_timeout_ms = front->body_ms,
		.write_timeout_ms = front->write_ms,
		.response_timeout_ms = front->response_ms,
		.idle_timeout_ms = front->idle_ms,
		.via = front->via,
		.no_h2 = !front->h2c,
	};
}

void lp_door_configure(struct lp_instance *in)
{
	struct lp_proxy_limits limits = limits_of(in->conf);

	lp_proxy_set_limits(in->proxy, &limits);
}

int lp_door_open(struct lp_instance *in, struct lp_err *err)
{
	struct lp_proxy_opts opts = {.on_drained = on_drained, .on_handover = on_handover};
	int r = lp_proxy_addr_parse(&opts.listen, in->listen, err);

	if (r < 0)
		return r;
	in->door = lp_xcalloc(1, sizeof(*in->door));
	in->door->in = in;
	in->door->post.run = run_drained;
	in->door->handed_post.run = run_handed;
	(void)pthread_mutex_init(&in->door->lock, NULL);
	opts.ctx = in->door;
	opts.limits = limits_of(in->conf);
	r = lp_cert_open(in, &opts, err);
	if (r == 0)
		r = lp_proxy_create(&in->proxy, &opts, err);
	if (r == 0)
		lp_cert_watch(in);
	return r;
}

void lp_door_stop(struct lp_instance *in)
{
	lp_cert_close(in);
	lp_proxy_destroy(in->proxy);
	in->proxy = NULL;
}

void lp_door_close(struct lp_instance *in)
{
	struct handed *next;

	if (!in->door)
		return;
	for (struct handed *h = take_handed(in->door); h; h = next) {
		next = h->next;
		(void)close(h->fd);
		free(h);
	}
	(void)pthread_mutex_destroy(&in->door->lock);
	free(in->door->ids);
	free(in->door);
	in->door = NULL;
}
