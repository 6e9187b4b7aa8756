/* watcher/workspace.c: events in, changesets out. */
#include "watcher/workspace.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "watcher/workspace_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define BUSY_RETRY_US 100000u
#define NOTICED_MAX   1000

static void on_busy_timer(struct lp_timer *timer);

int lp_workspace_open(struct lp_workspace **out, struct lp_loop *loop, const char *path,
		      const struct lp_workspace_ops *ops, void *ctx, struct lp_err *err)
{
	struct lp_workspace *ws;
	LP_AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	LP_AUTO_FREE char *real = NULL;

	if (fd < 0)
		return lp_err_set(err, errno, "%s: cannot open the workspace", path);
	real = realpath(path, NULL);
	if (!real)
		return lp_err_set(err, errno, "%s: cannot open the workspace", path);
	ws = lp_xcalloc(1, sizeof(*ws));
	ws->loop = loop;
	ws->index = lp_index_create();
	ws->ignore = lp_ignore_create();
	if (!ws->ignore || lp_ignore_add_builtin(ws->ignore) < 0)
		abort();
	ws->root_fd = lp_take_fd(&fd);
	ws->path = lp_take_ptr(&real);
	ws->ops = *ops;
	ws->ctx = ctx;
	ws->busy_timer.on_fire = on_busy_timer;
	lp_look_setup();
	*out = ws;
	return 0;
}

void lp_workspace_close(struct lp_workspace *ws)
{
	if (!ws)
		return;
	lp_timer_clear(&ws->busy_timer);
	for (size_t i = 0; i < ws->n_dirty; i++)
		free(ws->dirty[i].path);
	for (size_t i = 0; i < ws->n_busy; i++)
		free(ws->busy[i]);
	for (size_t i = 0; i < ws->n_owed; i++)
		free(ws->owed[i]);
	for (size_t i = 0; i < ws->n_noticed; i++)
		free(ws->noticed[i]);
	free(ws->dirty);
	free(ws->busy);
	free(ws->owed);
	free(ws->noticed);
	free(ws->path);
	lp_index_destroy(ws->index);
	lp_ignore_destroy(ws->ignore);
	(void)close(ws->root_fd);
	free(ws);
}

int lp_workspace_set_ignore(struct lp_workspace *ws, char *const *lines, size_t n)
{
	const struct lp_event all = {.kind = LP_EVENT_LOST, .path = ""};
	struct lp_buf text = {0};
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = lp_buf_addf(&text, "%s\n", lines[i]);
	if (r == 0)
		r = lp_ignore_set(ws->ignore, "", LP_IGNORE_CONFIG, LP_CONF_NAME,
				  text.data ? (const char *)text.data : "", text.len);
	lp_buf_finish(&text);
	lp_workspace_note(ws, &all, false);
	return r;
}

int lp_workspace_fd(const struct lp_workspace *ws)
{
	return ws->root_fd;
}

const char *lp_workspace_path(const struct lp_workspace *ws)
{
	return ws->path;
}

struct lp_index *lp_workspace_index(struct lp_workspace *ws)
{
	return ws->index;
}

uint64_t lp_workspace_revision(const struct lp_workspace *ws)
{
	return ws->revision;
}

void lp_workspace_raise_revision(struct lp_workspace *ws, uint64_t floor)
{
	if (ws->revision < floor)
		ws->revision = floor;
}

