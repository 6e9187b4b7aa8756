/* test_scan.c: reading whole trees in several threads, and large files beside the loop. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/watcher/scan_rig.h"
#include "watcher/settle.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define LARGE ((size_t)24 * 1024 * 1024)

static void scan__reads_all_of_a_tree(void **state)
{
	(void)state;
	scan_rig_make_many();
	rig_scan(&rig);
	scan_rig_remove_ignored(); /* what the rules leave out the check would find */
	assert_string_equal(rig_settle(&rig), "");
	rig_check(&rig);
	assert_int_equal(rig.n_dirs, 1 + 2 * MANY_DIRS);
	assert_int_equal(rig.notices.len, 0);
}

/* The rules of the configuration are there before the scan: it is not done twice for them. */
static void scan__is_done_once(void **state)
{
	char line[] = "/out";
	char *lines[] = {line};

	(void)state;
	rig_mkdir(&rig, "out");
	rig_mkdir(&rig, "in");
	assert_int_equal(lp_workspace_set_ignore(rig.ws, lines, 1), 0);
	rig_scan(&rig);
	assert_int_equal(rig.n_dirs, 2);
	assert_false(lp_workspace_has_notes(rig.ws));
	assert_string_equal(rig_settle(&rig), "");
	assert_int_equal(rig.n_dirs, 2);
	/* Later ones are heeded at once. */
	assert_int_equal(lp_workspace_set_ignore(rig.ws, lines, 0), 0);
	assert_string_equal(rig_settle(&rig), "PUT out\n");
	assert_int_equal(rig.n_dirs, 5);
}

/* What somebody does who does not care that he is watched, until he is killed. */
static void make_trouble(const char *dir)
{
	char path[128], other[128];

	for (unsigned i = 0;; i++) {
		int fd;

		(void)snprintf(path, sizeof(path), "%s/t%u", dir, i % 13);
		(void)snprintf(other, sizeof(other), "%s/t%u", dir, (i + 5) % 11);
		switch (i % 7) {
		case 0:
		case 1:
			(void)mkdir(path, 0755);
			break;
		case 2:
			(void)rename(path, other);
			break;
		case 3:
			(void)lp_remove_tree(AT_FDCWD, other);
			break;
		case 4:
			(void)symlink("t1", path);
			break;
		default:
			(void)snprintf(path, sizeof(path), "%s/t%u/f%u", dir, i % 13, i % 3);
			fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
			if (fd >= 0) {
				(void)!write(fd, path, i % 128);
				(void)close(fd);
			}
		}
	}
}

static void scan__bears_a_tree_that_changes(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	scan_rig_make_many();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		make_trouble(rig.dir);
	for (int i = 0; i < 20; i++) {
		struct session s;

		session_start(&s, false);
		session_end(&s);
	}
	rig_scan(&rig);
	for (int i = 0; i < 20; i++)
		(void)rig_take(&rig);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	(void)rig_settle(&rig);
	scan_rig_remove_ignored();
	(void)rig_settle(&rig);
	rig_check(&rig);
}

static struct lp_changeset *take_until_there(uint64_t deadline_us)
{
	struct lp_changeset *cs;

	for (;;) {
		lp_watch_drain(rig.watch);
		cs = lp_workspace_take(rig.ws);
		if (cs)
			return cs;
		assert_true(lp_now_us() < deadline_us);
		rig_run(&rig, 10);
	}
}

/* The changeset that holds the large file alone. */
static struct lp_changeset *take_large(void)
{
	struct lp_changeset *cs = take_until_there(lp_now_us() + RIG_DEADLINE_US);

	assert_int_equal(cs->n_ops, 1);
	assert_string_equal(cs->ops[0].path, "large");
	assert_int_equal(cs->ops[0].kind, LP_OP_PUT);
	assert_non_null(cs->ops[0].chunks);
	assert_null(cs->ops[0].blob);
	return cs;
}

static void take__does_not_wait_for_large_files(void **state)
{
	struct lp_changeset *cs;

	(void)state;
	rig_scan(&rig);
	scan_rig_write("large", LARGE, 1);
	rig_write(&rig, "small", "small");
	lp_watch_drain(rig.watch);
	cs = lp_workspace_take(rig.ws);
	assert_non_null(cs);
	assert_int_equal(cs->n_ops, 1);
	assert_string_equal(cs->ops[0].path, "small");
	lp_changeset_unref(cs);
	assert_true(lp_workspace_has_notes(rig.ws));
	assert_null(lp_workspace_take(rig.ws));
	cs = take_large();
	assert_int_equal(cs->ops[0].chunks->bytes, LARGE);
	assert_true(cs->ops[0].is_new);
	assert_null(cs->ops[0].base.chunks);
	assert_true(cs->saved_us > 0);
	lp_changeset_unref(cs);
	assert_false(lp_workspace_has_notes(rig.ws));
}

