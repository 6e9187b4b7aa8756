/* test_written.c: files that are left because somebody may be half through with them: whether that
 * is asked when somebody waits for all that was saved, and writers whom no lease shows. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/watcher/content_rig.h"
#include "watcher/workspace_internal.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#define LARGE_BYTES ((size_t)3 * 1024 * 1024)

static int set_up(void **state)
{
	(void)content_rig_set_up_scanned(state);
	rig_write(&rig, "f", "old");
	(void)rig_settle(&rig);
	return 0;
}

static const char *full(const char *path)
{
	static char out[128];

	(void)snprintf(out, sizeof(out), "%s/%s", rig.dir, path);
	return out;
}

/* Without its NUL, for which a mapping of its length has no room. */
static void put_text(char *map, const char *text)
{
	for (size_t i = 0; text[i]; i++)
		map[i] = text[i];
}

/* What somebody who asks for all that was saved gets at once. */
static void asked(const char *what)
{
	assert_string_equal(rig_take(&rig), "");
	assert_true(lp_workspace_has_notes(rig.ws));
	assert_string_equal(rig_take(&rig), what);
	assert_false(lp_workspace_has_notes(rig.ws));
	rig_check(&rig);
}

static void has_notes__asks_for_the_writer(void **state)
{
	char other[128];
	int fd;

	(void)state;
	assert_int_equal(truncate(full("f"), 1), 0);
	asked("PUT f\n");
	assert_int_equal(truncate(full("f"), 100), 0);
	asked("PUT f\n");
	/* A new name of a file that was open when it was looked at. */
	fd = rig_open_file(&rig, "f", O_WRONLY);
	(void)snprintf(other, sizeof(other), "%s", full("g"));
	assert_int_equal(link(full("f"), other), 0);
	assert_string_equal(rig_take(&rig), "");
	assert_false(lp_workspace_has_notes(rig.ws));
	assert_int_equal(close(fd), 0);
	asked("PUT g\n");
	/* Made without ever being open. */
	assert_int_equal(mknod(full("empty"), S_IFREG | 0644, 0), 0);
	asked("PUT empty\n");
}

/* It is not waited for a file that somebody keeps open. */
static void has_notes__does_not_count_open_files(void **state)
{
	int fd;

	(void)state;
	fd = rig_open_file(&rig, "f", O_WRONLY | O_TRUNC);
	assert_string_equal(rig_take(&rig), "");
	assert_false(lp_workspace_has_notes(rig.ws));
	assert_int_equal(lp_write_all(fd, "new", 3), 0);
	assert_string_equal(rig_take(&rig), "");
	assert_false(lp_workspace_has_notes(rig.ws));
	assert_int_equal(close(fd), 0);
	assert_string_equal(rig_take(&rig), "PUT f\n");
	rig_check(&rig);
}

static void note_closed(const char *path)
{
	const struct lp_event ev = {.kind = LP_EVENT_CLOSED, .path = path, .at_us = lp_now_us()};

	lp_workspace_note(rig.ws, &ev, true);
}

/* Lets what waits for a writer be over. */
static void end_waits(void)
{
	size_t at = 0;

	for (struct lp_wait *w; (w = lp_map_next(&rig.ws->waits, &at));) {
		w->last_us -= 5000000;
		w->due_us = 1;
	}
	lp_timer_set(rig.loop, &rig.ws->wait_timer, lp_now_us());
	rig_run(&rig, 20);
}

/* Runs until a take has that. */
static void await(const char *what)
{
	uint64_t deadline_us = lp_now_us() + RIG_DEADLINE_US;

	while (rig_take(&rig)[0] == '\0') {
		assert_true(lp_now_us() < deadline_us);
		rig_run(&rig, 5);
	}
	assert_string_equal(lp_buf_text(&rig.ops), what);
}

/* A file that is mapped moves its times with the first write to each page only: whoever read it
 * since then does not see by them that it was written again. */
static void mapped__is_read_again_when_it_is_closed(void **state)
{
	static const size_t sizes[] = {100, LARGE_BYTES};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
		int fd = rig_open_file(&rig, "m", O_RDWR | O_CREAT | O_TRUNC);
		char *map;

		assert_int_equal(ftruncate(fd, (off_t)sizes[i]), 0);
		map = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_true(map != MAP_FAILED);
		put_text(map, "first");
		assert_string_equal(rig_take(&rig), "");
		rig_run(&rig, 100); /* times move in ticks */
		end_waits();
		await("PUT m\n");
		put_text(map, "again");
		assert_int_equal(munmap(map, sizes[i]), 0);
		assert_int_equal(close(fd), 0);
		await("PUT m\n");
		rig_check(&rig);
	}
}

