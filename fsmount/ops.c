/* fsmount/ops.c: the table of handlers, what is agreed on with the kernel, and what the handlers
 * share. */
#include "fsmount/ops.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

enum {
	/* Requests that nobody waits for (read-ahead, RELEASE) in flight; the kernel's 12 would
	 * delay the closing of many files at once. */
	MAX_BACKGROUND = 128,
};

/* Capabilities beyond the library's defaults.
 * DONT_MASK, POSIX_ACL: the file system below applies the caller's umask or the directory's
 * default ACL, and the kernel enforces the ACLs. */
static const unsigned int CAPS_WANTED =
	FUSE_CAP_DONT_MASK | FUSE_CAP_POSIX_ACL | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_SPLICE_WRITE;

/* WRITEBACK_CACHE: with it sizes and times are the kernel's, so that what changes underneath would
 * stay hidden, and content may come after the close that we report. Without it a write has arrived
 * below when write(2) returns.
 * HANDLE_KILLPRIV: we write with the rights of root, which keep set-id bits; the kernel takes them
 * away with a SETATTR instead.
 * SPLICE_READ: costs each small request a system call more, and made no write measured faster.
 * SPLICE_WRITE (wanted) makes reads of large files three times as fast.
 * AUTO_INVAL_DATA: drops what is cached of a file after each write of ours, whose time the kernel
 * does not know; EXPLICIT_INVAL_DATA (wanted) leaves that to us: see invalidate.h.
 * POSIX_LOCKS, FLOCK_LOCKS (off without handlers): locks are kept by the kernel for everybody who
 * uses the mount. Passed on, each waiting locker would hold a thread of ours. */
static const unsigned int CAPS_UNWANTED =
	FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_SPLICE_READ;

/* What files that are opened without us need. ATOMIC_O_TRUNC must be off with it: nobody would see
 * the flag. */
static const unsigned int CAPS_QUICK =
	FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_EXPLICIT_INVAL_DATA;

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct lp_fsmount *m = userdata;

	conn->want |= conn->capable & CAPS_WANTED;
	conn->want &= ~CAPS_UNWANTED;
	if ((conn->capable & FUSE_CAP_EXPLICIT_INVAL_DATA) != 0)
		conn->want = (conn->want & ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA) |
			     FUSE_CAP_EXPLICIT_INVAL_DATA;
	m->quick = m->closes.opened && (conn->capable & CAPS_QUICK) == CAPS_QUICK;
	m->can_expire = (conn->capable & FUSE_CAP_EXPIRE_ONLY) != 0;
	m->quick_dirs = (conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT) != 0;
	if (m->quick)
		conn->want = (conn->want & ~(unsigned)FUSE_CAP_ATOMIC_O_TRUNC) | CAPS_QUICK;
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
	lp_pool_set_ready(&m->pool);
}

const struct fuse_lowlevel_ops lp_fs_ops = {
	.init = op_init,
	.lookup = lp_op_lookup,
	.forget = lp_op_forget,
	.forget_multi = lp_op_forget_multi,
	.mknod = lp_op_mknod,
	.mkdir = lp_op_mkdir,
	.symlink = lp_op_symlink,
	.link = lp_op_link,
	.unlink = lp_op_unlink,
	.rmdir = lp_op_rmdir,
	.rename = lp_op_rename,
	.getattr = lp_op_getattr,
	.setattr = lp_op_setattr,
	.readlink = lp_op_readlink,
	.statfs = lp_op_statfs,
	.getxattr = lp_op_getxattr,
	.listxattr = lp_op_listxattr,
	.setxattr = lp_op_setxattr,
	.removexattr = lp_op_removexattr,
	.open = lp_op_open,
	.create = lp_op_create,
	.flush = lp_op_flush,
	.release = lp_op_release,
	.read = lp_op_read,
	.write_buf = lp_op_write_buf,
	.fsync = lp_op_fsync,
	.fallocate = lp_op_fallocate,
	.lseek = lp_op_lseek,
	.copy_file_range = lp_op_copy_file_range,
	.opendir = lp_op_opendir,
	.readdir = lp_op_readdir,
	.readdirplus = lp_op_readdirplus,
	.releasedir = lp_op_releasedir,
	.fsyncdir = lp_op_fsyncdir,
	.ioctl = lp_op_ioctl,
};

struct lp_fd_path lp_fs_fd_path(int fd)
{
	struct lp_fd_path path;

