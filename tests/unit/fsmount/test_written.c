/* tests/unit/fsmount/test_written.c: a report says which bytes were written, and says nothing when
 * somebody else may have written too. */
#include "tests/unit/fsmount/fixture.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_util.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	LARGE = 1 << 20,
};

#define PAGE ((uint64_t)4096)

/* Makes a large file below, unseen by the mount. */
static void make_large(struct fx *fx, const char *name)
{
	static char block[LARGE];
	int fd = openat(fx->root_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	(void)memset(block, 'x', sizeof(block));
	assert_int_equal(lp_write_all(fd, block, sizeof(block)), 0);
	assert_int_equal(close(fd), 0);
}

static struct lp_stat_sig sig_of(struct fx *fx, const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(fx->root_fd, name, &st, 0), 0);
	return (struct lp_stat_sig){
		.ino = st.st_ino,
		.size = (uint64_t)st.st_size,
		.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
		.ctime_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec,
	};
}

static void assert_same_sig(const struct lp_stat_sig *a, const struct lp_stat_sig *b)
{
	assert_int_equal(a->ino, b->ino);
	assert_int_equal(a->size, b->size);
	assert_int_equal(a->mtime_ns, b->mtime_ns);
	assert_int_equal(a->ctime_ns, b->ctime_ns);
}

/* One way to change a large file, and the bytes that it changes. */
struct change {
	const char *name;
	void (*make)(int fd);
	int flags;
	uint64_t at;
	uint64_t len;
};

static void do_pwrite(int fd)
{
	assert_int_equal(pwrite(fd, "abcd", 4, 5000), 4);
}

static void do_append(int fd)
{
	assert_int_equal(write(fd, "abcd", 4), 4);
}

static void do_cut(int fd)
{
	assert_int_equal(ftruncate(fd, LARGE - 100), 0);
}

static void do_grow(int fd)
{
	assert_int_equal(ftruncate(fd, LARGE + 100), 0);
}

static void do_punch(int fd)
{
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE), 0);
}

static void do_zero(int fd)
{
	assert_int_equal(fallocate(fd, FALLOC_FL_ZERO_RANGE, PAGE, PAGE), 0);
}

static void do_copy(int fd)
{
	off_t from = 0;
	off_t to = 3L * PAGE;

	assert_int_equal(copy_file_range(fd, &from, fd, &to, 1000, 0), 1000);
}

static void written__says_the_ranges(void **state)
{
	static const struct change changes[] = {
		{"pwrite", do_pwrite, 0, 5000, 4},    {"append", do_append, O_APPEND, LARGE, 4},
		{"cut", do_cut, 0, LARGE - 100, 100}, {"grow", do_grow, 0, LARGE, 100},
		{"punch", do_punch, 0, PAGE, PAGE},   {"zero", do_zero, 0, PAGE, PAGE},
		{"copy", do_copy, 0, 3 * PAGE, 1000},
	};
	struct fx *fx = *state;

	for (size_t i = 0; i < LP_COUNT_OF(changes); i++) {
		struct lp_stat_sig before;
		struct lp_stat_sig after;
		struct fx_event ev;
		int fd;

		print_message("  %s\n", changes[i].name);
		make_large(fx, changes[i].name);
		before = sig_of(fx, changes[i].name);
		fd = open(fx_path(fx, changes[i].name), O_RDWR | O_CLOEXEC | changes[i].flags);
		assert_true(fd >= 0);
		changes[i].make(fd);
		assert_int_equal(close(fd), 0);
		ev = fx_take(fx, changes[i].name);
		after = sig_of(fx, changes[i].name);
		assert_true(ev.has_written);
		assert_same_sig(&ev.written.before, &before);
		assert_same_sig(&ev.written.after, &after);
		assert_int_equal(ev.written.ranges.n, 1);
		assert_int_equal(ev.written.ranges.r[0].at, changes[i].at);
		assert_int_equal(ev.written.ranges.r[0].len, changes[i].len);
	}
}

static void write_by_mapping(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char *map = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		_exit(1);
	map[10 * PAGE + 1] = 'm';
	_exit(munmap(map, LARGE) == 0 && close(fd) == 0 ? 0 : 2);
}

static void written__has_the_pages_of_a_mapping(void **state)
{
	struct fx *fx = *state;
	struct fx_event ev;
	pid_t pid;

	make_large(fx, "mapped");
	pid = fork();
	if (pid == 0) {
		(void)close_range(STDERR_FILENO + 1, UINT_MAX, 0);
		write_by_mapping(fx_path(fx, "mapped"));
	}
	fx_reap(pid);
	ev = fx_take(fx, "mapped");
	assert_true(ev.has_written);
	assert_true(lp_ranges_meet(&ev.written.ranges, 10 * PAGE + 1, 1));
	assert_false(lp_ranges_meet(&ev.written.ranges, 0, 10 * PAGE));
	assert_false(lp_ranges_meet(&ev.written.ranges, 11 * PAGE, LARGE));
}

