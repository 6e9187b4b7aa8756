/* fsmount/io.c: see io.h. */
#include "fsmount/io.h"

#include "fsmount/report.h"

#include <fcntl.h>

int lp_io_open(struct lp_io *io, struct lp_fsmount *m, fuse_ino_t ino,
	       const struct fuse_file_info *fi)
{
	*io = (struct lp_io){
		.m = m, .inode = lp_fs_inode(m, ino), .h = lp_fs_handle(fi), .own = -1};
	if (io->h != NULL) {
		io->fd = io->h->fd;
		return 0;
	}
	io->own = lp_fs_reopen(m, io->inode->fd, O_RDONLY);
	io->fd = io->own;
	return io->own < 0 ? io->own : 0;
}

void lp_io_close(struct lp_io *io)
{
	lp_auto_close(&io->own);
}

/* Waits while somebody below has a lease, who is given a sign to end it: the caller did not ask for
 * EAGAIN. A file that may only be appended to cannot be opened otherwise. */
static int open_for_writing(const struct lp_io *io)
{
	int flags = io->h != NULL ? io->h->flags : O_WRONLY;
	int fd;

	if (io->h != NULL && atomic_load(&io->h->appending))
		flags |= O_APPEND;
	fd = lp_fs_reopen(io->m, io->inode->fd, flags);
	return fd == -EPERM ? lp_fs_reopen(io->m, io->inode->fd, flags | O_APPEND) : fd;
}

/* Finds the descriptor for a change, or takes `fresh` for it (-1: there is none yet). Returns false
 * when there is none. Without the kernel's opens the descriptor below stays open until the last
 * writer has closed the file in the mount: for those who look below it is being written for as
 * long. */
static bool find_descriptor(struct lp_io *io, int *fresh)
{
	struct lp_handle *h = io->h;

	if (h != NULL) {
		if (h->parked && *fresh >= 0)
			h->parked = dup3(*fresh, h->fd, O_CLOEXEC) < 0;
		io->fd = h->parked ? -1 : h->fd;
	} else if (io->m->quick) {
		if (io->w->fd < 0)
			io->w->fd = lp_take_fd(fresh);
		io->fd = io->w->fd;
	} else {
		io->own = lp_take_fd(fresh);
		io->fd = io->own;
	}
	return io->fd >= 0;
}

int lp_io_begin(struct lp_io *io, struct lp_fsmount *m, fuse_ino_t ino,
		const struct fuse_file_info *fi)
{
	LP_AUTO_CLOSE int fresh = -1;
	bool found;

	*io = (struct lp_io){
		.m = m, .inode = lp_fs_inode(m, ino), .h = lp_fs_handle(fi), .own = -1};
	io->w = lp_inode_writing(&m->inodes, io->inode);
	(void)pthread_mutex_lock(&io->w->lock);
	found = find_descriptor(io, &fresh);
	if (!found) {
		(void)pthread_mutex_unlock(&io->w->lock);
		fresh = open_for_writing(io); /* may wait: not with the lock */
		if (fresh < 0)
			return fresh;
		(void)pthread_mutex_lock(&io->w->lock);
		found = find_descriptor(io, &fresh);
	}
	if (!found) {
		(void)pthread_mutex_unlock(&io->w->lock);
		return -EIO;
	}
	lp_writing_begin(io->w, io->fd);
	/* Before anything changes below: who looks there finds out with lp_fsmount_is_writing. */
	if (m->quick)
		lp_closes_expect(&m->closes, io->inode);
	return 0;
}

void lp_io_park(struct lp_fsmount *m, struct lp_handle *h)
{
	struct lp_writing *w = lp_inode_writing(&m->inodes, h->open.inode);
	LP_AUTO_CLOSE int fd = lp_fs_reopen(m, h->open.inode->fd, O_RDONLY);

	(void)pthread_mutex_lock(&w->lock);
	if (fd >= 0 && !h->parked) /* in one step, for those who use the descriptor meanwhile */
		h->parked = dup3(fd, h->fd, O_CLOEXEC) >= 0;
	(void)pthread_mutex_unlock(&w->lock);
}

/* Notes that the file has to be reported, when its opens are told. */
static void note(struct lp_io *io, int pid)
{
	if (io->h != NULL)
		lp_report_touched(io->h, pid);
	else if (atomic_load(&io->inode->writers) > 0)
		atomic_store(&io->inode->dirty, true);
}

void lp_io_end(struct lp_io *io, const struct lp_io_change *change)
{
	struct stat st;
	int r;

	if (change != NULL && change->to_end)
		r = lp_writing_end_from(io->w, io->fd, change->at, &st);
	else
		r = lp_writing_end(io->w, io->fd, change == NULL ? 0 : change->at,
				   change == NULL ? 0 : change->len, &st);
	if (r == 0 && change != NULL) /* what the kernel caches of it, it has changed as well */
		(void)lp_inode_compare(&io->m->inodes, io->inode, &st);
	if (change != NULL && !io->m->quick)
		note(io, change->pid);
	(void)pthread_mutex_unlock(&io->w->lock);
	lp_auto_close(&io->own);
}

void lp_io_begin_attr(struct lp_io *io, struct lp_fsmount *m, struct lp_inode *inode)
{
	*io = (struct lp_io){.m = m, .inode = inode, .fd = inode->fd, .own = -1};
	if (inode->type != S_IFREG)
		return;
	io->w = lp_inode_writing(&m->inodes, inode);
	(void)pthread_mutex_lock(&io->w->lock);
	if (io->w->written != NULL)
		lp_writing_begin(io->w, io->fd);
}

void lp_io_end_attr(struct lp_io *io)
{
	struct stat st;

	if (io->w == NULL)
		return;
	if (io->w->written != NULL)
		(void)lp_writing_end(io->w, io->fd, 0, 0, &st);
	(void)pthread_mutex_unlock(&io->w->lock);
}
