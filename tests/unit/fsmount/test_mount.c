/* tests/unit/fsmount/test_mount.c: how a mount begins and ends, whatever happens to it. */
#include "tests/unit/fsmount/fixture.h"

#include "common/base/lp_fs.h"
#include "fsmount/attach.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static void ignore_event(void *ctx, const struct lp_event *ev)
{
	(void)ctx;
	(void)ev;
}

/* Mounts dir over itself without a fixture. Returns 0 or -errno. */
static int mount_plainly(const char *dir, const char *mountpoint, struct lp_fsmount **out,
			 int *root_fd, struct lp_err *err)
{
	struct lp_fsmount_opts opts = {
		.root_path = dir, .mountpoint = mountpoint, .on_event = ignore_event};

	*root_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*root_fd < 0)
		return lp_err_set(err, errno, "open '%s'", dir);
	opts.root_fd = *root_fd;
	return lp_fsmount_start(out, &opts, err);
}

static void start__covers_and_stop_uncovers(void **state)
{
	struct fx *fx = *state;
	struct stat below;
	struct stat above;

	for (int i = 0; i < 3; i++) {
		char name[16];

		fx_mount(fx);
		assert_true(fx_is_mounted(fx->dir));
		assert_int_equal(fstat(fx->root_fd, &below), 0);
		assert_int_equal(stat(fx->dir, &above), 0);
		assert_int_equal(above.st_ino, below.st_ino);
		assert_int_not_equal(above.st_dev, below.st_dev);
		(void)snprintf(name, sizeof(name), "f%d", i);
		fx_write(fx, name, "x");
		fx_expect(fx, LP_EVENT_CLOSED, name, "x");
		assert_int_equal(fx_unmount(fx), 0);
		assert_false(fx_is_mounted(fx->dir));
		assert_int_equal(faccessat(fx->root_fd, name, F_OK, 0), 0);
		assert_int_equal(access(fx_path(fx, name), F_OK), 0);
	}
}

static void start__names_the_cause(void **state)
{
	static const struct {
		const char *mountpoint; /* below the workspace's parent, %s is the workspace */
		int code;
		const char *says;
	} cases[] = {
		{"%s/missing", ENOENT, "create it first"},
		{"%s/file", ENOTDIR, "is not a directory"},
		{"%s/inside", EINVAL, "lies inside the workspace"},
	};
	struct fx *fx = *state;

	assert_int_equal(mkdir(fx_path(fx, "inside"), 0755), 0);
	fx_write(fx, "file", "");
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		const char *name = strrchr(cases[i].mountpoint, '/') + 1;
		struct lp_fsmount *m = NULL;
		struct lp_err err = {0};
		int fd;

		assert_int_equal(mount_plainly(fx->dir, fx_path(fx, name), &m, &fd, &err),
				 -cases[i].code);
		assert_int_equal(err.code, cases[i].code);
		assert_non_null(strstr(err.msg, cases[i].says));
		assert_non_null(strstr(err.msg, name));
		assert_null(m);
		(void)close(fd);
	}
	assert_false(fx_is_mounted(fx->dir));
}

static void start__refuses_a_second_mount(void **state)
{
	struct fx *fx = *state;
	struct lp_fsmount *m = NULL;
	struct lp_err err = {0};
	int fd;

	assert_int_equal(mount_plainly(fx->dir, fx->dir, &m, &fd, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "already mounted by livepush"));
	assert_null(m);
	(void)close(fd);
	assert_true(fx_is_mounted(fx->dir));
}

static void start__at_another_place_shows_the_workspace_there(void **state)
{
	struct fx *fx = *state;
	char place[] = "/tmp/lp-fsmount-at-XXXXXX";
	char path[64];
	struct lp_fsmount *m = NULL;
	struct lp_err err = {0};
	int fd;

	assert_non_null(mkdtemp(place));
	fx_write(fx, "f", "x");
	if (mount_plainly(fx->dir, place, &m, &fd, &err) < 0)
		fail_msg("%s", err.msg);
	(void)snprintf(path, sizeof(path), "%s/f", place);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(lp_fsmount_stop(m), 0);
	assert_int_equal(access(path, F_OK), -1);
	(void)close(fd);
	assert_int_equal(rmdir(place), 0);
}

