/* test_rolled.c: a link to an instance whose tree went back on purpose: it is left so until there
 * is something new, and then the trees are compared. */
#include "tests/unit/link/link_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/lp_clock.h"

static const struct lp_digest back = {.b = {7, 7, 7}};

static void rolled(bool done)
{
	struct lp_msg msg = {.kind = LP_MSG_ROLLED};

	msg.u.rolled.done = done;
	msg.u.rolled.revision = 40;
	memcpy(msg.u.rolled.root, back.b, sizeof(back.b));
	fake_say(&msg);
}

static void come_back(const struct lp_digest *root)
{
	uint64_t deadline_us = lp_now_us() + 10000000u;

	fake_lose("lost");
	while (!link_->ws) {
		assert_true(lp_now_us() < deadline_us);
		assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	}
	fake_accept();
	welcome(root, false);
}

static void rolled__is_left_until_the_next_save(void **state)
{
	(void)state;
	start_streaming();
	rolled(true);
	expect_nothing();
	assert_true(lp_link_is_idle(link_));
	save("g", "new");
	assert_int_equal(expect(LP_MSG_LIST)->u.list.n_paths, 1);
}

static void rolled__is_left_when_the_connection_comes_back(void **state)
{
	unsigned before;

	(void)state;
	start_streaming();
	rolled(true);
	before = caught_up;
	come_back(&back);
	expect_nothing();
	assert_true(lp_link_is_idle(link_));
	assert_int_equal(caught_up, before + 1);
	save("g", "new");
	(void)expect(LP_MSG_LIST);
}

static void rolled__counts_no_more_when_something_was_saved_meanwhile(void **state)
{
	(void)state;
	start_streaming();
	rolled(true);
	link_->state = LP_LINK_DOWN;
	save("g", "new");
	link_->state = LP_LINK_STREAMING;
	come_back(&back);
	(void)expect(LP_MSG_LIST);
}

/* Held while it was down, it forgets what it missed; that it went back must not stand in for it. */
static void rolled__counts_no_more_when_a_save_was_held_back(void **state)
{
	(void)state;
	start_streaming();
	rolled(true);
	link_->state = LP_LINK_DOWN;
	lp_link_hold(link_, true);
	save("g", "new");
	lp_link_hold(link_, false);
	link_->state = LP_LINK_STREAMING;
	come_back(&back);
	(void)expect(LP_MSG_LIST);
}

static void verified(uint64_t drifted, const struct lp_digest *root)
{
	struct lp_msg msg = {.kind = LP_MSG_VERIFIED};

	msg.u.verified.drifted = drifted;
	memcpy(msg.u.verified.root, root->b, sizeof(root->b));
	fake_say(&msg);
}

/* What drifted changes its root, which is no reason to bring it forward later, either. */
static void rolled__is_left_when_it_is_verified(void **state)
{
	static const struct lp_digest drifted = {.b = {9, 9}};

	(void)state;
	start_streaming();
	rolled(true);
	assert_int_equal(lp_link_verify(link_), 0);
	(void)expect(LP_MSG_VERIFY);
	verified(0, &back);
	expect_nothing();
	assert_int_equal(lp_link_verify(link_), 0);
	(void)expect(LP_MSG_VERIFY);
	verified(1, &drifted);
	expect_nothing();
	assert_true(lp_link_is_rolled(link_));
	come_back(&drifted);
	expect_nothing();
	save("g", "new");
	(void)expect(LP_MSG_LIST);
}

static void rolled__counts_for_that_tree_only(void **state)
{
	static const struct lp_digest other = {.b = {8}};

	(void)state;
	start_streaming();
	rolled(true);
	come_back(&other);
	(void)expect(LP_MSG_LIST);
}

static void rolled__without_having_gone_back_means_nothing(void **state)
{
	(void)state;
	start_streaming();
	rolled(false);
	assert_false(link_->rolled);
	save("g", "new");
	(void)expect(LP_MSG_CHANGE);
}

/* What was sent before it went back is refused with resync, which says the same. */
static void rolled__while_something_is_in_flight_is_left_to_its_answer(void **state)
{
	(void)state;
	start_streaming();
	save("g", "new");
	(void)expect(LP_MSG_CHANGE);
	rolled(true);
	assert_false(link_->rolled);
	failed();
	(void)expect(LP_MSG_LIST);
}

/* What was left out before it went back is not looked for: comparing trees would bring all again.
 */
static void rolled__ends_every_doubt(void **state)
{
	(void)state;
	start_streaming();
	link_->unsure = true;
	save("g", "new");
	(void)expect(LP_MSG_CHANGE);
	applied(revision);
	assert_non_null(link_->resync_timer.loop);
	rolled(true);
	assert_null(link_->resync_timer.loop);
	assert_false(lp_link_is_in_doubt(link_));
	save("h", "new");
	(void)expect(LP_MSG_LIST);
}

static void nothing_new__brings_nothing_about(void **state)
{
	struct lp_changeset *nothing = lp_changeset_create();

	(void)state;
	start_streaming();
	rolled(true);
	lp_link_push(link_, nothing, NULL);
	expect_nothing();
	assert_true(link_->rolled);
	lp_changeset_unref(nothing);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rolled__is_left_until_the_next_save),
		TEST(rolled__is_left_when_the_connection_comes_back),
		TEST(rolled__counts_no_more_when_something_was_saved_meanwhile),
		TEST(rolled__counts_no_more_when_a_save_was_held_back),
		TEST(rolled__is_left_when_it_is_verified),
		TEST(rolled__counts_for_that_tree_only),
		TEST(rolled__without_having_gone_back_means_nothing),
		TEST(rolled__while_something_is_in_flight_is_left_to_its_answer),
		TEST(rolled__ends_every_doubt),
		TEST(nothing_new__brings_nothing_about),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
