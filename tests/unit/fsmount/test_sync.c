/* tests/unit/fsmount/test_sync.c: with a barrier fsync and close return when it does, and nobody
 * else waits. Also who holds a busy mount. */
#include "tests/unit/fsmount/fixture.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	MANY = 100,
	LONG_US = 60 * 1000 * 1000,
};

/* A barrier whose gate the test opens. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool open;
	int result;
	size_t n_waiting;
	size_t n_passed;
	size_t n_events; /* when the first one came */
	char path[256];
};

static int barrier(void *ctx, const char *path, uint64_t deadline_us)
{
	struct fx *fx = ctx;
	struct gate *g = fx->of_test;
	size_t n_events = fx_count(fx);
	int r;

	assert_true(deadline_us > lp_now_us());
	(void)pthread_mutex_lock(&g->lock);
	if (g->n_waiting + g->n_passed == 0) {
		g->n_events = n_events;
		(void)snprintf(g->path, sizeof(g->path), "%s", path);
	}
	g->n_waiting++;
	while (!g->open)
		(void)pthread_cond_wait(&g->changed, &g->lock);
	g->n_waiting--;
	g->n_passed++;
	r = g->result;
	(void)pthread_mutex_unlock(&g->lock);
	return r;
}

static void set_gate(struct gate *g, bool open)
{
	(void)pthread_mutex_lock(&g->lock);
	g->open = open;
	(void)pthread_cond_broadcast(&g->changed);
	(void)pthread_mutex_unlock(&g->lock);
}

static int setup_gate(void **state)
{
	struct gate *g = lp_xcalloc(1, sizeof(*g));
	struct fx *fx;

	(void)fx_setup_unmounted(state);
	fx = *state;
	(void)pthread_mutex_init(&g->lock, NULL);
	(void)pthread_cond_init(&g->changed, NULL);
	fx->of_test = g;
	fx->barrier = barrier;
	fx->barrier_us = LONG_US;
	return 0;
}

static int teardown_gate(void **state)
{
	struct fx *fx = *state;
	struct gate *g = fx->of_test;
	int r;

	set_gate(g, true);
	r = fx_teardown(state);
	(void)pthread_cond_destroy(&g->changed);
	(void)pthread_mutex_destroy(&g->lock);
	free(g);
	return r;
}

static size_t count_waiting(struct gate *g)
{
	size_t n;

	(void)pthread_mutex_lock(&g->lock);
	n = g->n_waiting;
	(void)pthread_mutex_unlock(&g->lock);
	return n;
}

static bool one_waits(void *arg)
{
	return count_waiting(arg) == 1;
}

static bool many_wait(void *arg)
{
	return count_waiting(arg) == MANY;
}

/* Runs in a child: writes name, ends it with fsync or close, exits with the errno. */
static pid_t start_writer(struct fx *fx, const char *name, bool with_fsync)
{
	pid_t pid = fork();
	int fd;

	if (pid != 0)
		return pid;
	(void)close_range(STDERR_FILENO + 1, UINT_MAX, 0);
	fd = open(fx_path(fx, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, "text", 4) != 4)
		_exit(255);
	if (with_fsync)
		_exit(fsync(fd) == 0 ? 0 : errno);
	_exit(close(fd) == 0 ? 0 : errno);
}

static int exit_status_of(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Whether who reads below, to send it, finds nobody writing the file. */
static void assert_not_written_below(struct fx *fx, const char *name)
{
	int fd = openat(fx->root_fd, name, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_SETLEASE, F_RDLCK), 0);
	assert_int_equal(close(fd), 0);
}

static void close__can_be_read_below_while_it_waits(void **state)
{
	struct fx *fx = *state;
	pid_t pid;

	fx_mount(fx);
	pid = start_writer(fx, "file", false);
	fx_wait_until(one_waits, fx->of_test);
	assert_not_written_below(fx, "file");
	set_gate(fx->of_test, true);
	assert_int_equal(exit_status_of(pid), 0);
	fx_skip(fx, 1);
}

