/* test_catch_up.c: a link that compares trees: after a return, a failure, a jam. */
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "tests/unit/link/link_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void link__comes_back_and_sends_what_was_saved_meanwhile(void **state)
{
	static const char *const paths[] = {"-x", "g"};
	struct lp_wire_entry entries[] = {
		{.name = lp_bytes_of("f"),
		 .kind = LP_KIND_FILE,
		 .mode = 0644,
		 .size = 7,
		 .owned = true},
		{.name = lp_bytes_of("own"), .kind = LP_KIND_FILE},
		{.name = lp_bytes_of("x"), .kind = LP_KIND_FILE, .owned = true}};
	struct lp_digest content = lp_digest_of("content", 7), other = lp_digest_of("o", 1);

	(void)state;
	memcpy(entries[0].digest, content.b, 16);
	start_streaming();
	save("g", "lost");
	fake_lose("lost");
	assert_true(downs == 1 && finals == 0 && !lp_link_is_streaming(link_));
	save("g", "saved while it was down");
	while (!link_->ws)
		assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	(void)fake_sent(); /* perhaps the lost one */
	fake_accept();
	welcome(&other, false);
	assert_int_equal(expect(LP_MSG_LIST)->u.list.n_paths, 1);
	assert_int_equal(lp_index_remove(workspace, "g"), 1);
	put("g", "");
	list("", entries, 3, true);
	/* Without content: the source has no such file, so it is said to be gone. */
	(void)paths;
	{
		const struct lp_msg *msg = expect(LP_MSG_CHANGE);

		assert_int_equal(msg->u.change.n_ops, 2);
		assert_int_equal(msg->u.change.ops[0].op, LP_OP_DELETE);
		assert_int_equal(msg->u.change.ops[1].op, LP_OP_DELETE);
		assert_int_equal(stales, 1);
	}
	applied(revision);
	assert_true(lp_link_is_idle(link_));
}

/* An instance that comes back with the tree that the lost changeset led to is where it was led. */
static void link__knows_where_it_led(void **state)
{
	struct lp_digest before = lp_index_root(workspace), sent, unsent;

	(void)state;
	start_streaming();
	save("g", "sent, and its answer is lost");
	sent = lp_index_root(workspace);
	assert_false(lp_link_has_led_to(link_, sent.b));
	(void)expect(LP_MSG_CHANGE);
	save("h", "not sent any more");
	unsent = lp_index_root(workspace);
	fake_lose("lost");
	assert_true(lp_link_has_led_to(link_, before.b));
	assert_true(lp_link_has_led_to(link_, sent.b));
	assert_false(lp_link_has_led_to(link_, unsent.b));
}

/* The failure that nothing but time or the user heals must not block what comes after it. */
static void link__rests_between_failures_and_forgets_nothing(void **state)
{
	struct lp_wire_entry none;

	(void)state;
	start_streaming();
	save("f", "fails");
	save("g", "queued behind it");
	(void)fake_pump(1);
	failed();
	assert_int_equal(expect(LP_MSG_CHANGE)->u.change.revision, 42);
	(void)expect(LP_MSG_LIST);
	expect_nothing(); /* what was queued is not sent any more */
	assert_false(lp_link_keeps_failing(link_));
	lp_index_remove(workspace, "f");
	lp_index_remove(workspace, "g");
	list("", &none, 0, true);
	expect_catch_up(NULL, 0);
	failed();
	assert_false(lp_link_keeps_failing(link_));
	assert_false(lp_link_is_idle(link_));
	save("h", "while it rests");
	expect_nothing();
	lp_index_remove(workspace, "h");
	(void)wait_for(LP_MSG_LIST);
	list("", &none, 0, true);
	expect_catch_up(NULL, 0);
	failed();
	assert_true(lp_link_keeps_failing(link_));
	/* However long it would rest, a save brings the next try near. */
	lp_timer_set(loop, &link_->resync_timer, lp_now_us() + 60000000u);
	save("h", "perhaps it works now");
	assert_true(link_->resync_timer.due_us < lp_now_us() + 30000000u);
	lp_index_remove(workspace, "h");
	(void)wait_for(LP_MSG_LIST);
	assert_false(lp_link_keeps_failing(link_));
	list("", &none, 0, true);
	expect_catch_up(NULL, 0);
	applied(revision);
	assert_true(lp_link_is_idle(link_));
	save("f", "well again");
	assert_int_equal(expect(LP_MSG_CHANGE)->u.change.revision, revision);
	applied(revision);
	assert_true(lp_link_is_idle(link_));
	failed(); /* counts anew: at once */
	(void)expect(LP_MSG_LIST);
}