static void overwrite(const char *path, uint64_t at)
{
	int fd = rig_open_file(&rig, path, O_WRONLY);

	assert_int_equal(pwrite(fd, "overwritten", 11, (off_t)at), 11);
	assert_int_equal(close(fd), 0);
}

static void take__names_what_a_large_file_was(void **state)
{
	struct lp_changeset *cs;
	struct lp_digest first, second;

	(void)state;
	scan_rig_write("large", LARGE, 1);
	rig_scan(&rig);
	first = lp_index_get(lp_workspace_index(rig.ws), "large")->e.digest;
	overwrite("large", 5000000);
	cs = take_large();
	assert_true(lp_digest_equal(&cs->ops[0].base.digest, &first));
	assert_int_equal(cs->ops[0].base.chunks->bytes, LARGE);
	assert_true(cs->ops[0].base.in_place);
	second = cs->ops[0].e.digest;
	assert_false(lp_digest_equal(&first, &second));
	lp_changeset_unref(cs);
	/* Another file in its place. */
	scan_rig_write("beside", LARGE, 2);
	rig_rename(&rig, "beside", "large");
	cs = take_large();
	assert_true(lp_digest_equal(&cs->ops[0].base.digest, &second));
	assert_false(cs->ops[0].base.in_place);
	lp_changeset_unref(cs);
	/* With a second name elsewhere, writing into it is not the same as replacing it. */
	{
		LP_AUTO_FREE char *from = lp_xasprintf("%s/large", rig.dir);
		LP_AUTO_FREE char *to = lp_xasprintf("%s/name", state_home);

		assert_int_equal(link(from, to), 0);
	}
	overwrite("large", 7);
	cs = take_large();
	assert_non_null(cs->ops[0].base.chunks);
	assert_false(cs->ops[0].base.in_place);
	lp_changeset_unref(cs);
}

static void take__reads_only_what_was_written(void **state)
{
	struct lp_event ev = {.kind = LP_EVENT_CLOSED, .path = "large", .at_us = lp_now_us()};
	struct lp_written w = {0};
	uint64_t before;
	struct lp_changeset *cs;

	(void)state;
	scan_rig_write("large", LARGE, 1);
	rig_scan(&rig);
	w.before = *lp_node_sig(lp_index_get(lp_workspace_index(rig.ws), "large"));
	if (w.before.ctime_ns == 0)
		skip(); /* this file system's times are too coarse for that */
	overwrite("large", 9000000);
	lp_ranges_add(&w.ranges, 9000000, 11);
	{
		LP_AUTO_FREE char *path = lp_xasprintf("%s/large", rig.dir);
		struct stat st;

		assert_int_equal(stat(path, &st), 0);
		w.after = w.before;
		w.after.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
		w.after.ctime_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
	}
	ev.written = &w;
	before = content_rig_bytes_read();
	lp_workspace_note(rig.ws, &ev, true);
	cs = lp_workspace_take(rig.ws); /* at once */
	assert_true(content_rig_bytes_read() - before < 1000000);
	assert_non_null(cs);
	assert_int_equal(cs->n_ops, 1);
	assert_non_null(cs->ops[0].base.written);
	assert_int_equal(cs->ops[0].base.written->n, 1);
	assert_int_equal(cs->ops[0].base.written->r[0].at, 9000000);
	assert_true(cs->ops[0].base.in_place);
	lp_changeset_unref(cs);
	{
		struct session s;

		session_start(&s, false);
		assert_true(lp_digest_equal(
			&lp_index_get(lp_workspace_index(s.ws), "large")->e.digest,
			&lp_index_get(lp_workspace_index(rig.ws), "large")->e.digest));
		session_end(&s);
	}
}

/* It changes, goes away and comes back while it is read. */
static void take__starts_over_when_a_large_file_changes(void **state)
{
	(void)state;
	rig_scan(&rig);
	for (uint32_t i = 0; i < 12; i++) {
		scan_rig_write("large", LARGE / 4, i);
		(void)rig_take(&rig);
		switch (i % 4) {
		case 0:
			scan_rig_write("large", LARGE / 4 + i, i);
			break;
		case 1:
			rig_remove(&rig, "large");
			break;
		case 2:
			rig_rename(&rig, "large", "larger");
			break;
		default:
			rig_chmod(&rig, "large", 0600);
		}
		if (i % 3)
			(void)rig_take(&rig);
		(void)rig_settle(&rig);
		rig_check(&rig);
	}
	scan_rig_write("large", LARGE, 99);
	rig_write(&rig, ".gitignore", "large\n"); /* nobody wants it while it is read */
	(void)rig_settle(&rig);
	assert_null(lp_index_get(lp_workspace_index(rig.ws), "large"));
	rig_remove(&rig, "large");
	(void)rig_settle(&rig);
	rig_check(&rig);
	/* The session ends while something is read. */
	scan_rig_write("last", LARGE, 100);
	(void)rig_take(&rig);
}

static void pause_us(long us)
{
	const struct timespec pause = {.tv_nsec = us * 1000};

	(void)nanosleep(&pause, NULL);
}