int lp_workspace_open_file(const struct lp_workspace *ws, const char *path)
{
	LP_AUTO_CLOSE int fd =
		lp_open_beneath(ws->root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;

	if (fd < 0)
		return fd;
	/* As in lp_look_at: a refusal for another reason means that there are no leases. */
	if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0 && errno == EAGAIN)
		return -EBUSY;
	/* Sending a large file takes too long to keep a writer waiting. */
	if (fstat(fd, &st) < 0 || st.st_size > (off_t)LP_INLINE_MAX_BYTES)
		(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	return lp_take_fd(&fd);
}

long lp_workspace_read_link(const struct lp_workspace *ws, const char *path, char *out,
			    size_t out_bytes)
{
	LP_AUTO_CLOSE int fd = lp_open_beneath_link(ws->root_fd, path);
	ssize_t n = fd < 0 ? -1 : readlinkat(fd, "", out, out_bytes);

	return fd < 0 ? fd : n < 0 ? -errno : (long)n;
}

void lp_workspace_notice(struct lp_workspace *ws, const char *path, const char *why)
{
	char text[512];

	if (!ws->ops.on_notice || ws->n_noticed >= NOTICED_MAX)
		return;
	for (size_t i = 0; i < ws->n_noticed; i++)
		if (strcmp(ws->noticed[i], path) == 0)
			return;
	lp_grow(&ws->noticed, &ws->cap_noticed, ws->n_noticed + 1, sizeof(char *));
	ws->noticed[ws->n_noticed++] = lp_xstrdup(path);
	(void)snprintf(text, sizeof(text), "%.300s: left out: %s", path[0] ? path : ".", why);
	ws->ops.on_notice(ws->ctx, text);
}

static size_t find(char *const *paths, size_t n, const char *path)
{
	size_t i = 0;

	while (i < n && strcmp(paths[i], path) != 0)
		i++;
	return i;
}

void lp_workspace_defer(struct lp_workspace *ws, const char *path)
{
	if (find(ws->busy, ws->n_busy, path) == ws->n_busy) {
		lp_grow(&ws->busy, &ws->cap_busy, ws->n_busy + 1, sizeof(char *));
		ws->busy[ws->n_busy++] = lp_xstrdup(path);
	}
	if (!ws->busy_timer.loop)
		lp_timer_set(ws->loop, &ws->busy_timer, lp_now_us() + BUSY_RETRY_US);
}

void lp_workspace_settled(struct lp_workspace *ws, const char *path)
{
	size_t i = find(ws->busy, ws->n_busy, path);

	if (i == ws->n_busy)
		return;
	free(ws->busy[i]);
	ws->busy[i] = ws->busy[--ws->n_busy];
}

bool lp_workspace_owes(const struct lp_workspace *ws, const char *path)
{
	return find(ws->owed, ws->n_owed, path) < ws->n_owed;
}

void lp_workspace_paid(struct lp_workspace *ws, const char *path)
{
	size_t i = find(ws->owed, ws->n_owed, path);

	if (i == ws->n_owed)
		return;
	free(ws->owed[i]);
	ws->owed[i] = ws->owed[--ws->n_owed];
}

void lp_workspace_resend(struct lp_workspace *ws, const char *path)
{
	const struct lp_event ev = {.kind = LP_EVENT_CHANGED, .path = path, .at_us = lp_now_us()};

	if (!lp_workspace_owes(ws, path)) {
		lp_grow(&ws->owed, &ws->cap_owed, ws->n_owed + 1, sizeof(char *));
		ws->owed[ws->n_owed++] = lp_xstrdup(path);
	}
	lp_workspace_note(ws, &ev, false);
}

static void on_busy_timer(struct lp_timer *timer)
{
	struct lp_workspace *ws = LP_CONTAINER_OF(timer, struct lp_workspace, busy_timer);

	for (size_t i = 0; i < ws->n_busy; i++) {
		const struct lp_event ev = {.kind = LP_EVENT_CHANGED, .path = ws->busy[i]};

		lp_workspace_note(ws, &ev, false);
	}
}

int lp_workspace_scan(struct lp_workspace *ws, struct lp_err *err)
{
	int r = lp_workspace_walk(ws, "", NULL, err);

	return r < 0 ? lp_err_wrap(err, r, "%s", ws->path) : 0;
}

void lp_workspace_note(struct lp_workspace *ws, const struct lp_event *ev, bool closed)
{
	if (ev->kind == LP_EVENT_WRITING) {
		lp_workspace_defer(ws, ev->path);
		return;
	}
	lp_grow(&ws->dirty, &ws->cap_dirty, ws->n_dirty + 1, sizeof(*ws->dirty));
	ws->dirty[ws->n_dirty++] = (struct lp_dirty){
		.path = lp_xstrdup(ev->path),
		.at_us = ev->at_us,
		.subtree = ev->kind == LP_EVENT_SUBTREE || ev->kind == LP_EVENT_LOST,
		.closed = closed,
		.just_closed = ev->kind == LP_EVENT_CLOSED,
		.created = ev->kind == LP_EVENT_CREATED,
	};
	if (ws->ops.on_dirty)
		ws->ops.on_dirty(ws->ctx);
}

bool lp_workspace_has_notes(const struct lp_workspace *ws)
{
	return ws->n_dirty > 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct lp_dirty *)a)->path, ((const struct lp_dirty *)b)->path);
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

