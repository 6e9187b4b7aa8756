/* fsmount/ahead.h: reads files ahead from a slow disk: who reads the files of a tree one after the
 * other (a search, a copy) finds the next ones in memory. Changes nothing, and tells the kernel
 * nothing. */
#ifndef LP_FSMOUNT_AHEAD_H
#define LP_FSMOUNT_AHEAD_H

#include "common/base/lp_err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct lp_fsmount;

#define LP_AHEAD_MARKS 1024 /* a power of two */

/* A file that was read ahead: the how many-th. ino 0: none. */
struct lp_ahead_mark {
	ino_t ino;
	uint64_t at;
};

/* A zeroed one was never started. */
struct lp_ahead {
	struct lp_fsmount *m; /* borrowed until lp_ahead_stop */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool started;
	atomic_bool active; /* changed with the lock */
	bool stopping;      /* lock, as all below */
	bool wanted;        /* to begin behind this file: */
	dev_t dev;
	ino_t ino;
	unsigned slow;     /* so many in a row were slow to read and not read ahead */
	uint64_t slow_us;  /* when the last of them was */
	uint64_t quiet_us; /* not before */
	uint64_t used_us;  /* when one that was read ahead was last read */
	uint64_t done;     /* so many have been read ahead */
	uint64_t passed;   /* so many of these lie behind the reader */
	uint64_t window;   /* so many may lie in front of him */
	uint64_t used;     /* so many of them were read since it began */
	bool by_ino;       /* the order, see walk.h */
	struct lp_ahead_mark marks[LP_AHEAD_MARKS];
};

/* Starts its thread, with all signals blocked. Returns 0 or -errno. */
int lp_ahead_start(struct lp_ahead *a, struct lp_fsmount *m, struct lp_err *err) LP_MUST_USE;

/* The beginning of the file (dev, ino) below was read through the mount, which took so long. Cheap;
 * any thread. */
void lp_ahead_read(struct lp_ahead *a, dev_t dev, ino_t ino, uint64_t took_us);

/* Ends it. Harmless when it was never started. */
void lp_ahead_stop(struct lp_ahead *a);

#endif
