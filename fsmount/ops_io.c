/* fsmount/ops_io.c: handlers for the content of open files. */
#include "common/base/lp_clock.h"
#include "fsmount/io.h"
#include "fsmount/ops.h"
#include "fsmount/report.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	SMALL_BYTES = 32 * 1024,
};

/* A buffer of `size` bytes that are in fd from off on. */
static struct fuse_bufvec fd_buffer(int fd, off_t off, size_t size)
{
	struct fuse_bufvec vec = FUSE_BUFVEC_INIT(size);

	vec.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	vec.buf[0].fd = fd;
	vec.buf[0].pos = off;
	return vec;
}

/* A small piece is read into memory: splicing costs more system calls than the copy takes. A short
 * read is the end of the file. */
static void reply_small(fuse_req_t req, int fd, size_t size, off_t off)
{
	char data[SMALL_BYTES];
	ssize_t n;

	do
		n = pread(fd, data, size, off);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		(void)fuse_reply_err(req, errno);
	else
		(void)fuse_reply_buf(req, data, (size_t)n);
}

void lp_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct fuse_bufvec vec;
	uint64_t began_us = lp_now_us();
	struct lp_io io;
	dev_t dev;
	ino_t number;
	int r = lp_io_open(&io, m, ino, fi);

	if (r < 0) {
		(void)fuse_reply_err(req, -r);
		return;
	}
	dev = io.inode->dev; /* the answer may be followed by the kernel's FORGET */
	number = io.inode->ino;
	vec = fd_buffer(io.fd, off, size);
	if (size <= SMALL_BYTES) /* spliced, but not moved: that would take pages from below */
		reply_small(req, io.fd, size, off);
	else
		(void)fuse_reply_data(req, &vec, 0);
	lp_io_close(&io);
	if (off == 0)
		lp_ahead_read(&m->ahead, dev, number, lp_now_us() - began_us);
}

/* fcntl(2) may have changed O_APPEND since the file was opened. It is kept on the descriptor below
 * so that appends are right even when others append underneath. */
static void follow_append(struct lp_handle *h, int flags)
{
	bool append = (flags & O_APPEND) != 0;
	int below;

	if (atomic_load(&h->appending) == append)
		return;
	below = fcntl(h->fd, F_GETFL);
	if (below >= 0 && fcntl(h->fd, F_SETFL, append ? below | O_APPEND : below & ~O_APPEND) == 0)
		atomic_store(&h->appending, append);
}

/* Appends with a descriptor that has no O_APPEND. Returns the number of bytes or -errno. */
static ssize_t append(int fd, const struct fuse_bufvec *in)
{
	size_t done = 0;

	while (done < in->buf[0].size) {
		struct iovec iov = {.iov_base = (char *)in->buf[0].mem + done,
				    .iov_len = in->buf[0].size - done};
		ssize_t n = pwritev2(fd, &iov, 1, 0, RWF_APPEND);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && done == 0)
			return -errno;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* Writes what was asked for. Returns the number of bytes or -errno. */
static ssize_t write_caller(const struct lp_io *io, struct fuse_bufvec *in, off_t off, int flags)
{
	struct fuse_bufvec out = fd_buffer(io->fd, off, fuse_buf_size(in));

	if (io->h != NULL)
		follow_append(io->h, flags);
	else if ((flags & O_APPEND) != 0)
		return append(io->fd, in);
	return fuse_buf_copy(&out, in, 0);
}

/* Writes pages of a mapping. The kernel picks any handle for them, and on a descriptor with
 * O_APPEND they would not land at their offset. */
static ssize_t write_pages(const struct lp_io *io, struct fuse_bufvec *in, off_t off)
{
	LP_AUTO_CLOSE int plain = -1;
	struct fuse_bufvec out = fd_buffer(io->fd, off, fuse_buf_size(in));

	if (io->h != NULL && atomic_load(&io->h->appending)) {
		plain = lp_fs_reopen(io->m, io->inode->fd, O_WRONLY);
		if (plain < 0)
			return plain;
		out.buf[0].fd = plain;
	}
	return fuse_buf_copy(&out, in, 0);
}

void lp_op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
		     struct fuse_file_info *fi)
{
	bool appends = !fi->writepage && (fi->flags & O_APPEND) != 0;
	struct lp_io_change change = {.pid = fi->writepage ? 0 : fuse_req_ctx(req)->pid};
	struct lp_io io;
	ssize_t n = lp_io_begin(&io, lp_fs_of(req), ino, fi);

