/* fsmount/inode.h: the table of what the kernel knows of the tree below: one O_PATH descriptor per
 * inode, keyed by device and inode number. Thread-safe. Replies to nobody and reports nothing. */
#ifndef LP_FSMOUNT_INODE_H
#define LP_FSMOUNT_INODE_H

#include "common/base/lp_util.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* What a file looked like when it was last opened; tells whether cached pages are still good. */
struct lp_stamp {
	struct timespec mtime;
	struct timespec ctime;
	off_t size;
	bool valid;
};

/* As long as one of these holds its descriptor the inode below cannot be reused, so (dev, ino) is
 * unique in the table. fd keeps its number for life, but a later name of the same inode may be put
 * behind it, so that its path in /proc is one that exists. */
struct lp_inode {
	struct lp_inode *next; /* in its bucket; table lock */
	dev_t dev;
	ino_t ino;
	int fd;
	mode_t type;           /* S_IFMT bits */
	uint64_t refs;         /* lookups of the kernel and our open handles; table lock */
	uint64_t name_tag;     /* of the parent and name behind fd; table lock */
	struct lp_stamp stamp; /* table lock */
	atomic_int handles;    /* open files and directories */
	atomic_int writers;    /* handles open for writing */
	atomic_bool dirty;     /* changed since it was last reported */
};

struct lp_bucket {
	struct lp_inode *first;
};

struct lp_inodes {
	pthread_mutex_t lock;
	struct lp_bucket *buckets; /* a power of two of them */
	size_t n_buckets;
	size_t n;
	size_t cursor;        /* where the next sweep begins */
	dev_t refused_dev;    /* of our own mount: never looked into */
	struct lp_inode root; /* not in a bucket; never released before the table */
};

/* Prepares a table whose root is root_fd (borrowed until finish). Returns 0 or -errno. */
int lp_inodes_init(struct lp_inodes *t, int root_fd) LP_MUST_USE;

/* Releases every inode, whatever its count. A zeroed table is allowed. */
void lp_inodes_finish(struct lp_inodes *t);

/* Finds `name` in directory `parent`, takes one reference and fills st. The result is put back with
 * lp_inode_put. Returns 0 or -errno; -ELOOP when the name leads into our own mount. */
int lp_inode_lookup(struct lp_inodes *t, const struct lp_inode *parent, const char *name,
		    struct stat *st, struct lp_inode **out) LP_MUST_USE;

/* The same for a file that was just opened as parent/name: path_fd is an O_PATH descriptor of it
 * (taken), st its attributes. */
struct lp_inode *lp_inode_adopt(struct lp_inodes *t, const struct lp_inode *parent,
				const char *name, int path_fd, const struct stat *st) LP_MUST_USE;

/* The inode (dev, ino) with one more reference, or NULL. */
struct lp_inode *lp_inode_find(struct lp_inodes *t, dev_t dev, ino_t ino);

/* One more reference to an inode that the caller holds one of. */
void lp_inode_ref(struct lp_inodes *t, struct lp_inode *inode);

/* Gives n references back; the last one releases the inode. The root is never released. */
void lp_inode_put(struct lp_inodes *t, struct lp_inode *inode, uint64_t n);

/* Whether the file still looks as when it was last opened; remembers how it looks now. st must be
 * fresh. A file that changed only just now never counts as unchanged: timestamps are coarse. */
bool lp_inode_unchanged(struct lp_inodes *t, struct lp_inode *inode, const struct stat *st);

/* Takes the inodes that only the kernel's cache holds: regular files and links, not open, up to max
 * of them, each with one more reference, beginning where the last sweep ended. Returns how many. */
size_t lp_inodes_sweep(struct lp_inodes *t, struct lp_inode **out, size_t max);

/* How many inodes there are. */
size_t lp_inodes_count(struct lp_inodes *t);

#endif
