/* test_memory.c: what a session leaves on disk, and what the next one makes of it. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/loop/loop_internal.h"
#include "tests/unit/watcher/scan_rig.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static void restart__reads_only_what_changed(void **state)
{
	uint64_t first, again, before;
	struct session s;

	(void)state;
	scan_rig_make_many();
	before = content_rig_bytes_read();
	session_start(&s, true);
	(void)lp_workspace_index(s.ws); /* reads what has rested before the scan */
	first = content_rig_bytes_read() - before;
	session_end(&s);
	before = content_rig_bytes_read();
	session_start(&s, true);
	again = content_rig_bytes_read() - before;
	session_check(&s);
	session_end(&s);
	assert_true(first > 4000000);
	assert_true(again < first / 4); /* the index itself is most of it */
	rig_write(&rig, "d1/f2", "changed");
	rig_write(&rig, "new", "new");
	scan_rig_write("large", 400001, 3);
	rig_remove(&rig, "d2");
	rig_rename(&rig, "d3", "d3.moved");
	rig_chmod(&rig, "d4/f0", 0600);
	rig_remove(&rig, "link");
	session_start(&s, true);
	session_check(&s);
	assert_non_null(lp_index_get(lp_workspace_index(s.ws), "d3.moved/below/f1"));
	session_end(&s);
	session_start(&s, true);
	session_check(&s);
	assert_int_equal(s.notices.len, 0);
	session_end(&s);
}

/* Directories that are known are opened without another look. */
static void restart__sees_what_became_of_directories(void **state)
{
	struct session s;

	(void)state;
	scan_rig_make_many();
	session_start(&s, true);
	session_end(&s);
	rig_chmod(&rig, "d1", 0701);
	rig_chmod(&rig, "d2/below", 0750);
	rig_remove(&rig, "d3");
	rig_write(&rig, "d3", "a file");
	rig_remove(&rig, "d4/below");
	session_start(&s, true);
	session_check(&s);
	assert_int_equal(lp_index_get(lp_workspace_index(s.ws), "d1")->e.mode, 0701);
	assert_int_equal(lp_index_get(lp_workspace_index(s.ws), "d2/below")->e.mode, 0750);
	assert_int_equal(lp_index_get(lp_workspace_index(s.ws), "d3")->e.kind, LP_KIND_FILE);
	assert_null(lp_index_get(lp_workspace_index(s.ws), "d4/below"));
	assert_non_null(lp_index_get(lp_workspace_index(s.ws), "d2/below/f1"));
	session_end(&s);
}

/* The one file that is kept, open. */
static int open_kept(struct stat *st)
{
	LP_AUTO_FREE char *path = lp_xasprintf("%s/livepush", state_home);
	DIR *dir = opendir(path);
	struct dirent *e;
	int fd = -1;

	if (!dir)
		return -1;
	assert_int_equal(fstat(dirfd(dir), st), 0);
	assert_int_equal(st->st_mode & 0777, 0700);
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.' || !strstr(e->d_name, ".index"))
			continue;
		assert_int_equal(fd, -1);
		assert_null(strstr(e->d_name, ".new"));
		fd = openat(dirfd(dir), e->d_name, O_RDWR | O_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(fstat(fd, st), 0);
	}
	assert_int_equal(closedir(dir), 0);
	return fd;
}

enum damage { FLIP, CUT, EMPTY, OWNER, MODE, DAMAGE_COUNT };

