/* fsmount/ops_raw.c: requests that libfuse 3.14 does not know, taken and answered as the kernel
 * sends them (<linux/fuse.h>): O_TMPFILE, which Linux has passed on since 6.1. */
#include "fsmount/ops.h"

#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>

#include <linux/fuse.h>

/* What answers a TMPFILE. */
struct created_out {
	struct fuse_out_header head;
	struct fuse_entry_out entry;
	struct fuse_open_out open;
};

static void reply_error(const struct lp_fsmount *m, uint64_t unique, int r)
{
	struct fuse_out_header head = {.len = sizeof(head), .error = r, .unique = unique};

	/* It fails when the caller was interrupted: then nobody waits for it. */
	if (write(fuse_session_fd(m->se), &head, sizeof(head)) < 0)
		errno = 0;
}

static struct fuse_attr attr_of(const struct stat *st)
{
	return (struct fuse_attr){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.rdev = (uint32_t)st->st_rdev,
		.blksize = (uint32_t)st->st_blksize,
	};
}

/* Answers with the file; the kernel has its reference and handle when it takes the answer. */
static void reply_created(struct lp_created *c, uint64_t unique, const struct fuse_file_info *fi)
{
	uint64_t timeout = (uint64_t)lp_fs_timeout(c->m);
	struct created_out out = {
		.head = {.len = sizeof(out), .unique = unique},
		.entry =
			{
				.nodeid = (uint64_t)(uintptr_t)c->inode,
				.entry_valid = timeout,
				.attr_valid = timeout,
				.attr = attr_of(&c->st),
			},
		.open =
			{
				.fh = fi->fh,
				.open_flags = FOPEN_KEEP_CACHE,
			},
	};

	if (write(fuse_session_fd(c->m->se), &out, sizeof(out)) < 0)
		lp_file_uncreate(c);
}

static void on_tmpfile(struct lp_fsmount *m, const struct fuse_in_header *head,
		       const struct fuse_create_in *in)
{
	const struct fuse_ctx ctx = {.uid = head->uid,
				     .gid = head->gid,
				     .pid = (pid_t)head->pid,
				     .umask = (mode_t)in->umask};
	struct lp_created c = {.m = m, .dir = lp_fs_inode(m, head->nodeid), .name = ""};
	struct fuse_file_info fi = {.flags = (int)in->flags};
	const int keep = O_ACCMODE | O_EXCL | O_NOATIME;
	int fd;
	int r;

	lp_trim_grow(&m->trim);
	lp_fs_act_begin(m, &ctx);
	fd = openat(c.dir->fd, ".", (fi.flags & keep) | O_TMPFILE | O_CLOEXEC, (mode_t)in->mode);
	r = fd < 0 ? -errno : 0;
	lp_fs_act_end(m, &ctx);
	if (r == 0)
		r = lp_file_created(&c, &ctx, fd, &fi);
	if (r < 0)
		reply_error(m, head->unique, r);
	else
		reply_created(&c, head->unique, &fi);
}

bool lp_op_raw(struct lp_fsmount *m, const void *request, size_t len)
{
	struct fuse_in_header head;
	struct fuse_create_in in;

	if (len < sizeof(head) + sizeof(in))
		return false;
	memcpy(&head, request, sizeof(head));
	if (head.opcode != FUSE_TMPFILE)
		return false;
	memcpy(&in, (const char *)request + sizeof(head), sizeof(in));
	on_tmpfile(m, &head, &in);
	return true;
}
