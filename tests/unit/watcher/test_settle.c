/* test_settle.c: what editors and tools do when they save, replayed as their system calls, with a
 * take after each of them: one change at the end, and nothing before it. And files that stay open.
 */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "tests/unit/watcher/content_rig.h"
#include "watcher/workspace_internal.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static int set_up(void **state)
{
	(void)content_rig_set_up_scanned(state);
	rig_write(&rig, "x.c", "old");
	(void)rig_settle(&rig);
	return 0;
}

/* Of a save that is one change only when it takes no longer than that. */
#define BRISK_US  5000u
#define WITHIN_US 50000u

/* One call of a save, and the file's content at its end. */
struct step {
	enum { CREATE, WRITE, CLOSE, RENAME, UNLINK, CHMOD, TRUNCATE } call;
	const char *path;
	const char *to; /* RENAME */
};

static void do_step(const struct step *step, int *fd)
{
	switch (step->call) {
	case CREATE:
		*fd = rig_open_file(&rig, step->path, O_WRONLY | O_CREAT | O_EXCL);
		break;
	case TRUNCATE:
		*fd = rig_open_file(&rig, step->path, O_WRONLY | O_TRUNC);
		break;
	case WRITE:
		assert_int_equal(lp_write_all(*fd, "new", 3), 0);
		break;
	case CLOSE:
		assert_int_equal(close(*fd), 0);
		break;
	case RENAME:
		rig_rename(&rig, step->path, step->to);
		break;
	case UNLINK:
		rig_remove(&rig, step->path);
		break;
	case CHMOD:
		rig_chmod(&rig, step->path, 0644);
		break;
	}
}

static const struct {
	const char *name;
	struct step steps[12];
	size_t n;
	unsigned slow_us; /* between the steps */
} saves[] = {
	{"vim, backupcopy=no",
	 {{CREATE, "4913", 0},
	  {CLOSE, 0, 0},
	  {UNLINK, "4913", 0},
	  {RENAME, "x.c", "x.c~"},
	  {CREATE, "x.c", 0},
	  {WRITE, 0, 0},
	  {CLOSE, 0, 0},
	  {CHMOD, "x.c", 0},
	  {UNLINK, "x.c~", 0}},
	 9,
	 0},
	{"vim, backupcopy=yes",
	 {{CREATE, "x.c~", 0},
	  {WRITE, 0, 0},
	  {CLOSE, 0, 0},
	  {TRUNCATE, "x.c", 0},
	  {WRITE, 0, 0},
	  {CLOSE, 0, 0},
	  {CHMOD, "x.c", 0},
	  {UNLINK, "x.c~", 0}},
	 8,
	 0},
	{"a backup of another name, slowly",
	 {{RENAME, "x.c", "x.c.orig"},
	  {CREATE, "x.c", 0},
	  {WRITE, 0, 0},
	  {CLOSE, 0, 0},
	  {UNLINK, "x.c.orig", 0}},
	 5,
	 BRISK_US},
	{"JetBrains",
	 {{CREATE, "x.c___jb_tmp___", 0},
	  {WRITE, 0, 0},
	  {CLOSE, 0, 0},
	  {RENAME, "x.c", "x.c___jb_old___"},
	  {RENAME, "x.c___jb_tmp___", "x.c"},
	  {UNLINK, "x.c___jb_old___", 0}},
	 6,
	 0},
	{"sed -i",
	 {{CREATE, "sedKq81aZ", 0},
	  {WRITE, 0, 0},
	  {CHMOD, "sedKq81aZ", 0},
	  {CLOSE, 0, 0},
	  {RENAME, "sedKq81aZ", "x.c"}},
	 5,
	 10000},
	{"rsync",
	 {{CREATE, ".x.c.AbC123", 0},
	  {WRITE, 0, 0},
	  {CLOSE, 0, 0},
	  {CHMOD, ".x.c.AbC123", 0},
	  {RENAME, ".x.c.AbC123", "x.c"}},
	 5,
	 10000},
	{"Python's atomicwrites",
	 {{CREATE, "tmp8x_ab2cd", 0}, {WRITE, 0, 0}, {CLOSE, 0, 0}, {RENAME, "tmp8x_ab2cd", "x.c"}},
	 4,
	 10000},
	{"a safe write beside",
	 {{CREATE, "x.c.17.new", 0}, {WRITE, 0, 0}, {CLOSE, 0, 0}, {RENAME, "x.c.17.new", "x.c"}},
	 4,
	 10000},
	{"unlink and create",
	 {{UNLINK, "x.c", 0}, {CREATE, "x.c", 0}, {WRITE, 0, 0}, {CLOSE, 0, 0}},
	 4,
	 0},
	{"truncate and write", {{TRUNCATE, "x.c", 0}, {WRITE, 0, 0}, {CLOSE, 0, 0}}, 3, 10000},
};

