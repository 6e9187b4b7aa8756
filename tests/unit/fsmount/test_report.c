/* tests/unit/fsmount/test_report.c: what is reported, when, and under which path. */
#include "tests/unit/fsmount/fixture.h"

#include "common/base/lp_fs.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHANGED LP_EVENT_CHANGED
#define CLOSED  LP_EVENT_CLOSED
#define SUBTREE LP_EVENT_SUBTREE

static int open_at(struct fx *fx, const char *name, int flags)
{
	int fd = open(fx_path(fx, name), flags | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	return fd;
}

static void put(int fd, const char *text)
{
	assert_int_equal(lp_write_all(fd, text, strlen(text)), 0);
}

static void write__is_reported_once_with_all_of_it(void **state)
{
	struct fx *fx = *state;
	int fd = open_at(fx, "f", O_WRONLY | O_CREAT);

	put(fd, "first ");
	put(fd, "second");
	fx_expect_no_more(fx);
	assert_int_equal(close(fd), 0);
	fx_expect(fx, CLOSED, "f", "first second");
}

/* In a process of its own, without what it inherits: this one has descriptors for the file below,
 * too. */
static void write__is_reported_when_close_has_returned(void **state)
{
	struct fx *fx = *state;

	for (int i = 0; i < 50; i++) {
		int before = atomic_load(fx->n_shared);
		pid_t pid = fork();

		if (pid == 0) {
			int fd;

			(void)close_range(STDERR_FILENO + 1, UINT_MAX, 0);
			fd = open(fx_path(fx, "f"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
			_exit(write(fd, "text", 4) == 4 && close(fd) == 0 ? 0 : 1);
		}
		fx_reap(pid);
		lp_fsmount_drain(fx->m);
		assert_int_equal(atomic_load(fx->n_shared), before + 1);
		fx_expect(fx, CLOSED, "f", "text");
	}
}

static void write__by_safe_rename_is_reported_for_both_names(void **state)
{
	struct fx *fx = *state;

	fx_write(fx, "f", "old");
	fx_expect(fx, CLOSED, "f", "old");
	fx_write(fx, "f.tmp", "new");
	fx_expect(fx, CLOSED, "f.tmp", "new");
	assert_int_equal(rename(fx_path(fx, "f.tmp"), fx_path(fx, "f")), 0);
	fx_expect(fx, CHANGED, "f.tmp", "");
	fx_expect(fx, CHANGED, "f", "new");
}

static void write__renamed_before_close_waits_for_close(void **state)
{
	struct fx *fx = *state;
	int fd = open_at(fx, "f.tmp", O_WRONLY | O_CREAT);

	put(fd, "half");
	assert_int_equal(rename(fx_path(fx, "f.tmp"), fx_path(fx, "f")), 0);
	fx_expect(fx, CHANGED, "f.tmp", "");
	fx_expect_no_more(fx);
	put(fd, " whole");
	assert_int_equal(close(fd), 0);
	fx_expect(fx, CLOSED, "f", "half whole");
}

static void write__by_two_writers_is_reported_at_the_last_close(void **state)
{
	struct fx *fx = *state;
	int a = open_at(fx, "log", O_WRONLY | O_CREAT | O_APPEND);
	int b = open_at(fx, "log", O_WRONLY | O_APPEND);

	put(a, "1");
	put(b, "2");
	put(a, "3");
	assert_int_equal(close(a), 0);
	put(b, "4");
	fx_expect_no_more(fx);
	assert_int_equal(close(b), 0);
	fx_expect(fx, CLOSED, "log", "1234");
}

static void write__through_a_duplicate_waits_for_it(void **state)
{
	struct fx *fx = *state;
	int a = open_at(fx, "f", O_WRONLY | O_CREAT);
	int b = fcntl(a, F_DUPFD_CLOEXEC, 0);

	put(a, "half");
	assert_int_equal(close(a), 0);
	fx_expect_no_more(fx);
	put(b, " whole");
	assert_int_equal(close(b), 0);
	fx_expect(fx, CLOSED, "f", "half whole");
}

static void write__by_a_child_waits_for_its_parent(void **state)
{
	struct fx *fx = *state;
	int fd = open_at(fx, "f", O_WRONLY | O_CREAT);
	pid_t pid = fork();

	if (pid == 0)
		_exit(write(fd, "half", 4) == 4 && close(fd) == 0 ? 0 : 1);
	fx_reap(pid);
	fx_expect_no_more(fx);
	put(fd, " whole");
	assert_int_equal(close(fd), 0);
	fx_expect(fx, CLOSED, "f", "half whole");
}

/* Neither the writer's error nor a loss, when this process may not open anything meanwhile. */
static void close__succeeds_when_we_are_out_of_descriptors(void **state)
{
	struct fx *fx = *state;
	struct rlimit before;
	struct rlimit none;
	struct fx_event ev;
	char byte = 'y';
	int ends[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	pid = fork();
	if (pid == 0) {
		int fd = open(fx_path(fx, "f"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		bool good = fd >= 0 && write(fd, "text", 4) == 4;

		good = write(ends[1], &byte, 1) == 1 && read(ends[1], &byte, 1) == 1 && good;
		_exit(close(fd) == 0 && good ? 0 : 1);
	}
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(write(ends[0], &byte, 1), 1);
	fx_reap(pid);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	ev = fx_take(fx, "f");
	assert_true(ev.kind == CLOSED || ev.kind == LP_EVENT_WRITING);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void write__by_shell_redirections_is_never_half(void **state)
{
	static const struct {
		const char *script;
		const char *content;
	} cases[] = {
		{"echo one >f", "one\n"},
		{"{ echo a; echo b; } >f", "a\nb\n"},
		{"exec 3>f; echo a >&3; echo b >&3; exec 3>&-", "a\nb\n"},
		{"{ /bin/echo a; /bin/echo b; } >f", "a\nb\n"},
		{"(/bin/echo a; echo b) >f", "a\nb\n"},
		{"/bin/echo a | cat >f", "a\n"},
		{": >f", ""},
	};
	struct fx *fx = *state;

	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		print_message("  %s\n", cases[i].script);
		fx_sh(fx->dir, cases[i].script);
		fx_expect(fx, CLOSED, "f", cases[i].content);
		fx_expect_no_more(fx);
	}
}

/* Writes 10 bytes to path, changes the first 5 through a mapping. */
static bool write_by_mapping(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	char *map;

	if (fd < 0 || lp_write_all(fd, "0123456789", 10) < 0)
		return false;
	map = mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return false;
	memcpy(map, "abcde", 5);
	return munmap(map, 10) == 0 && close(fd) == 0;
}

/* In a process of its own: no process can serve the pages of its own mappings. */
static void write__through_a_mapping_is_reported_at_close(void **state)
{
	struct fx *fx = *state;
	pid_t pid = fork();

	if (pid == 0) {
		(void)close_range(STDERR_FILENO + 1, UINT_MAX, 0);
		_exit(write_by_mapping(fx_path(fx, "f")) ? 0 : 1);
	}
	fx_reap(pid);
	fx_expect(fx, CLOSED, "f", "abcde56789");
}

static void create__without_write_is_reported_at_close(void **state)
{
	struct fx *fx = *state;
	int fd = open_at(fx, "empty", O_WRONLY | O_CREAT);

	fx_expect_no_more(fx);
	assert_int_equal(close(fd), 0);
	fx_expect(fx, CLOSED, "empty", "");
}

static void open__for_writing_without_a_change_is_not_reported(void **state)
{
	struct fx *fx = *state;

	fx_write(fx, "f", "x");
	fx_expect(fx, CLOSED, "f", "x");
	assert_int_equal(close(open_at(fx, "f", O_RDWR)), 0);
	assert_int_equal(close(open_at(fx, "f", O_RDONLY)), 0);
}

/* So many, without a pause, that they are read and reported together. */
static void closes__without_a_pause_are_each_reported_once(void **state)
{
	enum { FILES = 300 };
	struct fx *fx = *state;
	bool seen[FILES] = {false};

	for (int i = 0; i < FILES; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%d", i);
		fx_write(fx, name, name);
	}
	for (int i = 0; i < FILES; i++) {
		const struct fx_event ev = fx_take(fx, NULL);
		char *end;
		long n = strtol(ev.path + 1, &end, 10);

		assert_int_equal(ev.kind, LP_EVENT_CLOSED);
		assert_string_equal(ev.content, ev.path);
		assert_true(ev.path[0] == 'f' && *end == '\0' && n >= 0 && n < FILES);
		assert_false(seen[n]);
		seen[n] = true;
	}
	fx_expect_no_more(fx);
}

static void truncate__is_reported_when_nobody_writes(void **state)
{
	struct fx *fx = *state;
	int fd;

	fx_write(fx, "f", "0123456789");
	fx_expect(fx, CLOSED, "f", "0123456789");
	assert_int_equal(truncate(fx_path(fx, "f"), 5), 0);
	fx_expect(fx, getenv("LP_FX_UNPRIVILEGED") != NULL ? CHANGED : CLOSED, "f", "01234");
	fd = open_at(fx, "f", O_WRONLY);
	assert_int_equal(ftruncate(fd, 2), 0);
	assert_int_equal(truncate(fx_path(fx, "f"), 1), 0);
	fx_expect_no_more(fx);
	assert_int_equal(close(fd), 0);
	fx_expect(fx, CLOSED, "f", "0");
	assert_int_equal(close(open_at(fx, "f", O_WRONLY | O_TRUNC)), 0);
	fx_expect(fx, CLOSED, "f", "");
}

static void mkdir__reports_each_directory_as_a_subtree(void **state)
{
	struct fx *fx = *state;

	assert_int_equal(lp_mkdir_p(fx_path(fx, "a/b/c"), 0755), 0);
	fx_write(fx, "a/b/c/f", "deep");
	fx_expect(fx, SUBTREE, "a", NULL);
	fx_expect(fx, SUBTREE, "a/b", NULL);
	fx_expect(fx, SUBTREE, "a/b/c", NULL);
	fx_expect(fx, CLOSED, "a/b/c/f", "deep");
}

static void rename__of_a_directory_moves_the_paths_below(void **state)
{
	struct fx *fx = *state;
	int fd;

	assert_int_equal(lp_mkdir_p(fx_path(fx, "a/b/c"), 0755), 0);
	fx_write(fx, "a/b/c/f", "1");
	fx_skip(fx, 4);
	fd = open_at(fx, "a/b/c/f", O_WRONLY | O_APPEND);
	assert_int_equal(rename(fx_path(fx, "a"), fx_path(fx, "z")), 0);
	fx_expect(fx, CHANGED, "a", NULL);
	fx_expect(fx, SUBTREE, "z", NULL);
	put(fd, "2");
	assert_int_equal(close(fd), 0);
	fx_expect(fx, CLOSED, "z/b/c/f", "12");
	fx_write(fx, "z/b/c/f", "3");
	fx_expect(fx, CLOSED, "z/b/c/f", "3");
}

static void rename__exchange_reports_what_both_names_are_now(void **state)
{
	struct fx *fx = *state;

	fx_write(fx, "f", "file");
	assert_int_equal(mkdir(fx_path(fx, "d"), 0755), 0);
	fx_skip(fx, 2);
	assert_int_equal(
		renameat2(AT_FDCWD, fx_path(fx, "f"), AT_FDCWD, fx_path(fx, "d"), RENAME_EXCHANGE),
		0);
	fx_expect(fx, SUBTREE, "f", NULL);
	fx_expect(fx, CHANGED, "d", "file");
}

static void entry_operations__are_reported(void **state)
{
	struct fx *fx = *state;
	struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 2}};

	fx_write(fx, "f", "x");
	fx_expect(fx, CLOSED, "f", "x");
	assert_int_equal(chmod(fx_path(fx, "f"), 0600), 0);
	fx_expect(fx, CHANGED, "f", "x");
	assert_int_equal(utimensat(AT_FDCWD, fx_path(fx, "f"), times, 0), 0);
	fx_expect(fx, CHANGED, "f", "x");
	assert_int_equal(symlink("f", fx_path(fx, "l")), 0);
	fx_expect(fx, CHANGED, "l", NULL);
	assert_int_equal(link(fx_path(fx, "f"), fx_path(fx, "h")), 0);
	fx_expect(fx, CHANGED, "h", "x");
	assert_int_equal(mkfifo(fx_path(fx, "p"), 0644), 0);
	fx_expect(fx, CHANGED, "p", NULL);
	assert_int_equal(unlink(fx_path(fx, "h")), 0);
	fx_expect(fx, CHANGED, "h", NULL);
	assert_int_equal(mkdir(fx_path(fx, "d"), 0755), 0);
	fx_expect(fx, SUBTREE, "d", NULL);
	assert_int_equal(rmdir(fx_path(fx, "d")), 0);
	fx_expect(fx, CHANGED, "d", NULL);
	assert_int_equal(chmod(fx->dir, 0755), 0);
	fx_expect(fx, CHANGED, "", NULL);
}

static void chmod__of_a_file_being_written_waits_for_its_close(void **state)
{
	struct fx *fx = *state;
	int fd = open_at(fx, "f", O_WRONLY | O_CREAT);

	put(fd, "half");
	assert_int_equal(fchmod(fd, 0755), 0);
	fx_expect_no_more(fx);
	put(fd, " whole");
	assert_int_equal(close(fd), 0);
	fx_expect(fx, CLOSED, "f", "half whole");
}

static void unlink__of_an_open_file_reports_no_write_later(void **state)
{
	struct fx *fx = *state;
	char text[16] = "";
	int fd = open_at(fx, "f", O_RDWR | O_CREAT);

	put(fd, "still here");
	assert_int_equal(unlink(fx_path(fx, "f")), 0);
	fx_expect(fx, CHANGED, "f", "");
	assert_int_equal(pread(fd, text, sizeof(text), 0), 10);
	assert_string_equal(text, "still here");
	assert_int_equal(close(fd), 0);
}

static void link__then_unlink_of_the_first_name_reports_the_other(void **state)
{
	struct fx *fx = *state;

	fx_write(fx, "tmp", "1");
	fx_expect(fx, CLOSED, "tmp", "1");
	assert_int_equal(link(fx_path(fx, "tmp"), fx_path(fx, "f")), 0);
	assert_int_equal(unlink(fx_path(fx, "tmp")), 0);
	fx_skip(fx, 2);
	fx_write(fx, "f", "2");
	fx_expect(fx, CLOSED, "f", "2");
}

static void path__ending_in_deleted_is_a_name_like_any_other(void **state)
{
	struct fx *fx = *state;

	fx_write(fx, "f (deleted)", "x");
	fx_expect(fx, CLOSED, "f (deleted)", "x");
	assert_int_equal(unlink(fx_path(fx, "f (deleted)")), 0);
	fx_expect(fx, CHANGED, "f (deleted)", NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)
	const struct CMUnitTest tests[] = {
		T(write__is_reported_once_with_all_of_it),
		T(write__is_reported_when_close_has_returned),
		T(write__by_safe_rename_is_reported_for_both_names),
		T(write__renamed_before_close_waits_for_close),
		T(write__by_two_writers_is_reported_at_the_last_close),
		T(write__through_a_duplicate_waits_for_it),
		T(write__by_a_child_waits_for_its_parent),
		T(close__succeeds_when_we_are_out_of_descriptors),
		T(write__by_shell_redirections_is_never_half),
		T(write__through_a_mapping_is_reported_at_close),
		T(create__without_write_is_reported_at_close),
		T(open__for_writing_without_a_change_is_not_reported),
		T(closes__without_a_pause_are_each_reported_once),
		T(truncate__is_reported_when_nobody_writes),
		T(mkdir__reports_each_directory_as_a_subtree),
		T(rename__of_a_directory_moves_the_paths_below),
		T(rename__exchange_reports_what_both_names_are_now),
		T(entry_operations__are_reported),
		T(chmod__of_a_file_being_written_waits_for_its_close),
		T(unlink__of_an_open_file_reports_no_write_later),
		T(link__then_unlink_of_the_first_name_reports_the_other),
		T(path__ending_in_deleted_is_a_name_like_any_other),
	};
#undef T

	fx_skip_without_fuse();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