static void link__walks_again_when_it_falls_behind(void **state)
{
	struct lp_wire_entry none;
	char path[16];
	unsigned n = 0;

	(void)state;
	start_streaming();
	for (int i = 0; i < 100; i++) {
		(void)snprintf(path, sizeof(path), "f%d", i);
		save(path, "x");
		(void)fake_pump(i < 5 ? 1 : 0); /* five get out, then it hangs */
		assert_true(link_->in_flight <= 8);
	}
	while (fake_pump(1) > 0)
		;
	while (fake_sent())
		n++;
	assert_int_equal(n, 5);
	for (int i = 0; i < 5; i++) {
		assert_false(lp_link_is_idle(link_));
		applied(42 + (uint64_t)i);
	}
	assert_int_equal(idles, 1);
	(void)expect(LP_MSG_LIST);
	lp_index_remove(workspace, "");
	list("", &none, 0, true);
	expect_catch_up(NULL, 0);
	applied(revision);
	assert_true(lp_link_is_idle(link_));
	assert_int_equal(idles, 2);
}

static void link__adds_what_changes_while_it_walks(void **state)
{
	static const char *const paths[] = {"-a", "-d/gone"};
	const struct lp_digest other = lp_digest_of("o", 1);
	struct lp_entry dir = {.kind = LP_KIND_DIR, .mode = 0755};
	struct lp_wire_entry entries[] =
		{{.name = lp_bytes_of("a"), .kind = LP_KIND_FILE, .owned = true},
		 {.name = lp_bytes_of("d"), .kind = LP_KIND_DIR, .mode = 0755, .owned = true}},
			     below[] = {{.name = lp_bytes_of("gone"),
					 .kind = LP_KIND_FILE,
					 .owned = true}};

	(void)state;
	lp_index_remove(workspace, "f");
	assert_int_equal(lp_index_put(workspace, "d", &dir, NULL, NULL), 0);
	put("d/x", "x");
	welcome(&other, false);
	(void)expect(LP_MSG_LIST);
	list("", entries, 2, true);
	assert_int_equal(expect(LP_MSG_LIST)->u.list.paths[0].len, 1);
	save("d/y", "y");
	lp_index_remove(workspace, "d/y"); /* told as a change, found as gone */
	lp_index_remove(workspace, "d/x");
	expect_nothing();
	list("d", below, 1, true);
	{
		const struct lp_msg *msg = expect(LP_MSG_CHANGE);

		assert_int_equal(msg->u.change.n_ops, 3);
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(msg->u.change.ops[i].op, LP_OP_DELETE);
		assert_memory_equal(msg->u.change.ops[0].path.p, paths[0] + 1, 1);
		assert_memory_equal(msg->u.change.ops[1].path.p, paths[1] + 1, 6);
	}
	applied(revision);
	assert_int_equal(caught_up, 1);
}

static void link__wants_the_listings_that_it_asked_for(void **state)
{
	static const struct {
		const char *name;
		const char *path;
		bool last;
		unsigned times;
		bool is_fine;
	} cases[] = {
		{"as asked", "", true, 1, true},
		{"another directory", "d", true, 1, false},
		{"not the last although it is", "", false, 1, false},
	};
	const struct lp_digest other = lp_digest_of("o", 1);
	struct lp_wire_entry none;

	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		if (i > 0) {
			(void)tear_down(state);
			(void)set_up(state);
		}
		lp_index_remove(workspace, "f");
		put("f", "content");
		welcome(&other, false);
		(void)expect(LP_MSG_LIST);
		list(cases[i].path, &none, 0, cases[i].last);
		assert_int_equal(fake_was_closed(), !cases[i].is_fine);
		if (cases[i].is_fine) {
			list("", &none, 0, true); /* once more, unasked: not walking any more */
			assert_false(fake_was_closed());
			continue;
		}
		fake_lose("closed");
		assert_int_equal(finals, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(link__comes_back_and_sends_what_was_saved_meanwhile,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(link__knows_where_it_led, set_up, tear_down),
		cmocka_unit_test_setup_teardown(link__rests_between_failures_and_forgets_nothing,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(link__walks_again_when_it_falls_behind, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(link__adds_what_changes_while_it_walks, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(link__wants_the_listings_that_it_asked_for, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