/* Makes save i. Returns how many changesets came of it; 0: the machine was too slow for it. */
static size_t make_save(size_t i)
{
	uint64_t began_us, took_us;
	size_t before, n;
	int fd = -1;

	rig_write(&rig, "x.c", "old");
	(void)rig_settle(&rig);
	before = rig.n_changesets;
	began_us = lp_now_us();
	for (size_t s = 0; s < saves[i].n; s++) {
		do_step(&saves[i].steps[s], &fd);
		(void)rig_take(&rig);
		if (saves[i].slow_us > 0)
			rig_run(&rig, (int)(saves[i].slow_us / 1000));
	}
	took_us = lp_now_us() - began_us;
	(void)rig_settle(&rig);
	rig_check(&rig);
	n = rig.n_changesets - before;
	return n != 1 && saves[i].slow_us == BRISK_US && took_us > WITHIN_US ? 0 : n;
}

static void take__sends_a_save_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(saves); i++) {
		uint64_t deadline_us = lp_now_us() + RIG_DEADLINE_US;
		size_t n;

		do
			n = make_save(i);
		while (n == 0 && lp_now_us() < deadline_us);
		if (n != 1)
			fail_msg("%s: %zu changesets, the last: %s", saves[i].name, n,
				 lp_buf_text(&rig.ops));
	}
}

/* What has such a name for good is there after a rest. */
static void take__sends_what_stays(void **state)
{
	uint64_t began_us = lp_now_us();

	(void)state;
	rig_write(&rig, "real.tmp", "r");
	rig_write(&rig, "x.c.bak", "b");
	assert_string_equal(rig_take(&rig), "");
	assert_true(lp_workspace_has_notes(rig.ws));
	assert_string_equal(rig_settle(&rig), "PUT x.c.bak\nPUT real.tmp\n");
	assert_true(lp_now_us() - began_us >= 1000000);
	assert_false(lp_workspace_has_notes(rig.ws));
	rig_check(&rig);
	/* Once it is known, it is a file like any other. */
	rig_write(&rig, "real.tmp", "again");
	assert_string_equal(rig_take(&rig), "PUT real.tmp\n");
	rig_rename(&rig, "x.c", "y.c");
	assert_string_equal(rig_take(&rig), "DELETE x.c\nPUT y.c\n"); /* certain at once */
	rig_check(&rig);
}

static void take__sends_deletions_together(void **state)
{
	char path[32];

	(void)state;
	for (int i = 0; i < 50; i++) {
		(void)snprintf(path, sizeof(path), "f%d", i);
		rig_write(&rig, path, path);
	}
	(void)rig_settle(&rig);
	for (int i = 0; i < 50; i++) {
		(void)snprintf(path, sizeof(path), "f%d", i);
		rig_remove(&rig, path);
		assert_string_equal(rig_take(&rig), "");
	}
	rig.n_changesets = 0;
	(void)rig_settle(&rig);
	assert_int_equal(rig.n_changesets, 1);
	rig_check(&rig);
}

/* Runs until a take has something, at most ms; how long that took. */
static uint64_t wait_for_take(int ms, const char *what)
{
	uint64_t began_us = lp_now_us();

	while (rig_take(&rig)[0] == '\0') {
		if (lp_now_us() - began_us > (uint64_t)ms * 1000)
			fail_msg("not within %d ms: %s", ms, what);
		rig_run(&rig, 5);
	}
	assert_string_equal(lp_buf_text(&rig.ops), what);
	return lp_now_us() - began_us;
}

static void append(int fd, const char *text)
{
	assert_int_equal(lp_write_all(fd, text, strlen(text)), 0);
}

static void held__sends_a_log_when_it_rests(void **state)
{
	int fd;

	(void)state;
	rig_write(&rig, "log", "one\n");
	(void)rig_settle(&rig);
	fd = rig_open_file(&rig, "log", O_WRONLY | O_APPEND);
	append(fd, "two\n");
	assert_string_equal(rig_take(&rig), "");
	assert_in_range(wait_for_take(5000, "PUT log\n"), 50000, 900000);
	rig_check(&rig);
	append(fd, "three\n");
	(void)wait_for_take(5000, "PUT log\n");
	rig_check(&rig);
	/* What was sent while it is open can be read to be sent again. */
	{
		LP_AUTO_CLOSE int again = lp_workspace_open_file(rig.ws, "log");

		assert_true(again >= 0);
	}
	assert_int_equal(close(fd), 0);
	assert_string_equal(rig_settle(&rig), "");
}

