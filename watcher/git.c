/* watcher/git.c: while git changes the files, changesets are held back.
 *
 * git makes index.lock before it changes the first file of a working tree and renames it to index
 * after the last; HEAD.lock guards the branch in the same way. So a lock that is there holds, and
 * nothing else does: a merge or rebase that waits for its user may take hours, in which saves have
 * to go out. Between two commands of one operation there is no lock for a moment: the hold lasts
 * for TAIL_US longer, or TAIL_MORE_US when a rebase or the like is under way.
 *
 * A lock that nobody has open for writing has been left behind, or git waits for an editor
 * (commit -a): after LEFT_US it holds no longer. Where that cannot be told, after STALE_US without
 * any event. Either is said, and forgotten when the lock changes.
 *
 * The locks are seen by a watch on the directory, which is not mirrored: `.git` itself, or where a
 * file `.git` points to (worktrees, submodules). Its events come as if it were at `.git`.
 *
 * `.git/info/exclude` of the workspace itself is a rule file like others. A worktree has that of
 * the repository that it belongs to. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "watcher/rules.h"
#include "watcher/workspace_internal.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define TAIL_US      50000u
#define TAIL_MORE_US 250000u
#define LEFT_US      2000000u
#define STALE_US     60000000u
#define CHECK_US     500000u

static const char *const locks[] = {"index.lock", "HEAD.lock"};
#define INFO "info"
static const char exclude[] = ".git/" INFO "/exclude";
static const char *const under_way[] = {"rebase-merge", "rebase-apply", "sequencer", "MERGE_HEAD"};

/* A lock as it was seen; ino 0: it is not there. */
struct lock {
	ino_t ino;
	struct timespec mtime;
	uint64_t seen_us; /* when it became so */
	bool given_up;
};

struct repository {
	char *at;  /* owned: the path of the entry ".git" */
	char *who; /* owned */
	int fd;    /* owned: the directory that it is or points to */
	struct lock locks[LP_COUNT_OF(locks)];
};

struct lp_git {
	struct lp_workspace *ws;
	struct repository *repos;
	size_t n;
	size_t cap;
	const char *holder; /* of the lock that is there, borrowed from its repository; or NULL */
	const char *last;   /* who held last, until until_us */
	uint64_t until_us;
	uint64_t event_us;
	struct lp_timer timer;
};

static void drop_repository(struct lp_git *git, size_t i)
{
	(void)close(git->repos[i].fd);
	free(git->repos[i].at);
	free(git->repos[i].who);
	git->repos[i] = git->repos[--git->n];
}

void lp_git_finish(struct lp_workspace *ws)
{
	struct lp_git *git = ws->git;

	if (!git)
		return;
	lp_timer_clear(&git->timer);
	while (git->n > 0)
		drop_repository(git, git->n - 1);
	free(git->repos);
	free(git);
	ws->git = NULL;
}

