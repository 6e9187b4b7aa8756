/* watcher/workspace.c: a workspace's life, and reading its files. */
#include "watcher/workspace.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "watcher/aside.h"
#include "watcher/memory.h"
#include "watcher/readers.h"
#include "watcher/settle.h"
#include "watcher/workspace_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define NOTICED_MAX 1000

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
	lp_personal_ask(&ws->personal, ws->path);
	ws->ticks = lp_ticks_of(ws->root_fd);
	ws->blanks.dir_fd = -1;
	ws->scratch = lp_xcalloc(1, LP_LOOK_SCRATCH_BYTES);
	lp_settle_start(ws);
	lp_look_setup();
	*out = ws;
	return 0;
}

static void free_strings(struct lp_map *map)
{
	size_t at = 0;

	for (char *text; (text = lp_map_next(map, &at));)
		free(text);
	lp_map_finish(map);
}

void lp_workspace_close(struct lp_workspace *ws)
{
	if (!ws)
		return;
	lp_memory_finish(ws);
	lp_blank_finish(ws);
	lp_aside_finish(ws);
	lp_readers_destroy(ws->readers);
	lp_personal_finish(&ws->personal);
	lp_git_finish(ws);
	lp_poll_finish(ws);
	lp_root_finish(ws);
	lp_settle_finish(ws);
	lp_moves_finish(ws);
	lp_links_finish(ws);
	lp_holds_finish(ws);
	lp_notes_finish(ws);
	free_strings(&ws->noticed);
	free(ws->scratch);
	free(ws->path);
	lp_index_destroy(ws->index);
	lp_ignore_destroy(ws->ignore);
	(void)close(ws->root_fd);
	free(ws);
}

int lp_workspace_set_ignore(struct lp_workspace *ws, char *const *lines, size_t n)
{
	struct lp_buf text = {0};
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = lp_buf_addf(&text, "%s\n", lines[i]);
	if (r == 0)
		r = lp_ignore_set(ws->ignore, "", LP_IGNORE_CONFIG, LP_CONF_NAME,
				  text.data ? (const char *)text.data : "", text.len);
	lp_buf_finish(&text);
	/* Before the first walk there is nothing that was read with other rules. */
	if (ws->scan_mark > 0)
		lp_workspace_dirty(ws, LP_EVENT_SUBTREE, "");
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
	while (!lp_workspace_fill(ws))
		continue;
	return ws->index;
}

size_t lp_workspace_files(const struct lp_workspace *ws)
{
	return lp_index_files(ws->index);
}

const char *lp_workspace_excludes(const struct lp_workspace *ws)
{
	return ws->personal.path;
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
	bool leased;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ESTALE;
	leased = !lp_look_has_rested(&st);
	/* As in lp_look_at: a refusal for another reason means that there are no leases. */
	if ((leased && fcntl(fd, F_SETLEASE, F_RDLCK) < 0 && errno == EAGAIN) ||
	    lp_workspace_is_written(ws, path)) {
		const struct lp_wait *wait = lp_map_get(&ws->waits, path);

		if (!wait || !wait->taken)
			return -EBUSY;
	}
	/* Sending a large file takes too long to keep a writer waiting. */
	if (leased && st.st_size > (off_t)LP_INLINE_MAX_BYTES)
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

bool lp_workspace_is_written(const struct lp_workspace *ws, const char *path)
{
	return ws->ops.is_being_written && ws->ops.is_being_written(ws->ctx, path);
}

void lp_workspace_say(struct lp_workspace *ws, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (!ws->ops.on_notice)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ws->ops.on_notice(ws->ctx, text);
}

void lp_workspace_notice(struct lp_workspace *ws, const char *path, const char *why)
{
	char *key;

	if (ws->noticed.n >= NOTICED_MAX || lp_map_get(&ws->noticed, path))
		return;
	key = lp_xstrdup(path);
	(void)lp_map_put(&ws->noticed, key, key);
	lp_workspace_say(ws, "%.300s: left out: %s", path[0] ? path : ".", why);
}

int lp_workspace_scan(struct lp_workspace *ws, struct lp_err *err)
{
	int r;

	lp_personal_load(ws);
	ws->blanks.allowed = ws->scan_mark == 0 && lp_index_count(ws->index) == 0;
	r = lp_workspace_walk(ws, "", NULL, err);
	ws->blanks.allowed = false;
	(void)lp_blank_wait(ws);
	lp_root_scanned(ws);
	return r < 0 ? lp_err_wrap(err, r, "%s", ws->path) : 0;
}
