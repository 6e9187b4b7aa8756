/* fsmount/ops_dir.c: handlers that list directories. */
#include "fsmount/ops.h"

#include "common/base/lp_mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

/* A listing under way: of one that has the directory open; or where the kernel opens directories
 * without us, of one at a time who is amid it, whoever that is. The position is one of the file
 * system below, so that another who goes on elsewhere gets what he would have got below. */
struct lp_listing {
	struct lp_open open; /* unused without an open */
	pthread_mutex_t lock;
	DIR *dir;            /* NULL: to be opened */
	struct dirent *next; /* read, but did not fit the last answer */
	off_t off;           /* where `dir` stands */
};

enum {
	/* So many that were begun and not read to their end are kept open; more are opened anew for
	 * each answer. */
	MAX_KEPT = 64,
};

/* One answer in the making. */
struct page {
	fuse_req_t req;
	char *data;
	size_t len;
	size_t cap;
	bool plus; /* with attributes */
};

static struct lp_listing *listing_of(const struct fuse_file_info *fi)
{
	return (struct lp_listing *)(uintptr_t)fi->fh;
}

static struct lp_listing *create_listing(void)
{
	struct lp_listing *l = lp_xcalloc(1, sizeof(*l));

	(void)pthread_mutex_init(&l->lock, NULL);
	return l;
}

static void close_dir(struct lp_listing *l)
{
	if (l->dir != NULL)
		(void)closedir(l->dir);
	l->dir = NULL;
	l->next = NULL;
	l->off = 0;
}

void lp_listing_destroy(struct lp_listing *l)
{
	if (l == NULL)
		return;
	close_dir(l);
	(void)pthread_mutex_destroy(&l->lock);
	free(l);
}

/* Returns 0 or -errno. */
static int open_dir(struct lp_listing *l, const struct lp_inode *inode)
{
	LP_AUTO_CLOSE int fd = openat(inode->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	l->dir = fd < 0 ? NULL : fdopendir(fd);
	if (l->dir == NULL)
		return -errno;
	(void)lp_take_fd(&fd);
	return 0;
}

static void end_listing(struct lp_fsmount *m, struct lp_listing *l)
{
	lp_open_remove(m, &l->open);
	lp_listing_destroy(l);
}

static void end_open(struct lp_fsmount *m, struct lp_open *open)
{
	end_listing(m, LP_CONTAINER_OF(open, struct lp_listing, open));
}

void lp_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_inode *inode = lp_fs_inode(m, ino);
	struct lp_listing *l;
	int r;

	if (m->quick_dirs) {
		(void)fuse_reply_err(req, ENOSYS); /* the kernel does not ask again */
		return;
	}
	l = create_listing();
	r = open_dir(l, inode);
	if (r < 0) {
		lp_listing_destroy(l);
		(void)fuse_reply_err(req, -r);
		return;
	}
	l->open.end = end_open;
	lp_open_add(m, &l->open, inode);
	fi->fh = (uint64_t)(uintptr_t)l;
	if (fuse_reply_open(req, fi) == -ENOENT)
		end_listing(m, l);
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Whether the kernel has it, with attributes that it believes for long: who has looked up all files
 * of a directory often lists it then. */
static bool is_known(struct lp_fsmount *m, const struct lp_inode *dir, const struct dirent *de)
{
	const struct stat st = {.st_dev = dir->dev, .st_ino = de->d_ino};

	return atomic_load(&m->told) && lp_inode_is_known_as(&m->inodes, dir, de->d_name, &st);
}

/* Adds the entry with its attributes, unless the kernel knows it; one that cannot be looked up goes
 * without, too. Returns whether it fitted. */
static bool add_plus(struct page *p, const struct lp_inode *dir, const struct dirent *de)
{
	struct lp_fsmount *m = lp_fs_of(p->req);
	struct fuse_entry_param e = {
		.attr = {.st_ino = de->d_ino, .st_mode = (mode_t)DTTOIF(de->d_type)}};
	struct lp_inode *inode = NULL;
	struct stat st;
	size_t len;

	if (!is_dot(de->d_name) && !is_known(m, dir, de)) {
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

/* Adds entries from off on until the page is full or the directory ends, which *end says. Returns
 * 0, or -errno when not even one could be read. */
static int fill(struct page *p, struct lp_listing *l, const struct lp_inode *inode, off_t off,
		bool *end)
{
	if (off != l->off || off == 0) {
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
		if (de == NULL) {
			*end = true;
			return p->len == 0 ? -errno : 0;
		}
		l->next = de;
		if (!(p->plus ? add_plus(p, inode, de) : add_plain(p, de)))
			return 0;
		l->next = NULL;
		l->off = de->d_off;
	}
}

/* The same with the listing's lock held, for a directory that may have to be opened. */
static int fill_locked(struct page *p, struct lp_listing *l, struct lp_inode *inode, off_t off,
		       bool ours)
{
	struct lp_fsmount *m = lp_fs_of(p->req);
	bool end = false;
	int r = 0;

	if (l->dir == NULL) {
		r = open_dir(l, inode);
		if (r == 0 && ours)
			(void)atomic_fetch_add(&m->kept_dirs, 1);
	}
	if (r == 0)
		r = l->dir == NULL ? -EIO : fill(p, l, inode, off, &end);
	if (ours && l->dir != NULL && (end || r < 0 || atomic_load(&m->kept_dirs) > MAX_KEPT)) {
		close_dir(l);
		(void)atomic_fetch_sub(&m->kept_dirs, 1);
	}
	return r;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		 const struct fuse_file_info *fi, bool plus)
{
	struct lp_fsmount *m = lp_fs_of(req);
	struct lp_inode *inode = lp_fs_inode(m, ino);
	struct lp_listing *l = listing_of(fi);
	bool ours = l == NULL;
	char *data = malloc(size);
	struct page p = {.req = req, .data = data, .cap = size, .plus = plus};
	int r;

	if (data == NULL) {
		(void)fuse_reply_err(req, ENOMEM);
		return;
	}
	if (ours)
		l = lp_inode_listing(&m->inodes, inode, create_listing);
	(void)pthread_mutex_lock(&l->lock);
	r = fill_locked(&p, l, inode, off, ours);
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
	list(req, ino, size, off, fi, false);
}

void lp_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	list(req, ino, size, off, fi, true);
}

void lp_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	if (listing_of(fi) != NULL)
		end_listing(lp_fs_of(req), listing_of(fi));
	(void)fuse_reply_err(req, 0);
}

void lp_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct lp_inode *inode = lp_fs_inode(lp_fs_of(req), ino);
	LP_AUTO_CLOSE int fd = openat(inode->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)fi;
	if (fd < 0 || (datasync != 0 ? fdatasync(fd) : fsync(fd)) < 0)
		(void)fuse_reply_err(req, errno);
	else
		(void)fuse_reply_err(req, 0);
}