/* Whether somebody may have the lock open for writing. */
static bool has_writer(const struct repository *repo, const char *name)
{
	LP_AUTO_CLOSE int fd =
		openat(repo->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	return fd >= 0 && fcntl(fd, F_SETLEASE, F_RDLCK) < 0;
}

/* Looks at one lock; whether it holds. */
static bool check_lock(struct lp_git *git, struct repository *repo, size_t i)
{
	struct lock *lock = &repo->locks[i];
	uint64_t now_us = lp_now_us(), quiet_us;
	struct stat st;

	if (fstatat(repo->fd, locks[i], &st, AT_SYMLINK_NOFOLLOW) < 0) {
		*lock = (struct lock){0};
		return false;
	}
	if (lock->ino != st.st_ino || lock->mtime.tv_sec != st.st_mtim.tv_sec ||
	    lock->mtime.tv_nsec != st.st_mtim.tv_nsec)
		*lock = (struct lock){.ino = st.st_ino, .mtime = st.st_mtim, .seen_us = now_us};
	if (lock->given_up)
		return false;
	quiet_us = now_us - (git->event_us > lock->seen_us ? git->event_us : lock->seen_us);
	if (quiet_us < STALE_US && (now_us - lock->seen_us < LEFT_US || has_writer(repo, locks[i])))
		return true;
	lock->given_up = true;
	lp_workspace_say(git->ws,
			 "%s/%s is there but no git command is at work on it; going on without "
			 "waiting for it (remove it if git complains about it)",
			 repo->at, locks[i]);
	return false;
}

static bool is_under_way(const struct repository *repo)
{
	for (size_t i = 0; i < LP_COUNT_OF(under_way); i++)
		if (faccessat(repo->fd, under_way[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return true;
	return false;
}

/* Looks at all locks: begins, goes on with, or ends the hold. touched: whose lock an event came
 * for; it may be gone already, when git was faster than its events were read. */
static void check(struct lp_git *git, const char *touched)
{
	const char *before = git->holder ? git->holder : touched;
	uint64_t now_us = lp_now_us();

	git->holder = NULL;
	for (size_t r = 0; r < git->n; r++)
		for (size_t i = 0; i < LP_COUNT_OF(locks); i++)
			if (check_lock(git, &git->repos[r], i))
				git->holder = git->repos[r].who;
	if (git->holder) {
		lp_timer_set(git->ws->loop, &git->timer, now_us + CHECK_US);
		return;
	}
	if (!before)
		return;
	git->until_us = now_us + TAIL_US;
	for (size_t r = 0; r < git->n; r++)
		if (is_under_way(&git->repos[r]))
			git->until_us = now_us + TAIL_MORE_US;
	git->last = before;
	lp_timer_set(git->ws->loop, &git->timer, git->until_us);
}

static void on_timer(struct lp_timer *timer)
{
	struct lp_git *git = LP_CONTAINER_OF(timer, struct lp_git, timer);

	if (git->holder)
		check(git, NULL);
	else
		lp_workspace_unheld(git->ws);
}

const char *lp_git_holds(const struct lp_workspace *ws)
{
	const struct lp_git *git = ws->git;

	if (!git)
		return NULL;
	return git->holder ? git->holder : lp_now_us() < git->until_us ? git->last : NULL;
}

static struct repository *find_repository(const struct lp_git *git, const char *at, size_t len)
{
	for (size_t i = 0; i < git->n; i++)
		if (strncmp(git->repos[i].at, at, len) == 0 && git->repos[i].at[len] == '\0')
			return &git->repos[i];
	return NULL;
}

/* Where the rules of the workspace's own repository are. */
static void watch_info(struct lp_workspace *ws, int dir_fd)
{
	LP_AUTO_CLOSE int fd = lp_rules_open_info(dir_fd);
	struct lp_err err = {0};

	if (fd >= 0)
		(void)ws->ops.on_dir(ws->ctx, ".git/" INFO, fd, &err);
}

/* Notes that the rules may be others. Those of a writer who closed them are, at once; what else
 * happens may be half of a save. */
static void note_rules(struct lp_workspace *ws, const struct lp_event *ev)
{
	bool whole = ev->kind == LP_EVENT_CLOSED ||
		     (ev->kind == LP_EVENT_MOVED && strcmp(ev->path, exclude) == 0);

	lp_workspace_dirty(ws, whole ? LP_EVENT_CHANGED : LP_EVENT_WRITING, exclude);
}

void lp_git_found(struct lp_workspace *ws, const char *dir, int dir_fd)
{
	LP_AUTO_FREE char *at = lp_xasprintf("%s%s.git", dir, dir[0] ? "/" : "");
	LP_AUTO_CLOSE int fd = lp_rules_open_repository(dir_fd);
	struct lp_git *git = ws->git;
	struct repository *repo = git ? find_repository(git, at, strlen(at)) : NULL;
	struct lp_err err = {0};

	if (repo) {
		git->holder = git->holder == repo->who ? "git" : git->holder;
		git->last = git->last == repo->who ? "git" : git->last;
		drop_repository(git, (size_t)(repo - git->repos));
	}
	if (fd < 0 || strlen(at) > LP_PATH_MAX_BYTES - NAME_MAX)
		return;
	if (!git) {
		git = ws->git = lp_xcalloc(1, sizeof(*git));
		git->ws = ws;
		git->timer.on_fire = on_timer;
	}
	/* Without a watch the locks are not seen in time; that there are too few is said of the
	 * directories of the workspace as well. */
	if (!ws->ops.on_dir || ws->ops.on_dir(ws->ctx, at, fd, &err) < 0)
		return;
	lp_grow(&git->repos, &git->cap, git->n + 1, sizeof(*git->repos));
	git->repos[git->n++] = (struct repository){.at = lp_take_ptr(&at),
						   .who = dir[0] ? lp_xasprintf("git in %s", dir)
								 : lp_xstrdup("git"),
						   .fd = lp_take_fd(&fd)};
	if (dir[0] == '\0')
		watch_info(ws, dir_fd);
	check(git, NULL);
}

/* Length of the path of the entry ".git" that `path` is or lies below; 0: none. */
static size_t repository_len(const char *path)
{
	for (const char *p = path; p; p = strchr(p, '/')) {
		p += *p == '/';
		if (strncmp(p, ".git", 4) == 0 && (p[4] == '\0' || p[4] == '/'))
			return (size_t)(p - path) + 4;
	}
	return 0;
}

/* An event of something in a repository's directory, or of the entry itself. */
static void on_inside(struct lp_workspace *ws, const struct lp_event *ev, const char *path,
		      size_t len)
{
	const struct repository *repo;

	if (strcmp(path, LP_PERSONAL_AT) == 0) {
		lp_personal_check(ws);
		return;
	}
	/* The rules, or a directory on the way to them. */
	if (lp_path_is_below(exclude, path))
		note_rules(ws, ev);
	if (path[len] == '\0' || strcmp(path, ".git/" INFO) == 0) {
		LP_AUTO_FREE char *at = lp_xstrndup(path, len);
		LP_AUTO_FREE char *dir = lp_xstrndup(at, lp_path_dir_len(at));
		LP_AUTO_CLOSE int fd =
			lp_open_beneath(ws->root_fd, dir[0] ? dir : ".", O_RDONLY | O_DIRECTORY, 0);

		if (fd >= 0)
			lp_git_found(ws, dir, fd);
		return;
	}
	repo = ws->git ? find_repository(ws->git, path, len) : NULL;
	if (!repo)
		return;
	for (size_t i = 0; i < LP_COUNT_OF(locks); i++) {
		if (strcmp(path + len + 1, locks[i]) == 0) {
			check(ws->git, repo->who);
			return;
		}
	}
}

bool lp_git_event(struct lp_workspace *ws, const struct lp_event *ev)
{
	size_t len = repository_len(ev->path), from_len = ev->from ? repository_len(ev->from) : 0;

	if (ws->git)
		ws->git->event_us = lp_now_us();
	if (len > 0)
		on_inside(ws, ev, ev->path, len);
	if (from_len > 0)
		on_inside(ws, ev, ev->from, from_len);
	if (ev->from && (len > 0) != (from_len > 0)) {
		/* One end of a move is of the workspace. */
		lp_workspace_dirty(ws, LP_EVENT_SUBTREE, len > 0 ? ev->from : ev->path);
		return true;
	}
	return len > 0;
}
