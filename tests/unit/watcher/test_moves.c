/* test_moves.c: what is renamed is told as a move when that is certain, and never wrongly. */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
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
	rig_mkdir(&rig, "a");
	rig_mkdir(&rig, "a/b");
	rig_mkdir(&rig, "a/b/c");
	rig_write(&rig, "a/b/c/f", "f");
	rig_mkdir(&rig, "d");
	rig_write(&rig, "d/g", "g");
	(void)rig_settle(&rig);
	return 0;
}

static void settles_as(const char *ops)
{
	assert_string_equal(rig_settle(&rig), ops);
	rig_check(&rig);
}

static void exchange(const char *a, const char *b)
{
	char one[128], two[128];

	(void)snprintf(one, sizeof(one), "%s/%s", rig.dir, a);
	(void)snprintf(two, sizeof(two), "%s/%s", rig.dir, b);
	assert_int_equal(renameat2(AT_FDCWD, one, AT_FDCWD, two, RENAME_EXCHANGE), 0);
}

static void dirs__move_with_what_happens_to_them(void **state)
{
	(void)state;
	/* Written before, between and after. */
	rig_write(&rig, "a/b/new", "n");
	rig_rename(&rig, "a", "z");
	rig_write(&rig, "z/b/c/f", "later");
	rig_rename(&rig, "z/b", "z/bb");
	rig_chmod(&rig, "z/bb", 0700);
	settles_as("MOVE a z\nMOVE z/b z/bb\nPUT z/bb\nPUT z/bb/c/f\nPUT z/bb/new\n");
	/* The watches followed. */
	rig_write(&rig, "z/bb/c/f", "seen");
	settles_as("PUT z/bb/c/f\n");
	/* The name is used again at once. */
	rig_rename(&rig, "z", "y");
	rig_mkdir(&rig, "z");
	rig_write(&rig, "z/f", "other");
	settles_as("MOVE z y\nPUT z\nPUT z/f\n");
	rig_write(&rig, "y/bb/c/f", "1");
	rig_write(&rig, "z/f", "2");
	settles_as("PUT y/bb/c/f\nPUT z/f\n");
	/* Over an empty directory; there and back; around. */
	rig_mkdir(&rig, "empty");
	(void)rig_settle(&rig);
	rig_rename(&rig, "y", "empty");
	settles_as("MOVE y empty\n");
	rig_rename(&rig, "empty", "e");
	rig_rename(&rig, "e", "empty");
	settles_as("MOVE empty e\nMOVE e empty\n");
	assert_int_equal(lp_watch_count(rig.watch), 1 + 5);
}

static void dirs__that_change_places_are_told_truly(void **state)
{
	(void)state;
	exchange("a", "d");
	(void)rig_settle(&rig);
	rig_check(&rig);
	rig_write(&rig, "d/b/c/f", "deep");
	rig_write(&rig, "a/g", "flat");
	settles_as("PUT a/g\nPUT d/b/c/f\n");
	rig_rename(&rig, "a", "t");
	rig_rename(&rig, "d", "a");
	rig_rename(&rig, "t", "d");
	settles_as("MOVE a t\nMOVE d a\nMOVE t d\n");
	rig_write(&rig, "a/b/c/f", "again");
	settles_as("PUT a/b/c/f\n");
	/* Into one that is not watched yet: it is not told that both are the same. */
	rig_mkdir(&rig, "new");
	rig_rename(&rig, "a", "new/a");
	settles_as("PUT new\nPUT new/a\nPUT new/a/b\nPUT new/a/b/c\nPUT new/a/b/c/f\nDELETE a\n");
}

static void dirs__obey_the_rules_where_they_are(void **state)
{
	(void)state;
	rig_write(&rig, ".gitignore", "out/\n/a/b/skip\n/z/b/c\n");
	rig_write(&rig, "a/b/skip", "s");
	assert_string_equal(rig_settle(&rig), "PUT .gitignore\n");
	/* What was left out is not there, and what is there is left out now. */
	rig_rename(&rig, "a", "z");
	assert_string_equal(rig_settle(&rig), "MOVE a z\nDELETE z/b/c\nPUT z/b/skip\n");
	rig_rename(&rig, "z", "out");
	assert_string_equal(rig_settle(&rig), "DELETE z\n");
	rig_rename(&rig, "out", "a");
	assert_string_equal(rig_settle(&rig), "PUT a\nPUT a/b\nPUT a/b/c\nPUT a/b/c/f\n");
	rig_write(&rig, "a/b/c/f", "watched");
	assert_string_equal(rig_settle(&rig), "PUT a/b/c/f\n");
}

