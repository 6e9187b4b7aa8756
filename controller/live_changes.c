/* controller/live_changes.c: what changed, and what that means to a browser. */
#include "controller/live_changes.h"

#include "common/base/lp_mem.h"

#include <string.h>

#define DUE_MAX 256 /* revisions that wait for being served; the oldest become one beyond */

void lp_reload_finish(struct lp_reload *r)
{
	for (size_t i = 0; i < r->n_css; i++)
		free(r->css[i]);
	*r = (struct lp_reload){0};
}

static void forget(struct lp_change *c)
{
	for (size_t i = 0; i < LP_CHANGE_PATHS; i++)
		free(c->paths[i]);
	*c = (struct lp_change){0};
}

void lp_changes_finish(struct lp_changes *c)
{
	for (size_t i = 0; i < LP_CHANGES_MAX; i++)
		forget(&c->ring[i]);
	for (size_t i = 0; i < c->n_due; i++)
		lp_reload_finish(&c->due[i].what);
	free(c->due);
	*c = (struct lp_changes){0};
}

static bool is_stylesheet(const char *path)
{
	size_t len = strlen(path);

	return len > 4 && strcasecmp(path + len - 4, ".css") == 0;
}

static void add_path(struct lp_reload *r, const char *path)
{
	if (r->whole)
		return;
	for (size_t i = 0; i < r->n_css; i++)
		if (strcmp(r->css[i], path) == 0)
			return;
	if (!is_stylesheet(path) || r->n_css == LP_RELOAD_CSS_MAX)
		r->whole = true;
	else
		r->css[r->n_css++] = lp_xstrdup(path);
}

/* Adds what `more` says; it is empty then. */
static void merge(struct lp_reload *r, struct lp_reload *more)
{
	if (!r->since)
		r->since = more->since;
	r->whole = r->whole || more->whole;
	for (size_t i = 0; i < more->n_css; i++)
		add_path(r, more->css[i]);
	lp_reload_finish(more);
}

/* Nobody says that anything is served: the two oldest become one. */
static void shorten(struct lp_changes *c)
{
	merge(&c->due[0].what, &c->due[1].what);
	c->due[0].revision = c->due[1].revision;
	memmove(&c->due[1], &c->due[2], (c->n_due - 2) * sizeof(*c->due));
	c->n_due--;
}

static void add_due(struct lp_changes *c, const struct lp_ruleset *rules, uint64_t revision,
		    const char *const *paths, size_t n)
{
	struct lp_reload what = {.since = revision};
	bool any = false;

	for (size_t i = 0; i < n && !what.whole; i++) {
		int rule = lp_ruleset_find(rules, paths[i]);

		if (rule >= 0 && lp_ruleset_at(rules, (size_t)rule)->action == LP_ACTION_NONE)
			continue;
		any = true;
		add_path(&what, paths[i]);
	}
	if (!any)
		return;
	lp_grow(&c->due, &c->cap_due, c->n_due + 1, sizeof(*c->due));
	c->due[c->n_due].revision = revision;
	c->due[c->n_due++].what = what;
	if (c->n_due > DUE_MAX)
		shorten(c);
}

void lp_changes_add(struct lp_changes *c, const struct lp_ruleset *rules, uint64_t revision,
		    uint64_t wall_us, const char *const *paths, size_t n)
{
	struct lp_change *at = &c->ring[c->next];

	if (n == 0)
		return;
	forget(at);
	c->next = (c->next + 1) % LP_CHANGES_MAX;
	at->revision = revision;
	at->wall_us = wall_us;
	at->n_paths = n;
	for (size_t i = 0; i < n && i < LP_CHANGE_PATHS; i++)
		at->paths[i] = lp_xstrdup(paths[i]);
	add_due(c, rules, revision, paths, n);
}

void lp_changes_settle(struct lp_changes *c, uint64_t revision)
{
	for (size_t i = 0; i < LP_CHANGES_MAX; i++)
		if (c->ring[i].n_paths > 0 && c->ring[i].revision <= revision &&
		    c->ring[i].state == LP_CHANGE_APPLIED)
			c->ring[i].state = LP_CHANGE_SETTLED;
}

void lp_changes_fail(struct lp_changes *c, uint64_t revision)
{
	for (size_t i = 0; i < LP_CHANGES_MAX; i++)
		if (c->ring[i].n_paths > 0 && c->ring[i].revision == revision)
			c->ring[i].state = LP_CHANGE_FAILED;
}

const struct lp_change *lp_changes_at(const struct lp_changes *c, size_t i)
{
	const struct lp_change *at =
		&c->ring[(c->next + LP_CHANGES_MAX - 1 - i % LP_CHANGES_MAX) % LP_CHANGES_MAX];

	return i < LP_CHANGES_MAX && at->n_paths > 0 ? at : NULL;
}

bool lp_changes_take(struct lp_changes *c, uint64_t revision, struct lp_reload *out)
{
	size_t n = 0;

	*out = (struct lp_reload){0};
	while (n < c->n_due && c->due[n].revision <= revision)
		merge(out, &c->due[n++].what);
	if (n > 0)
		memmove(c->due, c->due + n, (c->n_due - n) * sizeof(*c->due));
	c->n_due -= n;
	return n > 0;
}
