/* watcher/watch_tree.c: see watch_tree.h. */
#include "watcher/watch_tree.h"

#include "common/base/lp_mem.h"

#include <string.h>

#define BUCKETS_MIN 64

static size_t wd_bucket(const struct lp_wtree *t, int wd)
{
	return (size_t)((uint64_t)wd * 0x9e3779b97f4a7c15u >> 32) & (t->n_buckets - 1);
}

/* FNV-1a over the name, begun with the directory. */
static size_t name_bucket(const struct lp_wtree *t, const struct lp_wdir *dir, const char *name)
{
	uint64_t h = 0xcbf29ce484222325u ^ (uint64_t)(uintptr_t)dir;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3u;
	return (size_t)(h ^ h >> 32) & (t->n_buckets - 1);
}

static void link_wd(struct lp_wtree *t, struct lp_wdir *d)
{
	struct lp_wdir **bucket = &t->by_wd[wd_bucket(t, d->wd)];

	d->next_by_wd = *bucket;
	*bucket = d;
}

static void unlink_wd(struct lp_wtree *t, struct lp_wdir *d)
{
	struct lp_wdir **at = &t->by_wd[wd_bucket(t, d->wd)];

	while (*at != d)
		at = &(*at)->next_by_wd;
	*at = d->next_by_wd;
}

static void link_name(struct lp_wtree *t, struct lp_wdir *d)
{
	struct lp_wdir **bucket = &t->by_name[name_bucket(t, d->parent, d->name)];

	d->next_by_name = *bucket;
	*bucket = d;
}

static void unlink_name(struct lp_wtree *t, struct lp_wdir *d)
{
	struct lp_wdir **at = &t->by_name[name_bucket(t, d->parent, d->name)];

	while (*at != d)
		at = &(*at)->next_by_name;
	*at = d->next_by_name;
}

/* Twice the room. By the tables themselves, because what is taken out is not in the tree. */
static void grow(struct lp_wtree *t)
{
	struct lp_wdir **by_wd = t->by_wd, **by_name = t->by_name, *d, *next;
	size_t n = t->n_buckets;

	t->n_buckets = n ? n * 2 : BUCKETS_MIN;
	t->by_wd = lp_xcalloc(t->n_buckets, sizeof(struct lp_wdir *));
	t->by_name = lp_xcalloc(t->n_buckets, sizeof(struct lp_wdir *));
	for (size_t i = 0; i < n; i++) {
		for (d = by_wd[i]; d; d = next) {
			next = d->next_by_wd;
			link_wd(t, d);
		}
		for (d = by_name[i]; d; d = next) {
			next = d->next_by_name;
			link_name(t, d);
		}
	}
	free(by_wd);
	free(by_name);
}

/* A new directory that is in no place yet. */
static struct lp_wdir *create(struct lp_wtree *t, const char *name, size_t len)
{
	struct lp_wdir *d = lp_xcalloc(1, sizeof(*d));

	d->wd = -1;
	d->name = lp_xstrndup(name, len);
	t->n++;
	return d;
}

static void free_dir(struct lp_wtree *t, struct lp_wdir *d, lp_wtree_drop_fn *drop, void *ctx)
{
	if (d->wd >= 0) {
		unlink_wd(t, d);
		t->n_watched--;
		if (drop)
			drop(ctx, d->wd);
	}
	t->n--;
	free(d->name);
	free(d);
}

void lp_wtree_detach(struct lp_wtree *t, struct lp_wdir *d)
{
	if (d == t->root) {
		t->root = NULL;
		return;
	}
	if (!d->parent)
		return;
	unlink_name(t, d);
	if (d->prev)
		d->prev->next = d->next;
	else
		d->parent->children = d->next;
	if (d->next)
		d->next->prev = d->prev;
	d->parent = d->prev = d->next = NULL;
}

void lp_wtree_drop(struct lp_wtree *t, struct lp_wdir *d, lp_wtree_drop_fn *drop, void *ctx)
{
	struct lp_wdir *at = d;

	lp_wtree_detach(t, d);
	/* Leaves first, without recursion: trees may be deeper than the stack is large. */
	for (;;) {
		struct lp_wdir *up;

		while (at->children)
			at = at->children;
		up = at->parent;
		if (at == d)
			break;
		lp_wtree_detach(t, at);
		free_dir(t, at, drop, ctx);
		at = up;
	}
	free_dir(t, d, drop, ctx);
}

void lp_wtree_finish(struct lp_wtree *t)
{
	if (t->root)
		lp_wtree_drop(t, t->root, NULL, NULL);
	free(t->by_wd);
	free(t->by_name);
	*t = (struct lp_wtree){0};
}

struct lp_wdir *lp_wtree_find(const struct lp_wtree *t, int wd)
{
	struct lp_wdir *d = t->n_buckets > 0 ? t->by_wd[wd_bucket(t, wd)] : NULL;

	while (d && d->wd != wd)
		d = d->next_by_wd;
	return d;
}

struct lp_wdir *lp_wtree_child(const struct lp_wtree *t, const struct lp_wdir *dir,
			       const char *name)
{
	struct lp_wdir *d = t->n_buckets > 0 ? t->by_name[name_bucket(t, dir, name)] : NULL;

	while (d && (d->parent != dir || strcmp(d->name, name) != 0))
		d = d->next_by_name;
	return d;
}

