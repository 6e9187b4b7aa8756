/* watcher/inotify.c: inotify(7) events to places. */
#include "watcher/inotify.h"

#include "common/base/lp_buf.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_path.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

#define MASK                                                                                       \
	(IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE |        \
	 IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)

/* Directories by watch descriptor; the kernel counts descriptors up, so a plain array is dense
 * enough. Slots without a watch are NULL. */
struct lp_watch {
	struct lp_fd_src src;
	struct lp_watch_ops ops;
	void *ctx;
	char **paths;
	size_t cap;
	size_t n;
	int root_wd;
};

static void on_readable(struct lp_fd_src *src, uint32_t ready);

uint64_t lp_watch_limit(const char *name)
{
	char path[128];
	struct lp_buf text;
	uint64_t value = 0;

	(void)snprintf(path, sizeof(path), "/proc/sys/fs/inotify/%s", name);
	lp_buf_init(&text, 64);
	if (lp_read_file(AT_FDCWD, path, &text) == 0 && lp_buf_text(&text))
		value = strtoull(lp_buf_text(&text), NULL, 10);
	lp_buf_finish(&text);
	return value;
}

int lp_watch_create(struct lp_watch **out, struct lp_loop *loop, const struct lp_watch_ops *ops,
		    void *ctx, struct lp_err *err)
{
	struct lp_watch *w = lp_xcalloc(1, sizeof(*w));
	int r;

	w->ops = *ops;
	w->ctx = ctx;
	w->root_wd = -1;
	w->src.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	w->src.events = EPOLLIN;
	w->src.on_ready = on_readable;
	if (w->src.fd < 0) {
		r = errno == EMFILE
			    ? lp_err_say(err, EMFILE,
					 "cannot watch: %llu inotify instances are in use; raise "
					 "fs.inotify.max_user_instances",
					 (unsigned long long)lp_watch_limit("max_user_instances"))
			    : lp_err_set(err, errno, "cannot watch");
		free(w);
		return r;
	}
	r = lp_loop_fd_add(loop, &w->src, err);
	if (r < 0) {
		lp_watch_destroy(w);
		return r;
	}
	*out = w;
	return 0;
}

void lp_watch_destroy(struct lp_watch *w)
{
	if (!w)
		return;
	lp_loop_fd_remove(&w->src);
	(void)close(w->src.fd);
	for (size_t i = 0; i < w->cap; i++)
		free(w->paths[i]);
	free(w->paths);
	free(w);
}

int lp_watch_add(struct lp_watch *w, const char *path, int fd, struct lp_err *err)
{
	char self[64];
	size_t cap = w->cap;
	int wd;

	/* By descriptor, because a mount may cover the path. */
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	wd = inotify_add_watch(w->src.fd, self, MASK);
	if (wd < 0 && errno == ENOSPC)
		return lp_err_say(err, ENOSPC,
				  "cannot watch: %zu of %llu inotify watches are in use by this "
				  "workspace; raise fs.inotify.max_user_watches (livepush doctor "
				  "says how many it needs)",
				  w->n, (unsigned long long)lp_watch_limit("max_user_watches"));
	if (wd < 0)
		return lp_err_set(err, errno, "cannot watch '%s'", path);
	lp_grow(&w->paths, &w->cap, (size_t)wd + 1, sizeof(char *));
	for (size_t i = cap; i < w->cap; i++)
		w->paths[i] = NULL;
	if (!w->paths[wd])
		w->n++;
	free(w->paths[wd]);
	w->paths[wd] = lp_xstrdup(path);
	if (path[0] == '\0')
		w->root_wd = wd;
	return 0;
}

size_t lp_watch_count(const struct lp_watch *w)
{
	return w->n;
}

static void report(struct lp_watch *w, enum lp_event_kind kind, const char *path)
{
	const struct lp_event ev = {.kind = kind, .path = path, .at_us = lp_now_us()};

	w->ops.on_event(w->ctx, &ev);
}

static void forget(struct lp_watch *w, int wd)
{
	if (w->paths[wd])
		w->n--;
	free(w->paths[wd]);
	w->paths[wd] = NULL;
}

/* A directory moved away: its watches would go on reporting under the old name. Where it went
 * inside the workspace, the walk that follows watches it anew. */
static void unwatch_below(struct lp_watch *w, const char *dir)
{
	for (size_t wd = 0; wd < w->cap; wd++) {
		if (!w->paths[wd] || !lp_path_is_below(w->paths[wd], dir))
			continue;
		(void)inotify_rm_watch(w->src.fd, (int)wd);
		forget(w, (int)wd);
	}
}

static void on_entry(struct lp_watch *w, const char *dir, const struct inotify_event *ev)
{
	char path[LP_PATH_MAX_BYTES + 1];

	if (lp_path_join(path, sizeof(path), dir, ev->name) < 0)
		return; /* too long to be mirrored; the walk says so */
	if (ev->mask & IN_ISDIR) {
		if (ev->mask & IN_MOVED_FROM)
			unwatch_below(w, path);
		report(w,
		       ev->mask & (IN_CREATE | IN_MOVED_TO) ? LP_EVENT_SUBTREE : LP_EVENT_CHANGED,
		       path);
		return;
	}
	report(w,
	       ev->mask & IN_CLOSE_WRITE ? LP_EVENT_CLOSED
	       : ev->mask & IN_CREATE    ? LP_EVENT_CREATED
	       : ev->mask & IN_MODIFY    ? LP_EVENT_WRITING
					 : LP_EVENT_CHANGED,
	       path);
}

static void on_one(struct lp_watch *w, const struct inotify_event *ev)
{
	if (ev->mask & IN_Q_OVERFLOW) {
		report(w, LP_EVENT_LOST, "");
		return;
	}
	if (ev->wd < 0 || (size_t)ev->wd >= w->cap || !w->paths[ev->wd])
		return; /* a watch that was given up while this was queued */
	if (ev->wd == w->root_wd && ev->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) {
		w->ops.on_root_gone(w->ctx);
		return;
	}
	if (ev->mask & IN_IGNORED) {
		forget(w, ev->wd);
		return;
	}
	if (ev->len > 0)
		on_entry(w, w->paths[ev->wd], ev);
	else if (ev->mask & IN_ATTRIB)
		report(w, LP_EVENT_CHANGED, w->paths[ev->wd]);
}

/* Whether `next` is the closing of the file that `ev` says is being written: then that need not be
 * said, which spares a burst of saves most of its events. */
static bool is_closed_by(const struct inotify_event *ev, const struct inotify_event *next)
{
	return ev->mask & IN_MODIFY && next->mask & IN_CLOSE_WRITE && ev->wd == next->wd &&
	       ev->len == next->len && ev->len > 0 && strcmp(ev->name, next->name) == 0;
}

void lp_watch_drain(struct lp_watch *w)
{
	_Alignas(struct inotify_event) char buf[65536];

	for (;;) {
		ssize_t n = read(w->src.fd, buf, sizeof(buf));

		if (n <= 0)
			break;
		for (char *p = buf; p < buf + n;) {
			const struct inotify_event *ev = (const void *)p;

			p += sizeof(*ev) + ev->len;
			if (p == buf + n || !is_closed_by(ev, (const void *)p))
				on_one(w, ev);
		}
	}
	w->ops.on_drained(w->ctx);
}

static void on_readable(struct lp_fd_src *src, uint32_t ready)
{
	(void)ready;
	lp_watch_drain(LP_CONTAINER_OF(src, struct lp_watch, src));
}
