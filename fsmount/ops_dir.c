/* fsmount/ops_dir.c: handlers that list directories. */
#include "fsmount/ops.h"

#include "common/base/lp_mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

/* An open directory. The kernel lists through one handle from one thread at a time, but not every
 * user of the protocol need do so. */
struct listing {
	struct lp_open open;
	pthread_mutex_t lock;
	DIR *dir;
	struct dirent *next; /* read, but did not fit the last answer */
	off_t off;           /* where `dir` stands */
};

/* One answer in the making. */
struct page {
	fuse_req_t req;
	char *data;
	size_t len;
	size_t cap;
};

static struct listing *listing_of(const struct fuse_file_info *fi)
{
	return (struct listing *)(uintptr_t)fi->fh;
}

static void end_listing(struct lp_fsmount *m, struct listing *l)
{
	(void)closedir(l->dir);
	lp_open_remove(m, &l->open);
	(void)pthread_mutex_destroy(&l->lock);
	free(l);
}

static void end_open(struct lp_fsmount *m, struct lp_open *open)
{
	end_listing(m, LP_CONTAINER_OF(open, struct listing, open));
}

void lp_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_inode *inode = lp_fs_inode(m, ino);
	LP_AUTO_CLOSE int fd = lp_fs_reopen(m, inode->fd, O_RDONLY | O_DIRECTORY);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct listing *l;

	if (dir == NULL) {
		(void)fuse_reply_err(req, fd < 0 ? -fd : errno);
		return;
	}
	(void)lp_take_fd(&fd);
	l = lp_xcalloc(1, sizeof(*l));
	(void)pthread_mutex_init(&l->lock, NULL);
	l->open.end = end_open;
	l->dir = dir;
	lp_open_add(m, &l->open, inode);
	fi->fh = (uint64_t)(uintptr_t)l;
	if (fuse_reply_open(req, fi) == -ENOENT)
		end_listing(m, l);
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Adds the entry with its attributes; one that cannot be looked up goes without. Returns whether it
 * fitted. */
static bool add_plus(struct page *p, const struct lp_inode *dir, const struct dirent *de)
{
	struct lp_fsmount *m = lp_fs_of(p->req);
	struct fuse_entry_param e = {
		.attr = {.st_ino = de->d_ino, .st_mode = (mode_t)DTTOIF(de->d_type)}};
	struct lp_inode *inode = NULL;
	struct stat st;
	size_t len;

	if (!is_dot(de->d_name)) {
		if (lp_fs_lookup(m, dir, de->d_name, &st, &inode) == 0)
			lp_fs_entry(m, inode, &st, &e);
		else
			inode = NULL;
	}
	len = fuse_add_direntry_plus(p->req, p->data + p->len, p->cap - p->len, de->d_name, &e,
				     de->d_off);
	if (len > p->cap - p->len) {
		if (inode != NULL)
			lp_inode_put(&m->inodes, inode, 1);
		return false;
	}
	p->len += len;
	return true;
}

static bool add_plain(struct page *p, const struct dirent *de)
{
	struct stat st = {.st_ino = de->d_ino, .st_mode = (mode_t)DTTOIF(de->d_type)};
	size_t len = fuse_add_direntry(p->req, p->data + p->len, p->cap - p->len, de->d_name, &st,
				       de->d_off);

	if (len > p->cap - p->len)
		return false;
	p->len += len;
	return true;
}

/* Adds entries from off on until the page is full or the directory ends. Returns 0, or -errno when
 * not even one could be read. */
static int fill(struct page *p, struct listing *l, off_t off, bool plus)
{
	if (off != l->off) {
		seekdir(l->dir, off);
		l->next = NULL;
		l->off = off;
	}
	for (;;) {
		struct dirent *de = l->next;

		if (de == NULL) {
			errno = 0;
			de = readdir(l->dir);
		}
		if (de == NULL)
			return p->len == 0 ? -errno : 0;
		l->next = de;
		if (!(plus ? add_plus(p, l->open.inode, de) : add_plain(p, de)))
			return 0;
		l->next = NULL;
		l->off = de->d_off;
	}
}

static void list(fuse_req_t req, size_t size, off_t off, const struct fuse_file_info *fi, bool plus)
{
	struct listing *l = listing_of(fi);
	char *data = malloc(size);
	struct page p = {.req = req, .data = data, .cap = size};
	int r;

	if (data == NULL) {
		(void)fuse_reply_err(req, ENOMEM);
		return;
	}
	(void)pthread_mutex_lock(&l->lock);
	r = fill(&p, l, off, plus);
	(void)pthread_mutex_unlock(&l->lock);
	if (r < 0)
		(void)fuse_reply_err(req, -r);
	else
		(void)fuse_reply_buf(req, p.data, p.len);
	free(data);
}

void lp_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	(void)ino;
	list(req, size, off, fi, false);
}

void lp_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	(void)ino;
	list(req, size, off, fi, true);
}

void lp_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	end_listing(lp_fs_of(req), listing_of(fi));
	(void)fuse_reply_err(req, 0);
}

void lp_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	int fd = dirfd(listing_of(fi)->dir);

	(void)ino;
	(void)fuse_reply_err(req, (datasync != 0 ? fdatasync(fd) : fsync(fd)) < 0 ? errno : 0);
}