	if (n == 0) {
		n = fi->writepage ? write_pages(&io, in, off)
				  : write_caller(&io, in, off, fi->flags);
		change.at = appends ? io.w->size : (uint64_t)off;
		change.len = n < 0 ? 0 : (uint64_t)n;
		lp_io_end(&io, n < 0 ? NULL : &change);
	}
	if (n < 0)
		(void)fuse_reply_err(req, (int)-n);
	else
		(void)fuse_reply_write(req, (size_t)n);
}

void lp_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_io io;
	int r = lp_io_open(&io, m, ino, fi);
	int e = -r;

	if (r == 0 && (datasync != 0 ? fdatasync(io.fd) : fsync(io.fd)) < 0)
		e = errno;
	lp_io_close(&io);
	if (e == 0 && m->opts.barrier != NULL) {
		if (io.h != NULL && io.h->writer)
			lp_io_park(m, io.h);
		if (lp_report_synced(m, req, lp_fs_inode(m, ino)))
			return;
	}
	(void)fuse_reply_err(req, e);
}

void lp_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		     struct fuse_file_info *fi)
{
	/* The kernel asks for no mode that moves what is behind (COLLAPSE, INSERT). */
	struct lp_io_change change = {
		.at = (uint64_t)off, .len = (uint64_t)len, .pid = fuse_req_ctx(req)->pid};
	struct lp_io io;
	int e = -lp_io_begin(&io, lp_fs_of(req), ino, fi);

	if (e == 0) {
		if (fallocate(io.fd, mode, off, len) < 0)
			e = errno;
		lp_io_end(&io, e == 0 ? &change : NULL);
	}
	(void)fuse_reply_err(req, e);
}

void lp_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct lp_io io;
	int r = lp_io_open(&io, lp_fs_of(req), ino, fi);
	off_t at = r < 0 ? r : lseek(io.fd, off, whence);

	if (at < 0)
		(void)fuse_reply_err(req, r < 0 ? -r : errno);
	else
		(void)fuse_reply_lseek(req, at);
	if (r == 0)
		lp_io_close(&io);
}

/* Returns the number of bytes or -errno. */
static ssize_t copy_range(const struct lp_io *from, off_t off_in, const struct lp_io *to,
			  off_t off_out, size_t len)
{
	uint64_t began_us = lp_now_us();
	bool begins = off_in == 0;
	ssize_t n;

	if (to->h != NULL)
		follow_append(to->h, 0);
	n = copy_file_range(from->fd, &off_in, to->fd, &off_out, len, 0);
	if (n < 0)
		return -errno;
	if (begins)
		lp_ahead_read(&from->m->ahead, from->inode->dev, from->inode->ino,
			      lp_now_us() - began_us);
	return n;
}

/* NOLINTNEXTLINE(readability-function-size): the library asks for these parameters */
void lp_op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			   struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			   struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_io_change change = {.at = (uint64_t)off_out, .pid = fuse_req_ctx(req)->pid};
	struct lp_io from;
	struct lp_io to;
	ssize_t n = lp_io_open(&from, m, ino_in, fi_in);

	if (n < 0) {
		(void)fuse_reply_err(req, (int)-n);
		return;
	}
	n = lp_io_begin(&to, m, ino_out, fi_out);
	if (n == 0) {
		n = flags != 0 ? -EINVAL : copy_range(&from, off_in, &to, off_out, len);
		change.len = n < 0 ? 0 : (uint64_t)n;
		lp_io_end(&to, n < 0 ? NULL : &change);
	}
	lp_io_close(&from);
	if (n < 0)
		(void)fuse_reply_err(req, (int)-n);
	else
		(void)fuse_reply_write(req, (size_t)n);
}
