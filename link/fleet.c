/* link/fleet.c: N links as one. */
#include "link/fleet.h"

#include "common/base/lp_mem.h"

#include <string.h>

struct lp_fleet {
	struct lp_link **links;
	size_t n;
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

int lp_fleet_create(struct lp_fleet **out, struct lp_loop *loop, const struct lp_fleet_opts *opts,
		    const struct lp_link_ops *ops, const struct lp_source *source,
		    struct lp_err *err)
{
	struct lp_fleet *fleet = lp_xcalloc(1, sizeof(*fleet));

	fleet->links = lp_xcalloc(opts->n_urls, sizeof(struct lp_link *));
	for (size_t i = 0; i < opts->n_urls; i++) {
		struct lp_link_opts one = opts->common;
		int r;

		one.url = opts->urls[i];
		one.index = (unsigned)i;
		if (opts->compress_auto)
			one.compress = !lp_url_is_local(one.url);
		r = lp_link_create(&fleet->links[i], loop, &one, ops, source, err);
		if (r < 0) {
			lp_fleet_destroy(fleet);
			return r;
		}
		fleet->n++;
	}
	*out = fleet;
	return 0;
}

void lp_fleet_destroy(struct lp_fleet *fleet)
{
	if (!fleet)
		return;
	for (size_t i = 0; i < fleet->n; i++)
		lp_link_destroy(fleet->links[i]);
	free(fleet->links);
	free(fleet);
}

bool lp_fleet_wants(const struct lp_fleet *fleet)
{
	bool any_streams = false;

	for (size_t i = 0; i < fleet->n; i++) {
		if (lp_link_is_idle(fleet->links[i]))
			return true;
		any_streams |= lp_link_is_streaming(fleet->links[i]);
	}
	return !any_streams;
}

void lp_fleet_push(struct lp_fleet *fleet, struct lp_changeset *cs)
{
	struct lp_frame *frame = lp_frame_create(cs);

	for (size_t i = 0; i < fleet->n; i++)
		lp_link_push(fleet->links[i], cs, frame);
	lp_frame_unref(frame);
}

size_t lp_fleet_size(const struct lp_fleet *fleet)
{
	return fleet->n;
}

struct lp_link *lp_fleet_link(struct lp_fleet *fleet, size_t i)
{
	return fleet->links[i];
}

bool lp_fleet_has_applied(const struct lp_fleet *fleet, uint64_t revision)
{
	for (size_t i = 0; i < fleet->n; i++)
		if (!lp_link_is_idle(fleet->links[i]) ||
		    lp_link_applied(fleet->links[i]) < revision)
			return false;
	return true;
}
