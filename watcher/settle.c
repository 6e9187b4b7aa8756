/* watcher/settle.c: places that are left alone for a moment, because what is there is half of
 * something that goes on. Nothing that was saved to a known name by a writer that closed it waits
 * here.
 *
 *  - A file that somebody has open for writing is looked at when it is closed, which is an event;
 *    when it rested for REST_US or was written to for MARK_US without rest, held.c decides. Whoever
 *    asks whether all was taken does not wait for one that nobody has open (any more).
 *  - A file that is new and has a name as tools give to what they rename or remove at once waits
 *    until NAME_US after its last event; one whose name is made of the name of a known file beside
 *    it ("x.new" of "x") until MADE_US after it. So an editor's safe write is one change, and a
 *    file that really is called so is there a moment later.
 *  - What went away stays in the index until nothing went away for GONE_US, but not longer than
 *    GONE_MAX_US, or GONE_MANY_MAX_US when it is many: it may be made again (unlink, create), and
 *    many that are removed together are one changeset. What was renamed to make room for a new file
 *    of its name may take ROOM_US.
 *  - As long as a tree loses many and nothing in it is new, changes or comes back, it may be on its
 *    way to be removed as a whole, which must not go out bit by bit, each of them too little to be
 *    asked about (sync/guard.h). Then there is no longest time, and the rest grows with the time
 *    that it has taken so far, so that a disk that stalls does not pass for the end. */
#include "watcher/settle.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "watcher/names.h"
#include "watcher/workspace_internal.h"

#include <fcntl.h>
#include <string.h>

#define REST_US          100000u
#define MARK_US          1000000u
#define NAME_US          1000000u
#define MADE_US          50000u
#define GONE_US          10000u
#define GONE_MAX_US      1000000u
#define GONE_MANY        20u
#define GONE_MANY_MAX_US 30000000u
#define GONE_REST_SHARE  10u /* of the time since the first went away */
#define GONE_REST_MAX_US 2000000u
#define ROOM_US          500000u
#define CUT_US           10000u
#define TICK_US          2000u /* the least time between two looks at all that wait */

static void arm(struct lp_workspace *ws, uint64_t due_us)
{
	if (!ws->wait_timer.loop || due_us < ws->wait_timer.due_us)
		lp_timer_set(ws->loop, &ws->wait_timer, due_us);
}

static bool is_soon(enum lp_wait_why why)
{
	return why == LP_WAIT_NAME || why == LP_WAIT_GONE;
}

/* Counts a wait that begins or ends. */
static void count(struct lp_workspace *ws, enum lp_wait_why why, bool begins)
{
	size_t by = begins ? 1 : SIZE_MAX; /* which takes 1 away */

	if (is_soon(why))
		ws->n_soon += by;
	if (why == LP_WAIT_GONE)
		ws->n_gone += by;
}

void lp_settle_there(struct lp_workspace *ws, const char *path)
{
	const struct lp_wait *wait = ws->n_gone > 0 ? lp_map_get(&ws->waits, path) : NULL;

	if (wait && wait->why == LP_WAIT_GONE)
		ws->grew_us = lp_now_us();
}

/* The wait of that path, made when there is none. */
static struct lp_wait *wait_at(struct lp_workspace *ws, const char *path, enum lp_wait_why why)
{
	struct lp_wait *wait = lp_map_get(&ws->waits, path);

	if (!wait) {
		wait = lp_xcalloc(1, sizeof(*wait));
		wait->path = lp_xstrdup(path);
		wait->first_us = wait->last_us = lp_now_us();
		(void)lp_map_put(&ws->waits, wait->path, wait);
	} else {
		if (wait->why != why)
			wait->first_us = lp_now_us();
		if (why != LP_WAIT_GONE)
			lp_settle_there(ws, path);
		count(ws, wait->why, false);
	}
	wait->why = why;
	count(ws, why, true);
	return wait;
}

