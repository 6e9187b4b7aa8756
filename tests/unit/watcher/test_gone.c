/* test_gone.c: what goes away, all at once or slowly: a tree that is on its way to be removed does
 * not go out bit by bit, and nothing else is held back for ever. */
#include "common/base/lp_clock.h"
#include "tests/unit/watcher/content_rig.h"
#include "watcher/workspace_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static int set_up(void **state)
{
	(void)content_rig_set_up_scanned(state);
	rig_write(&rig, "x.c", "old");
	(void)rig_settle(&rig);
	return 0;
}

/* Makes and removes n files, as somebody who began to do so seconds ago and is not done. */
static void remove_slowly(int n)
{
	size_t at = 0, noted = 0;
	char name[16];

	for (int i = 0; i < n; i++) {
		(void)snprintf(name, sizeof(name), "f%d", i);
		rig_write(&rig, name, "f");
	}
	(void)rig_settle(&rig);
	rig.n_changesets = 0;
	for (int i = 0; i < n; i++) {
		(void)snprintf(name, sizeof(name), "f%d", i);
		rig_remove(&rig, name);
	}
	rig.ws->gone_us = lp_now_us() + RIG_DEADLINE_US;
	lp_watch_drain(rig.watch);
	/* However late what is noted is looked at. */
	for (struct lp_dirty *d; (d = lp_map_next(&rig.ws->dirty, &noted));)
		d->last_us -= 1000000;
	assert_null(lp_workspace_take(rig.ws));
	rig.ws->gone_us = lp_now_us() + RIG_DEADLINE_US;
	for (struct lp_wait *w; (w = lp_map_next(&rig.ws->waits, &at));)
		w->first_us -= 5000000;
}

/* A slow removal of everything does not empty the instances bit by bit. */
static void gone__goes_out_together_when_it_is_much(void **state)
{
	size_t at = 0;

	(void)state;
	remove_slowly(3);
	assert_string_equal(rig_settle(&rig), "DELETE f0\nDELETE f1\nDELETE f2\n");
	remove_slowly(30);
	for (int i = 0; i < 10; i++) {
		rig_run(&rig, 20);
		assert_string_equal(rig_take(&rig), "");
	}
	assert_true(lp_workspace_has_notes(rig.ws));
	/* It came to its end. */
	rig.ws->gone_us = 0;
	for (struct lp_wait *w; (w = lp_map_next(&rig.ws->waits, &at));)
		w->due_us = 1;
	lp_timer_set(rig.loop, &rig.ws->wait_timer, lp_now_us());
	(void)rig_settle(&rig);
	assert_int_equal(rig.n_changesets, 1);
	rig_check(&rig);
}

/* A tree in which something that went away comes back is not on its way to be removed: what else
 * went away is not held back for ever. */
static void gone__is_not_held_back_when_something_returns(void **state)
{
	size_t at = 0;

	(void)state;
	remove_slowly(30);
	rig.ws->grew_us = 0; /* long ago */
	for (struct lp_wait *w; (w = lp_map_next(&rig.ws->waits, &at));)
		w->first_us -= 60000000;
	rig_run(&rig, 20);
	assert_string_equal(rig_take(&rig), "");
	rig_remove(&rig, "x.c");
	assert_string_equal(rig_take(&rig), "");
	rig_write(&rig, "x.c", "old");
	assert_string_equal(rig_take(&rig), "");
	at = 0;
	for (struct lp_wait *w; (w = lp_map_next(&rig.ws->waits, &at));)
		w->due_us = 1;
	lp_timer_set(rig.loop, &rig.ws->wait_timer, lp_now_us());
	(void)rig_settle(&rig);
	assert_int_equal(rig.n_changesets, 1);
	rig_check(&rig);
}

/* Events are lost while a tree is being removed: what is gone so far is no changeset yet. With
 * something else it is. */
static void lost__sends_no_removal_bit_by_bit(void **state)
{
	const struct lp_event lost = {.kind = LP_EVENT_LOST, .path = ""};
	struct lp_changeset *cs;
	char path[32];

	(void)state;
	rig_mkdir(&rig, "d");
	for (int i = 0; i < 60; i++) {
		(void)snprintf(path, sizeof(path), "d/f%02d", i);
		rig_write(&rig, path, path);
	}
	(void)rig_settle(&rig);
	for (int i = 0; i < 60; i++) {
		(void)snprintf(path, sizeof(path), "d/f%02d", i);
		rig_remove(&rig, path);
		if (i != 20)
			continue;
		/* As if the events were lost, and the walk that follows them begins. */
		lp_workspace_note(rig.ws, &lost, false);
		lp_workspace_dirty(rig.ws, LP_EVENT_SUBTREE, "");
		cs = lp_workspace_take(rig.ws);
		assert_null(cs);
		assert_non_null(lp_index_get(lp_workspace_index(rig.ws), "d/f00"));
	}
	(void)rig_settle(&rig);
	rig_check(&rig);
	assert_null(lp_index_get(lp_workspace_index(rig.ws), "d/f00"));
	rig_write(&rig, "one", "1");
	rig_write(&rig, "two", "2");
	(void)rig_settle(&rig);
	rig_remove(&rig, "one");
	rig_write(&rig, "three", "3");
	lp_workspace_note(rig.ws, &lost, false);
	lp_workspace_dirty(rig.ws, LP_EVENT_SUBTREE, "");
	cs = lp_workspace_take(rig.ws);
	assert_non_null(cs);
	assert_int_equal(cs->n_ops, 2);
	lp_changeset_unref(cs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(gone__goes_out_together_when_it_is_much, set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(gone__is_not_held_back_when_something_returns,
						set_up, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(lost__sends_no_removal_bit_by_bit, set_up,
						content_rig_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
