/* fsmount/ops_file.c: handlers that open and close files. */
#include "fsmount/ops.h"
#include "fsmount/report.h"

#include "common/base/lp_mem.h"
#include "fsmount/writing.h"

#include <fcntl.h>

/* What is dropped from the caller's flags: the kernel has done its part of these; O_DIRECT would
 * ask our buffers for an alignment that they do not have; with O_NONBLOCK a lease of somebody who
 * reads below would make it fail. */
static const int DROPPED_FLAGS = O_CREAT | O_EXCL | O_DIRECT | O_NONBLOCK;

/* What is done once only, or may change. */
static const int FIRST_FLAGS = O_TRUNC | O_APPEND | O_TMPFILE;

static bool opens_for_writing(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

/* Closes what is behind the handle, reports, and releases it. Reported first: who sees the close
 * below by inotify then knows already what was written. */
static void end_handle(struct lp_fsmount *m, struct lp_handle *h)
{
	lp_report_release(m, h);
	if (h->fd >= 0)
		(void)close(h->fd);
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
	h->flags = flags & ~(DROPPED_FLAGS | FIRST_FLAGS);
	h->opener = pid;
	h->writer = opens_for_writing(flags);
	atomic_store(&h->last_pid, pid);
	atomic_store(&h->appending, (flags & O_APPEND) != 0);
	lp_open_add(m, &h->open, inode);
	lp_report_opened(h);
	return h;
}

/* Pages that the kernel has cached stay good when the file is as it was when they were; who is told
 * of changes underneath need not take care of coarse timestamps. A reader needs no FLUSH: that
 * saves a round trip at its close. */
static void set_open_flags(struct lp_fsmount *m, const struct lp_handle *h,
			   struct fuse_file_info *fi)
{
	struct stat st;

	fi->fh = (uint64_t)(uintptr_t)h;
	fi->noflush = !h->writer;
	if (fstat(h->fd, &st) < 0)
		return;
	fi->keep_cache = lp_inode_compare(&m->inodes, h->open.inode, &st) == LP_INODE_SAME;
	if (!fi->keep_cache) /* the attributes as well, of which this answer says nothing */
		lp_invalidate_inode(&m->invalidate, h->open.inode);
	else if (!atomic_load(&m->told))
		fi->keep_cache = !lp_inode_is_young(&st);
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
	int r = m->quick ? -ENOSYS : open_inode(req, lp_fs_inode(m, ino), fi, &h);

	if (r < 0) /* after ENOSYS the kernel does not ask again */
		(void)fuse_reply_err(req, -r);
	else if (fuse_reply_open(req, fi) == -ENOENT) /* interrupted: no RELEASE will come */
		end_handle(m, h);
}

/* Answers a create; both the reference on the inode that a look-up took and the handle (NULL:
 * opened without us) go to the kernel if it takes the answer. */
static void reply_create(fuse_req_t req, struct lp_inode *inode, struct lp_handle *h,
			 const struct stat *st, const struct fuse_file_info *fi)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct fuse_entry_param e;

	lp_fs_entry(m, inode, st, &e);
	if (fuse_reply_create(req, &e, fi) == -ENOENT) {
		if (h != NULL)
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
	struct lp_handle *h = NULL;
	struct stat st;
	int r = lp_fs_lookup(m, dir, name, &st, &inode);

	if (r == 0 && !S_ISREG(st.st_mode))
		r = -ESTALE; /* the kernel walks the path again and sees what it is */
	else if (r == 0 && m->quick)
		fi->keep_cache = true;
	else if (r == 0)
		r = open_inode(req, inode, fi, &h);
	else
		inode = NULL;
	if (r == 0) {
		reply_create(req, inode, h, &st, fi);
		return;
	}
	if (inode != NULL)
		lp_inode_put(&m->inodes, inode, 1);
	(void)fuse_reply_err(req, -r);
}

/* A new empty file is news when it is closed, even if nothing is written; if opened only for
 * reading, at once. Notes that for a file that the kernel opens without us, and keeps its
 * descriptor (taken). */
static void note_created(struct lp_fsmount *m, struct lp_inode *inode, int fd, bool writer)
{
	struct lp_writing *w;

	if (!writer) {
		(void)close(fd);
		lp_report_inode(m, inode, NULL);
		return;
	}
	w = lp_inode_writing(&m->inodes, inode);
	(void)pthread_mutex_lock(&w->lock);
	lp_auto_close(&w->fd);
	w->fd = fd;
	w->begun = true;
	w->created = true;
	lp_closes_expect(&m->closes, inode);
	(void)pthread_mutex_unlock(&w->lock);
}

/* The same for one that is opened with us. */
static struct lp_handle *handle_created(struct lp_fsmount *m, struct lp_inode *inode, int fd,
					int flags, int pid)
{
	struct lp_handle *h = new_handle(m, inode, flags, pid);

	h->fd = fd;
	if (h->writer)
		atomic_store(&inode->dirty, true);
	else
		lp_report_inode(m, inode, NULL);
	return h;
}

/* Makes the file. Returns an owned descriptor or -errno. */
static int create(fuse_req_t req, const struct lp_inode *dir, const char *name, mode_t mode,
		  int flags)
{
	const struct lp_fsmount *m = lp_fs_of(req);
	int how = (flags & ~DROPPED_FLAGS) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd;

	lp_fs_act_begin(m, fuse_req_ctx(req));
	fd = openat(dir->fd, name, m->quick ? how & ~O_APPEND : how, mode);
	lp_fs_act_end(m, fuse_req_ctx(req));
	return fd < 0 ? -errno : fd;
}

int lp_file_created(struct lp_created *c, const struct fuse_ctx *ctx, int file_fd,
		    struct fuse_file_info *fi)
{
	struct lp_fsmount *m = c->m;
	LP_AUTO_CLOSE int fd = file_fd;
	int path_fd;

	if (fstat(fd, &c->st) < 0)
		return -errno;
	path_fd = lp_fs_reopen(m, fd, O_PATH);
	if (path_fd < 0)
		return path_fd;
	lp_fs_know(m, c->dir);
	c->inode = lp_inode_adopt(&m->inodes, c->dir, c->name, path_fd, &c->st);
	fi->keep_cache = true;
	if (m->quick) {
		note_created(m, c->inode, lp_take_fd(&fd), opens_for_writing(fi->flags));
	} else {
		c->h = handle_created(m, c->inode, lp_take_fd(&fd), fi->flags, ctx->pid);
		set_open_flags(m, c->h, fi);
	}
	return 0;
}

void lp_file_uncreate(struct lp_created *c)
{
	if (c->h != NULL)
		end_handle(c->m, c->h);
	lp_inode_put(&c->m->inodes, c->inode, 1);
}

void lp_op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		  struct fuse_file_info *fi)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_created c = {.m = m, .dir = lp_fs_inode(m, parent), .name = name};
	int fd;
	int r;

	lp_trim_grow(&m->trim);
	fd = create(req, c.dir, name, mode, fi->flags);
	if (fd == -EEXIST && (fi->flags & O_EXCL) == 0) {
		open_existing(req, c.dir, name, fi);
		return;
	}
	r = fd < 0 ? fd : lp_file_created(&c, fuse_req_ctx(req), fd, fi);
	if (r < 0)
		(void)fuse_reply_err(req, -r);
	else
		reply_create(req, c.inode, c.h, &c.st, fi);
}

/* Closing a copy of the descriptor makes a network file system below say what went wrong with the
 * data. Returns 0 or an errno; that there is no room for a copy is nothing that the caller did. */
static int close_copy(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy >= 0 && close(copy) < 0 ? errno : 0;
}

/* Without the kernel's opens it does not tell of closes either: the first FLUSH is the last. */
void lp_op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_handle *h = lp_fs_handle(fi);
	bool written;
	int e = 0;

	if (h == NULL) {
		(void)fuse_reply_err(req, ENOSYS);
		return;
	}
	if (h->writer)
		e = close_copy(h->fd);
	written = atomic_load(&h->touched) || (h->writer && atomic_load(&h->open.inode->dirty));
	lp_report_flush(m, h, fuse_req_ctx(req)->pid);
	if (e != 0 || !written || m->opts.barrier == NULL ||
	    !lp_report_synced(m, req, lp_fs_inode(m, ino)))
		(void)fuse_reply_err(req, e);
}

void lp_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct lp_handle *h = lp_fs_handle(fi);

	(void)ino;
	if (h != NULL)
		end_handle(lp_fs_of(req), h);
	(void)fuse_reply_err(req, 0);
}
