/* watcher/poll.c: directories for which the kernel had no watch left. They are looked at again and
 * again: their times say whether an entry came or went, their files' times whether one changed. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "watcher/inotify.h"
#include "watcher/workspace_internal.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ROUND_MIN_US 500000u
#define ROUND_MAX_US 2000000u
/* A round takes at most a twentieth of the time, and the loop is never kept for longer than a slice
 * at once. */
#define ROUND_SHARE 20u
#define SLICE_US    4000u
#define PAUSE_US    4000u
/* So many are looked at between two looks at the clock. */
#define CLOCK_CHILDREN 64u
/* The limit may have been raised, or watches become free. */
#define RETRY_ROUNDS 8u

struct polled {
	char *path; /* owned */
	struct timespec mtime;
	struct timespec ctime;
	bool listed; /* the times are known */
};

struct lp_poll {
	struct lp_workspace *ws;
	struct lp_map known;  /* of struct polled, owned */
	struct polled **dirs; /* the same, for going through them */
	size_t n;
	size_t cap;
	size_t at;         /* the next of the round */
	uint32_t child_at; /* the next of its children, when it takes more than a slice */
	DIR *listing;      /* of it, when that takes more than a slice; owned */
	size_t n_said;
	unsigned rounds;
	bool full;         /* in this round there was no watch to be had */
	uint64_t spent_us; /* in this round */
	uint64_t slice_ends_us;
	char why[256];
	struct lp_timer timer;
};

static void end_listing(struct lp_poll *poll)
{
	if (poll->listing)
		(void)closedir(poll->listing);
	poll->listing = NULL;
}

static void forget(struct lp_poll *poll, size_t i)
{
	struct polled *p = poll->dirs[i];

	if (i == poll->at) {
		poll->child_at = 0;
		end_listing(poll);
	}
	(void)lp_map_remove(&poll->known, p->path);
	poll->dirs[i] = poll->dirs[--poll->n];
	free(p->path);
	free(p);
}

void lp_poll_finish(struct lp_workspace *ws)
{
	struct lp_poll *poll = ws->poll;

	if (!poll)
		return;
	lp_timer_clear(&poll->timer);
	end_listing(poll);
	while (poll->n > 0)
		forget(poll, poll->n - 1);
	lp_map_finish(&poll->known);
	free(poll->dirs);
	free(poll);
	ws->poll = NULL;
}

/* Looks at what the index has of the directory, from poll->child_at on. Returns false when the
 * slice is over before it is through: the next one goes on there. Children that come or go between
 * move others; whoever is missed for that is looked at in the next round. */
static bool stat_children(struct lp_poll *poll, const struct lp_node *dir, const char *path, int fd)
{
	char child[LP_PATH_MAX_BYTES + 1];

	for (uint32_t i = poll->child_at; i < lp_node_count(dir); i++) {
		const struct lp_node *node = lp_node_at(dir, i);
		struct stat st;

		if (i % CLOCK_CHILDREN == 0 && i > poll->child_at &&
		    lp_now_us() >= poll->slice_ends_us) {
			poll->child_at = i;
			return false;
		}

		if (fstatat(fd, node->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    (node->e.kind == LP_KIND_DIR
			     ? S_ISDIR(st.st_mode) && node->e.mode == (st.st_mode & 0777)
			     : lp_sig_is(lp_node_sig(node), &st)))
			continue;
		if (lp_path_join(child, sizeof(child), path, node->name) == 0)
			lp_workspace_dirty(poll->ws, LP_EVENT_CHANGED, child);
	}
	poll->child_at = 0;
	return true;
}

/* Looks for entries that the index does not have. Returns false when the slice is over before it is
 * through. */
static bool list(struct lp_poll *poll, const struct lp_node *dir, const char *path)
{
	char child[LP_PATH_MAX_BYTES + 1];
	struct dirent *e;

	for (uint32_t i = 1; (e = readdir(poll->listing)); i++) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    !lp_node_child(dir, e->d_name) &&
		    lp_path_join(child, sizeof(child), path, e->d_name) == 0 &&
		    !lp_ignore_check(poll->ws->ignore, child, e->d_type == DT_DIR, NULL))
			lp_workspace_dirty(poll->ws, LP_EVENT_SUBTREE, child);
		if (i % CLOCK_CHILDREN == 0 && lp_now_us() >= poll->slice_ends_us)
			return false;
	}
	end_listing(poll);
	return true;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Asks for a watch again. Whether there is one now. */
static bool watch_again(struct lp_poll *poll, const struct polled *p, int fd)
{
	struct lp_workspace *ws = poll->ws;
	struct lp_err err = {0};

	if (poll->full || poll->rounds % RETRY_ROUNDS != 0 || !ws->ops.on_dir)
		return false;
	if (ws->ops.on_dir(ws->ctx, p->path, fd, &err) < 0) {
		poll->full = true;
		return false;
	}
	/* What changed since the last look. */
	lp_workspace_dirty(ws, LP_EVENT_SUBTREE, p->path);
	return true;
}

