/* watcher/inotify.c: inotify(7) events to places. */
#include "watcher/inotify.h"

#include "common/base/lp_buf.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_path.h"
#include "watcher/watch_tree.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

#define MASK                                                                                       \
	(IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE |        \
	 IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)

/* Of a file with several names. Not IN_MODIFY: the kernel joins events that are alike and follow
 * each other, and those of a writer would not any more. */
#define FILE_MASK (IN_CLOSE_WRITE | IN_ATTRIB)

/* How long the second half of a move may be behind the first: the kernel queues them one right
 * after the other. */
#define PAIR_NS 200000

#define EVENT_MAX_BYTES (sizeof(struct inotify_event) + NAME_MAX + 1)

/* The first half of a move. given_up: the second one did not follow; it may still come, when
 * whoever renames was put aside in between. */
struct departure {
	uint32_t cookie; /* 0: there is none */
	bool given_up;
	struct lp_wdir *node; /* taken out of the tree; NULL: not watched */
	char from[LP_PATH_MAX_BYTES + 1];
};

struct lp_watch {
	struct lp_fd_src src;
	struct lp_watch_ops ops;
	void *ctx;
	struct lp_wtree tree;
	struct departure left;
	int cwd_fd; /* of this process's working directory; -1: it cannot be gone back to */
};

static void on_readable(struct lp_fd_src *src, uint32_t ready);

static uint64_t read_number(const char *path)
{
	struct lp_buf text;
	uint64_t value = 0;

	lp_buf_init(&text, 64);
	if (lp_read_file(AT_FDCWD, path, &text) == 0 && lp_buf_text(&text))
		value = strtoull(lp_buf_text(&text), NULL, 10);
	lp_buf_finish(&text);
	return value;
}

uint64_t lp_watch_limit(const char *name)
{
	uint64_t value, own;
	char path[128];

	(void)snprintf(path, sizeof(path), "/proc/sys/fs/inotify/%s", name);
	value = read_number(path);
	if (strcmp(name, "max_user_watches") != 0)
		return value;
	own = read_number("/proc/sys/user/max_inotify_watches");
	return own > 0 && own < value ? own : value;
}

int lp_watch_create(struct lp_watch **out, struct lp_loop *loop, const struct lp_watch_ops *ops,
		    void *ctx, struct lp_err *err)
{
	struct lp_watch *w = lp_xcalloc(1, sizeof(*w));
	int r;

	w->ops = *ops;
	w->ctx = ctx;
	w->cwd_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (w->cwd_fd >= 0 && fchdir(w->cwd_fd) < 0)
		lp_auto_close(&w->cwd_fd);
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
		lp_auto_close(&w->cwd_fd);
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
	lp_auto_close(&w->cwd_fd);
	if (w->left.node)
		lp_wtree_drop(&w->tree, w->left.node, NULL, NULL);
	lp_wtree_finish(&w->tree);
	free(w);
}

static void on_drop(void *ctx, int wd)
{
	struct lp_watch *w = ctx;

	(void)inotify_rm_watch(w->src.fd, wd);
}

/* By descriptor, because a mount may cover the path. */
static int add_watch(const struct lp_watch *w, int fd, uint32_t mask)
{
	char self[64];

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return inotify_add_watch(w->src.fd, self, mask);
}

/* The same for a directory, from within it, which takes two thirds of the time: there is no name to
 * be looked up. The other threads of the process have the same working directory; none of them goes
 * by it. */
static int add_dir_watch(const struct lp_watch *w, int fd)
{
	int wd, cause;

	/* A directory that may be read and not entered. */
	if (w->cwd_fd < 0 || fchdir(fd) < 0)
		return add_watch(w, fd, MASK);
	wd = inotify_add_watch(w->src.fd, ".", MASK);
	cause = errno;
	/* Where the way back is closed by now, relative paths must lead nowhere. */
	if (fchdir(w->cwd_fd) < 0 && chdir("/") < 0)
		abort();
	errno = cause;
	return wd;
}

