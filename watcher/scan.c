/* watcher/scan.c: walks directories of the workspace into the index. The walk itself, the rules and
 * the index are this thread's; the entries are looked at in batches by several. */
#include "watcher/workspace_internal.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "watcher/aside.h"
#include "watcher/batch.h"
#include "watcher/rules.h"
#include "watcher/settle.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

/* Batches under way: as many directories are open, and as many contents may be kept. */
#define BATCHES_MAX 32

/* Directories that are open and listed ahead of that. */
#define LISTS_MAX 16

/* Paths of directories still to be read. */
struct stack {
	char **paths;
	size_t n;
	size_t cap;
};

/* One walk. n_lists: directories that are open whose entries are not in batches; listed: those of
 * them that were listed; missing: paths of what is known and not there. */
struct walk {
	struct lp_workspace *ws;
	struct lp_changeset *cs;
	struct lp_err *err;
	struct stack todo;
	struct stack missing;
	struct lp_batch_dir *listed;
	size_t n_lists;
};

static void push(struct stack *s, const char *path)
{
	lp_grow(&s->paths, &s->cap, s->n + 1, sizeof(char *));
	s->paths[s->n++] = lp_xstrdup(path);
}

/* Reads the rule file of a level in a directory again, or forgets it. */
static void load_rules(struct lp_workspace *ws, int dir_fd, const char *path,
		       enum lp_ignore_level level, bool is_there)
{
	const char *name = lp_ignore_file_of(level, path);
	char source[LP_PATH_MAX_BYTES + 32];
	struct lp_buf text;
	int r = 0;

	if (!name || lp_path_join(source, sizeof(source), path, name) < 0)
		return;
	lp_buf_init(&text, LP_RULES_MAX_BYTES);
	if (is_there)
		r = lp_rules_read(dir_fd, path, level, &text);
	if (r < 0)
		lp_workspace_notice(ws, source, strerror(-r));
	if (lp_ignore_set(ws->ignore, path, level, source, text.data ? (const char *)text.data : "",
			  r < 0 ? 0 : text.len) < 0)
		abort();
	lp_buf_finish(&text);
}