/* Without rest it goes out every second. */
static void held__sends_a_log_that_never_rests(void **state)
{
	static const char *const names[] = {"log", "new.log"};

	(void)state;
	rig_write(&rig, "log", "begin\n");
	(void)rig_settle(&rig);
	for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
		int fd = rig_open_file(&rig, names[i], O_WRONLY | O_APPEND | O_CREAT);
		uint64_t began_us = lp_now_us();
		unsigned puts = 0;

		while (puts < 2) {
			append(fd, "a line\n");
			rig_run(&rig, 20);
			puts += rig_take(&rig)[0] != '\0';
			assert_true(lp_now_us() - began_us < 10000000);
		}
		/* Not for every line. */
		assert_true(lp_now_us() - began_us >= 1100000);
		assert_int_equal(close(fd), 0);
		(void)rig_settle(&rig);
		rig_check(&rig);
	}
}

/* Nobody sees half of a file that is rewritten, or of a new one that is no text of lines. */
static void held__keeps_what_is_half_written(void **state)
{
	static const char *const names[] = {"x.c", "new.bin"};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
		int fd = rig_open_file(&rig, names[i], O_WRONLY | O_TRUNC | O_CREAT);
		uint64_t began_us = lp_now_us();

		while (lp_now_us() - began_us < 1500000) {
			append(fd, "part");
			rig_run(&rig, 150); /* longer than a log's rest */
			assert_string_equal(rig_take(&rig), "");
		}
		(void)wait_for_take(5000, i == 0 ? "PUT x.c\n" : "PUT new.bin\n");
		append(fd, "end");
		assert_int_equal(close(fd), 0);
		assert_string_equal(rig_settle(&rig), i == 0 ? "PUT x.c\n" : "PUT new.bin\n");
		rig_check(&rig);
	}
}

/* A write by one name is one by all. */
static void links__are_written_together(void **state)
{
	char from[96], to[96];

	(void)state;
	rig_mkdir(&rig, "d");
	(void)snprintf(from, sizeof(from), "%s/x.c", rig.dir);
	(void)snprintf(to, sizeof(to), "%s/d/other", rig.dir);
	assert_int_equal(link(from, to), 0);
	(void)rig_settle(&rig);
	rig_write(&rig, "d/other", "through the other name");
	(void)rig_settle(&rig);
	rig_check(&rig);
	rig_write(&rig, "x.c", "and back");
	(void)rig_settle(&rig);
	rig_check(&rig);
	/* By a name that is gone when it is looked at. */
	rig_write(&rig, "d/other", "last words");
	rig_remove(&rig, "d/other");
	(void)rig_settle(&rig);
	rig_check(&rig);
	assert_int_equal(link(from, to), 0);
	rig_write(&rig, "d/other", "by a new name");
	(void)rig_settle(&rig);
	rig_check(&rig);
	rig_remove(&rig, "x.c");
	rig_write(&rig, "d/other", "alone");
	(void)rig_settle(&rig);
	rig_check(&rig);
}

static struct lp_written written(uint64_t at, uint64_t len, uint64_t before, uint64_t after)
{
	struct lp_written w = {.before = {.ino = 1, .ctime_ns = (int64_t)before},
			       .after = {.ino = 1, .ctime_ns = (int64_t)after}};

	lp_ranges_add(&w.ranges, at, len);
	return w;
}

/* What FUSE says was written stays with the note, whatever inotify says of the same writes. */
static void note__joins_what_was_written(void **state)
{
	struct lp_written first = written(0, 10, 1, 2), second = written(100, 10, 2, 3),
			  other = written(50, 1, 7, 8);
	struct lp_event ev = {.kind = LP_EVENT_CHANGED, .path = "x.c", .at_us = lp_now_us()};
	const struct lp_dirty *d;

	(void)state;
	ev.written = &first;
	lp_workspace_note(rig.ws, &ev, true);
	ev.written = NULL;
	ev.kind = LP_EVENT_WRITING;
	lp_workspace_note(rig.ws, &ev, false);
	ev.kind = LP_EVENT_CLOSED;
	lp_workspace_note(rig.ws, &ev, false);
	ev.written = &second;
	lp_workspace_note(rig.ws, &ev, true);
	d = lp_map_get(&rig.ws->dirty, "x.c");
	assert_non_null(d);
	assert_non_null(d->written);
	assert_int_equal(d->written->ranges.n, 2);
	assert_int_equal(d->written->before.ctime_ns, 1);
	assert_int_equal(d->written->after.ctime_ns, 3);
	/* Somebody else wrote in between: the earlier part is of no use. */
	ev.written = &other;
	lp_workspace_note(rig.ws, &ev, true);
	assert_int_equal(d->written->ranges.n, 1);
	assert_int_equal(d->written->before.ctime_ns, 7);
	(void)rig_settle(&rig);
	rig_check(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(take__sends_a_save_once, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(take__sends_what_stays, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(take__sends_deletions_together, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(held__sends_a_log_when_it_rests, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(held__sends_a_log_that_never_rests, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(held__keeps_what_is_half_written, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(links__are_written_together, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(note__joins_what_was_written, set_up,
						content_rig_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
