/* controller/stage_dir.c: directories that the tree does not have are made whole beside it: what
 * the changeset puts into them is staged inside under its final name, so that one rename makes all
 * of it visible, and most of the work is done while the changeset still comes. */
#include "controller/tree_internal.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void forget_levels(struct lp_tree *t)
{
	while (t->n_levels > 0)
		lp_auto_close(&t->levels[--t->n_levels].fd);
}

void lp_stage_dirs_finish(struct lp_tree *t)
{
	size_t at = 0;

	forget_levels(t);
	for (struct lp_stage_dir *d; (d = lp_map_next(&t->stage_dirs, &at));)
		free(d);
	lp_map_finish(&t->stage_dirs);
	t->last_dir = NULL;
}

struct lp_stage_dir *lp_stage_dir_of(struct lp_tree *t, const char *path)
{
	size_t len = lp_path_dir_len(path);
	LP_AUTO_FREE char *dir = NULL;
	struct lp_stage_dir *last = t->last_dir;

	if (t->stage_dirs.n == 0 || len == 0)
		return NULL;
	if (last && last->len == len && memcmp(last->path, path, len) == 0)
		return last;
	dir = lp_xstrndup(path, len);
	last = lp_map_get(&t->stage_dirs, dir);
	if (last)
		t->last_dir = last;
	return last;
}

void lp_stage_where(const struct lp_tree *t, const struct lp_stage_dir *d,
		    char out[LP_STAGE_PATH_BYTES])
{
	size_t top_len = strlen(t->ops[d->top].path);

	(void)snprintf(out, LP_STAGE_PATH_BYTES, "%zu%.*s", d->top, (int)(d->len - top_len),
		       d->path + top_len);
}

int lp_stage_dir_fd(struct lp_tree *t, struct lp_stage_dir *d)
{
	char where[LP_STAGE_PATH_BYTES];
	const char *rest = where;
	int above = t->stage_fd, fd;

	while (t->n_levels > 0) {
		const struct lp_stage_level *level = &t->levels[t->n_levels - 1];

		if (level->dir == d)
			return level->fd;
		if (level->dir->top == d->top && lp_path_is_below(d->path, level->dir->path))
			break;
		lp_auto_close(&t->levels[--t->n_levels].fd);
	}
	if (t->n_levels == LP_STAGE_LEVELS)
		forget_levels(t);
	if (t->n_levels > 0) {
		above = t->levels[t->n_levels - 1].fd;
		rest = d->path + t->levels[t->n_levels - 1].dir->len + 1;
	} else {
		lp_stage_where(t, d, where);
	}
	fd = lp_open_beneath(above, rest, O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0)
		t->levels[t->n_levels++] = (struct lp_stage_level){d, fd};
	return fd;
}

/* Whether mkdir gives the directory the mode that it shall have, and we may write into it. */
static bool is_final(const struct lp_tree *t, uint32_t mode)
{
	return (mode & 0700) == 0700 && (mode & t->umask) == 0;
}

int lp_stage_dir_make(struct lp_tree *t, struct lp_staged *s)
{
	struct lp_stage_dir *above = lp_stage_dir_of(t, s->path), *d;
	const size_t path_len = strlen(s->path);
	size_t number = (size_t)(s - t->ops);
	char name[LP_STAGE_NAME_BYTES];
	const char *at = name;
	int fd = t->stage_fd;

	/* The way to it has a limit, too. */
	if (path_len > LP_PATH_MAX_BYTES - LP_STAGE_NAME_BYTES)
		above = NULL;
	lp_stage_name(number, name);
	if (above) {
		fd = lp_stage_dir_fd(t, above);
		at = lp_path_base(s->path);
	}
	if (fd < 0)
		return fd;
	s->late_mode = !is_final(t, s->e.mode);
	if (mkdirat(fd, at, s->late_mode ? 0700 : s->e.mode) < 0)
		return -errno;
	s->is_staged = true;
	s->is_nested = above != NULL;
	d = lp_xcalloc(1, sizeof(*d));
	d->path = s->path;
	d->len = path_len;
	d->top = s->top = above ? above->top : number;
	for (size_t i = 0; i < t->n_moves && !d->takes_moves; i++)
		d->takes_moves = lp_path_is_below(t->ops[i].path, d->path);
	free(lp_map_put(&t->stage_dirs, d->path, d));
	return 0;
}

int lp_stage_dirs_seal(struct lp_tree *t, struct lp_err *err)
{
	forget_levels(t);
	/* What is deepest first: the mode of one above may close the way. */
	for (size_t i = t->n_ops; i-- > 0;) {
		const struct lp_staged *s = &t->ops[i];
		const struct lp_stage_dir *d;
		char where[LP_STAGE_PATH_BYTES];
		LP_AUTO_CLOSE int fd = -1;

		if (!s->is_nested || !s->late_mode)
			continue;
		d = lp_map_get(&t->stage_dirs, s->path);
		lp_stage_where(t, d, where);
		fd = lp_open_beneath(t->stage_fd, where, O_RDONLY | O_DIRECTORY, 0);
		if (fd < 0 || fchmod(fd, s->e.mode) < 0)
			return lp_err_set(err, fd < 0 ? -fd : errno, "%s: cannot set the mode",
					  s->path);
	}
	return 0;
}
