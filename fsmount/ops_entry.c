/* fsmount/ops_entry.c: handlers for names: look up, make, remove, rename. */
#include "fsmount/ops.h"
#include "fsmount/report.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* Answers with a looked-up inode; the reference goes to the kernel if it takes the answer. */
static void reply_entry(fuse_req_t req, struct lp_inode *inode, const struct stat *st)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct fuse_entry_param e;

	lp_fs_entry(m, inode, st, &e);
	if (fuse_reply_entry(req, &e) != 0)
		lp_inode_put(&m->inodes, inode, 1);
}

/* Answers a request that made parent/name and reports it; what is being written is reported when it
 * is closed. */
static void reply_made(fuse_req_t req, struct lp_inode *parent, const char *name,
		       enum lp_event_kind kind)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_inode *inode;
	struct stat st;
	int r = lp_fs_lookup(m, parent, name, &st, &inode);

	lp_fs_know(m, parent);
	if (r < 0 || !lp_report_is_pending(inode))
		lp_report_entry(m, parent, name, kind);
	if (r < 0) {
		(void)fuse_reply_err(req, -r);
		return;
	}
	reply_entry(req, inode, &st);
}

void lp_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct fuse_entry_param none = {.entry_timeout = LP_FSMOUNT_ASKING_S};
	struct lp_inode *inode;
	struct stat st;
	int r;

	/* open_by_handle_at(2) of what the kernel has forgotten: the number may be of anything. */
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		(void)fuse_reply_err(req, ESTALE);
		return;
	}
	r = lp_fs_lookup(m, lp_fs_inode(m, parent), name, &st, &inode);
	if (r == -ENOENT) {
		if (atomic_load(&m->told))
			none.entry_timeout = LP_FSMOUNT_MISSED_S;
		lp_inode_missed(&m->inodes, lp_fs_inode(m, parent));
		(void)fuse_reply_entry(req, &none); /* lets the kernel remember it for a while */
		return;
	}
	if (r < 0) {
		(void)fuse_reply_err(req, -r);
		return;
	}
	reply_entry(req, inode, &st);
}

void lp_op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	struct lp_fsmount *m = lp_fs_of(req);

	lp_inode_put(&m->inodes, lp_fs_inode(m, ino), nlookup);
	fuse_reply_none(req);
}

void lp_op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct lp_fsmount *m = lp_fs_of(req);

	for (size_t i = 0; i < count; i++)
		lp_inode_put(&m->inodes, lp_fs_inode(m, forgets[i].ino), forgets[i].nlookup);
	fuse_reply_none(req);
}

void lp_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_inode *dir = lp_fs_inode(m, parent);
	int r;

	lp_fs_act_begin(m, fuse_req_ctx(req));
	r = mknodat(dir->fd, name, mode, rdev);
	lp_fs_act_end(m, fuse_req_ctx(req));
	if (r < 0)
		(void)fuse_reply_err(req, errno);
	else
		reply_made(req, dir, name, LP_EVENT_CHANGED);
}

void lp_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_inode *dir = lp_fs_inode(m, parent);
	int r;

	lp_fs_act_begin(m, fuse_req_ctx(req));
	r = mkdirat(dir->fd, name, mode);
	lp_fs_act_end(m, fuse_req_ctx(req));
	if (r < 0)
		(void)fuse_reply_err(req, errno);
	else
		reply_made(req, dir, name, LP_EVENT_SUBTREE);
}

void lp_op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_inode *dir = lp_fs_inode(m, parent);
	int r;

	lp_fs_act_begin(m, fuse_req_ctx(req));
	r = symlinkat(target, dir->fd, name);
	lp_fs_act_end(m, fuse_req_ctx(req));
	if (r < 0)
		(void)fuse_reply_err(req, errno);
	else
		reply_made(req, dir, name, LP_EVENT_CHANGED);
}

void lp_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_inode *dir = lp_fs_inode(m, parent);
	char from[16];

	(void)snprintf(from, sizeof(from), "%d", lp_fs_inode(m, ino)->fd);
	if (linkat(m->proc_fd, from, dir->fd, name, AT_SYMLINK_FOLLOW) < 0)
		(void)fuse_reply_err(req, errno);
	else
		reply_made(req, dir, name, LP_EVENT_CHANGED);
}

static void remove_entry(fuse_req_t req, fuse_ino_t parent, const char *name, int flags)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_inode *dir = lp_fs_inode(m, parent);

	if (unlinkat(dir->fd, name, flags) < 0) {
		(void)fuse_reply_err(req, errno);
		return;
	}
	lp_fs_know(m, dir);
	lp_report_entry(m, dir, name, LP_EVENT_CHANGED);
	(void)fuse_reply_err(req, 0);
}

void lp_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_entry(req, parent, name, 0);
}

void lp_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_entry(req, parent, name, AT_REMOVEDIR);
}

/* Reports what a rename put at dir/name: a directory with all that is in it; a file that is still
 * being written waits for its close. */
static void report_arrival(struct lp_fsmount *m, struct lp_inode *dir, const char *name)
{
	struct lp_inode *inode;
	struct stat st;
	bool pending;

	if (fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode)) {
		lp_report_entry(m, dir, name, LP_EVENT_SUBTREE);
		return;
	}
	inode = lp_inode_find(&m->inodes, st.st_dev, st.st_ino);
	pending = inode != NULL && lp_report_is_pending(inode);
	if (!pending)
		lp_report_entry(m, dir, name, LP_EVENT_CHANGED);
	if (inode != NULL)
		lp_inode_put(&m->inodes, inode, 1);
}

void lp_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		  const char *new_name, unsigned int flags)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_inode *dir = lp_fs_inode(m, parent);
	struct lp_inode *new_dir = lp_fs_inode(m, new_parent);

	if (renameat2(dir->fd, name, new_dir->fd, new_name, flags) < 0) {
		(void)fuse_reply_err(req, errno);
		return;
	}
	lp_fs_know(m, dir);
	lp_fs_know(m, new_dir);
	if ((flags & RENAME_EXCHANGE) != 0)
		report_arrival(m, dir, name);
	else
		lp_report_entry(m, dir, name, LP_EVENT_CHANGED);
	report_arrival(m, new_dir, new_name);
	(void)fuse_reply_err(req, 0);
}
