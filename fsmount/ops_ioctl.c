/* fsmount/ops_ioctl.c: the ioctls that concern the file itself: its flags (chattr) and project. The
 * kernel checks the caller's rights. Others are refused: what their argument means we do not know.
 */
#include "fsmount/io.h"
#include "fsmount/ops.h"
#include "fsmount/report.h"

#include <string.h>
#include <sys/ioctl.h>

#include <linux/fs.h>

/* Large enough for all of them. */
union argument {
	unsigned int flags;
	struct fsxattr fsx;
};

static bool is_known(unsigned int cmd)
{
	return cmd == FS_IOC_GETFLAGS || cmd == FS_IOC_SETFLAGS || cmd == FS_IOC_FSGETXATTR ||
	       cmd == FS_IOC_FSSETXATTR;
}

/* NOLINTNEXTLINE(readability-function-size): the library asks for these parameters */
void lp_op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
		 struct fuse_file_info *fi, unsigned int flags, const void *in, size_t in_size,
		 size_t out_size)
{
	union argument argument = {0};
	struct lp_io io;
	int r;

	(void)arg;
	if (!is_known(cmd) || (flags & (FUSE_IOCTL_COMPAT | FUSE_IOCTL_UNRESTRICTED)) != 0 ||
	    in_size > sizeof(argument) || out_size > sizeof(argument)) {
		(void)fuse_reply_err(req, ENOTTY);
		return;
	}
	if (in_size > 0)
		memcpy(&argument, in, in_size);
	r = lp_io_open(&io, lp_fs_of(req), ino, fi);
	if (r < 0) {
		(void)fuse_reply_err(req, -r);
		return;
	}
	r = ioctl(io.fd, cmd, &argument);
	if (r < 0)
		(void)fuse_reply_err(req, errno);
	else
		(void)fuse_reply_ioctl(req, r, &argument, out_size);
	lp_io_close(&io);
}
