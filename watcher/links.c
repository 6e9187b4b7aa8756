/* watcher/links.c: files with several names. A write is reported under the name by which it was
 * done, and the others hold the same. The name may be one that nobody watches: ignored, removed
 * while it is open, outside of the workspace. So the file is watched itself, under one of its
 * names; when that goes, under another one. What inotify cannot tell: what such a name does without
 * a writer who closes it (truncate(2), a mapping), and a write by a name that was new and is gone
 * before anybody looked; the next event of the file, or the next scan, finds it. */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "watcher/workspace_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KEY_BYTES 24
/* Of one file; a file with more names is seen under those. */
#define NAMES_MAX 64

/* Files; more are not watched themselves. */
#define FILES_MAX 4096

/* The names of one inode that were looked at; some may be stale. */
struct lp_linked {
	char key[KEY_BYTES]; /* the inode's number */
	char **paths;        /* owned */
	size_t n;
	size_t cap;
	bool seen; /* in a search through the index */
};

static void free_linked(struct lp_linked *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->paths[i]);
	free(l->paths);
	free(l);
}

void lp_links_finish(struct lp_workspace *ws)
{
	size_t at = 0;

	for (struct lp_linked *l; (l = lp_map_next(&ws->linked, &at));)
		free_linked(l);
	lp_map_finish(&ws->linked);
}

static struct lp_linked *find_linked(const struct lp_workspace *ws, uint64_t ino, char *key)
{
	(void)snprintf(key, KEY_BYTES, "%" PRIu64, ino);
	return lp_map_get(&ws->linked, key);
}

static struct lp_linked *linked_at(struct lp_workspace *ws, uint64_t ino)
{
	char key[KEY_BYTES];
	struct lp_linked *l = find_linked(ws, ino, key);

	if (l)
		return l;
	l = lp_xcalloc(1, sizeof(*l));
	memcpy(l->key, key, sizeof(key));
	(void)lp_map_put(&ws->linked, l->key, l);
	return l;
}

/* Forgets names that are not of that file any more. */
static void prune(const struct lp_workspace *ws, struct lp_linked *l, uint64_t ino)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->n; i++) {
		const struct lp_node *node = lp_index_get(ws->index, l->paths[i]);

		if (node && node->e.kind == LP_KIND_FILE && lp_node_sig(node)->ino == ino)
			l->paths[kept++] = l->paths[i];
		else
			free(l->paths[i]);
	}
	l->n = kept;
}

/* Whether the name is new. */
static bool add_name(const struct lp_workspace *ws, struct lp_linked *l, uint64_t ino,
		     const char *path)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->paths[i], path) == 0)
			return false;
	if (l->n >= NAMES_MAX)
		prune(ws, l, ino);
	if (l->n >= NAMES_MAX)
		return false;
	lp_grow(&l->paths, &l->cap, l->n + 1, sizeof(char *));
	l->paths[l->n++] = lp_xstrdup(path);
	return true;
}

/* Has the file watched. What was written until then may not have been told. */
static void watch(struct lp_workspace *ws, const char *path)
{
	LP_AUTO_CLOSE int fd = -1;

	if (!ws->ops.on_file || ws->linked.n > FILES_MAX)
		return;
	fd = lp_open_beneath(ws->root_fd, path, O_PATH, 0);
	if (fd >= 0 && ws->ops.on_file(ws->ctx, path, fd) == 0)
		lp_workspace_dirty(ws, LP_EVENT_CHANGED, path);
}

static void note_others(struct lp_workspace *ws, const struct lp_linked *l, const char *path)
{
	/* Where there is another file by now, the look finds nothing new. */
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->paths[i], path) != 0)
			lp_workspace_dirty(ws, LP_EVENT_CHANGED, l->paths[i]);
}

void lp_links_seen(struct lp_workspace *ws, const char *path, uint64_t ino, bool changed)
{
	struct lp_linked *l = linked_at(ws, ino);

	if (changed)
		note_others(ws, l, path);
	if (!add_name(ws, l, ino, path))
		return;
	watch(ws, path);
	/* Another name may have been looked at when it was the only one. */
	ws->links_unresolved = true;
}

void lp_links_written(struct lp_workspace *ws, const char *path)
{
	const struct lp_node *node = ws->linked.n > 0 ? lp_index_get(ws->index, path) : NULL;
	char key[KEY_BYTES];
	const struct lp_linked *l;

	if (!node || node->e.kind != LP_KIND_FILE)
		return;
	l = find_linked(ws, lp_node_sig(node)->ino, key);
	if (l)
		note_others(ws, l, path);
}

void lp_links_gone(struct lp_workspace *ws, const char *path, uint64_t ino)
{
	char key[KEY_BYTES];
	struct lp_linked *l = find_linked(ws, ino, key);
	size_t kept = 0;

	for (size_t i = 0; l && i < l->n; i++) {
		if (strcmp(l->paths[i], path) == 0)
			free(l->paths[i]);
		else
			l->paths[kept++] = l->paths[i];
	}
	if (!l)
		return;
	l->n = kept;
	if (l->n > 0) {
		watch(ws, l->paths[0]);
		return;
	}
	(void)lp_map_remove(&ws->linked, key);
	free_linked(l);
}

/* Forgets files of which no name is left. */
static void drop_unseen(struct lp_workspace *ws)
{
	LP_AUTO_FREE struct lp_linked **gone = lp_xcalloc(ws->linked.n + 1, sizeof(void *));
	size_t at = 0, n = 0;

	for (struct lp_linked *l; (l = lp_map_next(&ws->linked, &at));) {
		if (!l->seen)
			gone[n++] = l;
		l->seen = false;
	}
	while (n-- > 0) {
		(void)lp_map_remove(&ws->linked, gone[n]->key);
		free_linked(gone[n]);
	}
}

void lp_links_resolve(struct lp_workspace *ws)
{
	const struct lp_node *top = lp_index_get(ws->index, "");
	char path[LP_PATH_MAX_BYTES + 1], key[KEY_BYTES];

	if (!ws->links_unresolved)
		return;
	ws->links_unresolved = false;
	for (const struct lp_node *n = lp_node_next(top, top); n; n = lp_node_next(top, n)) {
		uint64_t ino = n->e.kind == LP_KIND_FILE ? lp_node_sig(n)->ino : 0;
		struct lp_linked *l = ino ? find_linked(ws, ino, key) : NULL;

		if (!l)
			continue;
		l->seen = true;
		/* It may have been written by the new name already. */
		if (lp_node_path(n, path, sizeof(path)) == 0 && add_name(ws, l, ino, path))
			lp_workspace_dirty(ws, LP_EVENT_CHANGED, path);
	}
	drop_unseen(ws);
}