/* Runs in a child: writes between an fsync that waits and the close. */
static pid_t start_writer_on(struct fx *fx, const char *name, int flags)
{
	pid_t pid = fork();
	int fd;

	if (pid != 0)
		return pid;
	(void)close_range(STDERR_FILENO + 1, UINT_MAX, 0);
	fd = open(fx_path(fx, name), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
	if (fd < 0 || write(fd, "text", 4) != 4 || fsync(fd) < 0 || write(fd, " more", 5) != 5)
		_exit(255);
	_exit(close(fd) == 0 ? 0 : errno);
}

static void fsync__can_be_read_below_while_it_waits_and_written_after(void **state)
{
	static const int flags[] = {0, O_APPEND, O_TRUNC, O_EXCL};
	struct fx *fx = *state;
	char name[] = "file0";

	fx_mount(fx);
	for (size_t i = 0; i < LP_COUNT_OF(flags); i++) {
		pid_t pid;

		set_gate(fx->of_test, false);
		name[4] = (char)('0' + i);
		pid = start_writer_on(fx, name, flags[i]);
		fx_wait_until(one_waits, fx->of_test);
		assert_not_written_below(fx, name);
		set_gate(fx->of_test, true);
		assert_int_equal(exit_status_of(pid), 0);
		fx_expect(fx, LP_EVENT_CLOSED, name, NULL);
		fx_expect(fx, LP_EVENT_CLOSED, name, "text more");
	}
}

static void close__of_a_writer_waits(void **state)
{
	struct fx *fx = *state;
	struct gate *g = fx->of_test;
	pid_t pid;

	fx_mount(fx);
	pid = start_writer(fx, "f", false);
	fx_wait_until(one_waits, g);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	assert_int_equal(g->n_events, 1); /* first the event, then the wait */
	assert_string_equal(g->path, "f");
	set_gate(g, true);
	assert_int_equal(exit_status_of(pid), 0);
	fx_expect(fx, LP_EVENT_CLOSED, "f", "text");
}

static void fsync__waits_while_the_file_stays_open(void **state)
{
	struct fx *fx = *state;
	struct gate *g = fx->of_test;
	pid_t pid;

	fx_mount(fx);
	pid = start_writer(fx, "f", true);
	fx_wait_until(one_waits, g);
	fx_expect(fx, LP_EVENT_CLOSED, "f", "text");
	set_gate(g, true);
	assert_int_equal(exit_status_of(pid), 0);
}

static void close__of_a_reader_does_not_wait(void **state)
{
	struct fx *fx = *state;
	int fd;

	fx_mount(fx);
	assert_int_equal(close(openat(fx->root_fd, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644)), 0);
	fd = open(fx_path(fx, "f"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(close(fd), 0);
	fd = open(fx_path(fx, "f"), O_WRONLY | O_CLOEXEC); /* writes nothing */
	assert_int_equal(close(fd), 0);
	assert_int_equal(count_waiting(fx->of_test), 0);
}

static void barrier__that_fails_is_an_error_only_when_asked_for(void **state)
{
	struct fx *fx = *state;
	struct gate *g = fx->of_test;

	g->open = true;
	g->result = -ETIME;
	for (int strict = 0; strict < 2; strict++) {
		for (int with_fsync = 0; with_fsync < 2; with_fsync++) {
			fx->barrier_strict = strict == 1;
			fx_mount(fx);
			assert_int_equal(exit_status_of(start_writer(fx, "f", with_fsync == 1)),
					 strict == 1 ? EIO : 0);
			fx_skip(fx, 1);
			assert_int_equal(fx_unmount(fx), 0);
		}
	}
}

static void barrier__is_not_called_after_its_time(void **state)
{
	struct fx *fx = *state;
	struct gate *g = fx->of_test;

	fx->barrier_us = 0;
	fx->barrier_strict = true;
	fx_mount(fx);
	assert_int_equal(exit_status_of(start_writer(fx, "f", false)), EIO);
	assert_int_equal(g->n_passed, 0);
	fx_skip(fx, 1);
}

static void wait__of_many_stops_nobody_else(void **state)
{
	struct fx *fx = *state;
	struct gate *g = fx->of_test;
	pid_t pids[MANY];
	char name[16];

	fx_mount(fx);
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "f%d", i);
		pids[i] = start_writer(fx, name, (i & 1) != 0);
	}
	fx_wait_until(many_wait, g);
	fx_skip(fx, MANY);
	assert_int_equal(mkdir(fx_path(fx, "d"), 0755), 0);
	fx_expect(fx, LP_EVENT_SUBTREE, "d", NULL);
	fx_sh(fx->dir, "ls -l >/dev/null; cat f1 >/dev/null");
	set_gate(g, true);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(exit_status_of(pids[i]), 0);
	fx_skip(fx, 0);
}

/* How a child uses the mount. */
struct use {
	const char *title;
	const char *script; /* the shell says "ready", then reads a line */
	const char *text;
};

static void stop__names_the_one_who_holds_it(void **state)
{
	static const struct use uses[] = {
		{"works in it", "cd \"$0/d\"; echo; read x", "(sh) works in it at 'd'"},
		{"reads", "exec 4<\"$0/d/f\"; echo; read x", "(sh) has 'd/f' open"},
	};
	struct fx *fx = *state;

	assert_int_equal(mkdirat(fx->root_fd, "d", 0755), 0);
	assert_int_equal(close(openat(fx->root_fd, "d/f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644)),
			 0);
	for (size_t i = 0; i < LP_COUNT_OF(uses); i++) {
		struct lp_err who = {0};
		int in[2];
		int out[2];
		char byte;
		pid_t pid;

		print_message("  %s\n", uses[i].title);
		assert_int_equal(pipe2(in, O_CLOEXEC), 0);
		assert_int_equal(pipe2(out, O_CLOEXEC), 0);
		fx_mount(fx);
		pid = fork();
		if (pid == 0) {
			(void)dup2(in[0], STDIN_FILENO);
			(void)dup2(out[1], STDOUT_FILENO);
			(void)execl("/bin/sh", "sh", "-c", uses[i].script, fx->dir, (char *)NULL);
			_exit(126);
		}
		assert_int_equal(read(out[0], &byte, 1), 1);
		assert_int_equal(lp_fsmount_stop_explain(fx->m, &who), -EBUSY);
		fx->m = NULL;
		assert_non_null(strstr(who.msg, uses[i].text));
		(void)close(in[1]);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		(void)close(in[0]);
		(void)close(out[0]);
		(void)close(out[1]);
	}
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup_gate, teardown_gate)
	const struct CMUnitTest tests[] = {
		T(close__of_a_writer_waits),
		T(close__can_be_read_below_while_it_waits),
		T(fsync__can_be_read_below_while_it_waits_and_written_after),
		T(fsync__waits_while_the_file_stays_open),
		T(close__of_a_reader_does_not_wait),
		T(barrier__that_fails_is_an_error_only_when_asked_for),
		T(barrier__is_not_called_after_its_time),
		T(wait__of_many_stops_nobody_else),
		cmocka_unit_test_setup_teardown(stop__names_the_one_who_holds_it,
						fx_setup_unmounted, fx_teardown),
	};
#undef T

	fx_skip_without_fuse();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