enum looked {
	LOOKED_ALL,
	LOOKED_PART, /* the slice is over */
	LOOKED_LAST, /* it need not be polled any more */
};

/* Looks at one directory, or goes on with it. */
static enum looked look(struct lp_poll *poll, struct polled *p)
{
	const struct lp_node *dir = lp_index_get(poll->ws->index, p->path);
	LP_AUTO_CLOSE int fd = lp_open_beneath(poll->ws->root_fd, p->path[0] ? p->path : ".",
					       O_RDONLY | O_DIRECTORY, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !dir || dir->e.kind != LP_KIND_DIR) {
		lp_workspace_dirty(poll->ws, LP_EVENT_CHANGED, p->path);
		return LOOKED_LAST;
	}
	if (poll->listing)
		return list(poll, dir, p->path) ? LOOKED_ALL : LOOKED_PART;
	if (watch_again(poll, p, fd))
		return LOOKED_LAST;
	if (!stat_children(poll, dir, p->path, fd))
		return LOOKED_PART;
	if (p->listed && same_time(&p->mtime, &st.st_mtim) && same_time(&p->ctime, &st.st_ctim))
		return LOOKED_ALL;
	/* Its times move in ticks: only what has rested for longer is known. */
	p->listed = (uint64_t)st.st_mtim.tv_sec * 1000000 + ROUND_MAX_US < lp_wall_us();
	p->mtime = st.st_mtim;
	p->ctime = st.st_ctim;
	poll->listing = fdopendir(fd);
	if (!poll->listing)
		return LOOKED_ALL;
	(void)lp_take_fd(&fd);
	return list(poll, dir, p->path) ? LOOKED_ALL : LOOKED_PART;
}

static void on_timer(struct lp_timer *timer)
{
	struct lp_poll *poll = LP_CONTAINER_OF(timer, struct lp_poll, timer);
	uint64_t began_us = lp_now_us(), spent_us = 0, wait_us = PAUSE_US;

	if (poll->at == 0) {
		poll->rounds++;
		poll->full = false;
	}
	poll->slice_ends_us = began_us + SLICE_US;
	for (; poll->at < poll->n && spent_us < SLICE_US; spent_us = lp_now_us() - began_us) {
		switch (look(poll, poll->dirs[poll->at])) {
		case LOOKED_ALL:
			poll->at++;
			break;
		case LOOKED_LAST:
			forget(poll, poll->at);
			break;
		case LOOKED_PART:
			break;
		}
	}
	poll->spent_us += spent_us;
	if (poll->at >= poll->n) {
		wait_us = poll->spent_us * ROUND_SHARE;
		wait_us = wait_us < ROUND_MIN_US   ? ROUND_MIN_US
			  : wait_us > ROUND_MAX_US ? ROUND_MAX_US
						   : wait_us;
		poll->at = 0;
		poll->spent_us = 0;
	}
	if (poll->n > 0)
		lp_timer_set(poll->ws->loop, &poll->timer, lp_now_us() + wait_us);
	else
		poll->n_said = 0;
}

void lp_poll_add(struct lp_workspace *ws, const char *path, const char *why)
{
	struct lp_poll *poll = ws->poll;
	struct polled *p;

	if (!poll) {
		poll = ws->poll = lp_xcalloc(1, sizeof(*poll));
		poll->ws = ws;
		poll->timer.on_fire = on_timer;
	}
	(void)snprintf(poll->why, sizeof(poll->why), "%s", why);
	if (lp_map_get(&poll->known, path))
		return;
	p = lp_xcalloc(1, sizeof(*p));
	p->path = lp_xstrdup(path);
	(void)lp_map_put(&poll->known, p->path, p);
	lp_grow(&poll->dirs, &poll->cap, poll->n + 1, sizeof(struct polled *));
	poll->dirs[poll->n++] = p;
	if (!poll->timer.loop)
		lp_timer_set(ws->loop, &poll->timer, lp_now_us() + ROUND_MIN_US);
}

void lp_poll_say(struct lp_workspace *ws)
{
	struct lp_poll *poll = ws->poll;
	unsigned long long needs;

	/* Again when it got much worse, not for each new directory. */
	if (!poll || poll->n == 0 || poll->n < poll->n_said * 2)
		return;
	poll->n_said = poll->n;
	needs = (unsigned long long)lp_watch_limit("max_user_watches") + poll->n;
	lp_workspace_say(ws,
			 "%s; %zu director%s looked at every 0.5 to 2 seconds instead; raise "
			 "fs.inotify.max_user_watches (needs %llu): "
			 "sysctl fs.inotify.max_user_watches=%llu",
			 poll->why, poll->n, poll->n == 1 ? "y is" : "ies are", needs, needs);
}
