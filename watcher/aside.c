/* watcher/aside.c: one job for each large file that is read aside. */
#include "watcher/aside.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_map.h"
#include "common/base/lp_mem.h"
#include "watcher/readers.h"
#include "watcher/settle.h"

#include <string.h>

/* More than one, so that a very large file does not keep large ones waiting. */
#define THREADS 2

/* A file that is read aside. ready: it was read, its path is noted, and look waits to be taken.
 * stop: nobody wants the result. The thread that runs the job uses root_fd, opts and path, and
 * writes look. */
struct aside_file {
	struct lp_read_job job;
	int root_fd; /* the workspace's */
	struct lp_look_opts opts;
	atomic_bool stop;
	bool ready;
	bool held; /* as in lp_dirty */
	uint64_t at_us;
	struct lp_stat_sig sig; /* how it looked when this began */
	struct lp_look look;
	char path[];
};

/* Of one workspace. A file is in `files` from its start until it is taken or nobody wants it; one
 * that was stopped is known to the readers only. */
struct lp_aside {
	struct lp_readers *readers;
	struct lp_map files;         /* of struct aside_file, owned */
	struct aside_file **stopped; /* owned */
	size_t n_stopped;
	size_t cap_stopped;
};

static void file_free(struct aside_file *f)
{
	lp_look_finish(&f->look);
	free(f);
}

/* In a thread of the readers. */
static void run(struct lp_read_job *job, void *scratch)
{
	struct aside_file *f = LP_CONTAINER_OF(job, struct aside_file, job);
	LP_AUTO_FREE char *dir = lp_xstrndup(f->path, lp_path_dir_len(f->path));
	LP_AUTO_CLOSE int fd =
		lp_open_beneath(f->root_fd, dir[0] ? dir : ".", O_PATH | O_DIRECTORY, 0);

	f->opts.scratch = scratch;
	f->opts.stop = &f->stop;
	if (fd < 0)
		f->look = (struct lp_look){.state = LP_LOOK_GONE};
	else
		(void)lp_look_at(fd, lp_path_base(f->path), &f->opts, &f->look);
}

static void note(struct lp_workspace *ws, const struct aside_file *f)
{
	const struct lp_event ev = {.kind = LP_EVENT_CHANGED, .path = f->path, .at_us = f->at_us};

	struct lp_dirty *d;

	lp_workspace_note(ws, &ev, f->opts.even_if_busy);
	d = lp_map_get(&ws->dirty, f->path);
	if (d)
		d->held |= f->held;
}

/* Takes a file that was stopped out of the list. */
static bool was_stopped(struct lp_aside *a, const struct aside_file *f)
{
	for (size_t i = 0; i < a->n_stopped; i++) {
		if (a->stopped[i] != f)
			continue;
		a->stopped[i] = a->stopped[--a->n_stopped];
		return true;
	}
	return false;
}

static void on_done(void *ctx)
{
	struct lp_workspace *ws = ctx;
	struct lp_aside *a = ws->aside;
	struct lp_read_job *job;

	while ((job = lp_readers_poll(a->readers))) {
		struct aside_file *f = LP_CONTAINER_OF(job, struct aside_file, job);

		if (was_stopped(a, f)) {
			file_free(f);
		} else if (f->look.error == 0 && f->look.state == LP_LOOK_BUSY) {
			(void)lp_map_remove(&a->files, f->path);
			lp_workspace_defer(ws, f->path);
			file_free(f);
		} else {
			f->ready = true;
			note(ws, f);
		}
	}
}

/* The workspace's, made at the first call; NULL when the system does not let us. */
static struct lp_aside *aside_of(struct lp_workspace *ws)
{
	struct lp_aside *a = ws->aside;

	if (a)
		return a;
	a = lp_xcalloc(1, sizeof(*a));
	a->readers = lp_readers_create(THREADS, LP_LOOK_SCRATCH_BYTES);
	if (lp_readers_watch(a->readers, ws->loop, on_done, ws, NULL) < 0) {
		lp_readers_destroy(a->readers);
		free(a);
		return NULL;
	}
	ws->aside = a;
	return a;
}

static struct aside_file *find(const struct lp_workspace *ws, const char *path)
{
	return ws->aside ? lp_map_get(&ws->aside->files, path) : NULL;
}

void lp_aside_drop(struct lp_workspace *ws, const char *path)
{
	struct lp_aside *a = ws->aside;
	struct aside_file *f = a ? lp_map_remove(&a->files, path) : NULL;

	if (!f)
		return;
	if (f->ready) {
		file_free(f);
		return;
	}
	atomic_store_explicit(&f->stop, true, memory_order_relaxed);
	lp_grow(&a->stopped, &a->cap_stopped, a->n_stopped + 1, sizeof(struct aside_file *));
	a->stopped[a->n_stopped++] = f;
}

void lp_aside_start(struct lp_workspace *ws, const char *path, const struct lp_dirty *hint,
		    const struct lp_stat_sig *sig)
{
	struct lp_aside *a = aside_of(ws);
	struct aside_file *f = find(ws, path);
	size_t len = strlen(path) + 1;

	/* One that somebody keeps open may change faster than it is read. */
	if (f && !f->ready && (f->opts.even_if_busy || lp_sig_equal(&f->sig, sig)))
		return;
	lp_aside_drop(ws, path);
	if (!a) { /* too many files are open */
		lp_workspace_defer(ws, path);
		return;
	}
	f = lp_xcalloc(1, sizeof(*f) + len);
	memcpy(f->path, path, len);
	f->job.run = run;
	f->root_fd = ws->root_fd;
	f->sig = *sig;
	f->at_us = hint ? hint->at_us : 0;
	f->opts.ticks = ws->ticks;
	f->opts.even_if_busy = hint && hint->closed;
	f->held = hint && hint->held;
	(void)lp_map_put(&a->files, f->path, f);
	lp_readers_add(a->readers, &f->job);
}

bool lp_aside_take(struct lp_workspace *ws, const char *path, struct lp_look *look)
{
	struct lp_aside *a = ws->aside;
	struct aside_file *f = find(ws, path);

	if (!f || !f->ready)
		return false;
	if (f->look.error == 0 && !f->look.is_growing && !lp_sig_equal(&f->look.sig, &look->sig))
		return false;
	(void)lp_map_remove(&a->files, path);
	*look = f->look;
	free(f);
	return true;
}

bool lp_aside_is_reading(const struct lp_workspace *ws)
{
	return ws->aside && lp_readers_pending(ws->aside->readers) > ws->aside->n_stopped;
}

void lp_aside_finish(struct lp_workspace *ws)
{
	struct lp_aside *a = ws->aside;
	struct aside_file *f;

	if (!a)
		return;
	for (size_t at = 0; (f = lp_map_next(&a->files, &at));)
		atomic_store_explicit(&f->stop, true, memory_order_relaxed);
	lp_readers_destroy(a->readers);
	for (size_t at = 0; (f = lp_map_next(&a->files, &at));)
		file_free(f);
	for (size_t i = 0; i < a->n_stopped; i++)
		file_free(a->stopped[i]);
	lp_map_finish(&a->files);
	free(a->stopped);
	free(a);
	ws->aside = NULL;
}
