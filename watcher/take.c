/* watcher/take.c: changesets out: looks at everything that was noted. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "watcher/aside.h"
#include "watcher/settle.h"
#include "watcher/workspace_internal.h"

#include <string.h>
#include <sys/stat.h>

bool lp_workspace_has_notes(struct lp_workspace *ws)
{
	bool asked = lp_settle_ask(ws);

	return asked || ws->dirty.n > 0 || ws->n_soon > 0 || lp_root_has_notes(ws) ||
	       lp_aside_is_reading(ws);
}

static int by_path(const void *a, const void *b)
{
	return strcmp((*(struct lp_dirty *const *)a)->path, (*(struct lp_dirty *const *)b)->path);
}

/* The part of `path` up to its first ancestor that the index does not know as a directory, in
 * `top`; the parent itself is fine when top is the whole path. */
static struct lp_node *known_parent(struct lp_workspace *ws, const char *path, char *top)
{
	struct lp_node *dir = lp_index_get(ws->index, "");
	size_t at = 0;

	for (;;) {
		const char *slash = strchr(path + at, '/');
		struct lp_node *next;

		at = slash ? (size_t)(slash - path) : strlen(path);
		memcpy(top, path, at);
		top[at] = '\0';
		if (!slash)
			return dir;
		next = lp_node_child(dir, lp_path_base(top));
		if (!next || next->e.kind != LP_KIND_DIR)
			return dir;
		dir = next;
		at++;
	}
}

/* Whether the rules leave the path out, for whichever kind it is now. Few rules are about
 * directories only. */
