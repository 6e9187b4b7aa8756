/* watcher/ticks.h: how far apart two changes of a file must be to show in its times. */
#ifndef LP_WATCHER_TICKS_H
#define LP_WATCHER_TICKS_H

#include <stdint.h>
#include <sys/stat.h>

/* Where nothing is known: FAT keeps times in steps of 2 s. */
#define LP_TICKS_UNKNOWN_NS ((int64_t)2 * 1000000000)

/* Of the file system `dev`: two changes that are ns apart, with a stat(2) between them, have
 * different change times. 0: any two have. Zeroed: of no file system. */
struct lp_ticks {
	dev_t dev;
	int64_t ns;
};

/* Finds it out by changing a file without a name (open(2), O_TMPFILE) in the directory; where there
 * are none, it is LP_TICKS_UNKNOWN_NS. Linux 6.13 and later gives a file that was looked at since
 * its last change a change time of its own, on most of its file systems. */
struct lp_ticks lp_ticks_of(int dir_fd);

/* The steps of the file system that a file lies on. */
int64_t lp_ticks_for(const struct lp_ticks *ticks, dev_t dev);

#endif
