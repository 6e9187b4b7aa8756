/* watcher/ticks.c: looks at the times of a file that it changes. */
#include "watcher/ticks.h"

#include "common/base/lp_util.h"

#include <fcntl.h>
#include <time.h>

/* The longest tick of a kernel is 10 ms; twice that, because a change may come late in one. */
#define KERNEL_TICK_NS ((int64_t)20 * 1000000)

/* So many changes fit into the shortest tick (1 ms) many times over, unless the process is put
 * aside; then it is tried again. */
#define CHANGES   6
#define QUICK_NS  ((int64_t)500000)
#define TRIES     4
#define NS_PER_S  1000000000
#define NS_PER_MS 1000000

static int64_t ns_of(const struct timespec *t)
{
	return (int64_t)t->tv_sec * NS_PER_S + t->tv_nsec;
}

static int64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return ns_of(&t);
}

/* Changes the file some times. Returns how many of the change times were new ones, or -1 when it
 * took so long that this says nothing. *sub_ms: whether some time had a part below 1 ms. */
static int count_new_times(int fd, int64_t *last, int *sub_ms)
{
	int64_t began = now_ns();
	struct stat st;
	int n = 0;

	for (int i = 0; i < CHANGES; i++) {
		if (fchmod(fd, i % 2 ? 0600 : 0400) < 0 || fstat(fd, &st) < 0)
			return -1;
		n += ns_of(&st.st_ctim) != *last;
		*last = ns_of(&st.st_ctim);
		*sub_ms |= *last % NS_PER_MS != 0;
	}
	return now_ns() - began < QUICK_NS ? n : -1;
}

struct lp_ticks lp_ticks_of(int dir_fd)
{
	LP_AUTO_CLOSE int fd = openat(dir_fd, ".", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	struct lp_ticks ticks = {.ns = LP_TICKS_UNKNOWN_NS};
	int64_t last = 0;
	int sub_ms = 0, n = -1;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return ticks;
	ticks.dev = st.st_dev;
	last = ns_of(&st.st_ctim);
	for (int i = 0; i < TRIES && n < 0; i++)
		n = count_new_times(fd, &last, &sub_ms);
	if (n == CHANGES)
		ticks.ns = 0;
	else if (sub_ms)
		ticks.ns = KERNEL_TICK_NS;
	return ticks;
}

int64_t lp_ticks_for(const struct lp_ticks *ticks, dev_t dev)
{
	return dev == ticks->dev ? ticks->ns : LP_TICKS_UNKNOWN_NS;
}
