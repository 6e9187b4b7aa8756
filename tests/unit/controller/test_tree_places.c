/* test_tree_places.c: places where nothing can be put: a full disk, what is mounted inside the
 * tree, immutable files, sticky directories of another owner. Each is told with path and cause, the
 * old state stays, and what can be applied is, later. In mounts of its own, where that is allowed.
 */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/controller/tree_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/fs.h>

#define NOBODY 65534

static bool may_mount;

static bool write_text(const char *path, const char *text)
{
	LP_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && lp_write_all(fd, text, strlen(text)) == 0;
}

/* Mounts that nobody else sees, and that go with the process. An ordinary user is root of a user
 * namespace for that, where the kernel lets him. */
static bool enter_namespace(void)
{
	LP_AUTO_FREE char *uids = lp_xasprintf("0 %u 1", (unsigned)geteuid());
	LP_AUTO_FREE char *gids = lp_xasprintf("0 %u 1", (unsigned)getegid());

	if (geteuid() == 0) {
		if (unshare(CLONE_NEWNS) < 0)
			return false;
	} else if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 ||
		   !write_text("/proc/self/setgroups", "deny") ||
		   !write_text("/proc/self/uid_map", uids) ||
		   !write_text("/proc/self/gid_map", gids)) {
		return false;
	}
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static void need_mounts(void)
{
	if (may_mount)
		return;
	print_message("skipped: this user may not mount anything here\n");
	skip();
}

static char *in_tree(const struct rig *r, const char *path)
{
	return lp_xasprintf("%s/%s", r->dir, path);
}

static void mount_tmpfs(const char *at, const char *options)
{
	if (mount("none", at, "tmpfs", 0, options) < 0)
		fail_msg("cannot mount at %s: %s", at, strerror(errno));
}

static void unmount(const struct rig *r, const char *path)
{
	LP_AUTO_FREE char *at = in_tree(r, path);

	assert_int_equal(umount2(at, MNT_DETACH), 0);
}

/* Something of the tree that is mounted over itself. */
static void mount_self(const struct rig *r, const char *path, unsigned long flags)
{
	LP_AUTO_FREE char *at = in_tree(r, path);

	assert_int_equal(mount(at, at, NULL, MS_BIND, NULL), 0);
	if (flags)
		assert_int_equal(mount(NULL, at, NULL, MS_BIND | MS_REMOUNT | flags, NULL), 0);
}

