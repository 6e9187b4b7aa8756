/* fsmount/walk.c: see walk.h. */
#include "fsmount/walk.h"

#include "common/base/lp_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum {
	/* So many of a directory; what is behind them is passed over. */
	MAX_ENTRIES = 20000,
};

struct lp_walk_entry {
	ino_t ino;
	bool is_dir;
	char name[];
};

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static void add(struct lp_walk_dir *d, size_t *cap, const struct dirent *de)
{
	size_t len = strlen(de->d_name) + 1;
	struct lp_walk_entry *entry = lp_xcalloc(1, sizeof(*entry) + len);

	entry->ino = de->d_ino;
	entry->is_dir = de->d_type == DT_DIR;
	memcpy(entry->name, de->d_name, len);
	if (d->n == *cap) {
		*cap = *cap == 0 ? 64 : *cap * 2;
		d->entries = lp_xrealloc(d->entries, *cap, sizeof(struct lp_walk_entry *));
	}
	d->entries[d->n++] = entry;
}

static int compare(const void *a, const void *b)
{
	const struct lp_walk_entry *const *x = a;
	const struct lp_walk_entry *const *y = b;

	return ((*x)->ino > (*y)->ino) - ((*x)->ino < (*y)->ino);
}

static void leave(struct lp_walk *w)
{
	struct lp_walk_dir *d = &w->dirs[--w->depth];

	(void)closedir(d->dir);
	for (size_t i = 0; i < d->n; i++)
		free(d->entries[i]);
	free(d->entries);
}

/* Goes down into a directory. Returns 0 or -errno. */
static int enter(struct lp_walk *w, int dir_fd, const char *name)
{
	LP_AUTO_CLOSE int fd = -1;
	struct lp_walk_dir *d;
	const struct dirent *de;
	struct stat st;
	size_t cap = 0;

	if (w->depth == LP_WALK_MAX_DEPTH)
		return -ELOOP;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (w->depth == 0)
		w->dev = st.st_dev;
	if (st.st_dev != w->dev)
		return -EXDEV;
	d = &w->dirs[w->depth];
	*d = (struct lp_walk_dir){.dir = fdopendir(fd)};
	if (d->dir == NULL)
		return -errno;
	(void)lp_take_fd(&fd);
	w->depth++;
	while (d->n < MAX_ENTRIES && (de = readdir(d->dir)) != NULL) {
		if (de->d_type == DT_REG || (de->d_type == DT_DIR && !is_dot(de->d_name)))
			add(d, &cap, de);
	}
	if (w->by_ino && d->n > 0)
		qsort(d->entries, d->n, sizeof(struct lp_walk_entry *), compare);
	return 0;
}

/* Goes behind the entry name[0..len) of the innermost directory. Returns it, or NULL. */
static const struct lp_walk_entry *pass(struct lp_walk *w, const char *name, size_t len)
{
	struct lp_walk_dir *d = &w->dirs[w->depth - 1];

	while (d->at < d->n) {
		const struct lp_walk_entry *entry = d->entries[d->at++];

		if (strncmp(entry->name, name, len) == 0 && entry->name[len] == '\0')
			return entry;
	}
	return NULL;
}

int lp_walk_begin(struct lp_walk *w, int root_fd, const char *path, bool by_ino)
{
	int r;

	*w = (struct lp_walk){.by_ino = by_ino};
	r = enter(w, root_fd, ".");
	while (r == 0) {
		size_t len = strcspn(path, "/");
		const struct lp_walk_entry *entry = pass(w, path, len);

		if (entry == NULL)
			r = -ENOENT;
		else if (path[len] == '\0')
			return 0;
		else
			r = enter(w, dirfd(w->dirs[w->depth - 1].dir), entry->name);
		path += len + 1;
	}
	lp_walk_end(w);
	return r;
}

enum lp_walk_found lp_walk_step(struct lp_walk *w, int *dir_fd, const char **name)
{
	const struct lp_walk_entry *entry;
	struct lp_walk_dir *d;

	if (w->depth == 0)
		return LP_WALK_END;
	d = &w->dirs[w->depth - 1];
	if (d->at == d->n) {
		leave(w);
		return LP_WALK_OTHER;
	}
	entry = d->entries[d->at++];
	*dir_fd = dirfd(d->dir);
	*name = entry->name;
	if (!entry->is_dir)
		return LP_WALK_FILE;
	if (enter(w, *dir_fd, entry->name) < 0)
		errno = 0; /* what cannot be entered is passed over */
	return LP_WALK_OTHER;
}

void lp_walk_end(struct lp_walk *w)
{
	while (w->depth > 0)
		leave(w);
}
