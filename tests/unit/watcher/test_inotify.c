/* test_inotify.c: watches over a tree that changes faster than they are set, and what is lost. */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/watcher/content_rig.h"
#include "watcher/workspace_internal.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <cmocka.h>

#define QUEUED_EVENTS "/proc/sys/fs/inotify/max_queued_events"

static void watch__finds_directories_that_are_made_faster_than_watches(void **state)
{
	char path[256];

	(void)state;
	for (int round = 0; round < 50; round++) {
		int len = snprintf(path, sizeof(path), "r%d", round);

		rig_mkdir(&rig, path);
		for (int depth = 0; depth < 8; depth++) {
			len += snprintf(path + len, sizeof(path) - (size_t)len, "/d%d", depth);
			rig_mkdir(&rig, path);
			if (depth % 3 == round % 3)
				(void)rig_take(&rig);
		}
		(void)snprintf(path + len, sizeof(path) - (size_t)len, "/leaf");
		rig_write(&rig, path, "leaf");
	}
	(void)rig_settle(&rig);
	rig_check(&rig);
	assert_int_equal(lp_watch_count(rig.watch), 1 + 50 * 9);
	rig_write(&rig, "r49/d0/d1/d2/d3/d4/d5/d6/d7/leaf", "again");
	assert_string_equal(rig_settle(&rig), "PUT r49/d0/d1/d2/d3/d4/d5/d6/d7/leaf\n");
	for (int round = 0; round < 50; round++) {
		(void)snprintf(path, sizeof(path), "r%d", round);
		rig_remove(&rig, path);
	}
	(void)rig_settle(&rig);
	rig_check(&rig);
	assert_int_equal(lp_watch_count(rig.watch), 1);
}

static void watch__leaves_the_working_directory_alone(void **state)
{
	struct stat before, after;

	(void)state;
	assert_int_equal(stat(".", &before), 0);
	rig_mkdir(&rig, "a");
	rig_mkdir(&rig, "a/b");
	(void)rig_settle(&rig);
	assert_int_equal(lp_watch_count(rig.watch), 3);
	assert_int_equal(stat(".", &after), 0);
	assert_int_equal(before.st_dev, after.st_dev);
	assert_int_equal(before.st_ino, after.st_ino);
	rig_write(&rig, "a/b/f", "seen");
	assert_string_equal(rig_settle(&rig), "PUT a/b/f\n");
}

/* The watch is set while the directory has its first name; what follows knows the last one. */
static void watch__follows_a_directory_that_moves_while_it_is_watched(void **state)
{
	(void)state;
	rig_mkdir(&rig, "a");
	rig_mkdir(&rig, "a/b");
	(void)rig_take(&rig);
	rig_rename(&rig, "a", "c");
	rig_mkdir(&rig, "a"); /* another one with the old name */
	rig_mkdir(&rig, "a/b");
	rig_write(&rig, "c/b/f", "f");
	rig_write(&rig, "a/b/g", "g");
	(void)rig_settle(&rig);
	rig_check(&rig);
	rig_write(&rig, "c/b/f", "f2");
	rig_write(&rig, "a/b/g", "g2");
	assert_string_equal(rig_settle(&rig), "PUT a/b/g\nPUT c/b/f\n");
	assert_int_equal(lp_watch_count(rig.watch), 5);
}

static void watch__takes_in_what_comes_from_outside(void **state)
{
	struct rig outside;
	char from[160], to[160];

	(void)state;
	rig_open(&outside, false);
	rig_mkdir(&outside, "d");
	rig_mkdir(&outside, "d/e");
	rig_write(&outside, "d/e/f", "f");
	(void)snprintf(from, sizeof(from), "%s/d", outside.dir);
	(void)snprintf(to, sizeof(to), "%s/in", rig.dir);
	assert_int_equal(rename(from, to), 0);
	assert_string_equal(rig_settle(&rig), "PUT in\nPUT in/e\nPUT in/e/f\n");
	rig_write(&rig, "in/e/f", "g");
	assert_string_equal(rig_settle(&rig), "PUT in/e/f\n");
	/* Out again: its watches go with it. */
	assert_int_equal(rename(to, from), 0);
	assert_string_equal(rig_settle(&rig), "DELETE in\n");
	rig_write(&outside, "d/e/f", "unseen");
	assert_string_equal(rig_settle(&rig), "");
	assert_int_equal(lp_watch_count(rig.watch), 1);
	rig_close(&outside);
}

static void watch__sees_hard_links(void **state)
{
	char from[96], to[96];

	(void)state;
	rig_write(&rig, "f", "one");
	(void)rig_settle(&rig);
	(void)snprintf(from, sizeof(from), "%s/f", rig.dir);
	(void)snprintf(to, sizeof(to), "%s/g", rig.dir);
	assert_int_equal(link(from, to), 0);
	assert_string_equal(rig_settle(&rig), "PUT g\n");
	rig_remove(&rig, "f");
	assert_string_equal(rig_settle(&rig), "DELETE f\n");
	rig_check(&rig);
}