/* A child that works in the mount, has a file open there, and says so. */
static pid_t start_user(struct fx *fx, int *go_on_fd)
{
	int ready[2];
	int go_on[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(go_on, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		char text[8];
		int fd;

		(void)dup2(go_on[0], STDIN_FILENO);
		(void)dup2(ready[1], STDOUT_FILENO);
		(void)close_range(STDERR_FILENO + 1, UINT_MAX, 0);
		fd = chdir(fx->dir) == 0 ? open("f", O_RDWR | O_CLOEXEC) : -1;
		if (fd < 0 || write(fd, "busy", 4) != 4 || write(STDOUT_FILENO, "", 1) != 1 ||
		    read(STDIN_FILENO, text, 1) != 0)
			_exit(1);
		/* What is cached stays readable. */
		_exit(pwrite(fd, "late", 4, 0) == 4 || open("new", O_CREAT | O_CLOEXEC, 0644) >= 0
			      ? 2
			      : 0);
	}
	(void)close(ready[1]);
	(void)close(go_on[0]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	*go_on_fd = go_on[1];
	return pid;
}

static void stop__of_a_busy_mount_detaches_it(void **state)
{
	struct fx *fx = *state;
	pid_t user;
	int go_on_fd;

	fx_mount(fx);
	fx_write(fx, "f", "x");
	fx_write(fx, "g", "x");
	fx_skip(fx, 2);
	user = start_user(fx, &go_on_fd);
	assert_int_equal(fx_unmount(fx), -EBUSY);
	assert_false(fx_is_mounted(fx->dir));
	fx_mount(fx); /* the leftover is in nobody's way */
	(void)close(go_on_fd);
	fx_reap(user);
	assert_int_equal(fx_unmount(fx), 0);
}

static bool has_ended(void *arg)
{
	struct fx *fx = arg;
	bool ended;

	(void)pthread_mutex_lock(&fx->lock);
	ended = fx->n_ended > 0;
	(void)pthread_mutex_unlock(&fx->lock);
	return ended;
}

static void unmount__by_somebody_is_told_once(void **state)
{
	struct fx *fx = *state;
	struct lp_err err = {0};

	fx_write(fx, "f", "x");
	fx_expect(fx, LP_EVENT_CLOSED, "f", "x");
	if (lp_attach_unmount(fx->dir, false, &err) < 0)
		fail_msg("%s", err.msg);
	fx_wait_until(has_ended, fx);
	assert_int_equal(fx_unmount(fx), 0);
	assert_int_equal(fx->n_ended, 1);
}

static void stop__does_not_tell_the_end(void **state)
{
	struct fx *fx = *state;

	fx_mount(fx);
	assert_int_equal(fx_unmount(fx), 0);
	assert_int_equal(fx->n_ended, 0);
}

/* What is written when stop is called is reported before it returns, RELEASE or not. */
static void stop__reports_what_was_closed_just_before(void **state)
{
	struct fx *fx = *state;

	for (int i = 0; i < 20; i++) {
		fx_mount(fx);
		fx_write(fx, "f", "x");
		assert_int_equal(fx_unmount(fx), 0);
		assert_int_equal(fx_count(fx), i + 1);
		fx_expect(fx, LP_EVENT_CLOSED, "f", "x");
	}
}

static bool is_gone(void *dir)
{
	return !fx_is_mounted(dir);
}

/* Starts a child that mounts fx->dir and then waits for its end. */
static pid_t start_mounter(struct fx *fx)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		struct lp_fsmount *m;
		int r = mount_plainly(fx->dir, fx->dir, &m, &fx->root_fd, NULL);

		(void)!write(ready[1], r == 0 ? "y" : "n", 1);
		for (;;)
			(void)pause();
	}
	(void)close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	assert_int_equal(byte, 'y');
	return pid;
}

static void kill__leaves_no_mount(void **state)
{
	struct fx *fx = *state;
	pid_t pid = start_mounter(fx);

	assert_true(fx_is_mounted(fx->dir));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	fx_wait_until(is_gone, fx->dir);
}

static void guard__leaves_other_mounts_alone(void **state)
{
	struct fx *fx = *state;
	pid_t pid = start_mounter(fx);
	struct lp_err err = {0};

	/* The child's guard becomes ours to wait for. */
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	/* The child's mount goes, ours takes its place. */
	assert_int_equal(lp_attach_unmount(fx->dir, false, &err), 0);
	fx_mount(fx);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(waitpid(-1, NULL, 0) > 0);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
	fx_write(fx, "f", "x");
	fx_expect(fx, LP_EVENT_CLOSED, "f", "x");
	assert_true(fx_is_mounted(fx->dir));
	assert_int_equal(fx_unmount(fx), 0);
}

/* What a killed process without a guard leaves. */
static void leave_dead_mount(const char *dir)
{
	struct lp_err err = {0};
	struct stat st;
	int fd = lp_attach_mount(dir, &err);

	if (fd < 0)
		fail_msg("%s", err.msg);
	(void)close(fd);
	assert_int_equal(stat(dir, &st), -1);
	assert_int_equal(errno, ENOTCONN);
}