	(void)snprintf(path.text, sizeof(path.text), "/proc/self/fd/%d", fd);
	return path;
}

int lp_fs_reopen(const struct lp_fsmount *m, int path_fd, int flags)
{
	char name[16];
	int fd;

	(void)snprintf(name, sizeof(name), "%d", path_fd);
	fd = openat(m->proc_fd, name, (flags & ~O_NOFOLLOW) | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int lp_fs_lookup(struct lp_fsmount *m, const struct lp_inode *parent, const char *name,
		 struct stat *st, struct lp_inode **out)
{
	lp_trim_grow(&m->trim);
	return lp_inode_lookup(&m->inodes, parent, name, st, out);
}

void lp_open_add(struct lp_fsmount *m, struct lp_open *open, struct lp_inode *inode)
{
	open->inode = inode;
	lp_inode_ref(&m->inodes, inode);
	(void)atomic_fetch_add(&inode->handles, 1);
	(void)pthread_mutex_lock(&m->open_lock);
	open->next = m->open;
	if (open->next != NULL)
		open->next->prev = open;
	m->open = open;
	(void)pthread_mutex_unlock(&m->open_lock);
}

void lp_open_remove(struct lp_fsmount *m, struct lp_open *open)
{
	(void)pthread_mutex_lock(&m->open_lock);
	if (open->next != NULL)
		open->next->prev = open->prev;
	if (open->prev != NULL)
		open->prev->next = open->next;
	else
		m->open = open->next;
	(void)pthread_mutex_unlock(&m->open_lock);
	(void)atomic_fetch_sub(&open->inode->handles, 1);
	lp_inode_put(&m->inodes, open->inode, 1);
}

void lp_open_end_all(struct lp_fsmount *m)
{
	while (m->open != NULL)
		m->open->end(m, m->open);
}

double lp_fs_timeout(const struct lp_fsmount *m)
{
	return atomic_load(&m->told) ? LP_FSMOUNT_TOLD_S : LP_FSMOUNT_ASKING_S;
}

void lp_fs_tell(struct lp_fsmount *m, struct lp_inode *inode, const struct stat *st)
{
	if (lp_inode_compare(&m->inodes, inode, st) == LP_INODE_CONTENT)
		lp_invalidate_inode(&m->invalidate, inode);
}

void lp_fs_know(struct lp_fsmount *m, struct lp_inode *inode)
{
	struct stat st;

	if (fstat(inode->fd, &st) == 0)
		(void)lp_inode_compare(&m->inodes, inode, &st);
}

void lp_fs_entry(struct lp_fsmount *m, struct lp_inode *inode, const struct stat *st,
		 struct fuse_entry_param *e)
{
	_Static_assert(sizeof(fuse_ino_t) >= sizeof(uintptr_t), "inode numbers hold pointers");

	lp_fs_tell(m, inode, st);
	*e = (struct fuse_entry_param){
		.ino = inode == &m->inodes.root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)inode,
		.attr = *st,
		.attr_timeout = lp_fs_timeout(m),
		.entry_timeout = lp_fs_timeout(m),
	};
}

/* Of this thread, once it has been set. */
static _Thread_local mode_t thread_umask = (mode_t)-1;

static bool is_other_user(const struct lp_fsmount *m, const struct fuse_ctx *ctx)
{
	return m->privileged && (ctx->uid != 0 || ctx->gid != 0);
}

/* Makes every permitted capability of this thread effective again: a change of the file system
 * user takes away those that concern files. */
static void raise_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return;
	for (size_t i = 0; i < LP_COUNT_OF(data); i++)
		data[i].effective = data[i].permitted;
	(void)syscall(SYS_capset, &header, data);
}

void lp_fs_act_begin(const struct lp_fsmount *m, const struct fuse_ctx *ctx)
{
	int saved = errno;

	/* Our threads share no umask with the process: see pool.c. */
	if (ctx->umask != thread_umask)
		(void)umask(ctx->umask);
	thread_umask = ctx->umask;
	if (is_other_user(m, ctx)) {
		(void)setfsgid(ctx->gid);
		(void)setfsuid(ctx->uid);
		raise_capabilities();
	}
	errno = saved;
}

void lp_fs_act_end(const struct lp_fsmount *m, const struct fuse_ctx *ctx)
{
	int saved = errno;

	if (is_other_user(m, ctx)) {
		(void)setfsuid(geteuid());
		(void)setfsgid(getegid());
	}
	errno = saved;
}
