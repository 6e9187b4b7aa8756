/* fsmount/ops_attr.c: handlers for attributes: stat, chmod and friends, links' targets, extended
 * attributes. */
#include "fsmount/io.h"
#include "fsmount/ops.h"
#include "fsmount/report.h"

#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

static const char ACL_PREFIX[] = "system.posix_acl_";

void lp_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct stat st;

	(void)fi;
	if (fstat(lp_fs_inode(m, ino)->fd, &st) < 0) {
		(void)fuse_reply_err(req, errno);
		return;
	}
	lp_fs_tell(m, lp_fs_inode(m, ino), &st);
	(void)fuse_reply_attr(req, &st, lp_fs_timeout(m));
}

static int set_mode(const struct lp_inode *inode, mode_t mode, const struct lp_handle *h)
{
	struct lp_fd_path path = lp_fs_fd_path(inode->fd);
	int r = h != NULL ? fchmod(h->fd, mode) : chmod(path.text, mode);

	return r < 0 ? -errno : 0;
}

static int set_owner(const struct lp_inode *inode, const struct stat *attr, int to_set)
{
	uid_t uid = (to_set & FUSE_SET_ATTR_UID) != 0 ? attr->st_uid : (uid_t)-1;
	gid_t gid = (to_set & FUSE_SET_ATTR_GID) != 0 ? attr->st_gid : (gid_t)-1;

	return fchownat(inode->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno
											  : 0;
}

static int set_size(fuse_req_t req, fuse_ino_t ino, off_t size, const struct fuse_file_info *fi)
{
	struct lp_io_change change = {.to_end = true, .pid = fuse_req_ctx(req)->pid};
	struct lp_io io;
	int r = lp_io_begin(&io, lp_fs_of(req), ino, fi);

	if (r < 0)
		return r;
	change.at = io.w->size < (uint64_t)size ? io.w->size : (uint64_t)size;
	r = ftruncate(io.fd, size) < 0 ? -errno : 0;
	lp_io_end(&io, r < 0 ? NULL : &change);
	return r;
}

static struct timespec new_time(struct timespec value, bool set, bool now)
{
	if (now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	return set ? value : (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int set_times(const struct lp_inode *inode, const struct stat *attr, int to_set)
{
	struct lp_fd_path path = lp_fs_fd_path(inode->fd);
	struct timespec times[2] = {
		new_time(attr->st_atim, (to_set & FUSE_SET_ATTR_ATIME) != 0,
			 (to_set & FUSE_SET_ATTR_ATIME_NOW) != 0),
		new_time(attr->st_mtim, (to_set & FUSE_SET_ATTR_MTIME) != 0,
			 (to_set & FUSE_SET_ATTR_MTIME_NOW) != 0),
	};

	return utimensat(AT_FDCWD, path.text, times, 0) < 0 ? -errno : 0;
}

static const int SETS_OWNER = FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID;
static const int SETS_MTIME = FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW;
static const int SETS_ATIME = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW;

/* All but the size, in the order in which one may undo another: a change of owner drops set-id
 * bits. */
static int set_attributes(struct lp_fsmount *m, struct lp_inode *inode, const struct stat *attr,
			  int to_set, const struct lp_handle *h)
{
	struct lp_io io;
	int r = 0;

	lp_io_begin_attr(&io, m, inode);
	if ((to_set & SETS_OWNER) != 0)
		r = set_owner(inode, attr, to_set);
	if (r == 0 && (to_set & FUSE_SET_ATTR_MODE) != 0)
		r = set_mode(inode, attr->st_mode, h);
	if (r == 0 && (to_set & (SETS_ATIME | SETS_MTIME)) != 0)
		r = set_times(inode, attr, to_set);
	lp_io_end_attr(&io);
	return r;
}

/* The size comes first: a change of it drops set-id bits and sets times. */
void lp_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		   struct fuse_file_info *fi)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_inode *inode = lp_fs_inode(m, ino);
	const int reported = SETS_OWNER | SETS_MTIME | FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_SIZE;
	struct stat st;
	int r = 0;

	if ((to_set & FUSE_SET_ATTR_SIZE) != 0)
		r = set_size(req, ino, attr->st_size, fi);
	if (r == 0)
		r = set_attributes(m, inode, attr, to_set, lp_fs_handle(fi));
	if (r < 0 || fstat(inode->fd, &st) < 0) {
		(void)fuse_reply_err(req, r < 0 ? -r : errno);
		return;
	}
	(void)lp_inode_compare(&m->inodes, inode, &st);
	if ((to_set & reported) != 0)
		lp_report_settled(m, inode);
	(void)fuse_reply_attr(req, &st, lp_fs_timeout(m));
}

void lp_op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct lp_fsmount *m = lp_fs_of(req);
	char target[PATH_MAX + 1];
	ssize_t len = readlinkat(lp_fs_inode(m, ino)->fd, "", target, sizeof(target) - 1);

	if (len < 0) {
		(void)fuse_reply_err(req, errno);
		return;
	}
	target[len] = '\0';
	(void)fuse_reply_readlink(req, target);
}

void lp_op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct statvfs sv;

	if (fstatvfs(lp_fs_inode(m, ino)->fd, &sv) < 0)
		(void)fuse_reply_err(req, errno);
	else
		(void)fuse_reply_statfs(req, &sv);
}

