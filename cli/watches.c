/* cli/watches.c: counts inotify watches through /proc. */
#include "cli/watches.h"

#include "common/base/lp_util.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* One line of fdinfo for each watch. */
static uint64_t count_lines(int info_fd, const char *name)
{
	int fd = openat(info_fd, name, O_RDONLY | O_CLOEXEC);
	FILE *f = fd >= 0 ? fdopen(fd, "re") : NULL;
	uint64_t n = 0;
	char line[512];

	if (!f) {
		lp_auto_close(&fd);
		return 0;
	}
	while (fgets(line, sizeof(line), f))
		n += strncmp(line, "inotify ", 8) == 0;
	(void)fclose(f);
	return n;
}

static uint64_t count_process(int proc_fd, const char *pid)
{
	char path[64], target[64];
	LP_AUTO_CLOSE int info = -1;
	struct dirent *e;
	uint64_t n = 0;
	DIR *fds;
	int fd;

	(void)snprintf(path, sizeof(path), "%.20s/fdinfo", pid);
	info = openat(proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)snprintf(path, sizeof(path), "%.20s/fd", pid);
	fd = openat(proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fds = info >= 0 && fd >= 0 ? fdopendir(fd) : NULL;
	if (!fds) {
		lp_auto_close(&fd);
		return 0;
	}
	while ((e = readdir(fds))) {
		ssize_t len = readlinkat(dirfd(fds), e->d_name, target, sizeof(target) - 1);

		if (len <= 0)
			continue;
		target[len] = '\0';
		if (strcmp(target, "anon_inode:inotify") == 0)
			n += count_lines(info, e->d_name);
	}
	(void)closedir(fds);
	return n;
}

uint64_t lp_watches_in_use(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	uint64_t n = 0;

	if (!proc)
		return 0;
	while ((e = readdir(proc))) {
		struct stat st;

		if (isdigit((unsigned char)e->d_name[0]) &&
		    fstatat(dirfd(proc), e->d_name, &st, 0) == 0 && st.st_uid == geteuid())
			n += count_process(dirfd(proc), e->d_name);
	}
	(void)closedir(proc);
	return n;
}