int lp_watch_add(struct lp_watch *w, const char *path, int fd, struct lp_err *err)
{
	int wd = add_dir_watch(w, fd);

	if (wd < 0 && errno == ENOSPC)
		return lp_err_say(
			err, ENOSPC,
			"there are too few inotify watches: this workspace has %zu of the "
			"%llu that fs.inotify.max_user_watches allows",
			w->tree.n_watched, (unsigned long long)lp_watch_limit("max_user_watches"));
	if (wd < 0)
		return lp_err_set(err, errno, "cannot watch '%s'", path);
	lp_wtree_put(&w->tree, path, wd, on_drop, w);
	return 0;
}

int lp_watch_add_file(struct lp_watch *w, const char *path, int fd)
{
	int wd = add_watch(w, fd, FILE_MASK);

	if (wd < 0)
		return -errno;
	lp_wtree_put(&w->tree, path, wd, on_drop, w);
	return 0;
}

size_t lp_watch_count(const struct lp_watch *w)
{
	return w->tree.n_watched;
}

static void report(struct lp_watch *w, enum lp_event_kind kind, const char *path)
{
	const struct lp_event ev = {.kind = kind, .path = path, .at_us = lp_now_us()};

	w->ops.on_event(w->ctx, &ev);
}

static void report_move(struct lp_watch *w, const char *from, const char *to)
{
	const struct lp_event ev = {
		.kind = LP_EVENT_MOVED, .path = to, .from = from, .at_us = lp_now_us()};

	w->ops.on_event(w->ctx, &ev);
}

/* Whether half of a move is known. */
static bool is_awaited(const struct lp_watch *w)
{
	return w->left.cookie != 0 && !w->left.given_up;
}

/* What left did not arrive in the workspace, or where it did is told too late: its watches would go
 * on reporting under the old name. Where it is inside, the walk that follows watches it anew. */
static void give_up_left(struct lp_watch *w)
{
	if (!is_awaited(w))
		return;
	if (w->left.node)
		lp_wtree_drop(&w->tree, w->left.node, on_drop, w);
	w->left.node = NULL;
	w->left.given_up = true;
	report(w, LP_EVENT_CHANGED, w->left.from);
}

static void on_left(struct lp_watch *w, struct lp_wdir *dir, const char *path,
		    const struct inotify_event *ev)
{
	give_up_left(w);
	w->left.cookie = ev->cookie;
	w->left.given_up = false;
	memcpy(w->left.from, path, strlen(path) + 1);
	w->left.node = lp_wtree_child(&w->tree, dir, ev->name);
	if (w->left.node)
		lp_wtree_detach(&w->tree, w->left.node);
}

/* The other half. Returns false when the first one is not known: it came from outside; or when it
 * was a directory whose watches were given up. */
static bool on_arrived(struct lp_watch *w, struct lp_wdir *dir, const char *path,
		       const struct inotify_event *ev)
{
	struct lp_wdir *moved = w->left.node;

	if (w->left.cookie == 0 || w->left.cookie != ev->cookie)
		return false;
	w->left.cookie = 0;
	w->left.node = NULL;
	if (w->left.given_up && ev->mask & IN_ISDIR)
		return false;
	if (moved)
		lp_wtree_attach(&w->tree, moved, dir, ev->name, on_drop, w);
	report_move(w, w->left.from, path);
	return true;
}

static enum lp_event_kind kind_of(uint32_t mask)
{
	if (mask & IN_ISDIR)
		return mask & (IN_CREATE | IN_MOVED_TO) ? LP_EVENT_SUBTREE : LP_EVENT_CHANGED;
	return mask & IN_CLOSE_WRITE ? LP_EVENT_CLOSED
	       : mask & IN_CREATE    ? LP_EVENT_CREATED
	       : mask & IN_MODIFY    ? LP_EVENT_WRITING
				     : LP_EVENT_CHANGED;
}

/* The name is gone, the file may not be: it is watched under another name if it has one. */
static void forget_file(struct lp_watch *w, const struct lp_wdir *dir,
			const struct inotify_event *ev)
{
	struct lp_wdir *file = ev->mask & IN_ISDIR ? NULL : lp_wtree_child(&w->tree, dir, ev->name);

	if (file && !file->children)
		lp_wtree_drop(&w->tree, file, on_drop, w);
}

