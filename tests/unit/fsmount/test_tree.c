/* tests/unit/fsmount/test_tree.c: what passes through the mount is the tree below, whoever uses it
 * and however many at once. */
#include "tests/unit/fsmount/fixture.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/fs.h>

enum {
	BIG_BYTES = 64 << 20,
	PIECE_BYTES = 1 << 20,
};

/* A cheap stream of bytes that repeats nowhere near. */
static void fill_pseudo_random(uint8_t *data, size_t len, uint64_t *seed)
{
	for (size_t i = 0; i < len; i++) {
		*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		data[i] = (uint8_t)(*seed >> 56);
	}
}

static void assert_same_content(int a, int b)
{
	LP_AUTO_FREE uint8_t *from_a = malloc(PIECE_BYTES);
	LP_AUTO_FREE uint8_t *from_b = malloc(PIECE_BYTES);
	off_t at = 0;
	ssize_t n;

	assert_non_null(from_a);
	assert_non_null(from_b);
	do {
		n = pread(a, from_a, PIECE_BYTES, at);
		assert_true(n >= 0);
		assert_int_equal(pread(b, from_b, PIECE_BYTES, at), n);
		assert_memory_equal(from_a, from_b, (size_t)n);
		at += n;
	} while (n > 0);
}

static void write_pseudo_random(int fd)
{
	LP_AUTO_FREE uint8_t *piece = malloc(PIECE_BYTES);
	uint64_t seed = 1;

	assert_non_null(piece);
	for (int i = 0; i < BIG_BYTES / PIECE_BYTES; i++) {
		fill_pseudo_random(piece, PIECE_BYTES, &seed);
		assert_int_equal(lp_write_all(fd, piece, PIECE_BYTES), 0);
	}
}

static void content__of_a_large_file_is_equal_above_and_below(void **state)
{
	const int flags = O_RDWR | O_CREAT | O_CLOEXEC;
	struct fx *fx = *state;

	for (int written_below = 0; written_below < 2; written_below++) {
		const char *name = written_below != 0 ? "below" : "above";
		int above = written_below != 0 ? -1 : open(fx_path(fx, name), flags, 0644);
		int below = openat(fx->root_fd, name, flags, 0644);

		write_pseudo_random(written_below != 0 ? below : above);
		if (above >= 0) {
			assert_same_content(above, below); /* by way of the kernel's cache */
			assert_int_equal(close(above), 0);
			fx_expect(fx, LP_EVENT_CLOSED, name, NULL);
		}
		above = open(fx_path(fx, name), O_RDONLY | O_CLOEXEC);
		assert_true(above >= 0);
		assert_same_content(above, below);
		assert_int_equal(close(above), 0);
		assert_int_equal(close(below), 0);
	}
}

