/* watcher/batch.c: lists directories, and looks at the entries of batches. */
#include "watcher/batch.h"

#include "common/base/lp_mem.h"
#include "common/base/lp_path.h"
#include "watcher/aside.h"

#include <dirent.h>
#include <string.h>

#define LIST_STEP_BYTES ((size_t)64 * 1024)

/* In any thread. */
static void run_list(struct lp_read_job *job, void *scratch)
{
	struct lp_batch_dir *dir = LP_CONTAINER_OF(job, struct lp_batch_dir, job);
	ssize_t n;

	(void)scratch;
	do {
		lp_grow(&dir->list, &dir->list_cap, dir->list_len + LIST_STEP_BYTES, 1);
		n = getdents64(dir->fd, dir->list + dir->list_len, LIST_STEP_BYTES);
		if (n > 0)
			dir->list_len += (size_t)n;
	} while (n > 0);
	dir->listed = n < 0 ? -errno : 0;
}

struct lp_batch_dir *lp_batch_dir_create(const char *path, int fd)
{
	size_t len = strlen(path) + 1;
	struct lp_batch_dir *dir = lp_xcalloc(1, sizeof(*dir) + len);

	dir->job.run = run_list;
	dir->fd = fd;
	memcpy(dir->path, path, len);
	return dir;
}

struct lp_batch_dir *lp_batch_dir_of(struct lp_read_job *job)
{
	return job->run == run_list ? LP_CONTAINER_OF(job, struct lp_batch_dir, job) : NULL;
}

const struct dirent64 *lp_batch_dir_next(const struct lp_batch_dir *dir, size_t *at)
{
	while (*at < dir->list_len) {
		const struct dirent64 *e = (const void *)(dir->list + *at);
		const char *s = e->d_name;

		*at += e->d_reclen;
		if (strcmp(s, ".") != 0 && strcmp(s, "..") != 0)
			return e;
	}
	return NULL;
}

void lp_batch_dir_unlist(struct lp_batch_dir *dir)
{
	free(dir->list);
	dir->list = NULL;
	dir->list_len = dir->list_cap = 0;
}

void lp_batch_dir_free(struct lp_batch_dir *dir)
{
	(void)close(dir->fd);
	free(dir->list);
	free(dir);
}

/* In any thread. */
static void run(struct lp_read_job *job, void *scratch)
{
	struct lp_batch *b = LP_CONTAINER_OF(job, struct lp_batch, job);
	struct lp_look_opts opts = b->opts;
	char path[LP_PATH_MAX_BYTES + 1];

	opts.scratch = scratch;
	opts.path = path;
	for (size_t i = 0; i < b->n; i++) {
		struct lp_batch_item *item = &b->items[i];

		opts.known = item->has_known ? &item->known : NULL;
		opts.is_file = item->is_file;
		/* Whoever made the batch has found it short enough. */
		if (opts.is_being_written &&
		    lp_path_join(path, sizeof(path), b->dir->path, item->name) < 0)
			abort();
		(void)lp_look_at(b->dir->fd, item->name, &opts, &item->look);
	}
}

struct lp_batch *lp_batch_create(struct lp_batch_dir *dir, const struct lp_workspace *ws,
				 bool want_blob)
{
	struct lp_batch *b = malloc(sizeof(*b));

	if (!b)
		abort();
	b->job.run = run;
	b->dir = dir;
	b->opts = (struct lp_look_opts){.ticks = ws->ticks,
					.is_being_written = ws->ops.is_being_written,
					.ctx = ws->ctx,
					.may_leave = ws->blanks.allowed,
					.want_blob = want_blob,
					.max_bytes = want_blob ? LP_ASIDE_MIN_BYTES : 0};
	b->n = 0;
	b->text_len = 0;
	return b;
}

struct lp_batch_item *lp_batch_add(struct lp_batch *b, const char *name, unsigned char type,
				   bool is_dir)
{
	struct lp_batch_item *item = &b->items[b->n++];
	size_t len = strlen(name) + 1;

	/* The look is the thread's: it is large, and most of a walk would go into clearing it. */
	item->name = b->text + b->text_len;
	item->is_dir = is_dir;
	item->is_file = type == DT_REG;
	item->has_known = false;
	memcpy(b->text + b->text_len, name, len);
	b->text_len += len;
	return item;
}

bool lp_batch_is_full(const struct lp_batch *b)
{
	return b->n == LP_BATCH_MAX || b->text_len + LP_NAME_MAX_BYTES + 1 > sizeof(b->text);
}