/* A log that is written faster than it is read goes out all the same, and in the end as it is. */
static void take__keeps_up_with_a_large_log(void **state)
{
	uint64_t deadline_us = lp_now_us() + RIG_DEADLINE_US;
	unsigned n_taken = 0;
	int status;
	pid_t pid;

	(void)state;
	scan_rig_write("large", LARGE, 1);
	rig_scan(&rig);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = rig_open_file(&rig, "large", O_WRONLY | O_APPEND);

		for (unsigned i = 0; write(fd, &i, sizeof(i)) == sizeof(i); i++)
			pause_us(200);
		_exit(1);
	}
	while (n_taken < 2) {
		struct lp_changeset *cs;

		lp_watch_drain(rig.watch);
		cs = lp_workspace_take(rig.ws);
		if (cs) {
			assert_string_equal(cs->ops[0].path, "large");
			assert_true(cs->ops[0].e.size > LARGE);
			assert_int_equal(cs->ops[0].chunks->bytes, cs->ops[0].e.size);
			n_taken++;
		}
		lp_changeset_unref(cs);
		assert_true(lp_now_us() < deadline_us);
		rig_run(&rig, 10);
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	(void)rig_settle(&rig);
	{
		struct session s;

		session_start(&s, false);
		assert_true(lp_digest_equal(
			&lp_index_get(lp_workspace_index(s.ws), "large")->e.digest,
			&lp_index_get(lp_workspace_index(rig.ws), "large")->e.digest));
		session_end(&s);
	}
}

/* However much a log has grown by, one turn reads a bounded part of it, and all of it gets there.
 * Only when this process itself did not run for so long that its writer seemed to rest, the whole
 * is taken. */
static void take__takes_a_log_that_grew_by_much_in_parts(void **state)
{
	const size_t part = (size_t)4 * 1024 * 1024, len = 3 * part + 1;
	LP_AUTO_FREE uint8_t *bytes = content_rig_bytes(len, 7);
	uint64_t deadline_us = lp_now_us() + RIG_DEADLINE_US, size = LARGE;
	uint64_t before_us, now_us;
	LP_AUTO_CLOSE int fd = -1;
	unsigned n_taken = 0;
	bool late = false;

	(void)state;
	scan_rig_write("large", LARGE, 1);
	rig_scan(&rig);
	fd = rig_open_file(&rig, "large", O_WRONLY | O_APPEND);
	before_us = lp_now_us();
	assert_int_equal(lp_write_all(fd, bytes, len), 0);
	while (size < LARGE + len) {
		struct lp_changeset *cs;

		now_us = lp_now_us();
		lp_watch_drain(rig.watch);
		cs = lp_workspace_take(rig.ws);
		late |= lp_now_us() - before_us >= LP_HELD_REST_US;
		before_us = now_us;
		if (cs) {
			assert_string_equal(cs->ops[0].path, "large");
			assert_true(cs->ops[0].e.size > size);
			assert_true(late || cs->ops[0].e.size - size <= part);
			assert_int_equal(cs->ops[0].chunks->bytes, cs->ops[0].e.size);
			size = cs->ops[0].e.size;
			n_taken++;
		}
		lp_changeset_unref(cs);
		assert_true(lp_now_us() < deadline_us);
		rig_run(&rig, 10);
	}
	assert_true(late || n_taken == 4);
	lp_auto_close(&fd);
	(void)rig_settle(&rig);
	{
		struct session s;

		session_start(&s, false);
		assert_true(lp_digest_equal(
			&lp_index_get(lp_workspace_index(s.ws), "large")->e.digest,
			&lp_index_get(lp_workspace_index(rig.ws), "large")->e.digest));
		session_end(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(scan__is_done_once, scan_rig_set_up,
						scan_rig_tear_down),
		cmocka_unit_test_setup_teardown(scan__reads_all_of_a_tree, scan_rig_set_up,
						scan_rig_tear_down),
		cmocka_unit_test_setup_teardown(scan__bears_a_tree_that_changes, scan_rig_set_up,
						scan_rig_tear_down),
		cmocka_unit_test_setup_teardown(take__does_not_wait_for_large_files,
						scan_rig_set_up, scan_rig_tear_down),
		cmocka_unit_test_setup_teardown(take__names_what_a_large_file_was, scan_rig_set_up,
						scan_rig_tear_down),
		cmocka_unit_test_setup_teardown(take__reads_only_what_was_written, scan_rig_set_up,
						scan_rig_tear_down),
		cmocka_unit_test_setup_teardown(take__keeps_up_with_a_large_log, scan_rig_set_up,
						scan_rig_tear_down),
		cmocka_unit_test_setup_teardown(take__takes_a_log_that_grew_by_much_in_parts,
						scan_rig_set_up, scan_rig_tear_down),
		cmocka_unit_test_setup_teardown(take__starts_over_when_a_large_file_changes,
						scan_rig_set_up, scan_rig_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
