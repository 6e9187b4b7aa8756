/* fsmount/ops_file.c: handlers that open and close files. */
#include "fsmount/ops.h"
#include "fsmount/report.h"

#include "common/base/lp_mem.h"

#include <fcntl.h>

/* What is dropped from the caller's flags: the kernel has done its part of these, and O_DIRECT
 * would ask our buffers for an alignment that they do not have. */
static const int DROPPED_FLAGS = O_CREAT | O_EXCL | O_DIRECT;

static bool opens_for_writing(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

/* Closes what is behind the handle, reports, and releases it. */
static void end_handle(struct lp_fsmount *m, struct lp_handle *h)
{
	if (h->fd >= 0)
		(void)close(h->fd);
	lp_report_release(m, h);
	lp_open_remove(m, &h->open);
	free(h);
}

static void end_open(struct lp_fsmount *m, struct lp_open *open)
{
	end_handle(m, LP_CONTAINER_OF(open, struct lp_handle, open));
}

/* Counts the handle-to-be before the file is opened, so that no report of it slips in between an
 * O_TRUNC and the first write. */
static struct lp_handle *new_handle(struct lp_fsmount *m, struct lp_inode *inode, int flags,
				    int pid)
{
	struct lp_handle *h = lp_xcalloc(1, sizeof(*h));

	h->open.end = end_open;
	h->fd = -1;
	h->opener = pid;
	h->writer = opens_for_writing(flags);
	atomic_store(&h->last_pid, pid);
	atomic_store(&h->appending, (flags & O_APPEND) != 0);
	lp_open_add(m, &h->open, inode);
	lp_report_opened(h);
	return h;
}

/* Pages that the kernel has cached stay good when the file is as it was at the last open. A reader
 * needs no FLUSH: that saves a round trip at its close. */
static void set_open_flags(struct lp_fsmount *m, const struct lp_handle *h,
			   struct fuse_file_info *fi)
{
	struct stat st;

	fi->fh = (uint64_t)(uintptr_t)h;
	fi->keep_cache =
		fstat(h->fd, &st) == 0 && lp_inode_unchanged(&m->inodes, h->open.inode, &st);
	fi->noflush = !h->writer;
}

/* Opens an inode that the caller holds. Returns 0 or -errno. */
static int open_inode(fuse_req_t req, struct lp_inode *inode, struct fuse_file_info *fi,
		      struct lp_handle **out)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_handle *h = new_handle(m, inode, fi->flags, fuse_req_ctx(req)->pid);
	int r = lp_fs_reopen(m, inode->fd, fi->flags & ~DROPPED_FLAGS);

	if (r < 0) {
		end_handle(m, h);
		return r;
	}
	h->fd = r;
	if (h->writer && (fi->flags & O_TRUNC) != 0)
		atomic_store(&inode->dirty, true);
	set_open_flags(m, h, fi);
	*out = h;
	return 0;
}

void lp_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_handle *h;
	int r = open_inode(req, lp_fs_inode(m, ino), fi, &h);

	if (r < 0)
		(void)fuse_reply_err(req, -r);
	else if (fuse_reply_open(req, fi) == -ENOENT) /* interrupted: no RELEASE will come */
		end_handle(m, h);
}

/* Answers a create; both the reference on the handle's inode that a look-up took and the handle go
 * to the kernel if it takes the answer. */
static void reply_create(fuse_req_t req, struct lp_handle *h, const struct stat *st,
			 const struct fuse_file_info *fi)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_inode *inode = h->open.inode;
	struct fuse_entry_param e;

	lp_fs_entry(m, inode, st, &e);
	if (fuse_reply_create(req, &e, fi) == -ENOENT) {
		end_handle(m, h);
		lp_inode_put(&m->inodes, inode, 1);
	}
}

/* The name was free when the kernel looked, but is not any more. */
static void open_existing(fuse_req_t req, const struct lp_inode *dir, const char *name,
			  struct fuse_file_info *fi)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_inode *inode;
	struct lp_handle *h;
	struct stat st;
	int r = lp_fs_lookup(m, dir, name, &st, &inode);

	if (r == 0 && !S_ISREG(st.st_mode))
		r = -ESTALE; /* the kernel walks the path again and sees what it is */
	else if (r == 0)
		r = open_inode(req, inode, fi, &h);
	else
		inode = NULL;
	if (r == 0) {
		reply_create(req, h, &st, fi);
		return;
	}
	if (inode != NULL)
		lp_inode_put(&m->inodes, inode, 1);
	(void)fuse_reply_err(req, -r);
}

void lp_op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		  struct fuse_file_info *fi)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_inode *dir = lp_fs_inode(m, parent);
	int flags = (fi->flags & ~DROPPED_FLAGS) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	LP_AUTO_CLOSE int fd = -1;
	struct lp_handle *h;
	struct stat st;
	int path_fd;

	lp_trim_grow(&m->trim);
	lp_fs_act_begin(m, req);
	fd = openat(dir->fd, name, flags, mode);
	lp_fs_act_end(m, req);
	if (fd < 0 && errno == EEXIST && (fi->flags & O_EXCL) == 0) {
		open_existing(req, dir, name, fi);
		return;
	}
	if (fd < 0 || fstat(fd, &st) < 0) {
		(void)fuse_reply_err(req, errno);
		return;
	}
	path_fd = lp_fs_reopen(m, fd, O_PATH);
	if (path_fd < 0) {
		(void)fuse_reply_err(req, -path_fd);
		return;
	}
	h = new_handle(m, lp_inode_adopt(&m->inodes, dir, name, path_fd, &st), fi->flags,
		       fuse_req_ctx(req)->pid);
	h->fd = lp_take_fd(&fd);
	/* A new empty file is news at its close, even if opened only for reading. */
	if (h->writer)
		atomic_store(&h->open.inode->dirty, true);
	else
		lp_report_inode(m, h->open.inode);
	set_open_flags(m, h, fi);
	reply_create(req, h, &st, fi);
}

void lp_op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct lp_handle *h = lp_fs_handle(fi);
	int e = 0;

	(void)ino;
	/* Closing a copy makes a network file system below say what went wrong with the data. */
	if (h->writer && close(fcntl(h->fd, F_DUPFD_CLOEXEC, 0)) < 0)
		e = errno;
	lp_report_flush(lp_fs_of(req), h, fuse_req_ctx(req)->pid);
	(void)fuse_reply_err(req, e);
}

void lp_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	end_handle(lp_fs_of(req), lp_fs_handle(fi));
	(void)fuse_reply_err(req, 0);
}