static bool is_ignored(struct lp_workspace *ws, int dir_fd, const char *path)
{
	bool as_dir = lp_ignore_check(ws->ignore, path, true, NULL);
	bool as_file = lp_ignore_check(ws->ignore, path, false, NULL);
	struct stat st;

	if (as_dir == as_file)
		return as_dir;
	return fstatat(dir_fd, lp_path_base(path), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			       S_ISDIR(st.st_mode)
		       ? as_dir
		       : as_file;
}

/* Takes a file that is still open for writing, if that may be. */
static void take_held(struct lp_workspace *ws, struct lp_node *dir, int dir_fd,
		      const struct lp_dirty *d, struct lp_changeset *cs)
{
	struct lp_wait *wait = lp_map_get(&ws->waits, d->path);
	struct lp_dirty open = *d;
	struct lp_look look;
	bool is_cut = false;

	if (!wait || wait->why != LP_WAIT_WRITER)
		return;
	switch (lp_held_look(ws, dir_fd, wait, &look)) {
	case LP_HELD_NOT_YET:
		lp_settle_not_yet(ws, wait);
		return;
	case LP_HELD_GROWN:
		is_cut = look.is_cut;
		(void)lp_workspace_accept(ws, dir, d->path, d, &look, cs);
		break;
	case LP_HELD_RESTED:
		open.closed = true;
		open.held = true;
		(void)lp_workspace_update(ws, dir, dir_fd, d->path, &open, cs);
		break;
	}
	if (is_cut)
		lp_settle_cut(ws, d->path);
	else if (!lp_map_get(&ws->waits, d->path))
		lp_settle_taken(ws, d->path);
}

/* Looks at one path. Returns true when a directory appeared there, or above it, whose content has
 * to be read: its path is in `top` then. */
static bool visit_entry(struct lp_workspace *ws, const struct lp_dirty *d, struct lp_changeset *cs,
			char *top)
{
	struct lp_node *dir = known_parent(ws, d->path, top), *node;
	LP_AUTO_FREE char *dir_path = lp_xstrndup(top, lp_path_dir_len(top));
	LP_AUTO_CLOSE int fd =
		lp_open_beneath(ws->root_fd, dir_path[0] ? dir_path : ".", O_PATH | O_DIRECTORY, 0);
	bool wanted;

	wanted = fd >= 0 && !is_ignored(ws, fd, top);
	if (wanted && lp_workspace_update(ws, dir, fd, top, d, cs) == 1)
		return true;
	/* It is not there, or nobody wants it: nothing to wait for. */
	if (!wanted || strcmp(top, d->path) != 0) {
		lp_workspace_settled(ws, d->path);
		lp_workspace_paid(ws, d->path);
	} else if (d->changed && !d->created && !d->just_closed) {
		take_held(ws, dir, fd, d, cs);
	}
	/* Without fd the directory's own event tells what became of it. */
	node = fd < 0 || wanted ? NULL : lp_node_child(dir, lp_path_base(top));
	if (node)
		lp_workspace_drop(ws, node, top, cs);
	return false;
}

/* Looks at one noted place. A changed rule file changes what its whole directory holds, but not
 * while it is being written or made again. Leaves in `walked` the directory that was read as a
 * whole; false when none was. */
static bool visit(struct lp_workspace *ws, const struct lp_dirty *d, struct lp_changeset *cs,
		  char *walked)
{
	size_t rules_len;
	bool rules = lp_ignore_level_at(d->path, &rules_len) >= 0, fresh = false;
	struct lp_err err = {0};
	int r;

	if (d->path[0] == '\0') {
		walked[0] = '\0';
		if (!d->subtree)
			return false;
	} else {
		const struct lp_wait *wait;

		fresh = visit_entry(ws, d, cs, walked);
		wait = lp_map_get(&ws->waits, d->path);
		if (!fresh && (!rules || (wait && wait->due_us > 0)))
			return false;
	}
	if (rules && !fresh) {
		memcpy(walked, d->path, rules_len);
		walked[rules_len] = '\0';
	}
	r = lp_workspace_walk(ws, walked, cs, &err);
	if (r < 0) {
		lp_workspace_notice(ws, walked, err.msg);
		lp_root_rescan(ws);
	} else if (walked[0] == '\0') {
		lp_root_scanned(ws);
	}
	return true;
}

static void take_all(struct lp_workspace *ws, struct lp_dirty *const *dirty, size_t n,
		     struct lp_changeset *cs)
{
	char walked[LP_PATH_MAX_BYTES + 1];
	bool have_walked = false;

	for (size_t i = 0; i < n; i++) {
		const struct lp_dirty *d = dirty[i];

		if (d->at_us && (!cs->saved_us || d->at_us < cs->saved_us))
			cs->saved_us = d->at_us;
		if (strcmp(d->path, LP_CONF_NAME) == 0 && ws->ops.on_conf)
			ws->ops.on_conf(ws->ctx);
		if (d->just_closed || d->closed)
			lp_links_written(ws, d->path);
		if (!have_walked || !lp_path_is_below(d->path, walked))
			have_walked = visit(ws, d, cs, walked);
		lp_settle_visited(ws, d->path);
	}
}

struct lp_changeset *lp_workspace_take(struct lp_workspace *ws)
{
	LP_AUTO_FREE struct lp_dirty **dirty = NULL;
	struct lp_changeset *cs;
	size_t n = 0, at = 0;

	if (ws->dirty.n == 0 || lp_workspace_held(ws) || !lp_root_is_there(ws) || lp_blank_wait(ws))
		return NULL;
	lp_personal_check(ws);
	dirty = lp_xcalloc(ws->dirty.n, sizeof(struct lp_dirty *));
	for (struct lp_dirty *d; (d = lp_map_next(&ws->dirty, &at));)
		dirty[n++] = d;
	qsort(dirty, n, sizeof(struct lp_dirty *), by_path);
	cs = lp_changeset_create();
	lp_moves_take(ws, cs);
	/* What is noted from here on is for the next one. */
	lp_map_finish(&ws->dirty);
	take_all(ws, dirty, n, cs);
	lp_links_resolve(ws);
	lp_root_looked(ws);
	lp_moves_finish_changeset(cs);
	for (size_t i = 0; i < n; i++)
		lp_dirty_free(dirty[i]);
	if (cs->n_ops == 0) {
		lp_changeset_unref(cs);
		return NULL;
	}
	lp_changeset_sort(cs);
	cs->root = lp_index_root(ws->index);
	cs->revision = ++ws->revision;
	return cs;
}