/* Whether the rules leave the path out, for whichever kind it is now. */
static bool is_ignored(struct lp_workspace *ws, int dir_fd, const char *path)
{
	struct stat st;
	bool is_dir = fstatat(dir_fd, lp_path_base(path), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		      S_ISDIR(st.st_mode);

	return lp_ignore_check(ws->ignore, path, is_dir, NULL);
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
	}
	/* Without fd the directory's own event tells what became of it. */
	node = fd < 0 || wanted ? NULL : lp_node_child(dir, lp_path_base(top));
	if (node)
		lp_workspace_drop(ws, node, top, cs);
	return false;
}

/* Sorts by path and merges what was noted more than once. Returns how many are left. */
static size_t merge(struct lp_dirty *dirty, size_t n)
{
	size_t kept = 0;

	qsort(dirty, n, sizeof(*dirty), by_path);
	for (size_t i = 0; i < n; i++) {
		struct lp_dirty *last = kept > 0 ? &dirty[kept - 1] : NULL;

		if (!last || strcmp(last->path, dirty[i].path) != 0) {
			dirty[kept++] = dirty[i];
			continue;
		}
		last->subtree |= dirty[i].subtree;
		last->closed |= dirty[i].closed;
		last->just_closed |= dirty[i].just_closed;
		last->created &= dirty[i].created;
		if (!last->at_us || (dirty[i].at_us && dirty[i].at_us < last->at_us))
			last->at_us = dirty[i].at_us;
		free(dirty[i].path);
	}
	return kept;
}

/* Looks at one noted place. A changed rule file changes what its whole directory holds. Leaves in
 * `walked` the directory that was read as a whole; false when none was. */
static bool visit(struct lp_workspace *ws, const struct lp_dirty *d, struct lp_changeset *cs,
		  char *walked)
{
	bool rules = lp_ignore_level_of(lp_path_base(d->path)) >= 0;
	struct lp_err err = {0};

	if (rules || d->path[0] == '\0') {
		memcpy(walked, d->path, lp_path_dir_len(d->path));
		walked[lp_path_dir_len(d->path)] = '\0';
		if (!rules && !d->subtree)
			return false;
	} else if (!visit_entry(ws, d, cs, walked)) {
		return false;
	}
	if (lp_workspace_walk(ws, walked, cs, &err) < 0)
		lp_workspace_notice(ws, walked, err.msg);
	return true;
}

static void take_all(struct lp_workspace *ws, const struct lp_dirty *dirty, size_t n,
		     struct lp_changeset *cs)
{
	char walked[LP_PATH_MAX_BYTES + 1];
	bool have_walked = false;

	for (size_t i = 0; i < n; i++) {
		if (dirty[i].at_us && (!cs->saved_us || dirty[i].at_us < cs->saved_us))
			cs->saved_us = dirty[i].at_us;
		if (strcmp(dirty[i].path, LP_CONF_NAME) == 0 && ws->ops.on_conf)
			ws->ops.on_conf(ws->ctx);
		if (have_walked && lp_path_is_below(dirty[i].path, walked))
			continue;
		have_walked = visit(ws, &dirty[i], cs, walked);
	}
}

struct lp_changeset *lp_workspace_take(struct lp_workspace *ws)
{
	struct lp_dirty *dirty = ws->dirty;
	size_t n = ws->n_dirty;
	struct lp_changeset *cs;

	if (n == 0)
		return NULL;
	ws->dirty = NULL;
	ws->n_dirty = ws->cap_dirty = 0;
	n = merge(dirty, n);
	cs = lp_changeset_create();
	take_all(ws, dirty, n, cs);
	for (size_t i = 0; i < n; i++)
		free(dirty[i].path);
	free(dirty);
	if (cs->n_ops == 0) {
		lp_changeset_unref(cs);
		return NULL;
	}
	lp_changeset_sort(cs);
	cs->root = lp_index_root(ws->index);
	cs->revision = ++ws->revision;
	return cs;
}
