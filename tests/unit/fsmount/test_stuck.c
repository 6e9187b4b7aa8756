/* tests/unit/fsmount/test_stuck.c: what happens to a process, and to its mount, that is killed
 * while it waits for that mount itself. */
#include "tests/unit/fsmount/fixture.h"

#include "common/base/lp_fs.h"

#include <fcntl.h>
#include <signal.h>
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

/* Mounts, and lets a thread of its own wait in the mount. */
static void __attribute__((noreturn)) live(struct fx *fx, int ready_fd)
{
	struct lp_fsmount_opts opts = {
		.root_fd = fx->root_fd,
		.root_path = fx->dir,
		.mountpoint = fx->dir,
		.on_event = ignore_event,
		.barrier = wait_for_ever,
		.barrier_us = UINT64_C(3600000000),
		.ctx = &ready_fd,
	};
	struct lp_fsmount *m;
	struct lp_err err = {0};
	pthread_t thread;

	if (lp_fsmount_start(&m, &opts, &err) < 0 ||
	    pthread_create(&thread, NULL, sync_file, fx) != 0)
		(void)!write(ready_fd, "n", 1);
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

static void kill__of_who_waits_for_his_own_mount_ends_him(void **state)
{
	struct fx *fx = *state;
	struct end end = {.dir = fx->dir};
	int ready[2];
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	end.pid = fork();
	if (end.pid == 0)
		live(fx, ready[1]);
	(void)close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	assert_int_equal(byte, 'y');
	assert_int_equal(kill(end.pid, SIGKILL), 0);
	fx_wait_until(has_ended, &end);
	fx_wait_until(is_gone, &end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(kill__of_who_waits_for_his_own_mount_ends_him,
						fx_setup_unmounted, fx_teardown),
	};

	fx_skip_without_fuse();
	return cmocka_run_group_tests_name("fsmount/stuck", tests, NULL, NULL);
}