static void free_wait(struct lp_wait *wait)
{
	free(wait->written);
	free(wait->path);
	free(wait);
}

void lp_workspace_settled(struct lp_workspace *ws, const char *path)
{
	struct lp_wait *wait = lp_map_remove(&ws->waits, path);

	if (!wait)
		return;
	count(ws, wait->why, false);
	free_wait(wait);
}

void lp_settle_finish(struct lp_workspace *ws)
{
	size_t at = 0;

	lp_timer_clear(&ws->wait_timer);
	for (struct lp_wait *wait; (wait = lp_map_next(&ws->waits, &at));)
		free_wait(wait);
	lp_map_finish(&ws->waits);
	ws->n_soon = ws->n_gone = 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void lp_workspace_defer(struct lp_workspace *ws, const char *path)
{
	struct lp_wait *wait = wait_at(ws, path, LP_WAIT_WRITER);
	uint64_t now_us = lp_now_us();

	wait->due_us = least(wait->last_us + REST_US, wait->first_us + MARK_US);
	if (wait->due_us < now_us + TICK_US)
		wait->due_us = now_us + REST_US;
	arm(ws, wait->due_us);
}

void lp_settle_not_yet(struct lp_workspace *ws, struct lp_wait *wait)
{
	uint64_t now_us = lp_now_us();

	wait->is_cut = false;
	/* The next mark is a second after this one. */
	if (now_us - wait->first_us >= MARK_US)
		wait->first_us = now_us;
	wait->due_us = least(wait->first_us + MARK_US, wait->last_us + LP_HELD_REST_US);
	if (wait->due_us < now_us + TICK_US)
		wait->due_us = now_us + REST_US;
	arm(ws, wait->due_us);
}

void lp_settle_taken(struct lp_workspace *ws, const char *path)
{
	struct lp_wait *wait = wait_at(ws, path, LP_WAIT_OPEN);

	wait->taken = true;
	wait->due_us = 0;
	free(wait->written);
	wait->written = NULL;
}

void lp_settle_cut(struct lp_workspace *ws, const char *path)
{
	struct lp_wait *wait = wait_at(ws, path, LP_WAIT_WRITER);

	wait->taken = wait->is_cut = true;
	wait->due_us = lp_now_us() + CUT_US;
	arm(ws, wait->due_us);
}

void lp_settle_visited(struct lp_workspace *ws, const char *path)
{
	const struct lp_wait *wait = lp_map_get(&ws->waits, path);

	if (wait && wait->due_us == 0 && wait->why != LP_WAIT_OPEN)
		lp_workspace_settled(ws, path);
}

/* A writer goes on. */
static void on_writing(struct lp_workspace *ws, const char *path, struct lp_dirty *d)
{
	struct lp_wait *wait = lp_map_get(&ws->waits, path);

	if (wait && wait->why == LP_WAIT_NAME) {
		wait->last_us = lp_now_us();
		return;
	}
	wait = wait_at(ws, path, LP_WAIT_WRITER);
	wait->last_us = lp_now_us();
	if (!wait->at_us)
		wait->at_us = d->at_us;
	lp_written_join(&wait->written, d->written);
	d->written = NULL;
	if (!wait->is_cut || !wait->due_us)
		wait->due_us = least(wait->last_us + REST_US, wait->first_us + MARK_US);
	arm(ws, wait->due_us);
}

bool lp_settle_event(struct lp_workspace *ws, const struct lp_event *ev, struct lp_dirty *d)
{
	struct lp_wait *wait;

	if (ev->kind == LP_EVENT_WRITING) {
		on_writing(ws, ev->path, d);
		return true;
	}
	wait = lp_map_get(&ws->waits, ev->path);
	if (!wait)
		return false;
	wait->last_us = d->last_us;
	if (wait->at_us && (!d->at_us || wait->at_us < d->at_us))
		d->at_us = wait->at_us;
	lp_written_join(&wait->written, d->written);
	d->written = wait->written;
	wait->written = NULL;
	d->replaced |= wait->replaced;
	return false;
}

/* Whether the rest was long enough. */
static bool has_rested(const struct lp_workspace *ws, const struct lp_dirty *hint, uint64_t rest_us)
{
	return hint && (hint->rested || hint->last_us <= ws->quiet_us ||
			lp_now_us() >= hint->last_us + rest_us);
}

/* Whether the name is made of that of a file beside it. */
static bool has_origin(const struct lp_node *dir, const char *name)
{
	char origin[LP_NAME_MAX_BYTES + 1];

	if (strlen(name) > LP_NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; lp_name_origin(name, i, origin) > 0; i++) {
		const struct lp_node *node = lp_node_child(dir, origin);

		if (node && node->e.kind == LP_KIND_FILE)
			return true;
	}
	return false;
}

/* When a file changed last, going by its change time, on the clock of events. */
static uint64_t event_us(int64_t ctime_ns)
{
	uint64_t now_us = lp_now_us(), wall_us = lp_wall_us(), at_us;

	at_us = ctime_ns > 0 ? (uint64_t)ctime_ns / 1000 : wall_us;
	if (at_us >= wall_us || wall_us - at_us >= now_us)
		return at_us >= wall_us ? now_us : 1;
	return now_us - (wall_us - at_us);
}

bool lp_settle_name(struct lp_workspace *ws, const struct lp_node *dir, const char *path,
		    const struct lp_dirty *hint, int64_t ctime_ns)
{
	const char *name = lp_path_base(path);
	uint64_t rest_us = lp_name_is_transient(name) ? NAME_US
			   : has_origin(dir, name)    ? MADE_US
						      : 0;
	struct lp_dirty walked = {0};
	struct lp_wait *wait;

	if (rest_us == 0 || lp_workspace_owes(ws, path))
		return false;
	/* In a walk there is no event. */
	walked.last_us = hint ? hint->last_us : event_us(ctime_ns);
	if (has_rested(ws, hint ? hint : &walked, rest_us))
		return false;
	wait = wait_at(ws, path, LP_WAIT_NAME);
	wait->last_us = walked.last_us;
	wait->at_us = hint ? hint->at_us : 0;
	wait->due_us = wait->last_us + rest_us;
	arm(ws, wait->due_us);
	return true;
}

/* Begins or goes on to wait for something that is gone. */
static void await_gone(struct lp_workspace *ws, const char *path, const struct lp_dirty *hint)
{
	uint64_t now_us = lp_now_us();
	struct lp_wait *wait;

	if (ws->n_gone == 0)
		ws->gone_first_us = hint->last_us;
	wait = wait_at(ws, path, LP_WAIT_GONE);
	wait->replaced |= hint->replaced;
	wait->last_us = hint->last_us;
	wait->at_us = hint->at_us;
	wait->due_us = wait->last_us + (wait->replaced ? ROOM_US : GONE_US);
	if (wait->due_us < now_us)
		wait->due_us = now_us;
	if (ws->gone_us < hint->last_us)
		ws->gone_us = hint->last_us;
	arm(ws, wait->due_us);
}

void lp_settle_missed(struct lp_workspace *ws, const char *path)
{
	const struct lp_dirty hint = {.last_us = lp_now_us()};

	await_gone(ws, path, &hint);
}

bool lp_settle_gone(struct lp_workspace *ws, const char *path, const struct lp_dirty *hint)
{
	/* What was moved elsewhere is gone for certain. However late this comes: what rested is
	 * decided for all that went away together. */
	if (!hint || (hint->moved && !hint->replaced) || hint->rested ||
	    hint->last_us <= ws->quiet_us)
		return false;
	await_gone(ws, path, hint);
	return true;
}

bool lp_settle_makes_room(struct lp_workspace *ws, const char *from, const char *to)
{
	size_t len = lp_path_dir_len(from);
	const char *name = lp_path_base(to);

	if (len != lp_path_dir_len(to) || strncmp(from, to, len) != 0)
		return false;
	return lp_name_is_transient(name) || lp_name_is_made_of(name, lp_path_base(from)) ||
	       lp_ignore_check(ws->ignore, to, false, NULL);
}

/* When nothing that went away is waited for any more. */
static uint64_t gone_rest_ends(const struct lp_workspace *ws)
{
	uint64_t rest_us = ws->gone_us > ws->gone_first_us
				   ? (ws->gone_us - ws->gone_first_us) / GONE_REST_SHARE
				   : 0;

	rest_us = rest_us < GONE_US ? GONE_US : least(rest_us, GONE_REST_MAX_US);
	return ws->gone_us + rest_us;
}

/* When it is to be looked at after all: now, or as long as others go away around it, later. */
static bool is_due(const struct lp_workspace *ws, struct lp_wait *wait, uint64_t now_us)
{
	bool many = ws->n_gone >= GONE_MANY, only_loses = ws->grew_us < ws->gone_first_us;
	uint64_t max_us = !many ? GONE_MAX_US : only_loses ? UINT64_MAX : GONE_MANY_MAX_US;

	if (wait->due_us == 0 || wait->due_us > now_us)
		return false;
	if (wait->why != LP_WAIT_GONE || wait->replaced || now_us >= gone_rest_ends(ws) ||
	    now_us - wait->first_us >= max_us)
		return true;
	wait->due_us = gone_rest_ends(ws);
	return false;
}

/* What waited is looked at with the next take. */
static void note_wait(struct lp_workspace *ws, struct lp_wait *wait)
{
	struct lp_dirty *d = lp_xcalloc(1, sizeof(*d));

	*d = (struct lp_dirty){.path = lp_xstrdup(wait->path),
			       .at_us = wait->at_us,
			       .last_us = wait->last_us,
			       .written = wait->written,
			       .changed = true,
			       .replaced = wait->replaced,
			       .rested = is_soon(wait->why)};
	wait->written = NULL;
	wait->due_us = 0;
	lp_workspace_renote(ws, d);
}

/* Whether nobody has the file open for writing. Without leases that cannot be told: it waits. What
 * cannot be opened is not waited for, either. */
static bool has_no_writer(const struct lp_workspace *ws, const char *path)
{
	LP_AUTO_CLOSE int fd =
		lp_open_beneath(ws->root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);

	return fd < 0 ||
	       (fcntl(fd, F_SETLEASE, F_RDLCK) == 0 && !lp_workspace_is_written(ws, path));
}

bool lp_settle_ask(struct lp_workspace *ws)
{
	bool any = false;
	size_t at = 0;

	for (struct lp_wait *wait; (wait = lp_map_next(&ws->waits, &at));) {
		if (wait->why != LP_WAIT_WRITER || wait->due_us == 0 ||
		    !has_no_writer(ws, wait->path))
			continue;
		note_wait(ws, wait);
		any = true;
	}
	if (any)
		lp_workspace_tell(ws);
	return any;
}

static void on_wait_timer(struct lp_timer *timer)
{
	struct lp_workspace *ws = LP_CONTAINER_OF(timer, struct lp_workspace, wait_timer);
	uint64_t now_us = lp_now_us(), next_us = 0;
	bool any = false;
	size_t at = 0;

	for (struct lp_wait *wait; (wait = lp_map_next(&ws->waits, &at));) {
		if (!is_due(ws, wait, now_us)) {
			if (wait->due_us && (!next_us || wait->due_us < next_us))
				next_us = wait->due_us;
			continue;
		}
		note_wait(ws, wait);
		any = true;
	}
	if (next_us)
		arm(ws, next_us > now_us + TICK_US ? next_us : now_us + TICK_US);
	if (any)
		lp_workspace_tell(ws);
}

void lp_settle_start(struct lp_workspace *ws)
{
	ws->wait_timer.on_fire = on_wait_timer;
}
