/* cli/leftovers.c: finds processes by where they are. */
#include "cli/leftovers.h"

#include "common/base/lp_path.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_there(int proc_fd, const char *pid, const char *dir)
{
	char link[64], cwd[PATH_MAX];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "%.32s/cwd", pid);
	n = readlinkat(proc_fd, link, cwd, sizeof(cwd) - 1);
	if (n < 0)
		return false;
	cwd[n] = '\0';
	return lp_path_is_below(cwd, dir);
}

void lp_kill_below(const char *dir)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;

	if (!proc)
		return;
	while ((e = readdir(proc)))
		if (isdigit((unsigned char)e->d_name[0]) && is_there(dirfd(proc), e->d_name, dir))
			(void)kill((pid_t)strtol(e->d_name, NULL, 10), SIGKILL);
	(void)closedir(proc);
}
