/* fsmount/closes.h: sees with fanotify(7) when writers close files of the mount, so that the kernel
 * can open and close them without asking us. Only with CAP_SYS_ADMIN.
 *
 * FUSE has a mode in which OPEN, FLUSH and RELEASE are never sent (FUSE_NO_OPEN_SUPPORT): opening a
 * file costs then what it costs in any file system. The closes of writers, which we need to know
 * of, are told by FAN_CLOSE_WRITE instead. Whether the one that closed was the last one is found
 * out with a read lease on the file in the mount, which is refused while somebody writes it. */
#ifndef LP_FSMOUNT_CLOSES_H
#define LP_FSMOUNT_CLOSES_H

#include "common/base/lp_err.h"
#include "fsmount/held.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct lp_fsmount;
struct lp_inode;

/* A look that is due at an inode, which it holds a reference on. */
struct lp_closes_look {
	struct lp_closes_look *next;
	struct lp_inode *inode;
	uint64_t due_us;
	unsigned tries; /* that found a writer, since one closed */
};

/* A zeroed one was never opened. */
struct lp_closes {
	struct lp_fsmount *m; /* borrowed until lp_closes_stop */
	int fan_fd;
	int wake_fd; /* eventfd */
	pthread_t thread;
	pthread_mutex_t lock;
	struct lp_closes_look *first; /* lock; in order of due_us */
	struct lp_closes_look *last;
	struct lp_held held; /* of the thread; of lp_closes_drain's caller when that has ended */
	pthread_cond_t changed;
	uint64_t asked;    /* lock; so many have called lp_closes_sync */
	uint64_t answered; /* lock; of them so many can go on */
	bool opened;
	bool started;
	bool stopping; /* lock */
};

/* Before the mount serves: makes the descriptors. Returns 0 or -errno. */
int lp_closes_open(struct lp_closes *c, struct lp_fsmount *m, struct lp_err *err) LP_MUST_USE;

/* When the mount serves: begins to watch and starts the thread. Returns 0 or -errno. */
int lp_closes_start(struct lp_closes *c, struct lp_err *err) LP_MUST_USE;

/* A change of the inode through the mount has come that is to be reported when its last writer has
 * closed it. Should nobody have it open for writing (truncate(2), mknod(2)) that is soon. The lock
 * of inode->writing is held. */
void lp_closes_expect(struct lp_closes *c, struct lp_inode *inode);

/* Returns when every close that has returned to its caller by now has been reported, and what was
 * changed by its name; after a second at the latest, when files are closed without a pause. Not
 * from a thread of the file system. */
void lp_closes_sync(struct lp_closes *c);

/* Ends the thread; lp_closes_drain does its work from then on. Harmless when it never started. */
void lp_closes_stop(struct lp_closes *c);

/* Deals with the closes that have come since; they keep the mount busy until then. Returns how many
 * there were. Only after lp_closes_stop, while the mount serves. */
size_t lp_closes_drain(struct lp_closes *c);

/* For a mount that has ended: reports what has not been, because nobody writes any more. */
void lp_closes_settle(struct lp_closes *c);

/* Releases everything. Harmless when it was never opened. */
void lp_closes_finish(struct lp_closes *c);

#endif
