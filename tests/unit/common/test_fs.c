/* test_fs.c: the file system helpers, in a directory of their own under $TMPDIR. */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir_path[256];
static int dir_fd = -1;

static int make_dir(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	(void)snprintf(dir_path, sizeof(dir_path), "%s/lp-test-fs-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(dir_path))
		return -1;
	dir_fd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir_fd < 0 ? -1 : 0;
}

static int drop_dir(void **state)
{
	(void)state;
	(void)close(dir_fd);
	return lp_remove_tree(AT_FDCWD, dir_path);
}

static char *below(const char *name)
{
	return lp_xasprintf("%s/%s", dir_path, name);
}

static void write_file(const char *name, const char *content)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(lp_write_all(fd, content, strlen(content)), 0);
	assert_int_equal(close(fd), 0);
}

static bool exists(const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void open_beneath__never_leaves_the_directory(void **state)
{
	static const struct {
		const char *path;
		int expected; /* 0: opens */
	} cases[] = {
		{"in/file", 0},
		{"in", 0},
		{"in/./file", 0},
		{"in/../in/file", 0}, /* inside all the way: allowed by the kernel */
		{"..", -EXDEV},
		{"../x", -EXDEV},
		{"in/../../x", -EXDEV},
		{"/etc/passwd", -EXDEV},
		{"/", -EXDEV},
		{"link-to-file", -ELOOP},
		{"link-to-dir", -ELOOP},
		{"link-to-dir/file", -ELOOP},
		{"link-out", -ELOOP},
		{"link-out/passwd", -ELOOP},
		{"link-up", -ELOOP},
		{"missing", -ENOENT},
		{"in/file/x", -ENOTDIR},
		{"", -ENOENT},
	};

	(void)state;
	assert_int_equal(mkdirat(dir_fd, "in", 0755), 0);
	write_file("in/file", "inside");
	assert_int_equal(symlinkat("in/file", dir_fd, "link-to-file"), 0);
	assert_int_equal(symlinkat("in", dir_fd, "link-to-dir"), 0);
	assert_int_equal(symlinkat("/etc", dir_fd, "link-out"), 0);
	assert_int_equal(symlinkat("..", dir_fd, "link-up"), 0);
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		int fd = lp_open_beneath(dir_fd, cases[i].path, O_RDONLY, 0);

		if (cases[i].expected == 0 ? fd < 0 : fd != cases[i].expected)
			fail_msg("'%s': %d", cases[i].path, fd);
		if (fd < 0)
			continue;
		assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		assert_int_equal(close(fd), 0);
	}
}

static void open_beneath__creates_with_the_mode(void **state)
{
	mode_t mask = umask(0);
	struct stat st;
	int fd = lp_open_beneath(dir_fd, "created", O_WRONLY | O_CREAT | O_EXCL, 0640);

	(void)state;
	(void)umask(mask);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(close(fd), 0);
	assert_int_equal(lp_open_beneath(dir_fd, "created", O_WRONLY | O_CREAT | O_EXCL, 0640),
			 -EEXIST);
	/* A mode without O_CREAT, which the bare call refuses, does not matter. */
	fd = lp_open_beneath(dir_fd, "created", O_RDONLY, 0640);
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(lp_open_beneath(-1, "created", O_RDONLY, 0), -EBADF);
}

/* What a pipe takes in pieces arrives whole; a file at and over the ceiling. */
static void read_all__reads_to_the_ceiling_and_no_further(void **state)
{
	static const struct {
		size_t size, max, before;
		int expected;
	} cases[] = {
		{0, 0, 0, 0},
		{0, 10, 0, 0},
		{10, 10, 0, 0},
		{11, 10, 0, -EFBIG},
		{9, 10, 1, 0},
		{10, 10, 1, -EFBIG},
		{0, 10, 10, 0},
		{1, 10, 10, -EFBIG},
		{65535, 65536, 0, 0},
		{65536, 65536, 0, 0},
		{65537, 65536, 0, -EFBIG},
		{200000, 0, 0, 0},
		{200000, 200000, 0, 0},
		{200001, 200000, 0, -EFBIG},
		{300000, 65536, 0, -EFBIG},
	};
	char *text = lp_xcalloc(300001, 1);

	(void)state;
	for (size_t i = 0; i < 300000; i++)
		text[i] = (char)('a' + i % 23);
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		char kept = text[cases[i].size];
		struct lp_buf b;
		int r;

		text[cases[i].size] = '\0';
		write_file("sized", text);
		text[cases[i].size] = kept;
		lp_buf_init(&b, cases[i].max);
		for (size_t k = 0; k < cases[i].before; k++)
			assert_int_equal(lp_buf_add(&b, "b", 1), 0);
		r = lp_read_file(dir_fd, "sized", &b);
		if (r != cases[i].expected)
			fail_msg("case %zu: %d", i, r);
		assert_int_equal(b.max, cases[i].max);
		if (r == 0) {
			assert_int_equal(b.len, cases[i].before + cases[i].size);
			if (cases[i].size > 0)
				assert_memory_equal(b.data + cases[i].before, text, cases[i].size);
		}
		lp_buf_finish(&b);
	}
	free(text);
}

