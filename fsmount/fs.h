/* fsmount/fs.h: what the parts of this room share: the mounted file system. Internal. */
#ifndef LP_FSMOUNT_FS_H
#define LP_FSMOUNT_FS_H

/* The library's API level; its header asks for it. */
#define FUSE_USE_VERSION 314

#include "fsmount/ahead.h"
#include "fsmount/closes.h"
#include "fsmount/fsmount.h"
#include "fsmount/guard.h"
#include "fsmount/inode.h"
#include "fsmount/invalidate.h"
#include "fsmount/pool.h"
#include "fsmount/trim.h"
#include "fsmount/waits.h"

#include <fuse_lowlevel.h>
#include <limits.h>
#include <stdint.h>

/* How long the kernel may believe names and attributes without asking: when the owner tells of
 * changes underneath, and when they have to be noticed like this. A name that is not there is
 * believed in for less: after a loss of events those are not found one by one. */
#define LP_FSMOUNT_TOLD_S   3600.0
#define LP_FSMOUNT_MISSED_S 60.0
#define LP_FSMOUNT_ASKING_S 1.0

/* An open file or directory in the list of all; embedded in what it is. end closes it, reports it
 * if it was written, and frees it. */
struct lp_open {
	void (*end)(struct lp_fsmount *m, struct lp_open *open);
	struct lp_inode *inode; /* holds a reference */
	struct lp_open *prev;
	struct lp_open *next;
};

struct lp_fsmount {
	struct lp_fsmount_opts opts; /* its strings are ours */
	char *mountpoint;            /* real path; owned */
	bool privileged;             /* may mount by itself and act for other users */
	bool silent;                 /* nothing is reported any more */
	bool quick;                  /* files are opened and closed without us: see closes.h */
	bool quick_dirs;             /* so are directories */
	bool can_expire;             /* names can be made to be looked up again */
	atomic_int kept_dirs;        /* listings begun, without an open: see ops_dir.c */
	atomic_bool told;            /* see lp_fsmount_set_told */
	int proc_fd;                 /* /proc/self/fd */
	struct fuse_session *se;     /* owns the descriptor of the device */
	struct lp_inodes inodes;
	pthread_mutex_t open_lock;
	struct lp_open *open; /* open_lock */
	struct lp_pool pool;
	struct lp_trim trim;
	struct lp_ahead ahead;
	struct lp_guard guard;
	struct lp_closes closes;
	struct lp_invalidate invalidate;
	struct lp_waits waits;
};

/* An open file; its address is the handle that the kernel keeps. The process ids are thread ids, as
 * the kernel gives them. */
struct lp_handle {
	struct lp_open open;
	int fd;
	int flags; /* to open it with once more */
	bool writer;
	bool parked; /* fd only reads, see lp_io_park; lock of the inode's lp_writing */
	int opener;
	atomic_int last_pid;   /* known to belong to the opener's process */
	atomic_bool counted;   /* as one of the inode's writers */
	atomic_bool touched;   /* written through this handle since the last report */
	atomic_bool shared;    /* written by another process or through a mapping */
	atomic_bool appending; /* fd has O_APPEND */
};

/* The file system, inode and handle behind a request. */
static inline struct lp_fsmount *lp_fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static inline struct lp_inode *lp_fs_inode(struct lp_fsmount *m, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &m->inodes.root : (struct lp_inode *)(uintptr_t)ino;
}

/* NULL: none was given, or the file was opened without us. */
static inline struct lp_handle *lp_fs_handle(const struct fuse_file_info *fi)
{
	return fi == NULL ? NULL : (struct lp_handle *)(uintptr_t)fi->fh;
}

/* "/proc/self/fd/N" of a descriptor: the way to open, or to give to calls that know only paths,
 * what is behind an O_PATH descriptor. */
struct lp_fd_path {
	char text[32];
};

struct lp_fd_path lp_fs_fd_path(int fd);

/* Opens what an O_PATH descriptor refers to. Returns an owned descriptor or -errno. */
int lp_fs_reopen(const struct lp_fsmount *m, int path_fd, int flags) LP_MUST_USE;

/* lp_inode_lookup, keeping within the limit of open files. */
int lp_fs_lookup(struct lp_fsmount *m, const struct lp_inode *parent, const char *name,
		 struct stat *st, struct lp_inode **out) LP_MUST_USE;

/* Puts an open file or directory into the list, with a reference on its inode; and takes it out. */
void lp_open_add(struct lp_fsmount *m, struct lp_open *open, struct lp_inode *inode);
void lp_open_remove(struct lp_fsmount *m, struct lp_open *open);

/* Ends whatever is open, for a session that has ended: what the kernel has not told us of yet, it
 * never will. */
void lp_open_end_all(struct lp_fsmount *m);

/* For how many seconds the kernel may believe what it is told now. */
double lp_fs_timeout(const struct lp_fsmount *m);

/* The kernel is about to be told the attributes st of the inode: when its content is not what the
 * kernel has seen, what is cached of it is dropped. */
void lp_fs_tell(struct lp_fsmount *m, struct lp_inode *inode, const struct stat *st);

/* The kernel has changed the directory or file through us and knows that: what it caches is good.
 */
void lp_fs_know(struct lp_fsmount *m, struct lp_inode *inode);

/* Fills e with what the kernel wants to know of a looked-up inode. */
void lp_fs_entry(struct lp_fsmount *m, struct lp_inode *inode, const struct stat *st,
		 struct fuse_entry_param *e);

/* Makes the thread create files as the caller of the request would: its umask always; its user and
 * group when we act for other users, with our own rights kept, because the kernel has checked the
 * caller's already. lp_fs_act_end undoes it. Both keep errno. */
void lp_fs_act_begin(const struct lp_fsmount *m, const struct fuse_ctx *ctx);
void lp_fs_act_end(const struct lp_fsmount *m, const struct fuse_ctx *ctx);

/* All handlers. */
extern const struct fuse_lowlevel_ops lp_fs_ops;

#endif
