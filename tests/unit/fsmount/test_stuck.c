/* tests/unit/fsmount/test_stuck.c: what becomes of a mount whose process is killed, also while that
 * waits for the mount itself. */
#include "tests/unit/fsmount/fixture.h"

#include "common/base/lp_fs.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void ignore_event(void *ctx, const struct lp_event *ev)
{
	(void)ctx;
	(void)ev;
}

/* Says that it was called, and never returns. */
static int wait_for_ever(void *ctx, const char *path, uint64_t deadline_us)
{
	const int *ready_fd = ctx;

	(void)path;
	(void)deadline_us;
	(void)!write(*ready_fd, "y", 1);
	for (;;)
		(void)pause();
	return 0;
}

static void *sync_file(void *arg)
{
	struct fx *fx = arg;
	int fd = open(fx_path(fx, "f"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd >= 0 && lp_write_all(fd, "x", 1) == 0)
		(void)fsync(fd);
	return NULL;
}

/* Mounts, and lets a thread of its own wait in the mount, if it is to be stuck. */
static void __attribute__((noreturn)) live(struct fx *fx, bool stuck, int ready_fd)
{
	struct lp_fsmount_opts opts = {
		.root_fd = fx->root_fd,
		.root_path = fx->dir,
		.mountpoint = fx->dir,
		.on_event = ignore_event,
		.barrier = stuck ? wait_for_ever : NULL,
		.barrier_us = UINT64_C(3600000000),
		.ctx = &ready_fd,
	};
	struct lp_fsmount *m;
	struct lp_err err = {0};
	pthread_t thread;

	if (lp_fsmount_start(&m, &opts, &err) < 0 ||
	    (stuck && pthread_create(&thread, NULL, sync_file, fx) != 0))
		(void)!write(ready_fd, "n", 1);
	else if (!stuck)
		(void)!write(ready_fd, "y", 1);
	for (;;)
		(void)pause();
}

struct end {
	pid_t pid;
	const char *dir;
};

static bool has_ended(void *arg)
{
	const struct end *end = arg;

	return waitpid(end->pid, NULL, WNOHANG) == end->pid;
}

static bool is_gone(void *arg)
{
	const struct end *end = arg;

	return !fx_is_mounted(end->dir);
}

/* Kills a process that has mounted, and waits until it and the mount are gone. */
static void kill_one(struct fx *fx, bool stuck)
{
	struct end end = {.dir = fx->dir};
	int ready[2];
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	end.pid = fork();
	if (end.pid == 0)
		live(fx, stuck, ready[1]);
	(void)close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	assert_int_equal(byte, 'y');
	assert_int_equal(kill(end.pid, SIGKILL), 0);
	fx_wait_until(has_ended, &end);
	fx_wait_until(is_gone, &end);
}

static void kill__of_who_waits_for_his_own_mount_ends_him(void **state)
{
	/* Without rights a session is ended by a file there. */
	if (getenv("LP_FX_UNPRIVILEGED") != NULL && !fx_is_mounted("/sys/fs/fuse/connections"))
		skip();
	kill_one(*state, true);
}

/* Several times: the threads of who is killed end in any order. */
static void kill__leaves_no_mount_in_any_order_of_the_threads(void **state)
{
	for (int i = 0; i < 10; i++)
		kill_one(*state, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(kill__of_who_waits_for_his_own_mount_ends_him,
						fx_setup_unmounted, fx_teardown),
		cmocka_unit_test_setup_teardown(kill__leaves_no_mount_in_any_order_of_the_threads,
						fx_setup_unmounted, fx_teardown),
	};

	fx_skip_without_fuse();
	return cmocka_run_group_tests_name("fsmount/stuck", tests, NULL, NULL);
}