static bool is_acl(const char *name)
{
	return strncmp(name, ACL_PREFIX, sizeof(ACL_PREFIX) - 1) == 0;
}

/* Answers with a value of `len` bytes, or with its length when only that was asked for (size 0). */
static void reply_value(fuse_req_t req, const char *value, ssize_t len, size_t size)
{
	if (size == 0)
		(void)fuse_reply_xattr(req, (size_t)len);
	else
		(void)fuse_reply_buf(req, value, (size_t)len);
}

void lp_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct lp_fd_path path = lp_fs_fd_path(lp_fs_inode(lp_fs_of(req), ino)->fd);
	char *value = malloc(size + 1);
	ssize_t len;

	if (value == NULL) {
		(void)fuse_reply_err(req, ENOMEM);
		return;
	}
	len = getxattr(path.text, name, value, size);
	if (len >= 0)
		reply_value(req, value, len, size);
	else if (errno == EOPNOTSUPP && is_acl(name)) /* otherwise the kernel denies access */
		(void)fuse_reply_err(req, ENODATA);
	else
		(void)fuse_reply_err(req, errno);
	free(value);
}

void lp_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct lp_fd_path path = lp_fs_fd_path(lp_fs_inode(lp_fs_of(req), ino)->fd);
	char *value = malloc(size + 1);
	ssize_t len;

	if (value == NULL) {
		(void)fuse_reply_err(req, ENOMEM);
		return;
	}
	len = listxattr(path.text, value, size);
	if (len >= 0)
		reply_value(req, value, len, size);
	else
		(void)fuse_reply_err(req, errno);
	free(value);
}

/* An access ACL carries the mode: a change of it is a change of the file. */
static void reply_xattr_changed(fuse_req_t req, fuse_ino_t ino, const char *name, int r)
{
	struct lp_fsmount *m = lp_fs_of(req);
	int e = r < 0 ? errno : 0;

	if (e == 0 && is_acl(name))
		lp_report_settled(m, lp_fs_inode(m, ino));
	(void)fuse_reply_err(req, e);
}

void lp_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		    size_t size, int flags)
{
	struct lp_fd_path path = lp_fs_fd_path(lp_fs_inode(lp_fs_of(req), ino)->fd);

	reply_xattr_changed(req, ino, name, setxattr(path.text, name, value, size, flags));
}

void lp_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct lp_fd_path path = lp_fs_fd_path(lp_fs_inode(lp_fs_of(req), ino)->fd);

	reply_xattr_changed(req, ino, name, removexattr(path.text, name));
}
