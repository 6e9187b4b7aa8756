/* watcher/rules.c: finds and reads rule files. */
#include "watcher/rules.h"

#include "common/base/lp_fs.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* The line of a file of git's that names another place. Returns 0 or -errno. */
static int read_line(int fd, char *text, size_t bytes)
{
	size_t len;
	int r = lp_read_up_to(fd, text, bytes - 1, &len);

	if (r < 0)
		return r;
	text[len] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	return 0;
}

int lp_rules_open_repository(int dir_fd)
{
	static const char prefix[] = "gitdir: ";
	LP_AUTO_CLOSE int fd =
		openat(dir_fd, ".git", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char text[PATH_MAX + sizeof(prefix)];
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return lp_take_fd(&fd);
	if (!S_ISREG(st.st_mode))
		return -ENOTDIR;
	r = read_line(fd, text, sizeof(text));
	if (r < 0)
		return r;
	if (strncmp(text, prefix, sizeof(prefix) - 1) != 0)
		return -ENOTDIR;
	r = openat(dir_fd, text + sizeof(prefix) - 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return r < 0 ? -errno : r;
}

int lp_rules_open_info(int dir_fd)
{
	LP_AUTO_CLOSE int repo = lp_rules_open_repository(dir_fd);
	LP_AUTO_CLOSE int shared = -1;
	LP_AUTO_CLOSE int fd = -1;
	char text[PATH_MAX + 1];
	int info, r = 0;

	if (repo < 0)
		return repo;
	fd = openat(repo, "commondir", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		r = read_line(fd, text, sizeof(text));
	if (r < 0)
		return r;
	if (fd >= 0) {
		shared = openat(repo, text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (shared < 0)
			return -errno;
	}
	info = openat(fd >= 0 ? shared : repo, "info",
		      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return info < 0 ? -errno : info;
}

static bool is_absence(int r)
{
	return r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -ENXIO;
}

int lp_rules_read(int dir_fd, const char *dir, enum lp_ignore_level level, struct lp_buf *text)
{
	const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
	const char *name = lp_ignore_file_of(level, dir);
	LP_AUTO_CLOSE int info = -1;
	LP_AUTO_CLOSE int fd = -1;
	struct stat st;

	if (!name)
		return 0;
	if (level == LP_IGNORE_EXCLUDE) {
		info = lp_rules_open_info(dir_fd);
		if (info < 0)
			return is_absence(info) ? 0 : info;
	}
	fd = info < 0 ? lp_open_beneath(dir_fd, name, flags, 0)
		      : lp_open_beneath(info, "exclude", flags, 0);
	if (fd < 0)
		return is_absence(fd) ? 0 : fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? lp_read_all(fd, text) : 0;
}
