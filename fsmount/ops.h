/* fsmount/ops.h: the handlers of the file system, by file. Each answers its request exactly once;
 * the arguments are those of struct fuse_lowlevel_ops in <fuse_lowlevel.h>. */
#ifndef LP_FSMOUNT_OPS_H
#define LP_FSMOUNT_OPS_H

#include "fsmount/fs.h"

/* ops_entry.c: names */
void lp_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void lp_op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void lp_op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void lp_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void lp_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void lp_op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void lp_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void lp_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void lp_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void lp_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		  const char *new_name, unsigned int flags);

/* ops_attr.c: attributes */
void lp_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void lp_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		   struct fuse_file_info *fi);
void lp_op_readlink(fuse_req_t req, fuse_ino_t ino);
void lp_op_statfs(fuse_req_t req, fuse_ino_t ino);
void lp_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void lp_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void lp_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		    size_t size, int flags);
void lp_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
void lp_op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
		 struct fuse_file_info *fi, unsigned int flags, const void *in, size_t in_size,
		 size_t out_size);

/* ops_file.c: opening and closing */
void lp_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void lp_op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		  struct fuse_file_info *fi);
void lp_op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void lp_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* A file that was just made in dir, and what became of it. */
struct lp_created {
	struct lp_fsmount *m;
	struct lp_inode *dir;
	const char *name; /* "": it has none */
	struct stat st;
	struct lp_inode *inode; /* a reference, for the kernel */
	struct lp_handle *h;    /* NULL: opened without us */
};

/* Takes in a file that was made: fd (taken) is open as fi says, whose answer it fills. Returns 0 or
 * -errno. uncreate undoes it for a kernel that did not take the answer; the file stays. */
int lp_file_created(struct lp_created *c, const struct fuse_ctx *ctx, int fd,
		    struct fuse_file_info *fi) LP_MUST_USE;
void lp_file_uncreate(struct lp_created *c);

/* ops_raw.c: requests that the library does not know. Answers it and returns true, or returns
 * false.
 */
bool lp_op_raw(struct lp_fsmount *m, const void *request, size_t len);

/* ops_io.c: content */
void lp_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void lp_op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
		     struct fuse_file_info *fi);
void lp_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void lp_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		     struct fuse_file_info *fi);
void lp_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void lp_op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			   struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			   struct fuse_file_info *fi_out, size_t len, int flags);

/* ops_dir.c: listing */
void lp_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void lp_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		   struct fuse_file_info *fi);
void lp_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi);
void lp_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void lp_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

#endif
