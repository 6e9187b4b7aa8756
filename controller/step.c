/* controller/step.c: the single changes of a directory that a commit and its undoing are made of.
 */
#include "controller/commit.h"

#include "common/base/lp_fs.h"

#include <stdio.h>

/* A directory that may not be written to, opened for a moment. mode: to be set again; -1: it was
 * open. */
struct opened {
	int fd;
	int mode;
};

static void open_up(struct opened *o, int fd)
{
	struct stat st;

	*o = (struct opened){fd, -1};
	if (fstat(fd, &st) == 0 && (st.st_mode & 0300) != 0300 &&
	    fchmod(fd, (st.st_mode & 07777) | 0700) == 0)
		o->mode = (int)(st.st_mode & 07777);
}

static void close_up(const struct opened *o)
{
	if (o->mode >= 0)
		(void)fchmod(o->fd, (mode_t)o->mode);
}

int lp_step_mkdir(int fd, const char *name)
{
	struct opened o;
	int r = mkdirat(fd, name, 0700) < 0 ? -errno : 0;

	if (r != -EACCES)
		return r;
	open_up(&o, fd);
	r = mkdirat(fd, name, 0700) < 0 ? -errno : 0;
	close_up(&o);
	return r;
}

int lp_step_unlink(int fd, const char *name, int flags)
{
	struct opened o;
	int r = unlinkat(fd, name, flags) < 0 ? -errno : 0;

	if (r != -EACCES)
		return r;
	open_up(&o, fd);
	r = unlinkat(fd, name, flags) < 0 ? -errno : 0;
	close_up(&o);
	return r;
}

int lp_step_link(int fd, const char *name, int to_fd, const char *to)
{
	return linkat(fd, name, to_fd, to, 0) < 0 ? -errno : 0;
}

/* The second try of a rename: both directories and, because its ".." changes, a directory that is
 * moved have to be writable. */
static int rename_opened(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	LP_AUTO_CLOSE int self =
		openat(from_fd, from, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct opened above, below, moved = {-1, -1};
	struct stat st;
	int r;

	open_up(&above, from_fd);
	open_up(&below, to_fd);
	if (self < 0 && fstatat(from_fd, from, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISDIR(st.st_mode) && fchmodat(from_fd, from, 0700, AT_SYMLINK_NOFOLLOW) == 0) {
		self = openat(from_fd, from, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		moved = (struct opened){self, (int)(st.st_mode & 07777)};
	} else if (self >= 0) {
		open_up(&moved, self);
	}
	r = renameat2(from_fd, from, to_fd, to, flags) < 0 ? -errno : 0;
	close_up(&moved);
	close_up(&below);
	close_up(&above);
	return r;
}

int lp_step_rename(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	int r = renameat2(from_fd, from, to_fd, to, flags) < 0 ? -errno : 0;

	return r == -EACCES ? rename_opened(from_fd, from, to_fd, to, flags) : r;
}

int lp_step_mode(struct lp_tree *t, const char *path, mode_t type, mode_t mode)
{
	LP_AUTO_CLOSE int fd = lp_open_beneath(t->root_fd, path, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;
	int above;

	if (fd >= 0) {
		if (fstat(fd, &st) < 0)
			return -errno;
		if ((st.st_mode & S_IFMT) != type)
			return -ESTALE;
		if ((st.st_mode & 07777) == mode)
			return 0;
		return fchmod(fd, mode) < 0 ? -errno : 0;
	}
	if (fd != -EACCES)
		return fd;
	/* Nobody may read it; then only its name is left to reach it by. */
	above = lp_tree_find_parent(t, path);
	if (above < 0)
		return above;
	if (fstatat(above, lp_path_base(path), &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if ((st.st_mode & S_IFMT) != type)
		return -ESTALE;
	return fchmodat(above, lp_path_base(path), mode, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int lp_step_cannot(struct lp_err *err, int r, const char *path, const char *what)
{
	if (r == -EXDEV || r == -EBUSY)
		return lp_err_set(err, -r,
				  "%s: %s: another file system is mounted at it or above it; "
				  "unmount that, or ignore the path",
				  path, what);
	if (r == -EPERM)
		return lp_err_set(err, EPERM,
				  "%s: %s: what is there is immutable (see lsattr), or in a sticky "
				  "directory of another user",
				  path, what);
	if (r == -EAGAIN)
		return lp_err_say(err, EAGAIN,
				  "%s: %s: the app makes files in it all the time; let it rest, or "
				  "ignore the path",
				  path, what);
	return lp_err_set(err, -r, "%s: %s", path, what);
}

bool lp_step_is_not_ours(int r)
{
	return r == -ENOENT || r == -ENOTEMPTY || r == -EEXIST || r == -ENOTDIR || r == -EISDIR ||
	       r == -ELOOP;
}
