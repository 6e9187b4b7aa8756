/* watcher/personal.c: asks git for the file, and reads it. git runs beside the start of the session
 * and is waited for before the first scan, when the event loop does not run yet: so it is not a
 * child of that. */
#include "watcher/personal.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "watcher/rules.h"
#include "watcher/workspace_internal.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ANSWER_US 2000000u

/* Starts git with its output into a pipe. Returns 0 or -errno. */
static int start_git(struct lp_personal *p, const char *root_path, int out_fd)
{
	const char *const argv[] = {"git",         "-C",    root_path,           "config", "-z",
				    "--type=path", "--get", "core.excludesFile", NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	int r;

	(void)sigemptyset(&none);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawn_file_actions_init(&actions);
	r = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, out_fd, 1);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	if (r == 0)
		r = posix_spawnp(&p->pid, "git", &actions, &attr, (char *const *)(uintptr_t)argv,
				 environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attr);
	if (r != 0)
		p->pid = 0;
	return -r;
}

void lp_personal_ask(struct lp_personal *p, const char *root_path)
{
	LP_AUTO_CLOSE int out_fd = -1;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return;
	p->fd = fds[0];
	out_fd = fds[1];
	if (start_git(p, root_path, out_fd) < 0)
		(void)close(p->fd);
}

/* $XDG_CONFIG_HOME/git/ignore, or ~/.config/git/ignore; owned. NULL: there is no such place. */
static char *default_path(void)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (config && config[0])
		return lp_xasprintf("%s/git/ignore", config);
	return home && home[0] ? lp_xasprintf("%s/.config/git/ignore", home) : NULL;
}

/* What git writes until it ends. Returns its length, or -1 when it takes too long. */
static ssize_t read_answer(const struct lp_personal *p, char *text, size_t bytes)
{
	uint64_t deadline_us = lp_now_us() + ANSWER_US, now_us;
	size_t len = 0;

	while ((now_us = lp_now_us()) < deadline_us) {
		struct pollfd ready = {.fd = p->fd, .events = POLLIN};
		ssize_t n;

		if (poll(&ready, 1, (int)((deadline_us - now_us) / 1000 + 1)) <= 0)
			continue;
		n = read(p->fd, text + len, bytes - len);
		if (n == 0 || len + (size_t)(n > 0 ? n : 0) == bytes)
			return (ssize_t)len;
		len += n > 0 ? (size_t)n : 0;
	}
	return -1;
}

void lp_personal_wait(struct lp_personal *p, const char *root_path)
{
	char text[LP_PATH_MAX_BYTES + 2];
	int status = -1;
	ssize_t len;

	if (p->pid > 0) {
		len = read_answer(p, text, sizeof(text) - 1);
		(void)close(p->fd);
		if (len < 0)
			(void)kill(p->pid, SIGKILL);
		while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
			;
		p->pid = 0;
		text[len > 0 ? len : 0] = '\0';
		/* As git has it, relative to the top; set to nothing, it is none. */
		if (len > 0 && status == 0 && text[0])
			p->path = text[0] == '/' ? lp_xstrdup(text)
						 : lp_xasprintf("%s/%s", root_path, text);
	}
	if (!p->path && status != 0)
		p->path = default_path();
}

int lp_personal_read(struct lp_personal *p, struct lp_buf *text)
{
	LP_AUTO_CLOSE int fd = -1;
	struct stat st;

	p->seen = (struct lp_stat_sig){0};
	if (!p->path)
		return 0;
	if (stat(p->path, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	/* Also of one that cannot be read: it is tried again when it has changed. */
	lp_stat_sig_of(&st, &p->seen);
	fd = open(p->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	lp_stat_sig_of(&st, &p->seen);
	return S_ISREG(st.st_mode) ? lp_read_all(fd, text) : 0;
}

void lp_personal_finish(struct lp_personal *p)
{
	if (p->pid > 0) {
		(void)kill(p->pid, SIGKILL);
		while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
			;
		(void)close(p->fd);
		p->pid = 0;
	}
	free(p->path);
	p->path = NULL;
}

/* So that its writer's closing is told. One that is made anew is seen with the next take. */
static void watch(struct lp_workspace *ws)
{
	LP_AUTO_CLOSE int fd = open(ws->personal.path, O_PATH | O_CLOEXEC);

	if (fd >= 0 && ws->ops.on_file)
		(void)ws->ops.on_file(ws->ctx, LP_PERSONAL_AT, fd);
}

static void take_up(struct lp_workspace *ws)
{
	struct lp_personal *p = &ws->personal;
	struct lp_buf text;
	int r;

	if (!p->path)
		return;
	lp_buf_init(&text, LP_RULES_MAX_BYTES);
	r = lp_personal_read(p, &text);
	if (r < 0)
		lp_workspace_notice(ws, p->path, strerror(-r));
	if (lp_ignore_set(ws->ignore, "", LP_IGNORE_PERSONAL, p->path,
			  text.data ? (const char *)text.data : "", r < 0 ? 0 : text.len) < 0)
		abort();
	lp_buf_finish(&text);
	if (p->seen.ino != 0)
		watch(ws);
}

void lp_personal_load(struct lp_workspace *ws)
{
	lp_personal_wait(&ws->personal, ws->path);
	take_up(ws);
}

void lp_personal_check(struct lp_workspace *ws)
{
	struct lp_personal *p = &ws->personal;
	bool is_there;
	struct stat st;

	if (!p->path)
		return;
	is_there = stat(p->path, &st) == 0;
	if (is_there ? lp_sig_is(&p->seen, &st) : p->seen.ino == 0)
		return;
	take_up(ws);
	lp_workspace_dirty(ws, LP_EVENT_SUBTREE, "");
}