static void set_queued_events(const char *text)
{
	LP_AUTO_CLOSE int fd = open(QUEUED_EVENTS, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(lp_write_all(fd, text, strlen(text)), 0);
}

/* More events than the kernel keeps, among them moves of watched directories. */
static void watch__overflow_leads_to_the_truth(void **state)
{
	char before[32], path[64];
	struct rig small;

	(void)state;
	if (access(QUEUED_EVENTS, W_OK) < 0)
		skip();
	(void)snprintf(before, sizeof(before), "%llu",
		       (unsigned long long)lp_watch_limit("max_queued_events"));
	set_queued_events("16");
	rig_open(&small, true);
	set_queued_events(before);
	rig_mkdir(&small, "a");
	rig_mkdir(&small, "a/b");
	rig_write(&small, "a/b/f", "f");
	(void)rig_settle(&small);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(path, sizeof(path), "f%d", i);
		rig_write(&small, path, path);
	}
	rig_rename(&small, "a", "c");
	rig_mkdir(&small, "a");
	rig_write(&small, "a/new", "n");
	(void)rig_settle(&small);
	rig_check(&small);
	rig_write(&small, "c/b/f", "again");
	rig_write(&small, "a/new", "again");
	assert_string_equal(rig_settle(&small), "PUT a/new\nPUT c/b/f\n");
	rig_close(&small);
}

static void watch__tells_when_the_root_is_gone(void **state)
{
	char away[96];

	(void)state;
	(void)snprintf(away, sizeof(away), "%s.away", rig.dir);
	assert_int_equal(rename(rig.dir, away), 0);
	lp_watch_drain(rig.watch);
	assert_int_equal(rig.n_root_gone, 1);
	assert_int_equal(rename(away, rig.dir), 0);
	rig_remove(&rig, "");
	lp_watch_drain(rig.watch);
	assert_true(rig.n_root_gone >= 2);
	(void)rig_take(&rig); /* harmless */
}

static void scan__reads_five_thousand_files(void **state)
{
	struct rig large;
	char path[64];

	(void)state;
	rig_open(&large, false);
	for (int i = 0; i < 5000; i++) {
		if (i % 100 == 0) {
			(void)snprintf(path, sizeof(path), "d%d", i / 100);
			rig_mkdir(&large, path);
		}
		(void)snprintf(path, sizeof(path), "d%d/f%d", i / 100, i);
		rig_write(&large, path, path);
	}
	rig_scan(&large);
	rig_check(&large);
	assert_int_equal(large.n_dirs, 51);
	assert_string_equal(rig_settle(&large), "");
	rig_write(&large, "d49/f4999", "changed");
	assert_string_equal(rig_settle(&large), "PUT d49/f4999\n");
	rig_close(&large);
}

/* The number of the rig's inotify instance. */
static int inotify_fd(void)
{
	char path[64], target[64];

	for (int fd = 0; fd < 1024; fd++) {
		ssize_t n;

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		if (strcmp(target, "anon_inode:inotify") == 0)
			return fd;
	}
	fail_msg("there is no inotify instance");
	return -1;
}

/* What the kernel would queue for an entry of the root, whose watch was the first. */
static void queue_event(int fd, uint32_t mask, uint32_t cookie, const char *name)
{
	_Alignas(struct inotify_event) char bytes[sizeof(struct inotify_event) + 16] = {0};
	struct inotify_event *ev = (void *)bytes;

	*ev = (struct inotify_event){.wd = 1, .mask = mask, .cookie = cookie, .len = 16};
	memcpy(ev->name, name, strlen(name));
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
}

/* Whoever renames may be put aside between the two halves of a move. The name that was given up
 * then waits for the file that is made in its place all the same. */
static void watch__knows_a_move_whose_halves_come_late(void **state)
{
	const struct lp_dirty *left;
	int fds[2];

	(void)state;
	rig_write(&rig, "f", "old");
	assert_string_equal(rig_settle(&rig), "PUT f\n");
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	assert_true(dup3(fds[0], inotify_fd(), O_CLOEXEC) >= 0);
	rig_rename(&rig, "f", "f~");
	queue_event(fds[1], IN_MOVED_FROM, 7, "f");
	lp_watch_drain(rig.watch);
	left = lp_map_get(&rig.ws->dirty, "f");
	assert_true(left && !left->replaced);
	queue_event(fds[1], IN_MOVED_TO, 7, "f~");
	lp_watch_drain(rig.watch);
	left = lp_map_get(&rig.ws->dirty, "f");
	assert_true(left && left->replaced);
	rig_write(&rig, "f", "new");
	queue_event(fds[1], IN_CLOSE_WRITE, 0, "f");
	assert_string_equal(rig_settle(&rig), "PUT f\n");
	assert_int_equal(close(fds[0]), 0);
	assert_int_equal(close(fds[1]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			watch__finds_directories_that_are_made_faster_than_watches,
			content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(
			watch__follows_a_directory_that_moves_while_it_is_watched,
			content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(watch__leaves_the_working_directory_alone,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(watch__takes_in_what_comes_from_outside,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(watch__sees_hard_links, content_rig_set_up_scanned,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(watch__tells_when_the_root_is_gone,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test(watch__overflow_leads_to_the_truth),
		cmocka_unit_test(scan__reads_five_thousand_files),
		cmocka_unit_test_setup_teardown(watch__knows_a_move_whose_halves_come_late,
						content_rig_set_up_scanned, content_rig_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