static void damage_kept(enum damage damage)
{
	struct stat st;
	int fd = open_kept(&st);
	char c;

	assert_true(fd >= 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	switch (damage) {
	case FLIP:
		assert_int_equal(pread(fd, &c, 1, st.st_size / 2), 1);
		c ^= 1;
		assert_int_equal(pwrite(fd, &c, 1, st.st_size / 2), 1);
		break;
	case CUT:
		assert_int_equal(ftruncate(fd, st.st_size - 100), 0);
		break;
	case EMPTY:
		assert_int_equal(ftruncate(fd, 0), 0);
		break;
	case OWNER:
		if (geteuid() == 0)
			assert_int_equal(fchown(fd, 65534, 65534), 0);
		else
			assert_int_equal(fchmod(fd, 0666), 0);
		break;
	default:
		assert_int_equal(fchmod(fd, 0622), 0);
	}
	assert_int_equal(close(fd), 0);
}

static void restart__mends_damage(void **state)
{
	struct session s;

	(void)state;
	scan_rig_make_many();
	session_start(&s, true);
	session_end(&s);
	for (enum damage damage = FLIP; damage < DAMAGE_COUNT; damage++) {
		damage_kept(damage);
		session_start(&s, true);
		assert_non_null(strstr(lp_buf_text(&s.notices), "is not used: "));
		assert_ptr_equal(strchr(lp_buf_text(&s.notices), '\n'),
				 s.notices.data + s.notices.len - 1); /* one line */
		session_check(&s);
		session_end(&s);
		session_start(&s, true);
		assert_int_equal(s.notices.len, 0);
		session_end(&s);
	}
}

static void restart__does_without_a_state_directory(void **state)
{
	static const char *const homes[][2] = {
		{"/proc/none", "/proc/none"}, {"", ""}, {"relative", "/dev/null"}};
	const char *home = getenv("HOME");
	LP_AUTO_FREE char *kept = lp_xstrdup(home ? home : "/");
	struct session s;

	(void)state;
	rig_write(&rig, "f", "f");
	for (size_t i = 0; i < LP_COUNT_OF(homes); i++) {
		assert_int_equal(setenv("XDG_STATE_HOME", homes[i][0], 1), 0);
		assert_int_equal(setenv("HOME", homes[i][1], 1), 0);
		session_start(&s, true);
		session_check(&s);
		assert_int_equal(s.notices.len, 0);
		session_end(&s);
	}
	assert_int_equal(setenv("HOME", kept, 1), 0);
}

/* Files as of other workspaces that were used so many days ago; and one that is none of ours. */
static const struct {
	const char *name;
	time_t days;
	bool stays;
} others[] = {
	{"0123456789abcdef0123456789abcde0.index", 0, true},
	{"0123456789abcdef0123456789abcde1.index", 89, true},
	{"0123456789abcdef0123456789abcde2.index", 91, false},
	{"notes.index", 1000, true},
};

/* Makes them; returns the directory, owned. */
static char *make_others(void)
{
	char *dir = lp_xasprintf("%s/livepush", state_home);

	assert_int_equal(lp_mkdir_p(dir, 0700), 0);
	for (size_t i = 0; i < LP_COUNT_OF(others); i++) {
		LP_AUTO_FREE char *path = lp_xasprintf("%s/%s", dir, others[i].name);
		time_t at = (time_t)(lp_wall_us() / 1000000) - others[i].days * 24 * 3600;
		const struct timespec times[2] = {{.tv_sec = at}, {.tv_sec = at}};
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		assert_true(fd >= 0);
		assert_int_equal(futimens(fd, times), 0);
		assert_int_equal(close(fd), 0);
	}
	return dir;
}

/* Waits for the old ones to go, and removes those that stay. */
static void check_pruned(struct lp_loop *loop, const char *dir)
{
	uint64_t deadline_us = lp_now_us() + RIG_DEADLINE_US;

	for (size_t i = 0; i < LP_COUNT_OF(others); i++) {
		LP_AUTO_FREE char *path = lp_xasprintf("%s/%s", dir, others[i].name);

		while (!others[i].stays && access(path, F_OK) == 0) {
			assert_true(lp_now_us() < deadline_us);
			assert_int_equal(lp_loop_dispatch(loop, 100), 0);
		}
		if (others[i].stays)
			assert_int_equal(unlink(path), 0);
	}
}

/* A session that is killed loses little. */
static void remember__writes_while_it_runs(void **state)
{
	uint64_t deadline_us = lp_now_us() + RIG_DEADLINE_US, before, again;
	LP_AUTO_FREE char *dir = make_others();
	struct session s, next;
	struct stat st;
	int fd;

	(void)state;
	scan_rig_make_many();
	session_start(&s, true);
	check_pruned(s.loop, dir); /* that comes after the writing */
	while ((fd = open_kept(&st)) < 0) {
		assert_true(lp_now_us() < deadline_us);
		assert_int_equal(lp_loop_dispatch(s.loop, 1000), 0);
	}
	assert_int_equal(close(fd), 0);
	before = content_rig_bytes_read();
	session_start(&next, true);
	again = content_rig_bytes_read() - before;
	assert_true(again < 1500000);
	session_check(&next);
	session_end(&next);
	session_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(restart__reads_only_what_changed, scan_rig_set_up,
						scan_rig_tear_down),
		cmocka_unit_test_setup_teardown(restart__sees_what_became_of_directories,
						scan_rig_set_up, scan_rig_tear_down),
		cmocka_unit_test_setup_teardown(restart__mends_damage, scan_rig_set_up,
						scan_rig_tear_down),
		cmocka_unit_test_setup_teardown(restart__does_without_a_state_directory,
						scan_rig_set_up, scan_rig_tear_down),
		cmocka_unit_test_setup_teardown(remember__writes_while_it_runs, scan_rig_set_up,
						scan_rig_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
