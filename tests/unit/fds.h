/* fds.h: how many descriptors this process has, for tests of what must not leak. */
#ifndef LP_TESTS_FDS_H
#define LP_TESTS_FDS_H

#include <dirent.h>
#include <stddef.h>

/* The one that it is counted with is among them, each time. 0: they cannot be counted. */
static inline size_t count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		(void)closedir(dir);
	return n;
}

#endif
