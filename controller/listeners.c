/* controller/listeners.c: see listeners.h. */
#include "controller/listeners.h"

#include "common/base/lp_mem.h"
#include "controller/gate.h"

#include <string.h>

#define VISITORS_MAX  64                   /* browsers of visitors */
#define PAGES_MAX     16                   /* of the instance's own page */
#define VISITOR_BYTES ((size_t)256 * 1024) /* unread by a visitor; two of the largest events */

struct lp_listener {
	struct lp_listener *next;
	struct lp_listeners *all;
	struct lp_http *http;
	bool page;
	char from[LP_GATE_ADDRESS_BYTES];
};

static void drop(struct lp_listener *l)
{
	struct lp_listener **at = &l->all->first;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	l->all->n--;
	l->all->n_pages -= l->page;
	free(l);
}

static void on_gone(struct lp_http *http, void *user)
{
	(void)http;
	drop(user);
}

/* How many visitors' places the address has. */
static size_t count(const struct lp_listeners *all, const char *from)
{
	size_t n = 0;

	for (const struct lp_listener *l = all->first; l; l = l->next)
		n += !l->page && strcmp(l->from, from) == 0;
	return n;
}

/* Whether there is a place for a visitor; takes one away for it. Two fewer, so that those who come
 * back by themselves do not take it away from one another for ever. */
static bool make_room(const struct lp_listeners *all, const char *from)
{
	struct lp_listener *oldest = NULL;
	size_t most = 0;

	if (all->n - all->n_pages < VISITORS_MAX)
		return true;
	for (struct lp_listener *l = all->first; l; l = l->next) {
		size_t n = l->page ? 0 : count(all, l->from);

		if (n > 0 && n >= most) {
			most = n;
			oldest = l;
		}
	}
	if (!oldest || most < count(all, from) + 2)
		return false;
	lp_http_on_gone(oldest->http, NULL, NULL);
	lp_http_cut(oldest->http);
	drop(oldest);
	return true;
}

bool lp_listeners_add(struct lp_listeners *all, struct lp_http *http, bool page)
{
	char from[LP_GATE_ADDRESS_BYTES];
	struct lp_listener *l;

	lp_gate_peer(lp_http_header(http, LP_HTTP_FORWARDED_FOR), from);
	if (page ? all->n_pages >= PAGES_MAX : !make_room(all, from))
		return false;
	l = lp_xcalloc(1, sizeof(*l));
	*l = (struct lp_listener){.next = all->first, .all = all, .http = http, .page = page};
	memcpy(l->from, from, sizeof(from));
	all->first = l;
	all->n++;
	all->n_pages += page;
	if (!page)
		lp_http_bound(http, VISITOR_BYTES);
	lp_http_on_gone(http, on_gone, l);
	return true;
}

void lp_listeners_tell(const struct lp_listeners *all, bool pages_only, const void *data,
		       size_t len)
{
	for (struct lp_listener *l = all->first, *next; l; l = next) {
		next = l->next;
		if (!pages_only || l->page)
			(void)!lp_http_send(l->http, data, len);
	}
}

void lp_listeners_finish(struct lp_listeners *all)
{
	for (struct lp_listener *l = all->first, *next; l; l = next) {
		next = l->next;
		lp_http_on_gone(l->http, NULL, NULL);
		drop(l);
	}
}