/* Whether it is not there, and not only left out by the rules; dir_fd is its directory's. */
static bool is_missing(int dir_fd, const struct lp_node *n)
{
	struct stat st;

	return fstatat(dir_fd, n->name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

/* What the walk did not see: it is gone or left out. */
static void drop_unseen(struct walk *w, int dir_fd, const char *path)
{
	struct lp_workspace *ws = w->ws;
	struct lp_node *dir = lp_index_get(ws->index, path);
	char child[LP_PATH_MAX_BYTES + 1];

	for (uint32_t i = dir ? lp_node_count(dir) : 0; i-- > 0;) {
		struct lp_node *n = lp_node_at(dir, i);

		if (n->mark == ws->scan_mark ||
		    lp_path_join(child, sizeof(child), path, n->name) < 0)
			continue;
		if (w->cs && ws->lost && is_missing(dir_fd, n))
			push(&w->missing, child);
		else
			lp_workspace_drop(ws, n, child, w->cs);
	}
}

/* Whether nothing follows from a look: most of all, when nothing changed. */
static bool is_settled(const struct lp_workspace *ws, const struct lp_look *look)
{
	return look->error == 0 && look->state == LP_LOOK_SAME && look->is_sole &&
	       ws->waits.n == 0 && !ws->aside;
}

/* A batch of the directory, or its list, is done with. */
static void leave_dir(struct walk *w, struct lp_batch_dir *dir, bool failed)
{
	if (--dir->n_batches > 0)
		return;
	/* What was not listed may be there all the same. */
	if (!failed && (dir->listed == 0 || dir->listed == -ENOENT))
		drop_unseen(w, dir->fd, dir->path);
	lp_batch_dir_free(dir);
}

/* Brings the index up to date with a batch that was looked at. */
static int accept_batch(struct walk *w, struct lp_batch *b)
{
	struct lp_node *dir = lp_index_get(w->ws->index, b->dir->path);
	char child[LP_PATH_MAX_BYTES + 1];
	int r = 0;

	for (size_t i = 0; i < b->n; i++) {
		struct lp_batch_item *item = &b->items[i];

		if (is_settled(w->ws, &item->look))
			continue;
		if (r < 0 || !dir || dir->e.kind != LP_KIND_DIR ||
		    lp_path_join(child, sizeof(child), b->dir->path, item->name) < 0) {
			lp_look_finish(&item->look);
			continue;
		}
		r = lp_workspace_accept(w->ws, dir, child, NULL, &item->look, w->cs);
		/* Below a directory that is walked, everything is walked. */
		if (r == 1 || (r == 0 && item->is_dir))
			push(&w->todo, child);
	}
	if (r < 0)
		r = lp_err_set(w->err, -r, "%s", b->dir->path);
	leave_dir(w, b->dir, r < 0);
	free(b);
	return r < 0 ? r : 0;
}

static struct lp_read_job *next_job(struct walk *w, bool wait)
{
	return wait ? lp_readers_wait(w->ws->readers) : lp_readers_poll(w->ws->readers);
}

/* Takes back what is finished; with `wait`, one at least. Returns 0 or -errno. */
static int collect(struct walk *w, bool wait)
{
	struct lp_read_job *job = next_job(w, wait);
	int r = 0;

	for (; job; job = r == 0 ? next_job(w, false) : NULL) {
		struct lp_batch_dir *dir = lp_batch_dir_of(job);

		if (dir) {
			dir->next = w->listed;
			w->listed = dir;
		} else {
			r = accept_batch(w, LP_CONTAINER_OF(job, struct lp_batch, job));
		}
	}
	return r;
}

/* Whether the entry is the file of that name, or the directory that it is below. */
static bool leads_to(const char *entry, const char *file)
{
	size_t len = file ? strcspn(file, "/") : 0;

	return len > 0 && strncmp(entry, file, len) == 0 && entry[len] == '\0';
}

/* What the list holds that is not an entry like others: rule files and repositories. */
static void see_special(struct walk *w, const struct lp_batch_dir *dir)
{
	const char *path = dir->path;
	bool there[LP_IGNORE_LEVEL_COUNT_] = {0}, git = false;
	const struct dirent64 *e;

	for (size_t at = 0; (e = lp_batch_dir_next(dir, &at));) {
		if (e->d_name[0] != '.')
			continue;
		for (enum lp_ignore_level i = 0; i < LP_IGNORE_LEVEL_COUNT_; i++)
			there[i] |= leads_to(e->d_name, lp_ignore_file_of(i, path));
		git |= strcmp(e->d_name, ".git") == 0;
	}
	if (git)
		lp_git_found(w->ws, path, dir->fd);
	for (enum lp_ignore_level i = 0; i < LP_IGNORE_LEVEL_COUNT_; i++)
		load_rules(w->ws, dir->fd, path, i, there[i]);
}

/* Some file systems do not tell the kind with the name. */
static bool entry_is_dir(int dir_fd, const struct dirent64 *e)
{
	struct stat st;

	if (e->d_type != DT_UNKNOWN)
		return e->d_type == DT_DIR;
	return fstatat(dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static void submit(struct walk *w, struct lp_batch **b)
{
	(*b)->dir->n_batches++;
	lp_readers_add(w->ws->readers, &(*b)->job);
	*b = NULL;
}

/* What is known of an entry, for the thread that looks at it. */
static void add_known(struct lp_workspace *ws, struct lp_node *known, const char *path,
		      struct lp_batch_item *item)
{
	/* It is there. When it is gone at the look, that says so. */
	if (known)
		known->mark = ws->scan_mark;
	if (!known || known->e.kind != LP_KIND_FILE || lp_workspace_owes(ws, path))
		return;
	item->has_known = true;
	item->known = *lp_node_sig(known);
}

/* Whether an entry is known as what its list says that it is, a directory, and nothing else is to
 * be seen to: then it is opened without another look, and its mode is seen there. */
static bool is_known_dir(const struct lp_workspace *ws, const struct lp_node *known,
			 const char *path, unsigned char type)
{
	return type == DT_DIR && known && known->e.kind == LP_KIND_DIR && ws->waits.n == 0 &&
	       !ws->aside && !lp_workspace_owes(ws, path);
}

/* Makes batches of what the list holds and the rules do not leave out. Returns 0 or -errno. */
static int read_entries(struct walk *w, const struct lp_node *node, struct lp_batch_dir *dir)
{
	char child[LP_PATH_MAX_BYTES + 1];
	struct lp_batch *b = NULL;
	const struct dirent64 *e;
	int r = 0;

	for (size_t at = 0; r == 0 && (e = lp_batch_dir_next(dir, &at));) {
		struct lp_node *known;
		bool is_dir;

		/* Some file systems have longer names than others may have. */
		if (strlen(e->d_name) > LP_NAME_MAX_BYTES) {
			lp_workspace_notice(w->ws, dir->path, "holds a name longer than 255 bytes");
			continue;
		}
		if (lp_path_join(child, sizeof(child), dir->path, e->d_name) < 0) {
			lp_workspace_notice(w->ws, dir->path,
					    "holds a path longer than 4095 bytes");
			continue;
		}
		is_dir = entry_is_dir(dir->fd, e);
		if (lp_ignore_check_leaf(w->ws->ignore, child, is_dir, NULL))
			continue;
		known = lp_node_child(node, e->d_name);
		if (is_known_dir(w->ws, known, child, e->d_type)) {
			known->mark = w->ws->scan_mark;
			push(&w->todo, child);
			continue;
		}
		if (!b)
			b = lp_batch_create(dir, w->ws, w->cs != NULL);
		add_known(w->ws, known, child, lp_batch_add(b, e->d_name, e->d_type, is_dir));
		if (!lp_batch_is_full(b))
			continue;
		submit(w, &b);
		if (lp_readers_pending(w->ws->readers) >= BATCHES_MAX)
			r = collect(w, true);
	}
	if (b)
		submit(w, &b);
	return r;
}

/* Whether what is open as fd (or -errno) is what is known of the directory. */
static bool is_as_known(const struct lp_node *node, int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && ((uint32_t)st.st_mode & 0777) == node->e.mode;
}

/* A directory is not what is known of it: looks at it where it is. Returns the node if it still is
 * a directory, or NULL; *r: -errno. */
static const struct lp_node *look_again(struct walk *w, const char *path, int *r)
{
	LP_AUTO_FREE char *above = lp_xstrndup(path, lp_path_dir_len(path));
	struct lp_node *dir = lp_index_get(w->ws->index, above);
	LP_AUTO_CLOSE int fd =
		lp_open_beneath(w->ws->root_fd, above[0] ? above : ".", O_RDONLY | O_DIRECTORY, 0);
	const struct lp_node *node;

	if (fd >= 0)
		*r = lp_workspace_update(w->ws, dir, fd, path, NULL, w->cs);
	*r = *r < 0 ? lp_err_set(w->err, -*r, "%s", path) : 0;
	node = lp_index_get(w->ws->index, path);
	return node && node->e.kind == LP_KIND_DIR ? node : NULL;
}

/* Opens a directory for the walk and has it listed. Returns 0, also when it is left out, or
 * -errno. */
static int open_dir(struct walk *w, const char *path)
{
	struct lp_workspace *ws = w->ws;
	const struct lp_node *node = lp_index_get(ws->index, path);
	LP_AUTO_CLOSE int fd = -1;
	struct lp_batch_dir *dir;
	int r = 0;

	if (!node || node->e.kind != LP_KIND_DIR)
		return 0;
	fd = lp_open_beneath(ws->root_fd, path[0] ? path : ".", O_RDONLY | O_DIRECTORY, 0);
	if (node->parent && !is_as_known(node, fd))
		node = look_again(w, path, &r);
	if (!node || r < 0)
		return r;
	if (fd < 0) {
		if (fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP)
			lp_workspace_notice(ws, path, strerror(-fd));
		return 0;
	}
	if (ws->ops.on_dir)
		r = ws->ops.on_dir(ws->ctx, path, fd, w->err);
	if (r == -ENOSPC) {
		lp_poll_add(ws, path, w->err->msg);
		r = 0;
	}
	if (r < 0)
		return r;
	dir = lp_batch_dir_create(path, lp_take_fd(&fd));
	dir->n_batches = 1; /* the list counts as one */
	w->n_lists++;
	lp_readers_add(ws->readers, &dir->job);
	return 0;
}

/* Goes on with a directory that was listed. */
static int read_dir(struct walk *w)
{
	struct lp_batch_dir *dir = w->listed;
	struct lp_node *node = lp_index_get(w->ws->index, dir->path);
	int r = 0;

	w->listed = dir->next;
	w->n_lists--;
	if (dir->listed < 0 && dir->listed != -ENOENT)
		lp_workspace_notice(w->ws, dir->path, strerror(-dir->listed));
	/* It may have been replaced meanwhile. */
	if (node && node->e.kind == LP_KIND_DIR) {
		see_special(w, dir);
		r = read_entries(w, node, dir);
	}
	lp_batch_dir_unlist(dir);
	leave_dir(w, dir, r < 0);
	return r;
}

/* What is gone while events were lost. When nothing else changed, the whole tree may be on its way
 * to be removed: then none of it is told at once (settle.c). Otherwise it is a part of what
 * changed. */
static void finish_missing(struct walk *w, size_t n_ops_before)
{
	bool only_loses = w->cs && w->cs->n_ops == n_ops_before;

	while (w->missing.n > 0) {
		LP_AUTO_FREE char *path = w->missing.paths[--w->missing.n];
		struct lp_node *n = lp_index_get(w->ws->index, path);

		if (n && only_loses)
			lp_settle_missed(w->ws, path);
		else if (n)
			lp_workspace_drop(w->ws, n, path, w->cs);
	}
	free(w->missing.paths);
}

/* Gives up what is under way. */
static void abandon(struct walk *w)
{
	struct lp_read_job *job;

	while ((job = lp_readers_wait(w->ws->readers))) {
		struct lp_batch_dir *dir = lp_batch_dir_of(job);

		if (!dir) {
			struct lp_batch *b = LP_CONTAINER_OF(job, struct lp_batch, job);

			for (size_t i = 0; i < b->n; i++)
				lp_look_finish(&b->items[i].look);
			dir = b->dir;
			free(b);
		}
		leave_dir(w, dir, true);
	}
	while (w->listed) {
		struct lp_batch_dir *dir = w->listed;

		w->listed = dir->next;
		leave_dir(w, dir, true);
	}
}

int lp_workspace_walk(struct lp_workspace *ws, const char *path, struct lp_changeset *cs,
		      struct lp_err *err)
{
	struct walk w = {.ws = ws, .cs = cs, .err = err};
	size_t n_ops = cs ? cs->n_ops : 0;
	int r = 0;

	if (!ws->readers)
		ws->readers = lp_readers_create(lp_readers_width() - 1, LP_LOOK_SCRATCH_BYTES);
	ws->scan_mark++;
	push(&w.todo, path);
	while (r == 0 && (w.todo.n > 0 || w.listed || lp_readers_pending(ws->readers) > 0)) {
		bool wait = lp_readers_pending(ws->readers) >= BATCHES_MAX + w.n_lists;

		if (w.todo.n > 0 && w.n_lists < LISTS_MAX) {
			LP_AUTO_FREE char *next = w.todo.paths[--w.todo.n];

			r = open_dir(&w, next);
		} else if (w.listed && !wait) {
			r = read_dir(&w);
		} else {
			wait = true;
		}
		if (r == 0)
			r = collect(&w, wait);
	}
	abandon(&w);
	while (w.todo.n > 0)
		free(w.todo.paths[--w.todo.n]);
	free(w.todo.paths);
	finish_missing(&w, n_ops);
	lp_poll_say(ws);
	return r;
}
