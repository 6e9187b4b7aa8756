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

/* What the kernel was last told of an inode, or has itself brought about since; tells whether what
 * it caches is still good. */
struct lp_stamp {
	struct timespec mtime;
	struct timespec ctime;
	off_t size;
	bool valid;
};

/* How an inode differs from what the kernel knows of it. */
enum lp_inode_change {
	LP_INODE_SAME,
	LP_INODE_ATTR,    /* its attributes */
	LP_INODE_CONTENT, /* also its content, or a directory's entries */
	LP_INODE_CHANGE_COUNT_,
};

struct lp_listing;
struct lp_writing;

/* As long as one of these holds its descriptor the inode below cannot be reused, so (dev, ino) is
 * unique in the table. fd keeps its number for life, but a later name of the same inode may be put
 * behind it, so that its path in /proc is one that exists. */
struct lp_inode {
	struct lp_inode *next; /* in its bucket; table lock */
	dev_t dev;
	ino_t ino;
	int fd;
	mode_t type;                /* S_IFMT bits */
	uint64_t refs;              /* lookups of the kernel and our open handles; table lock */
	uint64_t name_tag;          /* of the parent and name behind fd; table lock */
	uint64_t named_us;          /* when the kernel was told that name; table lock */
	uint64_t missed_us;         /* of a directory: when it was told that a name is not there */
	struct lp_stamp stamp;      /* table lock */
	struct lp_writing *writing; /* see writing.h; owned; set once, under the table lock */
	struct lp_listing *listing; /* the same; see ops_dir.c */
	atomic_int handles;         /* open files and directories */
	atomic_int writers;         /* handles open for writing */
	atomic_bool dirty;          /* changed since it was last reported */
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

/* Compares the inode with what the kernel knows of it and remembers st, which must be fresh, as
 * that: the caller sees to it that the kernel learns of a difference. */
enum lp_inode_change lp_inode_compare(struct lp_inodes *t, struct lp_inode *inode,
				      const struct stat *st);

/* Whether the file changed only just now, so that a change since may not show: timestamps are
 * coarse. */
bool lp_inode_is_young(const struct stat *st);

/* The kernel has been told that directory `dir` has no entry of some name. */
void lp_inode_missed(struct lp_inodes *t, struct lp_inode *dir);

/* Whether the kernel can only know parent/name as the inode (st->st_dev, st->st_ino): it was told
 * so, and of no missing name in that directory since. */
bool lp_inode_is_known_as(struct lp_inodes *t, const struct lp_inode *parent, const char *name,
			  const struct stat *st);

/* Takes all inodes from bucket *at on, up to max of them, each with one more reference; *at is
 * where to go on. Returns how many; 0 at the end. */
size_t lp_inodes_list(struct lp_inodes *t, size_t *at, struct lp_inode **out, size_t max);

/* Takes the inodes that only the kernel's cache holds: regular files and links, not open, up to max
 * of them, each with one more reference, beginning where the last sweep ended. Returns how many. */
size_t lp_inodes_sweep(struct lp_inodes *t, struct lp_inode **out, size_t max);

/* What is being written to the inode; made at the first call. Lives as long as the inode. */
struct lp_writing *lp_inode_writing(struct lp_inodes *t, struct lp_inode *inode);

/* The listing of a directory, made with `create` at the first call. Lives as long as the inode. */
struct lp_listing *lp_inode_listing(struct lp_inodes *t, struct lp_inode *inode,
				    struct lp_listing *(*create)(void));

/* Closes and releases a listing; in ops_dir.c. NULL is allowed. */
void lp_listing_destroy(struct lp_listing *listing);

/* How many inodes there are. */
size_t lp_inodes_count(struct lp_inodes *t);

#endif
