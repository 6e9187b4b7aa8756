/* lp_fs.c: helpers around system calls. */
#include "common/base/lp_fs.h"

#include "common/base/lp_mem.h"

#include <dirent.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int lp_open_beneath(int dir_fd, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (unsigned int)(flags | O_CLOEXEC),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};
	long fd;

	/* EAGAIN: a rename raced with the walk; the kernel asks for another try. */
	do
		fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : (int)fd;
}

int lp_open_beneath_link(int dir_fd, const char *path)
{
	return lp_open_beneath(dir_fd, path, O_PATH | O_NOFOLLOW, 0);
}

int lp_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int lp_read_all(int fd, struct lp_buf *buf)
{
	for (;;) {
		size_t room =
			buf->max && buf->max - buf->len < 65536 ? buf->max - buf->len + 1 : 65536;
		size_t max = buf->max;
		ssize_t n;
		int r;

		/* One byte over the ceiling is asked for, so that "too large" is told from "full".
		 */
		buf->max = max ? max + 1 : 0;
		r = lp_buf_reserve(buf, room);
		buf->max = max;
		if (r < 0)
			return r;
		n = read(fd, buf->data + buf->len, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		if (max && (size_t)n > max - buf->len)
			return -EFBIG;
		buf->len += (size_t)n;
	}
}

int lp_read_up_to(int fd, void *buf, size_t max, size_t *len)
{
	uint8_t *p = buf;
	size_t asked;
	ssize_t n;

	*len = 0;
	do {
		asked = max - *len;
		n = read(fd, p + *len, asked);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		*len += (size_t)n;
	} while (*len < max && (n < 0 || (size_t)n == asked));
	return 0;
}

int lp_read_at(int fd, uint64_t at, void *buf, size_t len)
{
	uint8_t *to = buf;

	while (len > 0) {
		ssize_t n = pread(fd, to, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ESTALE;
		to += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int lp_read_file(int dir_fd, const char *path, struct lp_buf *buf)
{
	LP_AUTO_CLOSE int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	return lp_read_all(fd, buf);
}

int lp_mkdir_p(const char *path, mode_t mode)
{
	LP_AUTO_FREE char *copy = lp_xstrdup(path);
	struct stat st;

	for (char *p = copy + 1; copy[0] && *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	if (mkdir(copy, mode) == 0)
		return 0;
	if (errno != EEXIST || stat(copy, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int remove_below(int fd, dev_t dev);

/* Opens a directory that is to be emptied: one without the rights to list it is still its owner's
 * to remove. */
static int open_entry(int dir_fd, const char *name, dev_t dev)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(dir_fd, name, flags);
	struct stat st;

	if (fd >= 0 || errno != EACCES)
		return fd < 0 ? -errno : fd;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode) ||
	    st.st_dev != dev || fchmodat(dir_fd, name, 0700, AT_SYMLINK_NOFOLLOW) < 0)
		return -EACCES;
	fd = openat(dir_fd, name, flags);
	return fd < 0 ? -errno : fd;
}

/* Removes one entry of a directory. */
static int remove_entry(int dir_fd, const char *name, dev_t dev)
{
	struct stat st;
	int child, cause, r;

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	cause = -errno;
	child = open_entry(dir_fd, name, dev);
	if (child < 0)
		return child == -ENOTDIR || child == -ELOOP ? cause : child;
	if (fstat(child, &st) < 0 || st.st_dev != dev) {
		(void)close(child);
		return -EXDEV;
	}
	r = remove_below(child, dev);
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && r == 0)
		r = -errno;
	return r;
}

/* fd is taken. */
static int remove_below(int fd, dev_t dev)
{
	DIR *dir = fdopendir(fd);
	struct dirent *e;
	int first = 0;

	if (!dir) {
		first = -errno;
		(void)close(fd);
		return first;
	}
	/* One that nobody may write to is opened for it; where that is not ours to do, the removals
	 * say why they fail. */
	if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
		(void)fchmod(fd, 0700);
	while ((e = readdir(dir))) {
		int r;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		r = remove_entry(dirfd(dir), e->d_name, dev);
		if (r < 0 && first == 0)
			first = r;
	}
	(void)closedir(dir);
	return first;
}

int lp_remove_tree(int dir_fd, const char *name)
{
	struct stat st;
	int fd, r;

	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
	if (fstat(fd, &st) < 0) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	r = remove_below(fd, st.st_dev);
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && r == 0)
		r = -errno;
	return r;
}

void lp_random(void *out, size_t len)
{
	uint8_t *p = out;

	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			abort();
		p += n;
		len -= (size_t)n;
	}
}

uint64_t lp_raise_nofile(void)
{
	struct rlimit lim;
	rlim_t before;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return 0;
	before = lim.rlim_cur;
	lim.rlim_cur = lim.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &lim);
	return (uint64_t)before;
}
