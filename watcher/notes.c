/* watcher/notes.c: events in: what is remembered of them until the next take. One note for each
 * path, however many events there are. */
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "watcher/settle.h"
#include "watcher/workspace_internal.h"

#include <string.h>

void lp_dirty_free(struct lp_dirty *d)
{
	if (!d)
		return;
	free(d->written);
	free(d->path);
	free(d);
}

void lp_notes_finish(struct lp_workspace *ws)
{
	size_t at = 0;

	for (struct lp_dirty *d; (d = lp_map_next(&ws->dirty, &at));)
		lp_dirty_free(d);
	lp_map_finish(&ws->dirty);
	at = 0;
	for (char *path; (path = lp_map_next(&ws->owed, &at));)
		free(path);
	lp_map_finish(&ws->owed);
}

void lp_workspace_tell(struct lp_workspace *ws)
{
	if (ws->ops.on_dirty && ws->n_holds == 0 && !lp_git_holds(ws))
		ws->ops.on_dirty(ws->ctx);
}

void lp_written_join(struct lp_written **into, struct lp_written *later)
{
	if (!later)
		return;
	if (*into && lp_sig_equal(&(*into)->after, &later->before)) {
		lp_ranges_join(&(*into)->ranges, &later->ranges);
		(*into)->after = later->after;
		free(later);
		return;
	}
	free(*into);
	*into = later;
}

void lp_workspace_renote(struct lp_workspace *ws, struct lp_dirty *d)
{
	struct lp_dirty *known = lp_map_get(&ws->dirty, d->path);

	if (!known) {
		(void)lp_map_put(&ws->dirty, d->path, d);
		return;
	}
	known->subtree |= d->subtree;
	known->closed |= d->closed;
	known->just_closed |= d->just_closed;
	known->created &= d->created;
	known->moved |= d->moved;
	known->changed |= d->changed;
	known->replaced |= d->replaced;
	known->rested &= d->rested;
	known->held &= d->held;
	if (!known->at_us || (d->at_us && d->at_us < known->at_us))
		known->at_us = d->at_us;
	if (d->last_us > known->last_us)
		known->last_us = d->last_us;
	lp_written_join(&known->written, d->written);
	d->written = NULL;
	lp_dirty_free(d);
}

static struct lp_written *copy_of(const struct lp_written *written)
{
	struct lp_written *copy;

	if (!written)
		return NULL;
	copy = lp_xcalloc(1, sizeof(*copy));
	*copy = *written;
	return copy;
}

/* One path of an event; a move has two. */
static void note(struct lp_workspace *ws, const struct lp_event *ev, const char *path, bool closed)
{
	const struct lp_event at = {.kind = ev->kind, .path = path, .at_us = ev->at_us};
	struct lp_dirty *d = lp_xcalloc(1, sizeof(*d));

	*d = (struct lp_dirty){
		.path = lp_xstrdup(path),
		.at_us = ev->at_us,
		.last_us = ev->at_us,
		.written = copy_of(ev->written),
		.subtree = ev->kind == LP_EVENT_SUBTREE || ev->kind == LP_EVENT_LOST,
		.closed = closed,
		.just_closed = ev->kind == LP_EVENT_CLOSED,
		.created = ev->kind == LP_EVENT_CREATED,
		.moved = ev->kind == LP_EVENT_MOVED,
		.changed = ev->kind != LP_EVENT_MOVED,
	};
	if (!lp_settle_event(ws, &at, d)) {
		lp_workspace_renote(ws, d);
		return;
	}
	/* A note that is there already stays; it finds the file busy. */
	lp_dirty_free(d);
}

static void note_move(struct lp_workspace *ws, const struct lp_event *ev)
{
	const struct lp_dirty *left;
	bool clean;

	/* What else happened to either of them makes the move uncertain. */
	left = lp_map_get(&ws->dirty, ev->from);
	clean = !left || !left->changed;
	note(ws, ev, ev->from, false);
	note(ws, ev, ev->path, false);
	((struct lp_dirty *)lp_map_get(&ws->dirty, ev->from))->replaced =
		lp_settle_makes_room(ws, ev->from, ev->path);
	if (clean)
		lp_moves_note(ws, ev->from, ev->path);
	else
		((struct lp_dirty *)lp_map_get(&ws->dirty, ev->path))->subtree = true;
}

void lp_workspace_note(struct lp_workspace *ws, const struct lp_event *ev, bool closed)
{
	if (lp_git_event(ws, ev))
		return;
	if (ev->kind == LP_EVENT_LOST && ev->path[0] == '\0') {
		lp_root_rescan(ws);
		return;
	}
	if (ev->kind == LP_EVENT_MOVED && ev->from) {
		note_move(ws, ev);
	} else if (ev->kind == LP_EVENT_MOVED) {
		const struct lp_event there = {
			.kind = LP_EVENT_SUBTREE, .path = ev->path, .at_us = ev->at_us};

		note(ws, &there, there.path, closed);
	} else {
		note(ws, ev, ev->path, closed);
	}
	if (ws->dirty.n > 0)
		lp_workspace_tell(ws);
}

void lp_workspace_dirty(struct lp_workspace *ws, enum lp_event_kind kind, const char *path)
{
	const struct lp_event ev = {.kind = kind, .path = path, .at_us = lp_now_us()};

	note(ws, &ev, path, false);
	lp_workspace_tell(ws);
}

bool lp_workspace_owes(const struct lp_workspace *ws, const char *path)
{
	return lp_map_get(&ws->owed, path) != NULL;
}

void lp_workspace_paid(struct lp_workspace *ws, const char *path)
{
	free(lp_map_remove(&ws->owed, path));
}

void lp_workspace_resend(struct lp_workspace *ws, const char *path)
{
	if (!lp_workspace_owes(ws, path)) {
		char *key = lp_xstrdup(path);

		(void)lp_map_put(&ws->owed, key, key);
	}
	lp_workspace_dirty(ws, LP_EVENT_CHANGED, path);
}

void lp_workspace_unread(struct lp_workspace *ws, const char *path, int cause)
{
	lp_workspace_notice(ws, path, strerror(-cause));
	lp_workspace_resend(ws, path);
}
