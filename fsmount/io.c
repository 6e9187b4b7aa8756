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
	io->own = lp_fs_reopen(m, io->inode->fd, O_RDONLY | O_NONBLOCK);
	io->fd = io->own;
	return io->own < 0 ? io->own : 0;
}

void lp_io_close(struct lp_io *io)
{
	lp_auto_close(&io->own);
}

/* A file that may only be appended to cannot be opened otherwise. */
static int open_for_writing(const struct lp_fsmount *m, const struct lp_inode *inode)
{
	int fd = lp_fs_reopen(m, inode->fd, O_WRONLY | O_NONBLOCK);

	return fd == -EPERM ? lp_fs_reopen(m, inode->fd, O_WRONLY | O_NONBLOCK | O_APPEND) : fd;
}

/* Without the kernel's opens the descriptor below stays open until the last writer has closed the
 * file in the mount: for those who look below it is being written for as long. */
static int find_descriptor(struct lp_io *io)
{
	int *fd = io->m->quick ? &io->w->fd : &io->own;

	if (io->h != NULL) {
		io->fd = io->h->fd;
		return 0;
	}
	if (*fd < 0)
		*fd = open_for_writing(io->m, io->inode);
	io->fd = *fd;
	if (*fd >= 0)
		return 0;
	*fd = -1;
	return io->fd;
}

int lp_io_begin(struct lp_io *io, struct lp_fsmount *m, fuse_ino_t ino,
		const struct fuse_file_info *fi)
{
	int r;

	*io = (struct lp_io){
		.m = m, .inode = lp_fs_inode(m, ino), .h = lp_fs_handle(fi), .own = -1};
	io->w = lp_inode_writing(&m->inodes, io->inode);
	(void)pthread_mutex_lock(&io->w->lock);
	r = find_descriptor(io);
	if (r < 0) {
		(void)pthread_mutex_unlock(&io->w->lock);
		return r;
	}
	lp_writing_begin(io->w, io->fd);
	/* Before anything changes below: who looks there finds out with lp_fsmount_is_writing. */
	if (m->quick)
		lp_closes_expect(&m->closes, io->inode);
	return 0;
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