/* The child whose name is path[0..len). */
static struct lp_wdir *child_at(const struct lp_wtree *t, const struct lp_wdir *dir,
				const char *path, size_t len)
{
	char name[LP_NAME_MAX_BYTES + 1];

	if (len > LP_NAME_MAX_BYTES)
		return NULL;
	memcpy(name, path, len);
	name[len] = '\0';
	return lp_wtree_child(t, dir, name);
}

struct lp_wdir *lp_wtree_get(const struct lp_wtree *t, const char *path)
{
	struct lp_wdir *d = t->root;

	while (d && *path) {
		size_t len = strcspn(path, "/");

		d = child_at(t, d, path, len);
		path += len;
		path += *path == '/';
	}
	return d;
}

static void put_below(struct lp_wtree *t, struct lp_wdir *d, struct lp_wdir *dir)
{
	d->parent = dir;
	d->next = dir->children;
	if (d->next)
		d->next->prev = d;
	dir->children = d;
	link_name(t, d);
}

void lp_wtree_attach(struct lp_wtree *t, struct lp_wdir *d, struct lp_wdir *dir, const char *name,
		     lp_wtree_drop_fn *drop, void *ctx)
{
	struct lp_wdir *there = lp_wtree_child(t, dir, name);

	if (there)
		lp_wtree_drop(t, there, drop, ctx);
	if (strcmp(d->name, name) != 0) {
		free(d->name);
		d->name = lp_xstrdup(name);
	}
	put_below(t, d, dir);
}

/* The directory that holds the last component of path, made where it is missing. */
static struct lp_wdir *parent_of(struct lp_wtree *t, const char *path)
{
	struct lp_wdir *dir;

	if (!t->root)
		t->root = create(t, "", 0);
	dir = t->root;
	for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
		struct lp_wdir *next = child_at(t, dir, path, (size_t)(slash - path));

		if (!next) {
			next = create(t, path, (size_t)(slash - path));
			put_below(t, next, dir);
		}
		dir = next;
	}
	return dir;
}

static void set_wd(struct lp_wtree *t, struct lp_wdir *d, int wd)
{
	if (d->wd < 0)
		t->n_watched++;
	d->wd = wd;
	link_wd(t, d);
}

/* A watch that stood for nothing, of a path that is not the root's. */
static void put_new(struct lp_wtree *t, const char *path, int wd, lp_wtree_drop_fn *drop, void *ctx)
{
	const char *name = lp_path_base(path);
	struct lp_wdir *dir = parent_of(t, path), *d = lp_wtree_child(t, dir, name);

	if (d && d->wd >= 0) {
		lp_wtree_drop(t, d, drop, ctx);
		d = NULL;
	}
	if (!d) {
		d = create(t, name, strlen(name));
		put_below(t, d, dir);
	}
	set_wd(t, d, wd);
}

void lp_wtree_put(struct lp_wtree *t, const char *path, int wd, lp_wtree_drop_fn *drop, void *ctx)
{
	struct lp_wdir *own, *there;

	if (t->n >= t->n_buckets)
		grow(t);
	own = lp_wtree_find(t, wd);
	if (!own && path[0] != '\0') {
		put_new(t, path, wd, drop, ctx);
		return;
	}
	there = lp_wtree_get(t, path);
	if (own && own == there)
		return;
	/* What is below the place may be what moves there, so it leaves first. */
	if (own)
		lp_wtree_detach(t, own);
	there = lp_wtree_get(t, path);
	if (!own && there && there->wd < 0) {
		set_wd(t, there, wd);
		return;
	}
	if (path[0] == '\0') {
		if (there)
			lp_wtree_drop(t, there, drop, ctx);
		t->root = own ? own : create(t, "", 0);
		if (!own)
			set_wd(t, t->root, wd);
		return;
	}
	lp_wtree_attach(t, own, parent_of(t, path), lp_path_base(path), drop, ctx);
}

void lp_wtree_unwatch(struct lp_wtree *t, struct lp_wdir *d)
{
	struct lp_wdir *up;

	if (d->wd >= 0) {
		unlink_wd(t, d);
		t->n_watched--;
		d->wd = -1;
	}
	/* And those above that were only on the way to it. */
	for (; d != t->root && d->parent && !d->children && d->wd < 0; d = up) {
		up = d->parent;
		lp_wtree_drop(t, d, NULL, NULL);
	}
}

int lp_wtree_path(const struct lp_wtree *t, const struct lp_wdir *d, const char *name, char *out,
		  size_t out_bytes)
{
	size_t len = name ? strlen(name) : 0, at;
	const struct lp_wdir *up = d;

	for (; up->parent; up = up->parent)
		len += strlen(up->name) + (len > 0 ? 1 : 0);
	if (up != t->root)
		return -ENOENT;
	if (len + 1 > out_bytes)
		return -ENAMETOOLONG;
	at = len;
	out[at] = '\0';
	if (name) {
		at -= strlen(name);
		memcpy(out + at, name, strlen(name));
	}
	for (up = d; up->parent; up = up->parent) {
		size_t n = strlen(up->name);

		if (at < len)
			out[--at] = '/';
		at -= n;
		memcpy(out + at, up->name, n);
	}
	return 0;
}