static void write_large(const char *path, char what)
{
	char *text = lp_xcalloc(1, LP_INLINE_MAX_BYTES * 3 + 1);

	memset(text, what, LP_INLINE_MAX_BYTES * 3);
	rig_write(&rig, path, text);
	free(text);
}

static void files__move_when_they_are_large(void **state)
{
	(void)state;
	write_large("large", 'a');
	write_large("other", 'b');
	rig_write(&rig, "small", "s");
	(void)rig_settle(&rig);
	/* Until its times would show a change of the file, nothing is certain. */
	rig_run(&rig, 50);
	lp_workspace_resend(rig.ws, "large");
	lp_workspace_resend(rig.ws, "other");
	settles_as("PUT large\nPUT other\n");
	rig_rename(&rig, "small", "tiny");
	settles_as("DELETE small\nPUT tiny\n");
	rig_rename(&rig, "large", "d/moved");
	settles_as("MOVE large d/moved\n");
	rig_rename(&rig, "d/moved", "other");
	settles_as("MOVE d/moved other\n");
	/* Changed before it was moved. */
	write_large("other", 'c');
	rig_rename(&rig, "other", "large");
	settles_as("PUT large\nDELETE other\n");
	/* And after. */
	rig_run(&rig, 50);
	lp_workspace_resend(rig.ws, "large");
	settles_as("PUT large\n");
	rig_rename(&rig, "large", "other");
	write_large("other", 'd');
	(void)rig_settle(&rig);
	rig_check(&rig);
	rig_rename(&rig, "other", "big");
	rig_chmod(&rig, "big", 0755);
	(void)rig_settle(&rig);
	rig_check(&rig);
	/* To where rules leave it out, and from there. */
	rig_write(&rig, ".gitignore", "*.skip\n");
	(void)rig_settle(&rig);
	rig_rename(&rig, "big", "big.skip");
	assert_string_equal(rig_settle(&rig), "DELETE big\n");
	rig_rename(&rig, "big.skip", "big");
	settles_as("PUT big\n");
}

/* What sources report twice, late, or in another order. */
static void events__do_no_harm(void **state)
{
	const struct lp_event events[] = {
		{.kind = LP_EVENT_MOVED, .path = "z", .from = "a", .at_us = 1},
		{.kind = LP_EVENT_MOVED, .path = "z", .from = "a", .at_us = 1},
		{.kind = LP_EVENT_MOVED, .path = "a", .from = "z", .at_us = 1},
		{.kind = LP_EVENT_MOVED, .path = "none", .from = "nothing", .at_us = 1},
		{.kind = LP_EVENT_MOVED, .path = "a/b", .from = "a", .at_us = 1},
		{.kind = LP_EVENT_MOVED, .path = "d", .from = "d", .at_us = 1},
		{.kind = LP_EVENT_MOVED, .path = "d/g", .at_us = 1},
		{.kind = LP_EVENT_SUBTREE, .path = "z", .at_us = 1},
		{.kind = LP_EVENT_CHANGED, .path = "a", .at_us = 1},
	};

	(void)state;
	for (size_t turn = 0; turn < LP_COUNT_OF(events); turn++) {
		if (turn == 4)
			rig_rename(&rig, "a", "z");
		if (turn == 7)
			rig_rename(&rig, "z", "a");
		for (size_t i = 0; i < LP_COUNT_OF(events); i++)
			lp_workspace_note(rig.ws, &events[(i * 5 + turn) % LP_COUNT_OF(events)],
					  false);
		(void)rig_settle(&rig);
		rig_check(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(dirs__move_with_what_happens_to_them, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(dirs__that_change_places_are_told_truly, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(dirs__obey_the_rules_where_they_are, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(files__move_when_they_are_large, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(events__do_no_harm, set_up, content_rig_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