static void written__begins_anew_after_a_report(void **state)
{
	struct fx *fx = *state;
	struct fx_event first = {0};
	struct fx_event second;

	make_large(fx, "f");
	for (int i = 0; i < 2; i++) {
		int fd = open(fx_path(fx, "f"), O_WRONLY | O_CLOEXEC);

		assert_int_equal(pwrite(fd, "1", 1, (off_t)i * 1000), 1);
		assert_int_equal(pwrite(fd, "2", 1, (off_t)i * 1000 + 500), 1);
		assert_int_equal(close(fd), 0);
		if (i == 0)
			first = fx_take(fx, "f");
	}
	second = fx_take(fx, "f");
	assert_true(first.has_written && second.has_written);
	assert_same_sig(&second.written.before, &first.written.after);
	assert_int_equal(second.written.ranges.n, 2);
	assert_int_equal(second.written.ranges.r[0].at, 1000);
	assert_int_equal(second.written.ranges.r[1].at, 1500);
}

static void written__joins_writers_of_one_file(void **state)
{
	struct fx *fx = *state;
	struct fx_event ev;
	int a;
	int b;

	make_large(fx, "f");
	a = open(fx_path(fx, "f"), O_WRONLY | O_CLOEXEC);
	b = open(fx_path(fx, "f"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(a, "1", 1, 10), 1);
	assert_int_equal(pwrite(b, "2", 1, 20), 1);
	assert_int_equal(close(a), 0);
	fx_expect_no_more(fx);
	assert_int_equal(close(b), 0);
	ev = fx_take(fx, "f");
	assert_true(ev.has_written);
	assert_int_equal(ev.written.ranges.n, 2);
}

static void written__is_unknown_when_somebody_else_wrote(void **state)
{
	struct fx *fx = *state;
	struct fx_event ev;
	int below;
	int fd;

	make_large(fx, "f");
	below = openat(fx->root_fd, "f", O_WRONLY | O_CLOEXEC);
	for (int foreign_last = 0; foreign_last < 2; foreign_last++) {
		fd = open(fx_path(fx, "f"), O_WRONLY | O_CLOEXEC);
		assert_int_equal(pwrite(fd, "1", 1, 10), 1);
		assert_int_equal(pwrite(below, "2", 1, LARGE + foreign_last), 1);
		if (foreign_last == 0)
			assert_int_equal(pwrite(fd, "3", 1, 30), 1);
		assert_int_equal(close(fd), 0);
		ev = fx_take(fx, "f");
		assert_false(ev.has_written);
	}
	assert_int_equal(close(below), 0);
}

static void written__survives_a_chmod_between(void **state)
{
	struct fx *fx = *state;
	struct fx_event ev;
	int fd;

	make_large(fx, "f");
	fd = open(fx_path(fx, "f"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "1", 1, 10), 1);
	assert_int_equal(fchmod(fd, 0600), 0);
	assert_int_equal(futimens(fd, (struct timespec[2]){{.tv_sec = 1}, {.tv_sec = 2}}), 0);
	assert_int_equal(pwrite(fd, "1", 1, 11), 1);
	assert_int_equal(close(fd), 0);
	ev = fx_take(fx, "f");
	assert_true(ev.has_written);
	assert_int_equal(ev.written.ranges.n, 1);
	assert_int_equal(ev.written.ranges.r[0].len, 2);
}

static void written__is_left_out_for_small_files(void **state)
{
	struct fx *fx = *state;
	struct fx_event ev;
	int fd;

	fx_write(fx, "f", "small");
	fx_skip(fx, 1);
	fd = open(fx_path(fx, "f"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "1", 1, 2), 1);
	assert_int_equal(close(fd), 0);
	ev = fx_take(fx, "f");
	assert_false(ev.has_written);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, fx_setup, fx_teardown)
	const struct CMUnitTest tests[] = {
		T(written__says_the_ranges),
		T(written__has_the_pages_of_a_mapping),
		T(written__begins_anew_after_a_report),
		T(written__joins_writers_of_one_file),
		T(written__is_unknown_when_somebody_else_wrote),
		T(written__survives_a_chmod_between),
		T(written__is_left_out_for_small_files),
	};
#undef T

	fx_skip_without_fuse();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