static void on_entry(struct lp_watch *w, struct lp_wdir *dir, const struct inotify_event *ev)
{
	char path[LP_PATH_MAX_BYTES + 1];

	/* Too long to be mirrored (the walk says so), or of a directory that is on its way to
	 * another name, where all of it is looked at. */
	if (lp_wtree_path(&w->tree, dir, ev->name, path, sizeof(path)) < 0)
		return;
	if (ev->mask & IN_DELETE)
		forget_file(w, dir, ev);
	if (ev->mask & IN_MOVED_FROM)
		on_left(w, dir, path, ev);
	else if (!(ev->mask & IN_MOVED_TO) || !on_arrived(w, dir, path, ev))
		report(w, kind_of(ev->mask), path);
}

static void on_root_gone(struct lp_watch *w)
{
	report(w, LP_EVENT_LOST, "");
	if (w->ops.on_root_gone)
		w->ops.on_root_gone(w->ctx);
}

static void on_one(struct lp_watch *w, const struct inotify_event *ev)
{
	struct lp_wdir *dir = ev->wd < 0 ? NULL : lp_wtree_find(&w->tree, ev->wd);
	char path[LP_PATH_MAX_BYTES + 1];

	if (ev->mask & IN_Q_OVERFLOW) {
		report(w, LP_EVENT_LOST, "");
		return;
	}
	if (!dir)
		return; /* a watch that was given up while this was queued */
	if (dir == w->tree.root && ev->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) {
		on_root_gone(w);
		return;
	}
	if (ev->mask & IN_IGNORED)
		lp_wtree_unwatch(&w->tree, dir);
	else if (ev->len > 0)
		on_entry(w, dir, ev);
	else if (ev->mask & FILE_MASK &&
		 lp_wtree_path(&w->tree, dir, NULL, path, sizeof(path)) == 0)
		report(w, kind_of(ev->mask), path);
}

/* Whether `next` is the closing of the file that `ev` says is being written: then that need not be
 * said, which spares a burst of saves most of its events. */
static bool is_closed_by(const struct inotify_event *ev, const struct inotify_event *next)
{
	return ev->mask & IN_MODIFY && next->mask & IN_CLOSE_WRITE && ev->wd == next->wd &&
	       ev->len == next->len && ev->len > 0 && strcmp(ev->name, next->name) == 0;
}

/* Reads what is queued. As long as half of a move is known, the rest of it is waited for. */
static ssize_t read_more(struct lp_watch *w, char *buf, size_t bytes)
{
	ssize_t n = read(w->src.fd, buf, bytes);

	if (n < 0 && errno == EAGAIN && is_awaited(w)) {
		const struct timespec pair = {.tv_nsec = PAIR_NS};
		struct pollfd ready = {.fd = w->src.fd, .events = POLLIN};

		if (ppoll(&ready, 1, &pair, NULL) > 0)
			n = read(w->src.fd, buf, bytes);
	}
	return n;
}

void lp_watch_drain(struct lp_watch *w)
{
	_Alignas(struct inotify_event) char buf[65536];

	for (;;) {
		ssize_t n = read_more(w, buf, sizeof(buf));

		if (n <= 0)
			break;
		for (char *p = buf; p < buf + n;) {
			const struct inotify_event *ev = (const void *)p;

			p += sizeof(*ev) + ev->len;
			if (p == buf + n || !is_closed_by(ev, (const void *)p))
				on_one(w, ev);
		}
		/* Another one would have fitted: that was all. */
		if ((size_t)n + EVENT_MAX_BYTES <= sizeof(buf) && !is_awaited(w))
			break;
	}
	give_up_left(w);
	w->ops.on_drained(w->ctx);
}

static void on_readable(struct lp_fd_src *src, uint32_t ready)
{
	(void)ready;
	lp_watch_drain(LP_CONTAINER_OF(src, struct lp_watch, src));
}
