/* fsmount/invalidate.h: makes the kernel forget what it caches of names, attributes and contents
 * that have changed underneath the mount. */
#ifndef LP_FSMOUNT_INVALIDATE_H
#define LP_FSMOUNT_INVALIDATE_H

#include "common/base/lp_err.h"

#include <pthread.h>
#include <stdbool.h>

struct lp_fsmount;
struct lp_inode;

/* One thing to do: a path, or an inode (a reference). */
struct lp_invalidate_job {
	struct lp_invalidate_job *next;
	struct lp_inode *inode; /* NULL: the path */
	char path[];
};

/* A thread of its own does it: the kernel takes locks for it that it holds while it waits for an
 * answer of ours. A zeroed one was never started. */
struct lp_invalidate {
	struct lp_fsmount *m; /* borrowed until lp_invalidate_stop */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct lp_invalidate_job *first; /* lock */
	struct lp_invalidate_job *last;
	size_t n;
	bool waiting; /* the thread sleeps */
	bool started;
	bool stopping;
};

/* Starts its thread, with all signals blocked. Returns 0 or -errno. */
int lp_invalidate_start(struct lp_invalidate *v, struct lp_fsmount *m,
			struct lp_err *err) LP_MUST_USE;

/* path may have changed below ("": everything): has it compared with what the kernel knows. */
void lp_invalidate_path(struct lp_invalidate *v, const char *path);

/* The content of the inode has changed: has it dropped. */
void lp_invalidate_inode(struct lp_invalidate *v, struct lp_inode *inode);

/* Ends it, with nothing more done; the session must still be there. Harmless when it was never
 * started. */
void lp_invalidate_stop(struct lp_invalidate *v);

#endif