static void calls__on_content_reach_the_file_below(void **state)
{
	struct fx *fx = *state;
	int a = open(fx_path(fx, "f"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	int b = open(fx_path(fx, "g"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	struct stat st;
	char text[16] = "";

	assert_int_equal(pwrite(a, "hello", 5, 1 << 20), 5);
	assert_int_equal(lseek(a, 0, SEEK_DATA), 1 << 20);
	assert_int_equal(lseek(a, 0, SEEK_HOLE), 0);
	assert_int_equal(fallocate(a, 0, 0, 2 << 20), 0);
	assert_int_equal(fstatat(fx->root_fd, "f", &st, 0), 0);
	assert_int_equal(st.st_size, 2 << 20);
	assert_int_equal(lseek(a, 1 << 20, SEEK_SET), 1 << 20);
	assert_int_equal(copy_file_range(a, NULL, b, NULL, 5, 0), 5);
	assert_int_equal(pread(b, text, sizeof(text), 0), 5);
	assert_string_equal(text, "hello");
	assert_int_equal(fsync(a), 0);
	assert_int_equal(fdatasync(b), 0);
	assert_int_equal(flock(a, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(close(a), 0);
	fx_expect(fx, LP_EVENT_CLOSED, "f", NULL);
	assert_int_equal(close(b), 0);
	fx_expect(fx, LP_EVENT_CLOSED, "g", "hello");
}

static void append__goes_to_the_end_whoever_moved_it(void **state)
{
	struct fx *fx = *state;
	int a = open(fx_path(fx, "log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	int b = openat(fx->root_fd, "log", O_WRONLY | O_APPEND | O_CLOEXEC);

	assert_int_equal(write(a, "1", 1), 1);
	assert_int_equal(write(b, "2", 1), 1);
	assert_int_equal(write(a, "3", 1), 1);
	assert_int_equal(fcntl(a, F_SETFL, 0), 0);
	assert_int_equal(pwrite(a, "x", 1, 0), 1);
	assert_int_equal(fcntl(a, F_SETFL, O_APPEND), 0);
	assert_int_equal(write(b, "4", 1), 1);
	assert_int_equal(write(a, "5", 1), 1);
	assert_int_equal(close(a), 0);
	assert_int_equal(close(b), 0);
	fx_expect(fx, LP_EVENT_CLOSED, "log", "x2345");
}

static void attributes__are_those_below(void **state)
{
	struct fx *fx = *state;
	struct timespec times[2] = {{.tv_sec = 11, .tv_nsec = 12}, {.tv_sec = 13, .tv_nsec = 14}};
	char text[16] = "";
	struct stat above;
	struct stat below;

	fx_write(fx, "f", "x");
	fx_skip(fx, 1);
	assert_int_equal(chmod(fx_path(fx, "f"), 0751), 0);
	assert_int_equal(utimensat(AT_FDCWD, fx_path(fx, "f"), times, 0), 0);
	fx_skip(fx, 2);
	assert_int_equal(stat(fx_path(fx, "f"), &above), 0);
	assert_int_equal(fstatat(fx->root_fd, "f", &below, 0), 0);
	assert_int_equal(above.st_mode, S_IFREG | 0751);
	assert_int_equal(above.st_mtim.tv_nsec, 14);
	above.st_dev = below.st_dev;
	above.st_blksize = below.st_blksize;
	above.st_atim = below.st_atim; /* the fixture has read it */
	assert_memory_equal(&above, &below, sizeof(above));
	assert_int_equal(symlink("some/where", fx_path(fx, "l")), 0);
	fx_skip(fx, 1);
	assert_int_equal(readlink(fx_path(fx, "l"), text, sizeof(text)), 10);
	assert_string_equal(text, "some/where");
	assert_int_equal(utimensat(AT_FDCWD, fx_path(fx, "l"), times, AT_SYMLINK_NOFOLLOW), 0);
	fx_skip(fx, 1);
	assert_int_equal(fstatat(fx->root_fd, "l", &below, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(below.st_mtim.tv_sec, 13);
}

static void xattrs__pass_through(void **state)
{
	struct fx *fx = *state;
	char text[32] = "";
	int below;

	fx_write(fx, "f", "x");
	fx_skip(fx, 1);
	if (setxattr(fx_path(fx, "f"), "user.lp", "value", 5, XATTR_CREATE) < 0) {
		assert_int_equal(errno, EOPNOTSUPP); /* the file system of /tmp has none */
		return;
	}
	assert_int_equal(setxattr(fx_path(fx, "f"), "user.lp", "x", 1, XATTR_CREATE), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(getxattr(fx_path(fx, "f"), "user.lp", NULL, 0), 5);
	assert_int_equal(getxattr(fx_path(fx, "f"), "user.lp", text, 2), -1);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(getxattr(fx_path(fx, "f"), "user.lp", text, sizeof(text)), 5);
	assert_string_equal(text, "value");
	assert_int_equal(listxattr(fx_path(fx, "f"), text, sizeof(text)), 8);
	assert_string_equal(text, "user.lp");
	below = openat(fx->root_fd, "f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fgetxattr(below, "user.lp", NULL, 0), 5);
	assert_int_equal(removexattr(fx_path(fx, "f"), "user.lp"), 0);
	assert_int_equal(fgetxattr(below, "user.lp", NULL, 0), -1);
	assert_int_equal(errno, ENODATA);
	assert_int_equal(close(below), 0);
}

static bool is_seen(void *arg)
{
	struct stat st;

	return stat(arg, &st) == 0 && st.st_size == 3;
}

/* A bit over a second: what the kernel may believe, and time for a busy machine. */
static void change__underneath_is_seen_within_a_second(void **state)
{
	struct fx *fx = *state;
	char path[PATH_MAX + 8];
	char text[8] = "";
	uint64_t begin_us;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/f", fx->dir);
	assert_int_equal(access(path, F_OK), -1); /* now the kernel knows that it is not there */
	fd = openat(fx->root_fd, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	begin_us = lp_now_us();
	assert_int_equal(write(fd, "old", 3), 3);
	fx_wait_until(is_seen, path);
	assert_true(lp_now_us() - begin_us < UINT64_C(1500000));
	fx_wait_until(is_seen, path);
	assert_int_equal(pwrite(fd, "new", 3, 0), 3);
	assert_int_equal(close(fd), 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, text, sizeof(text)), 3);
	assert_string_equal(text, "new");
	assert_int_equal(close(fd), 0);
}

static void listing__shows_every_entry_once(void **state)
{
	enum { N = 3000 };
	struct fx *fx = *state;
	LP_AUTO_FREE uint8_t *seen = lp_xcalloc(N, 1);
	struct dirent *de;
	long middle = 0;
	int n = 0;
	DIR *dir;

	for (int i = 0; i < N; i++) {
		char name[32];
		int fd;

		(void)snprintf(name, sizeof(name), "a-file-with-number-%d", i);
		fd = openat(fx->root_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		assert_int_equal(close(fd), 0);
	}
	dir = opendir(fx->dir);
	assert_non_null(dir);
	while ((de = readdir(dir)) != NULL) {
		size_t len = strlen("a-file-with-number-");
		long i;

		if (strncmp(de->d_name, "a-file-with-number-", len) != 0)
			continue;
		i = strtol(de->d_name + len, NULL, 10);
		assert_in_range(i, 0, N - 1);
		assert_int_equal(seen[i]++, 0);
		assert_int_equal(de->d_type, DT_REG);
		if (++n == N / 2)
			middle = telldir(dir);
	}
	assert_int_equal(n, N);
	seekdir(dir, middle);
	for (n = 0; readdir(dir) != NULL; n++)
		;
	assert_in_range(n, N / 2, N / 2 + 2);
	rewinddir(dir);
	for (n = 0; readdir(dir) != NULL; n++)
		;
	assert_int_equal(n, N + 2);
	assert_int_equal(closedir(dir), 0);
}

static int make_as_other_user(struct fx *fx)
{
	const gid_t groups[] = {4321};
	struct stat st;
	int fd;

	if (setgroups(1, groups) < 0 || setgid(2345) < 0 || setuid(1234) < 0)
		return 1;
	(void)umask(027);
	fd = open(fx_path(fx, "shared/f"), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != 1234 || st.st_gid != 2345 ||
	    (st.st_mode & 07777) != 0640)
		return 2;
	if (mkdir(fx_path(fx, "shared/d"), 0777) < 0 || stat(fx_path(fx, "shared/d"), &st) < 0 ||
	    st.st_uid != 1234 || (st.st_mode & 07777) != 0750)
		return 3;
	if (symlink("f", fx_path(fx, "shared/l")) < 0 || lstat(fx_path(fx, "shared/l"), &st) < 0 ||
	    st.st_uid != 1234)
		return 4;
	if (open(fx_path(fx, "private/f"), O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
		return 5;
	if (unlink(fx_path(fx, "private")) == 0)
		return 6;
	return 0;
}

/* The directory is open to a group that only the caller is in. */
static void users__have_their_own_rights_and_files(void **state)
{
	struct fx *fx = *state;
	pid_t pid;

	if (geteuid() != 0 || getenv("LP_FX_UNPRIVILEGED") != NULL)
		skip(); /* the mount is for one user only */
	assert_int_equal(chmod(fx->dir, 0755), 0);
	assert_int_equal(mkdir(fx_path(fx, "shared"), 0775), 0);
	assert_int_equal(chown(fx_path(fx, "shared"), 0, 4321), 0);
	assert_int_equal(chmod(fx_path(fx, "shared"), 0770), 0);
	assert_int_equal(mkdir(fx_path(fx, "private"), 0700), 0);
	fx_skip(fx, 5);
	pid = fork();
	if (pid == 0)
		_exit(make_as_other_user(fx));
	fx_reap(pid);
	fx_expect(fx, LP_EVENT_SUBTREE, "shared/d", NULL);
	fx_expect(fx, LP_EVENT_CHANGED, "shared/l", NULL);
	fx_expect(fx, LP_EVENT_CLOSED, "shared/f", NULL);
}

static void set_id_bits__go_when_the_file_is_written(void **state)
{
	struct fx *fx = *state;
	struct stat st;
	int fd;

	fx_write(fx, "f", "x");
	fx_skip(fx, 1);
	assert_int_equal(chmod(fx_path(fx, "f"), 06755), 0);
	fx_skip(fx, 1);
	fd = open(fx_path(fx, "f"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(fchown(fd, 1, 1) == 0 || geteuid() != 0, 1);
	assert_int_equal(fstatat(fx->root_fd, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 06000, geteuid() == 0 ? 0 : 06000);
	assert_int_equal(close(fd), 0);
	if (geteuid() == 0)
		fx_skip(fx, 1);
}

enum {
	FEW_DESCRIPTORS = 400,
	MANY_FILES = 2000,
};

static const char *nth_name(int i)
{
	static char name[32];

	(void)snprintf(name, sizeof(name), "d%d/f%d", i % 10, i);
	return name;
}

static int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir != NULL && readdir(dir) != NULL)
		n++;
	if (dir != NULL)
		(void)closedir(dir);
	return n;
}

static void ignore_event(void *ctx, const struct lp_event *ev)
{
	(void)ctx;
	(void)ev;
}

/* Walks over more files than it may have descriptors. Returns an exit code. */
static int walk_with_few_descriptors(struct fx *fx)
{
	struct rlimit limit = {.rlim_cur = FEW_DESCRIPTORS, .rlim_max = FEW_DESCRIPTORS};
	struct lp_fsmount_opts opts = {.root_fd = fx->root_fd,
				       .root_path = fx->dir,
				       .mountpoint = fx->dir,
				       .on_event = ignore_event};
	struct lp_fsmount *m;
	struct stat st;

	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || lp_fsmount_start(&m, &opts, NULL) < 0)
		return 1;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < MANY_FILES; i++) {
			if (stat(fx_path(fx, nth_name(i)), &st) == 0)
				continue;
			(void)fprintf(stderr, "stat %s: %s\n", nth_name(i), strerror(errno));
			return 2;
		}
	}
	if (count_descriptors() >= FEW_DESCRIPTORS)
		return 3;
	return lp_fsmount_stop(m) == 0 ? 0 : 4;
}

static void inodes__stay_within_the_limit_of_open_files(void **state)
{
	struct fx *fx = *state;
	pid_t pid;

	for (int i = 0; i < MANY_FILES; i++) {
		char dir[16];
		int fd;

		(void)snprintf(dir, sizeof(dir), "d%d", i % 10);
		(void)mkdirat(fx->root_fd, dir, 0755);
		fd = openat(fx->root_fd, nth_name(i), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		assert_int_equal(close(fd), 0);
	}
	pid = fork();
	if (pid == 0)
		_exit(walk_with_few_descriptors(fx));
	fx_reap(pid);
}

static void tmpfile__is_nothing_until_it_has_a_name(void **state)
{
	struct fx *fx = *state;
	char self[32];
	struct stat st;
	int fd = open(fx->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);

	if (fd < 0 && errno == EOPNOTSUPP)
		skip(); /* Linux before 6.1 */
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "text", 4), 4);
	fx_expect_no_more(fx);
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	assert_int_equal(linkat(AT_FDCWD, self, AT_FDCWD, fx_path(fx, "named"), AT_SYMLINK_FOLLOW),
			 0);
	assert_int_equal(close(fd), 0);
	fx_expect(fx, LP_EVENT_CLOSED, "named", "text");
	assert_int_equal(stat(fx_path(fx, "named"), &st), 0);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void ioctl__passes_the_flags_of_chattr(void **state)
{
	struct fx *fx = *state;
	unsigned int through = 0;
	unsigned int below = 0;
	int below_fd;
	int fd;

	fx_write(fx, "f", "x");
	fx_skip(fx, 1);
	fd = open(fx_path(fx, "f"), O_RDONLY | O_CLOEXEC);
	below_fd = openat(fx->root_fd, "f", O_RDONLY | O_CLOEXEC);
	if (ioctl(below_fd, FS_IOC_GETFLAGS, &below) == 0) {
		assert_int_equal(ioctl(fd, FS_IOC_GETFLAGS, &through), 0);
		assert_int_equal(through, below);
		through |= FS_NODUMP_FL;
		assert_int_equal(ioctl(fd, FS_IOC_SETFLAGS, &through), 0);
		assert_int_equal(ioctl(below_fd, FS_IOC_GETFLAGS, &below), 0);
		assert_int_equal(through, below);
	}
	assert_int_equal(ioctl(fd, 0x1234, &through), -1);
	assert_int_equal(errno, ENOTTY);
	(void)close(fd);
	(void)close(below_fd);
}

int main(void)
{
#define U(name) cmocka_unit_test_setup_teardown(name, fx_setup_unmounted, fx_teardown)
#define M(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)
	const struct CMUnitTest tests[] = {
		M(content__of_a_large_file_is_equal_above_and_below),
		M(calls__on_content_reach_the_file_below),
		M(append__goes_to_the_end_whoever_moved_it),
		M(attributes__are_those_below),
		M(xattrs__pass_through),
		M(change__underneath_is_seen_within_a_second),
		M(listing__shows_every_entry_once),
		M(users__have_their_own_rights_and_files),
		M(set_id_bits__go_when_the_file_is_written),
		U(inodes__stay_within_the_limit_of_open_files),
		M(tmpfile__is_nothing_until_it_has_a_name),
		M(ioctl__passes_the_flags_of_chattr),
	};
#undef U
#undef M

	fx_skip_without_fuse();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