/* The same where it was read without a look at who has it open. */
static void mapped__is_read_again_when_it_is_small(void **state)
{
	int fd = rig_open_file(&rig, "f", O_RDWR);
	char *map = mmap(NULL, 3, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	(void)state;
	assert_true(map != MAP_FAILED);
	put_text(map, "new");
	rig_run(&rig, 100);
	note_closed("f");
	await("PUT f\n");
	put_text(map, "two");
	assert_int_equal(munmap(map, 3), 0);
	assert_int_equal(close(fd), 0);
	await("PUT f\n");
	rig_check(&rig);
}

/* Whatever brings the path up. */
static void written__is_left_until_it_is_closed(void **state)
{
	char other[128];

	(void)state;
	rig.written = "f";
	rig_write(&rig, "f", "half");
	assert_string_equal(rig_take(&rig), "");
	assert_false(lp_workspace_has_notes(rig.ws));
	assert_int_equal(lp_workspace_open_file(rig.ws, "f"), -EBUSY);
	/* An event of an earlier writer. */
	note_closed("f");
	assert_string_equal(rig_take(&rig), "");
	lp_workspace_dirty(rig.ws, LP_EVENT_SUBTREE, "");
	assert_string_equal(rig_take(&rig), "");
	rig_chmod(&rig, "f", 0600);
	assert_string_equal(rig_take(&rig), "");
	rig.written = NULL;
	note_closed("f");
	assert_string_equal(rig_take(&rig), "PUT f\n");
	rig_check(&rig);
	/* A new one, in a directory that is new. */
	rig.written = "d/new";
	rig_mkdir(&rig, "d");
	rig_write(&rig, "d/new", "half");
	assert_string_equal(rig_take(&rig), "PUT d\n");
	rig.written = "d/moved";
	rig_rename(&rig, "d/new", "d/moved");
	assert_string_equal(rig_take(&rig), "");
	rig.written = "d/linked";
	(void)snprintf(other, sizeof(other), "%s", full("d/linked"));
	assert_int_equal(link(full("d/moved"), other), 0);
	rig_remove(&rig, "d/moved");
	assert_string_equal(rig_take(&rig), "");
	rig.written = NULL;
	note_closed("d/linked");
	assert_string_equal(rig_settle(&rig), "PUT d/linked\n");
	rig_check(&rig);
}

/* Those who never close it are not waited for beyond a second of rest, however large it is. */
static void written__goes_out_when_it_rests(void **state)
{
	LP_AUTO_FREE char *text = lp_xcalloc(1, LARGE_BYTES + 1);
	uint64_t began_us;

	(void)state;
	memset(text, 'x', LARGE_BYTES);
	for (int i = 0; i < 2; i++) {
		rig.written = "f";
		rig_write(&rig, "f", i == 0 ? "rests" : text);
		began_us = lp_now_us();
		while (rig_take(&rig)[0] == '\0') {
			if (lp_now_us() - began_us > RIG_DEADLINE_US)
				fail_msg("it never goes out");
			rig_run(&rig, 10);
		}
		assert_string_equal(lp_buf_text(&rig.ops), "PUT f\n");
		assert_true(lp_now_us() - began_us >= 900000);
		rig_check(&rig);
		rig.written = NULL;
		note_closed("f");
		(void)rig_settle(&rig);
		rig_check(&rig);
	}
}

static void make_link(const char *from, const char *to)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s", full(from));
	assert_int_equal(link(path, full(to)), 0);
}

/* In one changeset or in two. */
static void both_are_told(const char *op)
{
	const char *ops = rig_settle(&rig);
	char f[16], g[16];

	(void)snprintf(f, sizeof(f), "%s f\n", op);
	(void)snprintf(g, sizeof(g), "%s d/g\n", op);
	if (!strstr(ops, f) || !strstr(ops, g) || strlen(ops) != strlen(f) + strlen(g))
		fail_msg("%s", ops);
}

/* Who writes by a name that is not watched writes all of the file's names. */
static void links__are_written_by_names_that_nobody_watches(void **state)
{
	int fd;

	(void)state;
	rig_write(&rig, ".gitignore", "out\n*.o\n");
	rig_mkdir(&rig, "out");
	rig_mkdir(&rig, "d");
	make_link("f", "out/g");
	make_link("f", "d/g");
	(void)rig_settle(&rig);
	rig_write(&rig, "out/g", "by an ignored name");
	both_are_told("PUT");
	assert_int_equal(chmod(full("out/g"), 0600), 0);
	both_are_told("KEEP");
	/* A name that is gone by the time. */
	make_link("f", "h.o");
	fd = rig_open_file(&rig, "h.o", O_WRONLY | O_TRUNC);
	rig_remove(&rig, "h.o");
	assert_int_equal(lp_write_all(fd, "unseen", 6), 0);
	assert_int_equal(close(fd), 0);
	both_are_told("PUT");
	/* The name under which it was watched becomes another file's, goes, and moves. */
	rig_write(&rig, "n", "another file");
	(void)rig_settle(&rig);
	make_link("d/g", "k");
	(void)rig_settle(&rig);
	rig_rename(&rig, "n", "k");
	(void)rig_settle(&rig);
	rig_write(&rig, "out/g", "after one was replaced");
	both_are_told("PUT");
	rig_remove(&rig, "f");
	assert_string_equal(rig_settle(&rig), "DELETE f\n");
	rig_write(&rig, "out/g", "after one went");
	assert_string_equal(rig_settle(&rig), "PUT d/g\n");
	rig_rename(&rig, "d/g", "moved");
	assert_string_equal(rig_settle(&rig), "DELETE d/g\nPUT moved\n");
	rig_write(&rig, "out/g", "after one moved");
	assert_string_equal(rig_settle(&rig), "PUT moved\n");
	rig_rename(&rig, "d", "e");
	rig_remove(&rig, "moved");
	(void)rig_settle(&rig);
	rig_write(&rig, "out/g", "nobody's");
	assert_string_equal(rig_settle(&rig), "");
	/* The root, d and .git are no more than that. */
	assert_int_equal(lp_watch_count(rig.watch), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(has_notes__asks_for_the_writer, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(has_notes__does_not_count_open_files, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(mapped__is_read_again_when_it_is_closed, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(mapped__is_read_again_when_it_is_small, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(written__is_left_until_it_is_closed, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(written__goes_out_when_it_rests, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(links__are_written_by_names_that_nobody_watches,
						set_up, content_rig_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