static void heal__detaches_a_dead_mount(void **state)
{
	struct fx *fx = *state;

	assert_int_equal(lp_fsmount_heal(fx->dir, NULL), 0);
	leave_dead_mount(fx->dir);
	assert_int_equal(lp_fsmount_heal(fx->dir, NULL), 0);
	assert_false(fx_is_mounted(fx->dir));
	assert_int_equal(lp_fsmount_heal(fx_path(fx, "missing"), NULL), 0);
}

static void start__heals_a_dead_mount(void **state)
{
	struct fx *fx = *state;

	leave_dead_mount(fx->dir);
	fx_mount(fx);
	fx_write(fx, "f", "x");
	fx_expect(fx, LP_EVENT_CLOSED, "f", "x");
	assert_int_equal(fx_unmount(fx), 0);
}

static void heal__leaves_a_living_mount(void **state)
{
	struct fx *fx = *state;

	assert_int_equal(lp_fsmount_heal(fx->dir, NULL), 0);
	assert_true(fx_is_mounted(fx->dir));
}

static bool has_no_child(void *arg)
{
	(void)arg;
	return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
}

static void stop__leaves_no_process_and_no_descriptor(void **state)
{
	struct fx *fx = *state;
	int before = fcntl(fx->root_fd, F_DUPFD_CLOEXEC, 0);
	int after;

	(void)close(before);
	fx_mount(fx);
	assert_int_equal(lp_mkdir_p(fx_path(fx, "a/b"), 0755), 0);
	fx_write(fx, "a/b/f", "x");
	assert_int_equal(fx_unmount(fx), 0);
	fx_skip(fx, 3);
	after = fcntl(fx->root_fd, F_DUPFD_CLOEXEC, 0);
	(void)close(after);
	assert_int_equal(after, before);
	fx_wait_until(has_no_child, NULL);
}

/* Gives this process a /dev/fuse that everybody may open, as it is on most machines. */
static int open_device_to_everybody(const char *node)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mknod(node, S_IFCHR | 0666, makedev(10, 229)) < 0 || chmod(node, 0666) < 0)
		return -errno;
	return mount(node, "/dev/fuse", NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

/* The whole as a user without rights: through fusermount3. Returns an exit code, 77 when that is
 * not possible here. */
static int use_as_nobody(const char *dir, const char *node)
{
	struct lp_fsmount *m = NULL;
	struct lp_err err = {0};
	struct stat st;
	char path[128];
	int root_fd;
	int fd;

	if (open_device_to_everybody(node) < 0)
		return 77;
	if (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
		return 1;
	if (lp_fsmount_probe(&err) < 0)
		return 77;
	if (mount_plainly(dir, dir, &m, &root_fd, &err) < 0) {
		(void)fprintf(stderr, "%s\n", err.msg);
		return 2;
	}
	(void)snprintf(path, sizeof(path), "%s/f", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0 || write(fd, "x", 1) != 1 || close(fd) < 0)
		return 3;
	if (fstatat(root_fd, "f", &st, 0) < 0 || st.st_uid != 65534 || st.st_size != 1)
		return 4;
	if (chdir(dir) < 0 || lp_fsmount_stop(m) != -EBUSY || fx_is_mounted(dir))
		return 5;
	leave_dead_mount(dir);
	if (lp_fsmount_heal(dir, &err) < 0 || fx_is_mounted(dir))
		return 6;
	return 0;
}

static void start__works_for_an_ordinary_user(void **state)
{
	struct fx *fx = *state;
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip(); /* all other tests do this */
	assert_int_equal(chown(fx->dir, 65534, 65534), 0);
	pid = fork();
	if (pid == 0)
		_exit(use_as_nobody(fx->dir, fx_path(fx, "fuse")));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
#define U(name) cmocka_unit_test_setup_teardown(name, fx_setup_unmounted, fx_teardown)
#define M(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)
	const struct CMUnitTest tests[] = {
		U(start__covers_and_stop_uncovers),
		U(start__names_the_cause),
		M(start__refuses_a_second_mount),
		U(start__at_another_place_shows_the_workspace_there),
		U(stop__of_a_busy_mount_detaches_it),
		M(unmount__by_somebody_is_told_once),
		U(stop__does_not_tell_the_end),
		U(stop__reports_what_was_closed_just_before),
		U(kill__leaves_no_mount),
		U(guard__leaves_other_mounts_alone),
		U(heal__detaches_a_dead_mount),
		U(start__heals_a_dead_mount),
		M(heal__leaves_a_living_mount),
		U(stop__leaves_no_process_and_no_descriptor),
		U(start__works_for_an_ordinary_user),
	};
#undef U
#undef M

	fx_skip_without_fuse();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
