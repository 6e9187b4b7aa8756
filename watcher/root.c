/* watcher/root.c: the tree as a whole: reading it again after events were lost, and a root that was
 * removed or moved away.
 *
 * Lost events are answered by a rescan at once; when they are lost again soon, the next one waits,
 * twice as long each time, so that a storm of changes is not made worse by reading all of it again
 * and again.
 *
 * When the root is not there any more, nothing is taken: the instances keep what they have. When a
 * directory is at its path again, is not empty and has not changed for a moment (it may be a
 * checkout that has just begun), it becomes the root in place of the old one. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "watcher/workspace_internal.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#define BACKOFF_MIN_US 100000u
#define BACKOFF_MAX_US 10000000u
#define CALM_FACTOR    10u /* lost again within so many times the backoff: not calm */
#define LOOK_US        250000u
#define LOOKS_ALIKE    4u
#define EMPTY_US       1000000u

struct lp_root {
	struct lp_workspace *ws;
	struct lp_timer rescan_timer; /* set: a rescan is to come */
	uint64_t scanned_us;
	uint64_t backoff_us;
	bool suspect; /* look whether the root is there */
	bool gone;
	struct lp_timer back_timer;
	struct stat seen; /* what is at the root's path now */
	unsigned alike;   /* how often it was seen so */
	struct lp_timer empty_timer;
};

static void on_rescan(struct lp_timer *timer);
static void on_look(struct lp_timer *timer);
static void on_empty(struct lp_timer *timer);

static struct lp_root *root_of(struct lp_workspace *ws)
{
	if (!ws->root) {
		ws->root = lp_xcalloc(1, sizeof(*ws->root));
		ws->root->ws = ws;
		ws->root->rescan_timer.on_fire = on_rescan;
		ws->root->back_timer.on_fire = on_look;
		ws->root->empty_timer.on_fire = on_empty;
	}
	return ws->root;
}

void lp_root_finish(struct lp_workspace *ws)
{
	if (!ws->root)
		return;
	lp_timer_clear(&ws->root->rescan_timer);
	lp_timer_clear(&ws->root->back_timer);
	lp_timer_clear(&ws->root->empty_timer);
	free(ws->root);
	ws->root = NULL;
}

static void on_rescan(struct lp_timer *timer)
{
	struct lp_root *root = LP_CONTAINER_OF(timer, struct lp_root, rescan_timer);

	lp_workspace_dirty(root->ws, LP_EVENT_SUBTREE, "");
}

void lp_root_rescan(struct lp_workspace *ws)
{
	struct lp_root *root = root_of(ws);
	uint64_t now_us = lp_now_us(), since_us = now_us - root->scanned_us, calm_us;

	root->suspect = true;
	ws->lost = true;
	if (root->rescan_timer.loop || lp_map_get(&ws->dirty, ""))
		return;
	calm_us = CALM_FACTOR * (root->backoff_us ? root->backoff_us : BACKOFF_MIN_US);
	if (root->scanned_us == 0 || since_us > calm_us)
		root->backoff_us = 0;
	else if (root->backoff_us == 0)
		root->backoff_us = BACKOFF_MIN_US;
	else
		root->backoff_us = root->backoff_us * 2 < BACKOFF_MAX_US ? root->backoff_us * 2
									 : BACKOFF_MAX_US;
	if (root->backoff_us > 0)
		lp_timer_set(ws->loop, &root->rescan_timer, now_us + root->backoff_us);
	else
		lp_workspace_dirty(ws, LP_EVENT_SUBTREE, "");
}

void lp_root_scanned(struct lp_workspace *ws)
{
	ws->lost = false;
	if (ws->root)
		ws->root->scanned_us = lp_now_us();
	lp_poll_say(ws);
	lp_root_looked(ws);
}

bool lp_root_has_notes(const struct lp_workspace *ws)
{
	return ws->root && ws->root->rescan_timer.loop;
}

/* Whether the descriptor's directory is still what is at the root's path. A mount in front of it
 * hides it; then only its removal can be told. */
static bool is_in_place(const struct lp_workspace *ws)
{
	struct stat own, st;

	if (fstat(ws->root_fd, &own) < 0 || own.st_nlink == 0)
		return false;
	if (stat(ws->path, &st) < 0)
		return errno != ENOENT && errno != ENOTDIR;
	return st.st_dev != own.st_dev || st.st_ino == own.st_ino;
}

bool lp_root_is_there(struct lp_workspace *ws)
{
	struct lp_root *root = root_of(ws);
	struct stat own;

	/* As long as it is open here its removal is no event; its move is. */
	if (root->gone)
		return false;
	if (!root->suspect && fstat(ws->root_fd, &own) == 0 && own.st_nlink > 0)
		return true;
	root->suspect = false;
	if (is_in_place(ws))
		return true;
	root->gone = true;
	root->alike = 0;
	lp_workspace_say(ws,
			 "%s was removed or moved away: the instances keep what they have until a "
			 "directory with something in it is there again",
			 ws->path);
	lp_timer_set(ws->loop, &root->back_timer, lp_now_us() + LOOK_US);
	return false;
}

/* The removal of a root with something in it shows in what goes before it. An empty one has to be
 * looked at. */
static void on_empty(struct lp_timer *timer)
{
	struct lp_root *root = LP_CONTAINER_OF(timer, struct lp_root, empty_timer);

	if (lp_root_is_there(root->ws))
		lp_root_looked(root->ws);
}

void lp_root_looked(struct lp_workspace *ws)
{
	if (lp_index_count(ws->index) == 0)
		lp_timer_set(ws->loop, &root_of(ws)->empty_timer, lp_now_us() + EMPTY_US);
}

/* A directory that holds anything. */
static int open_filled(const char *path)
{
	LP_AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	LP_AUTO_CLOSE int copy = -1;
	DIR *dir;
	struct dirent *e;

	if (fd < 0)
		return -errno;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	dir = copy >= 0 ? fdopendir(copy) : NULL;
	if (!dir)
		return -errno;
	(void)lp_take_fd(&copy);
	do {
		errno = 0;
		e = readdir(dir);
	} while (e && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0));
	(void)closedir(dir);
	return e ? lp_take_fd(&fd) : -ENOENT;
}

static bool is_alike(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* The new directory under the number of the old one, which others have borrowed. */
static void put_in_place(struct lp_root *root, int fd)
{
	struct lp_workspace *ws = root->ws;

	if (dup3(fd, ws->root_fd, O_CLOEXEC) < 0)
		return;
	root->gone = false;
	root->scanned_us = 0;
	lp_timer_clear(&root->back_timer);
	lp_workspace_say(ws, "%s is there again", ws->path);
	lp_workspace_dirty(ws, LP_EVENT_SUBTREE, "");
}

static void on_look(struct lp_timer *timer)
{
	struct lp_root *root = LP_CONTAINER_OF(timer, struct lp_root, back_timer);
	LP_AUTO_CLOSE int fd = open_filled(root->ws->path);
	struct stat st;

	lp_timer_set(root->ws->loop, timer, lp_now_us() + LOOK_US);
	if (fd < 0 || fstat(fd, &st) < 0) {
		root->alike = 0;
		return;
	}
	root->alike = root->alike > 0 && is_alike(&root->seen, &st) ? root->alike + 1 : 1;
	root->seen = st;
	if (root->alike >= LOOKS_ALIKE)
		put_in_place(root, fd);
}
