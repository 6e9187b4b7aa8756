/* fsmount/holders.c: see holders.h.
 *
 * The device number of what is behind a link of /proc is asked with statx and AT_STATX_DONT_SYNC,
 * which FUSE answers from what the kernel knows: nothing here waits for the file system. */
#include "fsmount/holders.h"

#include "common/base/lp_clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum {
	MAX_NAMED = 3,
	MAX_TIME_US = 1000 * 1000,
};

struct search {
	dev_t dev;
	const char *mountpoint;
	struct lp_err *who;
	uint64_t end_us;
	size_t found;
};

/* How a process uses the mount, and the path of it. */
struct use {
	const char *how; /* with a place for the path */
	char path[PATH_MAX];
};

/* Whether the link `name` leads into the mount; reads it then. */
static bool leads_in(const struct search *s, int dir_fd, const char *name, char path[PATH_MAX])
{
	struct statx stx;
	ssize_t len;

	if (statx(dir_fd, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &stx) < 0 ||
	    makedev(stx.stx_dev_major, stx.stx_dev_minor) != s->dev)
		return false;
	len = readlinkat(dir_fd, name, path, PATH_MAX - 1);
	path[len < 0 ? 0 : len] = '\0';
	return true;
}

/* Whether one of the links in proc_fd/sub leads into the mount. */
static bool any_leads_in(const struct search *s, int proc_fd, const char *sub, char path[PATH_MAX])
{
	int fd = openat(proc_fd, sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	bool found = false;
	struct dirent *de;

	if (dir == NULL) {
		lp_auto_close(&fd);
		return false;
	}
	while (!found && lp_now_us() < s->end_us && (de = readdir(dir)) != NULL)
		found = de->d_name[0] != '.' && leads_in(s, dirfd(dir), de->d_name, path);
	(void)closedir(dir);
	return found;
}

/* Whether the process uses the mount, and how. */
static bool find_use(const struct search *s, int proc_fd, struct use *use)
{
	if (leads_in(s, proc_fd, "cwd", use->path))
		use->how = "works in it at '%s'";
	else if (leads_in(s, proc_fd, "root", use->path))
		use->how = "has its root at '%s'";
	else if (leads_in(s, proc_fd, "exe", use->path))
		use->how = "runs '%s'";
	else if (any_leads_in(s, proc_fd, "fd", use->path))
		use->how = "has '%s' open";
	else if (any_leads_in(s, proc_fd, "map_files", use->path))
		use->how = "has '%s' mapped";
	else
		return false;
	return true;
}

/* The path below the mount point where it is. A mount that was detached has paths of its own. */
static const char *below(const struct search *s, const char *path)
{
	size_t len = strlen(s->mountpoint);

	if (strncmp(path, s->mountpoint, len) == 0 && (path[len] == '/' || path[len] == '\0'))
		path += len;
	while (*path == '/')
		path++;
	return *path == '\0' ? "." : path;
}

static void read_name(int proc_fd, char name[32])
{
	LP_AUTO_CLOSE int fd = openat(proc_fd, "comm", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, name, 31);

	name[len < 0 ? 0 : len] = '\0';
	name[strcspn(name, "\n")] = '\0';
}

/* Appends to the text, which is cut where it does not fit. */
static void add_text(struct lp_err *who, const char *text)
{
	size_t len = strlen(who->msg);

	(void)snprintf(who->msg + len, sizeof(who->msg) - len, "%s", text);
}

static void add_use(struct search *s, const char *pid, int proc_fd, const struct use *use)
{
	const char *mark = strstr(use->how, "%s");
	char text[PATH_MAX + 128];
	char name[32];

	s->found++;
	if (s->found > MAX_NAMED || mark == NULL)
		return;
	read_name(proc_fd, name);
	(void)snprintf(text, sizeof(text), "%spid %s (%s) %.*s%s%s", s->found > 1 ? "; " : "", pid,
		       name, (int)(mark - use->how), use->how, below(s, use->path), mark + 2);
	add_text(s->who, text);
}

static void look_at(struct search *s, DIR *proc, const char *pid)
{
	LP_AUTO_CLOSE int fd =
		openat(dirfd(proc), pid, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	char ours[16];
	struct use use;

	(void)snprintf(ours, sizeof(ours), "%d", (int)getpid());
	if (fd >= 0 && strcmp(pid, ours) != 0 && find_use(s, fd, &use))
		add_use(s, pid, fd, &use);
}

size_t lp_holders_name(dev_t dev, const char *mountpoint, struct lp_err *who)
{
	struct search s = {.dev = dev,
			   .mountpoint = mountpoint,
			   .who = who,
			   .end_us = lp_now_us() + MAX_TIME_US};
	DIR *proc = opendir("/proc");
	struct dirent *de;

	*who = (struct lp_err){.code = EBUSY};
	while (proc != NULL && lp_now_us() < s.end_us && (de = readdir(proc)) != NULL) {
		if (de->d_name[0] >= '1' && de->d_name[0] <= '9')
			look_at(&s, proc, de->d_name);
	}
	if (proc != NULL)
		(void)closedir(proc);
	if (s.found > MAX_NAMED) {
		char text[48];

		(void)snprintf(text, sizeof(text), "; and %zu more", s.found - MAX_NAMED);
		add_text(who, text);
	}
	if (s.found == 0)
		add_text(who, "by whom cannot be seen in /proc: a process of another user, or the "
			      "kernel itself (a mount or swap file inside)");
	return s.found;
}
