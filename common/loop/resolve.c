/* common/loop/resolve.c: getaddrinfo(3) in a detached thread, which reports through an eventfd. It
 * knows nothing of the loop, so that it may outlive it. */
#include "common/loop/resolve.h"

#include "common/base/lp_mem.h"
#include "common/base/lp_thread.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>

/* refs: of the owner and of the thread. fd: an eventfd. What the thread writes (addrs, fault) is
 * read when it has raised that. */
struct lp_resolve {
	atomic_uint refs;
	int fd;
	char host[LP_HOST_MAX_BYTES + 1];
	struct lp_addrs addrs;
	const char *fault; /* static, or NULL */
	struct lp_fd_src src;
	lp_resolved_fn *on_done;
	void *ctx;
};

static void unref(struct lp_resolve *r)
{
	if (atomic_fetch_sub(&r->refs, 1) > 1)
		return;
	lp_auto_close(&r->fd);
	free(r);
}

static void take_addresses(struct lp_resolve *r, const struct addrinfo *list)
{
	for (const struct addrinfo *a = list; a && r->addrs.n < LP_ADDRS_MAX; a = a->ai_next) {
		char *to = r->addrs.at[r->addrs.n];

		if (getnameinfo(a->ai_addr, a->ai_addrlen, to, LP_ADDR_BYTES, NULL, 0,
				NI_NUMERICHOST) == 0)
			r->addrs.n++;
	}
}

static void *run(void *arg)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	const uint64_t one = 1;
	struct lp_resolve *r = arg;
	struct addrinfo *list = NULL;
	int e = getaddrinfo(r->host, NULL, &hints, &list);

	if (e == 0) {
		take_addresses(r, list);
		freeaddrinfo(list);
	}
	if (r->addrs.n == 0)
		r->fault = e == 0 || e == EAI_NONAME ? "no such host; is the address right?"
						     : gai_strerror(e);
	if (write(r->fd, &one, sizeof(one)) < 0)
		abort(); /* an eventfd that was never raised takes it */
	unref(r);
	return NULL;
}

static void on_raised(struct lp_fd_src *src, uint32_t ready)
{
	struct lp_resolve *r = LP_CONTAINER_OF(src, struct lp_resolve, src);
	uint64_t count;

	(void)ready;
	if (read(r->fd, &count, sizeof(count)) < 0)
		return;
	lp_loop_fd_remove(src);
	r->on_done(r->ctx, &r->addrs, r->fault);
	unref(r);
}

int lp_resolve_start(struct lp_resolve **out, struct lp_loop *loop, const char *host,
		     lp_resolved_fn *on_done, void *ctx, struct lp_err *err)
{
	struct lp_resolve *r;
	int e;

	if (strlen(host) > LP_HOST_MAX_BYTES)
		return lp_err_set(err, ENAMETOOLONG, "%s", host);
	r = lp_xcalloc(1, sizeof(*r));
	memcpy(r->host, host, strlen(host) + 1);
	r->on_done = on_done;
	r->ctx = ctx;
	atomic_init(&r->refs, 2);
	r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->src = (struct lp_fd_src){.fd = r->fd, .events = EPOLLIN, .on_ready = on_raised};
	e = r->fd < 0 ? -errno : lp_loop_fd_add(loop, &r->src, err);
	if (e == 0) {
		e = lp_thread_start(NULL, run, r);
		if (e == 0) {
			*out = r;
			return 0;
		}
		lp_loop_fd_remove(&r->src);
	}
	lp_auto_close(&r->fd);
	free(r);
	return lp_err_set(err, -e, "look up %s", host);
}

void lp_resolve_cancel(struct lp_resolve *r)
{
	if (!r)
		return;
	lp_loop_fd_remove(&r->src);
	unref(r);
}
