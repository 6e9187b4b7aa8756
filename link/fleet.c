/* link/fleet.c: N links as one. */
#include "link/fleet.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "common/loop/net.h"
#include "link/canary.h"
#include "link/reel.h"

#include <string.h>

struct lp_fleet {
	struct lp_link **links;
	size_t n;
	struct lp_source source; /* zeroed for observers */
	struct lp_rate rate;
	struct lp_canary canary;
	struct lp_net *net; /* or NULL */
};

bool lp_url_is_local(const char *url)
{
	static const char *const hosts[] = {"127.", "localhost:", "localhost/", "[::1]"};
	const char *host = strstr(url, "://");

	if (!host)
		return false;
	host += 3;
	for (size_t i = 0; i < LP_COUNT_OF(hosts); i++)
		if (strncmp(host, hosts[i], strlen(hosts[i])) == 0)
			return true;
	return strcmp(host, "localhost") == 0;
}

static void on_net(void *ctx)
{
	struct lp_fleet *fleet = ctx;

	for (size_t i = 0; i < fleet->n; i++)
		lp_link_nudge(fleet->links[i]);
}

static int create_link(struct lp_fleet *fleet, struct lp_loop *loop,
		       const struct lp_fleet_opts *opts, const struct lp_link_ops *ops,
		       struct lp_err *err)
{
	struct lp_link_opts one = opts->common;

	one.url = opts->urls[fleet->n];
	one.index = (unsigned)fleet->n;
	one.rate = &fleet->rate;
	if (opts->compress_auto)
		one.compress = !lp_url_is_local(one.url);
	return lp_link_create(&fleet->links[fleet->n], loop, &one, ops, &fleet->source, err);
}

int lp_fleet_create(struct lp_fleet **out, struct lp_loop *loop, const struct lp_fleet_opts *opts,
		    const struct lp_link_ops *ops, const struct lp_source *source,
		    struct lp_err *err)
{
	struct lp_fleet *fleet = lp_xcalloc(1, sizeof(*fleet));
	int r = 0;

	if (source)
		fleet->source = *source;
	lp_rate_init(&fleet->rate, opts->rate_bytes_per_s, lp_now_us());
	fleet->links = lp_xcalloc(opts->n_urls, sizeof(struct lp_link *));
	while (fleet->n < opts->n_urls && r == 0) {
		r = create_link(fleet, loop, opts, ops, err);
		fleet->n += r == 0;
	}
	if (r < 0) {
		lp_fleet_destroy(fleet);
		return r;
	}
	fleet->canary.on_moved = opts->on_moved;
	fleet->canary.ctx = ops->ctx;
	if (opts->canary && fleet->n > 1)
		lp_canary_begin(&fleet->canary, loop, fleet->links, fleet->n);
	/* Where the kernel does not tell, the links come back a little later, by their timers. */
	if (opts->common.reconnect && lp_net_create(&fleet->net, loop, on_net, fleet, NULL) < 0)
		fleet->net = NULL;
	*out = fleet;
	return 0;
}

void lp_fleet_destroy(struct lp_fleet *fleet)
{
	if (!fleet)
		return;
	lp_net_destroy(fleet->net);
	lp_canary_end(&fleet->canary);
	for (size_t i = 0; i < fleet->n; i++)
		lp_link_destroy(fleet->links[i]);
	free(fleet->links);
	free(fleet);
}

bool lp_fleet_wants(const struct lp_fleet *fleet)
{
	bool any_streams = false;

	if (fleet->canary.is_on && !lp_canary_wants(&fleet->canary))
		return false;
	for (size_t i = 0; i < fleet->n; i++) {
		if (lp_link_is_idle(fleet->links[i]))
			return true;
		any_streams |= lp_link_is_streaming(fleet->links[i]);
	}
	return !any_streams;
}

void lp_fleet_push(struct lp_fleet *fleet, struct lp_changeset *cs)
{
	struct lp_reel *reel = lp_reel_create(cs, &fleet->source);

	if (fleet->canary.is_on && cs->n_ops > 0)
		lp_canary_try(&fleet->canary);
	for (size_t i = 0; i < fleet->n; i++)
		lp_link_push(fleet->links[i], cs, reel);
	lp_reel_unref(reel);
}

bool lp_fleet_tries(const struct lp_fleet *fleet, const struct lp_link *link)
{
	return lp_canary_tries(&fleet->canary, link);
}

void lp_fleet_up(struct lp_fleet *fleet, struct lp_link *link)
{
	lp_canary_up(&fleet->canary, link);
}

bool lp_fleet_heard(struct lp_fleet *fleet, struct lp_link *link, const struct lp_msg *msg)
{
	return lp_canary_heard(&fleet->canary, link, msg);
}

void lp_fleet_lost(struct lp_fleet *fleet, struct lp_link *link)
{
	lp_canary_lost(&fleet->canary, link);
}

size_t lp_fleet_size(const struct lp_fleet *fleet)
{
	return fleet->n;
}

struct lp_link *lp_fleet_link(struct lp_fleet *fleet, size_t i)
{
	return fleet->links[i];
}

size_t lp_fleet_live(const struct lp_fleet *fleet)
{
	size_t n = 0;

	for (size_t i = 0; i < fleet->n; i++)
		n += !lp_link_has_ended(fleet->links[i]);
	return n;
}

bool lp_fleet_has_applied(const struct lp_fleet *fleet, uint64_t revision)
{
	for (size_t i = 0; i < fleet->n; i++) {
		const struct lp_link *link = fleet->links[i];

		if (!lp_link_has_ended(link) &&
		    (!lp_link_is_idle(link) || lp_link_applied(link) < revision))
			return false;
	}
	return lp_fleet_live(fleet) > 0;
}
