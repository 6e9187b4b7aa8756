/* fsmount/ops_io.c: handlers for the content of open files. */
#include "fsmount/ops.h"
#include "fsmount/report.h"

#include <fcntl.h>
#include <unistd.h>

/* A buffer of `size` bytes that are in fd from off on. */
static struct fuse_bufvec fd_buffer(int fd, off_t off, size_t size)
{
	struct fuse_bufvec vec = FUSE_BUFVEC_INIT(size);

	vec.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	vec.buf[0].fd = fd;
	vec.buf[0].pos = off;
	return vec;
}

void lp_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct fuse_bufvec vec = fd_buffer(lp_fs_handle(fi)->fd, off, size);

	(void)ino;
	/* Spliced, but not moved: moving would take the pages out of the cache of the file below.
	 */
	(void)fuse_reply_data(req, &vec, 0);
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

/* Writes what was asked for. Returns the number of bytes or -errno. */
static ssize_t write_caller(struct lp_handle *h, struct fuse_bufvec *in, off_t off, int flags)
{
	struct fuse_bufvec out = fd_buffer(h->fd, off, fuse_buf_size(in));

	follow_append(h, flags);
	return fuse_buf_copy(&out, in, 0);
}

/* Writes pages of a mapping. The kernel picks any handle for them, and on a descriptor with
 * O_APPEND they would not land at their offset. */
static ssize_t write_pages(const struct lp_fsmount *m, const struct lp_handle *h,
			   struct fuse_bufvec *in, off_t off)
{
	LP_AUTO_CLOSE int plain = -1;
	struct fuse_bufvec out = fd_buffer(h->fd, off, fuse_buf_size(in));

	if (atomic_load(&h->appending)) {
		plain = lp_fs_reopen(m, h->open.inode->fd, O_WRONLY);
		if (plain < 0)
			return plain;
		out.buf[0].fd = plain;
	}
	return fuse_buf_copy(&out, in, 0);
}

void lp_op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
		     struct fuse_file_info *fi)
{
	struct lp_handle *h = lp_fs_handle(fi);
	ssize_t n = fi->writepage ? write_pages(lp_fs_of(req), h, in, off)
				  : write_caller(h, in, off, fi->flags);

	(void)ino;
	if (n < 0) {
		(void)fuse_reply_err(req, (int)-n);
		return;
	}
	lp_report_touched(h, fi->writepage ? 0 : fuse_req_ctx(req)->pid);
	(void)fuse_reply_write(req, (size_t)n);
}

void lp_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	int fd = lp_fs_handle(fi)->fd;

	(void)ino;
	(void)fuse_reply_err(req, (datasync != 0 ? fdatasync(fd) : fsync(fd)) < 0 ? errno : 0);
}

void lp_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		     struct fuse_file_info *fi)
{
	struct lp_handle *h = lp_fs_handle(fi);

	(void)ino;
	if (fallocate(h->fd, mode, off, len) < 0) {
		(void)fuse_reply_err(req, errno);
		return;
	}
	lp_report_touched(h, fuse_req_ctx(req)->pid);
	(void)fuse_reply_err(req, 0);
}

void lp_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	off_t at = lseek(lp_fs_handle(fi)->fd, off, whence);

	(void)ino;
	if (at < 0)
		(void)fuse_reply_err(req, errno);
	else
		(void)fuse_reply_lseek(req, at);
}

/* NOLINTNEXTLINE(readability-function-size): the library asks for these parameters */
void lp_op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			   struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			   struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct lp_handle *to = lp_fs_handle(fi_out);
	ssize_t n;

	(void)ino_in;
	(void)ino_out;
	follow_append(to, 0);
	n = copy_file_range(lp_fs_handle(fi_in)->fd, &off_in, to->fd, &off_out, len,
			    (unsigned int)flags);
	if (n < 0) {
		(void)fuse_reply_err(req, errno);
		return;
	}
	lp_report_touched(to, fuse_req_ctx(req)->pid);
	(void)fuse_reply_write(req, (size_t)n);
}