/* Until there is no room for one byte more. */
static void fill(const struct rig *r)
{
	static const char page[4096];
	LP_AUTO_FREE char *path = in_tree(r, "fill");
	LP_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	while (write(fd, page, sizeof(page)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
}

static void append_garbage(const struct rig *r)
{
	LP_AUTO_FREE char *path = in_tree(r, LP_STATE_DIR "/owned");
	LP_AUTO_CLOSE int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(lp_write_all(fd, "garbage", 7), 0);
}

static void expect_old_log(struct rig *r)
{
	struct lp_err why = {0};

	assert_true(lp_tree_log_is_old(r->tree, &why));
	assert_non_null(strstr(why.msg, LP_STATE_DIR "/owned"));
	assert_non_null(strstr(why.msg, strerror(ENOSPC)));
}

/* A disk of its own that is full when the controller starts again. torn: the end of the log cannot
 * be read. */
static void start_on_full_disk(bool torn)
{
	struct rig r = {.dir = "/tmp/livepush-tree-XXXXXX"};
	struct lp_digest root, now;

	assert_non_null(mkdtemp(r.dir));
	mount_tmpfs(r.dir, "size=1m,mode=755");
	assert_int_equal(lp_tree_open(&r.tree, r.dir, &r.err), 0);
	assert_int_equal(RIG_APPLY(&r, op_file("f", "f", 0644), op_dir("d", 0755),
				   op_file("d/g", "g", 0644)),
			 0);
	root = lp_tree_root(r.tree);
	assert_int_equal(RIG_APPLY(&r, op_file("gone", "gone", 0644)), 0);
	lp_tree_close(r.tree);
	r.tree = NULL;
	/* What is kept for taking back would be given up first. */
	app_remove(&r, LP_STATE_DIR "/undo");
	app_remove(&r, "gone");
	if (torn)
		append_garbage(&r);
	fill(&r);

	if (lp_tree_open(&r.tree, r.dir, &r.err) < 0)
		fail_msg("%s", r.err.msg);
	expect_old_log(&r);
	now = lp_tree_root(r.tree);
	assert_memory_equal(&now, &root, sizeof(root));
	assert_int_equal(lp_tree_revision(r.tree), 2);
	assert_int_equal(RIG_APPLY(&r, op_file("f", "new", 0644)), -ENOSPC);
	assert_non_null(strstr(r.err.msg, strerror(ENOSPC)));
	assert_string_equal(app_reads(&r, "f"), "f");
	expect_old_log(&r);

	app_remove(&r, "fill");
	lp_tree_tidy(r.tree);
	assert_false(lp_tree_log_is_old(r.tree, NULL));
	assert_int_equal(RIG_APPLY(&r, op_file("f", "new", 0644)), 0);
	root = lp_tree_root(r.tree);
	rig_reopen(&r);
	assert_false(lp_tree_log_is_old(r.tree, NULL));
	assert_int_equal(lp_tree_unread(r.tree), 0);
	now = lp_tree_root(r.tree);
	assert_memory_equal(&now, &root, sizeof(root));
	assert_int_equal(lp_tree_revision(r.tree), 3);
	unmount(&r, "");
	rig_close(&r);
}

static void open__starts_on_a_full_disk(void **state)
{
	(void)state;
	need_mounts();
	start_on_full_disk(false);
	start_on_full_disk(true);
}

/* What is applied while the log could not be written anew is in the old one. */
static void commit__goes_on_with_the_old_log(void **state)
{
	struct rig r = {.dir = "/tmp/livepush-tree-XXXXXX"};

	(void)state;
	need_mounts();
	assert_non_null(mkdtemp(r.dir));
	mount_tmpfs(r.dir, "size=1m,mode=755");
	assert_int_equal(lp_tree_open(&r.tree, r.dir, &r.err), 0);
	assert_int_equal(RIG_APPLY(&r, op_file("f", "f", 0644)), 0);
	lp_tree_close(r.tree);
	r.tree = NULL;
	app_remove(&r, LP_STATE_DIR "/undo");
	append_garbage(&r);
	fill(&r);
	assert_int_equal(lp_tree_open(&r.tree, r.dir, &r.err), 0);
	expect_old_log(&r);
	app_remove(&r, "fill");
	lp_tree_begin(r.tree);
	{
		const struct lp_wire_op op = op_file("f", "new", 0644);
		struct lp_applied done;

		assert_int_equal(lp_tree_op(r.tree, &op, &r.err), 0);
		assert_int_equal(lp_tree_commit(r.tree, 2, &done, &r.err), 0);
		lp_applied_finish(&done);
	}
	expect_old_log(&r);
	rig_reopen(&r);
	assert_int_equal(lp_tree_revision(r.tree), 2);
	assert_int_equal(lp_tree_unread(r.tree), 0);
	assert_string_equal(rig_list(&r, ""), "f file 644 o\n");
	unmount(&r, "");
	rig_close(&r);
}

static void set_up_tree(struct rig *r)
{
	rig_open(r);
	assert_int_equal(RIG_APPLY(r, op_dir("d", 0755), op_file("d/f", "old", 0644),
				   op_file("g", "old", 0644)),
			 0);
}

/* An operation that cannot be done, with one that can: nothing of both, told with path and cause;
 * the second time what can be; and all when the obstacle is gone. */
static void expect_held_up(struct rig *r, struct lp_wire_op op, int error, const char *cause)
{
	for (int i = 0; i < 2; i++) {
		LP_AUTO_FREE char *path = lp_xstrndup((const char *)op.path.p, op.path.len);

		assert_int_equal(RIG_APPLY(r, op, op_file("g", "new", 0644)), error);
		if (!strstr(r->err.msg, path) || !strstr(r->err.msg, cause))
			fail_msg("'%s' does not say '%s'", r->err.msg, cause);
		assert_string_equal(app_reads(r, "g"), i == 0 ? "old" : "new");
		assert_false(lp_tree_owes(r->tree, NULL));
		assert_int_equal(lp_tree_revision(r->tree), 1);
	}
}

static void expect_applied(struct rig *r, struct lp_wire_op op)
{
	if (RIG_APPLY(r, op, op_file("g", "new", 0644)) < 0)
		fail_msg("%s", r->err.msg);
	assert_int_equal(lp_tree_revision(r->tree), 2);
}

static void commit__tells_of_what_is_mounted(void **state)
{
	const struct {
		const char *at;
		bool tmpfs;
		unsigned long flags;
		struct lp_wire_op op;
		int error;
		const char *cause;
	} cases[] = {
		{"d", true, 0, op_file("d/f", "new", 0644), -EXDEV, "is mounted"},
		{"d", false, 0, op_file("d/f", "new", 0644), -EXDEV, "is mounted"},
		{"d", false, MS_RDONLY, op_file("d/f", "new", 0644), -EXDEV, "is mounted"},
		{"d", false, MS_RDONLY, op_file("d/new", "new", 0644), -EXDEV, "is mounted"},
		{"d", false, MS_RDONLY, op_dir("d/new", 0755), -EXDEV, "is mounted"},
		{"d", false, MS_RDONLY, op_delete("d/f"), -EXDEV, "is mounted"},
		{"d", false, MS_RDONLY, op_keep("d/f", "old", 0755), -EROFS, "Read-only"},
		{"d", false, 0, op_delete("d"), -EBUSY, "is mounted"},
		{"d/f", false, 0, op_file("d/f", "new", 0644), -EBUSY, "is mounted"},
		{"d/f", false, MS_RDONLY, op_file("d/f", "new", 0644), -EBUSY, "is mounted"},
		{"d/f", false, 0, op_delete("d/f"), -EBUSY, "is mounted"},
	};

	(void)state;
	need_mounts();
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		LP_AUTO_FREE char *at = NULL;
		struct rig r;

		print_message("%zu: %s\n", i, cases[i].at);
		set_up_tree(&r);
		at = in_tree(&r, cases[i].at);
		if (cases[i].tmpfs)
			mount_tmpfs(at, "size=1m");
		else
			mount_self(&r, cases[i].at, cases[i].flags);
		expect_held_up(&r, cases[i].op, cases[i].error, cases[i].cause);
		if (!cases[i].tmpfs)
			assert_string_equal(app_reads(&r, "d/f"), "old");
		unmount(&r, cases[i].at);
		assert_string_equal(app_reads(&r, "d/f"), "old");
		expect_applied(&r, cases[i].op);
		rig_close(&r);
	}
}

/* chattr +i or -i; false: not here. */
static bool set_immutable(const struct rig *r, const char *path, bool on)
{
	LP_AUTO_FREE char *full = in_tree(r, path);
	LP_AUTO_CLOSE int fd = open(full, O_RDONLY | O_CLOEXEC);
	int flags = 0;

	assert_true(fd >= 0);
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return false;
	flags = on ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}

static void commit__tells_of_what_is_immutable(void **state)
{
	const struct {
		const char *at;
		struct lp_wire_op op;
	} cases[] = {
		{"d/f", op_file("d/f", "new", 0644)},
		{"d/f", op_delete("d/f")},
		{"d/f", op_keep("d/f", "old", 0755)},
		{"d", op_file("d/f", "new", 0644)},
		{"d", op_file("d/new", "new", 0644)},
		{"d", op_dir("d/new", 0755)},
		{"d", op_delete("d/f")},
		{"d", op_delete("d")},
	};
	bool is_possible = true;

	(void)state;
	for (size_t i = 0; is_possible && i < LP_COUNT_OF(cases); i++) {
		struct rig r;

		set_up_tree(&r);
		is_possible = set_immutable(&r, cases[i].at, true);
		if (is_possible) {
			print_message("%zu: %s\n", i, cases[i].at);
			expect_held_up(&r, cases[i].op, -EPERM, "immutable");
			assert_string_equal(app_reads(&r, "d/f"), "old");
			assert_true(set_immutable(&r, cases[i].at, false));
			expect_applied(&r, cases[i].op);
		}
		rig_close(&r);
	}
	if (!is_possible) {
		print_message("skipped: files in /tmp cannot be made immutable by this user\n");
		skip();
	}
}

static int as_nobody(struct rig *r)
{
	if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
		return 1;
	if (lp_tree_open(&r->tree, r->dir, &r->err) < 0)
		return 2;
	expect_held_up(r, op_file("d/f", "new", 0644), -EPERM, "sticky");
	if (strcmp(app_reads(r, "d/f"), "old") != 0)
		return 3;
	lp_tree_close(r->tree);
	return 0;
}

static void give(const struct rig *r, const char *path, uid_t uid)
{
	LP_AUTO_FREE char *full = in_tree(r, path);

	assert_int_equal(chown(full, uid, uid), 0);
}

static void commit__tells_of_a_sticky_directory(void **state)
{
	static const char *const ours[] = {"",
					   "g",
					   LP_STATE_DIR,
					   LP_STATE_DIR "/owned",
					   LP_STATE_DIR "/undo",
					   LP_STATE_DIR "/undo/1",
					   LP_STATE_DIR "/undo/1/journal",
					   LP_STATE_DIR "/stage"};
	LP_AUTO_FREE char *dir = NULL;
	struct rig r;
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: only root can be two users\n");
		skip();
	}
	set_up_tree(&r);
	lp_tree_close(r.tree);
	r.tree = NULL;
	for (size_t i = 0; i < LP_COUNT_OF(ours); i++)
		give(&r, ours[i], NOBODY);
	dir = in_tree(&r, "d");
	assert_int_equal(chmod(dir, 01777), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(as_nobody(&r));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(lp_tree_open(&r.tree, r.dir, &r.err), 0);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open__starts_on_a_full_disk),
		cmocka_unit_test(commit__goes_on_with_the_old_log),
		cmocka_unit_test(commit__tells_of_what_is_mounted),
		cmocka_unit_test(commit__tells_of_what_is_immutable),
		cmocka_unit_test(commit__tells_of_a_sticky_directory),
	};

	may_mount = enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