static void read_file__says_what_is_wrong(void **state)
{
	struct lp_buf b = {0};

	(void)state;
	assert_int_equal(lp_read_file(dir_fd, "missing", &b), -ENOENT);
	assert_int_equal(lp_read_file(dir_fd, "in", &b), -EISDIR);
	assert_int_equal(lp_read_all(-1, &b), -EBADF);
	assert_int_equal(b.len, 0);
	assert_int_equal(lp_write_all(-1, "x", 1), -EBADF);
	assert_int_equal(lp_write_all(-1, "", 0), 0);
	lp_buf_finish(&b);
}

static void mkdir_p__makes_what_is_missing(void **state)
{
	static const char *const paths[] = {"p", "p/q/r", "p/q/r", "p//s", "t/u/"};
	char *path;

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(paths); i++) {
		struct stat st;

		path = below(paths[i]);
		assert_int_equal(lp_mkdir_p(path, 0700), 0);
		assert_int_equal(stat(path, &st), 0);
		assert_true(S_ISDIR(st.st_mode));
		free(path);
	}
	write_file("p/file", "");
	assert_int_equal(symlinkat("p", dir_fd, "link-to-p"), 0);
	path = below("p/file/x");
	assert_int_equal(lp_mkdir_p(path, 0700), -ENOTDIR);
	free(path);
	path = below("p/file");
	assert_int_equal(lp_mkdir_p(path, 0700), -ENOTDIR);
	free(path);
	path = below("link-to-p");
	assert_int_equal(lp_mkdir_p(path, 0700), 0);
	free(path);
	assert_int_equal(lp_mkdir_p("", 0700), -ENOENT);
	assert_int_equal(lp_mkdir_p("/", 0700), 0);
}

static void remove_tree__removes_everything_but_what_links_point_to(void **state)
{
	char *path = below("tree/a/b/c");

	(void)state;
	assert_int_equal(lp_mkdir_p(path, 0755), 0);
	assert_int_equal(mkdirat(dir_fd, "outside", 0755), 0);
	write_file("outside/kept", "kept");
	write_file("tree/file", "");
	write_file("tree/a/b/c/.hidden", "");
	assert_int_equal(symlinkat("../outside", dir_fd, "tree/link"), 0);
	assert_int_equal(symlinkat("nowhere", dir_fd, "tree/a/broken"), 0);
	assert_int_equal(mkfifoat(dir_fd, "tree/fifo", 0600), 0);
	assert_int_equal(lp_remove_tree(dir_fd, "tree"), 0);
	assert_false(exists("tree"));
	assert_true(exists("outside/kept"));
	assert_int_equal(lp_remove_tree(dir_fd, "tree"), 0); /* missing is success */
	assert_int_equal(symlinkat("outside", dir_fd, "top-link"), 0);
	assert_int_equal(lp_remove_tree(dir_fd, "top-link"), 0);
	assert_false(exists("top-link"));
	assert_true(exists("outside/kept"));
	assert_int_equal(lp_remove_tree(dir_fd, "outside/kept"), 0);
	assert_false(exists("outside/kept"));
	assert_int_equal(lp_remove_tree(dir_fd, "outside/kept/x"), 0);
	free(path);
}

static int open_count(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* A wide and a deep tree; no descriptor stays open. */
static void remove_tree__takes_wide_and_deep_trees(void **state)
{
	int before = open_count(), fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0), next;

	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		assert_int_equal(mkdirat(fd, "d", 0755), 0);
		next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		(void)close(fd);
		fd = next;
	}
	for (unsigned i = 0; i < 3000; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%u", i);
		next = openat(fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_true(next >= 0);
		(void)close(next);
	}
	(void)close(fd);
	assert_int_equal(lp_remove_tree(dir_fd, "d"), 0);
	assert_false(exists("d"));
	assert_int_equal(open_count(), before);
}

static void random__differs(void **state)
{
	uint8_t a[700] = {0}, b[700] = {0};
	size_t zeros = 0;

	(void)state;
	lp_random(a, sizeof(a));
	lp_random(b, sizeof(b));
	assert_memory_not_equal(a, b, 32);
	assert_memory_not_equal(a + sizeof(a) - 32, b + sizeof(b) - 32, 32);
	for (size_t i = 0; i < sizeof(a); i++)
		zeros += a[i] == 0;
	assert_true(zeros < 100);
	lp_random(a, 0);
}

static void raise_nofile__reaches_the_hard_limit(void **state)
{
	struct rlimit before, after;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(lp_raise_nofile(), before.rlim_cur);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &after), 0);
	assert_int_equal(after.rlim_cur, before.rlim_max);
	assert_int_equal(after.rlim_max, before.rlim_max);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_beneath__never_leaves_the_directory),
		cmocka_unit_test(open_beneath__creates_with_the_mode),
		cmocka_unit_test(read_all__reads_to_the_ceiling_and_no_further),
		cmocka_unit_test(read_file__says_what_is_wrong),
		cmocka_unit_test(mkdir_p__makes_what_is_missing),
		cmocka_unit_test(remove_tree__removes_everything_but_what_links_point_to),
		cmocka_unit_test(remove_tree__takes_wide_and_deep_trees),
		cmocka_unit_test(random__differs),
		cmocka_unit_test(raise_nofile__reaches_the_hard_limit),
	};

	return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
