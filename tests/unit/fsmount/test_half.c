/* tests/unit/fsmount/test_half.c: what is half written is known as such, from below too, until its
 * last writer closes it, and is not reported before. */
#include "tests/unit/fsmount/fixture.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_util.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHANGED LP_EVENT_CHANGED
#define CLOSED  LP_EVENT_CLOSED

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

/* Takes the report that a writer has closed the file. */
static void expect_closed(struct fx *fx, const char *content)
{
	struct fx_event ev = fx_take(fx, NULL);

	assert_int_equal(ev.kind, CLOSED);
	assert_string_equal(ev.content, content);
}

/* A moment in which a writer that has begun does nothing: longer than the mount waits before it
 * looks whether somebody has a new or cut file open. */
static void pause_writing(void)
{
	const struct timespec while_looked_at = {.tv_nsec = 60L * 1000 * 1000};

	(void)nanosleep(&while_looked_at, NULL);
}

/* Whether somebody who looks below is told by a lease that the file is being written. */
static bool lease_is_refused(struct fx *fx, const char *name)
{
	int fd = openat(fx->root_fd, name, O_RDONLY | O_CLOEXEC);
	bool refused = fcntl(fd, F_SETLEASE, F_RDLCK) < 0 && errno == EAGAIN;

	assert_int_equal(close(fd), 0);
	return refused;
}

/* Without CAP_SYS_ADMIN the file below is closed a moment after the report. */
static bool lease_is_granted(void *arg)
{
	return !lease_is_refused(arg, "f");
}

static int open_new(struct fx *fx)
{
	return open_at(fx, "f", O_WRONLY | O_CREAT | O_EXCL);
}

static int open_cut(struct fx *fx)
{
	return open_at(fx, "f", O_WRONLY | O_TRUNC);
}

static int open_by_other_name(struct fx *fx)
{
	assert_int_equal(link(fx_path(fx, "f"), fx_path(fx, "other")), 0);
	fx_expect(fx, CHANGED, "other", NULL);
	return open_at(fx, "other", O_WRONLY | O_TRUNC);
}

static int open_made_again(struct fx *fx)
{
	assert_int_equal(unlink(fx_path(fx, "f")), 0);
	fx_expect(fx, CHANGED, "f", NULL);
	return open_new(fx);
}

static int open_with_room_made(struct fx *fx)
{
	assert_int_equal(rename(fx_path(fx, "f"), fx_path(fx, "f~")), 0);
	fx_expect(fx, CHANGED, "f", NULL);
	fx_expect(fx, CHANGED, "f~", NULL);
	return open_new(fx);
}

static void write__in_two_parts_is_being_written_from_the_first_change_to_the_close(void **state)
{
	static const struct {
		const char *name;
		int (*begin)(struct fx *fx);
		bool is_new;
	} cases[] = {
		{"O_EXCL", open_new, true},
		{"O_TRUNC", open_cut, false},
		{"by another name", open_by_other_name, false},
		{"unlink, O_EXCL", open_made_again, false},
		{"rename away, O_EXCL", open_with_room_made, false},
	};
	struct fx *fx = *state;

	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		int fd;

		print_message("  %s\n", cases[i].name);
		if (!cases[i].is_new) {
			fx_write(fx, "f", "before");
			fx_expect(fx, CLOSED, "f", "before");
		}
		assert_false(lp_fsmount_is_writing(fx->m, "f"));
		fd = cases[i].begin(fx);
		for (int part = 0; part < 3; part++) {
			pause_writing();
			assert_true(lp_fsmount_is_writing(fx->m, "f"));
			assert_true(lease_is_refused(fx, "f"));
			fx_expect_no_more(fx);
			put(fd, "part ");
		}
		assert_int_equal(close(fd), 0);
		expect_closed(fx, "part part part ");
		lp_fsmount_drain(fx->m);
		assert_false(lp_fsmount_is_writing(fx->m, "f"));
		fx_wait_until(lease_is_granted, fx);
		fx_sh(fx->dir, "rm -f f f~ other");
		lp_fsmount_drain(fx->m);
		fx_skip(fx, fx_count(fx) - fx->n_expected);
	}
}

/* The kernel tells of a file under the name that it saw last; who used another one waits for it. */
static void write__by_a_hard_link_is_reported_for_the_name_that_was_used(void **state)
{
	struct fx *fx = *state;
	bool seen = false;
	int fd;

	fx_write(fx, "f", "x");
	fx_expect(fx, CLOSED, "f", "x");
	assert_int_equal(link(fx_path(fx, "f"), fx_path(fx, "other")), 0);
	fx_expect(fx, CHANGED, "other", "x");
	fd = open_at(fx, "f", O_WRONLY | O_APPEND);
	put(fd, "y");
	assert_int_equal(close(fd), 0);
	do {
		struct fx_event ev = fx_take(fx, NULL);

		assert_int_equal(ev.kind, CLOSED);
		assert_string_equal(ev.content, "xy");
		seen = strcmp(ev.path, "f") == 0;
	} while (!seen && getenv("LP_FX_UNPRIVILEGED") == NULL);
}

/* A change of the file in the mount, in a child: exits with its errno. */
static pid_t start_change(struct fx *fx, bool truncates)
{
	pid_t pid = fork();
	int fd;

	if (pid != 0)
		return pid;
	(void)close_range(STDERR_FILENO + 1, UINT_MAX, 0);
	if (truncates)
		_exit(truncate(fx_path(fx, "f"), 2) == 0 ? 0 : errno);
	fd = open(fx_path(fx, "f"), O_WRONLY | O_CLOEXEC);
	_exit(fd >= 0 && write(fd, "xy", 2) == 2 && close(fd) == 0 ? 0 : errno);
}

/* Whether somebody waits for the end of the lease on the descriptor. */
static bool lease_is_unwanted(void *arg)
{
	return fcntl(*(int *)arg, F_GETLEASE) == F_UNLCK;
}

/* Who reads a file to send it keeps writers waiting for as long. */
static void write__waits_for_who_reads_below(void **state)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct fx *fx = *state;

	assert_int_equal(sigaction(SIGIO, &ignore, NULL), 0);
	for (int i = 0; i < 2; i++) {
		pid_t pid;
		int fd;

		fx_write(fx, "f", "before");
		expect_closed(fx, "before");
		fx_wait_until(lease_is_granted, fx);
		fd = openat(fx->root_fd, "f", O_RDONLY | O_CLOEXEC);
		assert_int_equal(fcntl(fd, F_SETLEASE, F_RDLCK), 0);
		pid = start_change(fx, i == 1);
		fx_wait_until(lease_is_unwanted, &fd);
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
		assert_int_equal(close(fd), 0);
		fx_reap(pid);
		lp_fsmount_drain(fx->m);
		assert_true(fx_count(fx) > fx->n_expected);
		fx_skip(fx, fx_count(fx) - fx->n_expected);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)
		T(write__in_two_parts_is_being_written_from_the_first_change_to_the_close),
		T(write__waits_for_who_reads_below),
		T(write__by_a_hard_link_is_reported_for_the_name_that_was_used),
	};
#undef T

	fx_skip_without_fuse();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
