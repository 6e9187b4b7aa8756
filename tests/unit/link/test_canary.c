/* test_canary.c: a link that is held: what is pushed waits, and so does what it lacks when it
 * connects; and when the one that is tried first lets the others go on. */
#include "link/canary.h"
#include "tests/unit/link/link_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "common/base/lp_clock.h"

static void say(enum lp_msg_kind kind, uint64_t rev, uint64_t stage, struct lp_canary *c)
{
	struct lp_msg msg = {.kind = kind};

	if (kind == LP_MSG_SETTLED) {
		msg.u.settled.revision = rev;
	} else {
		msg.u.failed.revision = rev;
		msg.u.failed.stage = stage;
	}
	lp_canary_heard(c, link_, &msg);
}

static void hold__keeps_back_what_is_pushed(void **state)
{
	(void)state;
	start_streaming();
	lp_link_hold(link_, true);
	assert_false(lp_link_is_held(link_)); /* it lacks nothing yet */
	save("g", "new");
	expect_nothing();
	assert_true(lp_link_is_held(link_));
	lp_link_hold(link_, false);
	(void)expect(LP_MSG_LIST);
	assert_false(lp_link_is_held(link_));
}

static void hold__that_kept_nothing_back_ends_without_a_word(void **state)
{
	(void)state;
	start_streaming();
	lp_link_hold(link_, true);
	lp_link_hold(link_, false);
	expect_nothing();
	save("g", "new");
	(void)expect(LP_MSG_CHANGE);
}

static void hold__keeps_back_catching_up(void **state)
{
	static const struct lp_digest other = {.b = {9}};

	(void)state;
	lp_link_hold(link_, true);
	welcome(&other, false);
	expect_nothing();
	assert_true(lp_link_is_held(link_));
	assert_false(lp_link_is_streaming(link_));
	lp_link_hold(link_, false);
	(void)expect(LP_MSG_LIST);
}

static void hold__lets_what_is_in_flight_end(void **state)
{
	(void)state;
	start_streaming();
	save("g", "new");
	(void)expect(LP_MSG_CHANGE);
	lp_link_hold(link_, true);
	save("g", "newer");
	lp_link_hold(link_, false);
	expect_nothing();
	applied(revision);
	(void)expect(LP_MSG_LIST);
}

/* The loop until the timer of a comparison has fired. */
static void let_it_fire(void)
{
	uint64_t deadline_us = lp_now_us() + 10000000u;

	assert_non_null(link_->resync_timer.loop);
	while (link_->resync_timer.loop) {
		assert_true(lp_now_us() < deadline_us);
		assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	}
}

/* Comparing trees, for whatever reason, would give it what is held back. */
static void hold__keeps_back_every_comparison(void **state)
{
	struct lp_msg drifted = {.kind = LP_MSG_VERIFIED};

	(void)state;
	start_streaming();
	link_->unsure = true;
	save("g", "new");
	(void)expect(LP_MSG_CHANGE);
	applied(revision);
	lp_link_hold(link_, true);
	let_it_fire();
	expect_nothing();
	assert_true(lp_link_is_held(link_));
	link_->missed = false;
	assert_int_equal(lp_link_verify(link_), 0);
	(void)expect(LP_MSG_VERIFY);
	drifted.u.verified.drifted = 1;
	fake_say(&drifted);
	expect_nothing();
	assert_true(lp_link_is_held(link_));
	lp_link_hold(link_, false);
	(void)expect(LP_MSG_LIST);
}

/* It has not compared trees, and nothing is under way that would end. */
static void hold__lets_it_be_verified(void **state)
{
	static const struct lp_digest other = {.b = {9}};

	(void)state;
	lp_link_hold(link_, true);
	welcome(&other, false);
	assert_int_equal(lp_link_verify(link_), 0);
	(void)expect(LP_MSG_VERIFY);
	expect_nothing();
}

/* The same link is the first and the only other: what counts here is when it is let go. */
static void canary__passes_when_all_of_it_settled(void **state)
{
	struct lp_link *links[2];
	struct lp_canary c = {0};

	(void)state;
	start_streaming();
	links[0] = links[1] = link_;
	lp_canary_begin(&c, loop, links, 2);
	lp_link_hold(link_, false);
	assert_true(c.is_trying);
	save("g", "new");
	(void)expect(LP_MSG_CHANGE);
	assert_false(lp_canary_wants(&c));
	say(LP_MSG_SETTLED, 41, 0, &c); /* of what was before */
	assert_true(c.is_trying);
	applied(42);
	assert_true(lp_canary_wants(&c));
	say(LP_MSG_SETTLED, 41, 0, &c);
	assert_true(c.is_trying);
	say(LP_MSG_SETTLED, 42, 0, &c);
	assert_false(c.is_trying);
}

static void canary__goes_back_when_it_failed(void **state)
{
	static const uint64_t ends[] = {LP_WIRE_STAGE_RULE, LP_WIRE_STAGE_START,
					LP_WIRE_STAGE_HEALTH};
	static const uint64_t others[] = {LP_WIRE_STAGE_CONFIG, LP_WIRE_STAGE_CRASH,
					  LP_WIRE_STAGE_APPLY, LP_WIRE_STAGE_LOOP};
	struct lp_link *links[2];
	struct lp_canary c = {0};

	(void)state;
	start_streaming();
	links[0] = links[1] = link_;
	lp_canary_begin(&c, loop, links, 2);
	lp_link_hold(link_, false);
	for (size_t i = 0; i < LP_COUNT_OF(others); i++)
		say(LP_MSG_FAILED, 41, others[i], &c);
	say(LP_MSG_FAILED, 40, LP_WIRE_STAGE_START, &c); /* of what was before */
	expect_nothing();
	for (size_t i = 0; i < LP_COUNT_OF(ends); i++) {
		say(LP_MSG_FAILED, 41, ends[i], &c);
		assert_true(expect(LP_MSG_ROLLBACK)->u.rollback.only_failed);
	}
	assert_true(c.is_trying);
	/* Where it went back to is not what was tried. */
	link_->rolled = true;
	say(LP_MSG_SETTLED, 41, 0, &c);
	assert_true(c.is_trying);
}

static void canary__is_another_when_it_may_not_come_back(void **state)
{
	struct lp_link gone = {.final = true, .opts = {.index = 0}}, other = {.opts = {.index = 1}};
	struct lp_link *links[] = {&gone, &other};
	struct lp_canary c = {0}, off = {0};

	(void)state;
	gone.final = false;
	lp_canary_begin(&c, loop, links, 2);
	assert_int_equal(c.chosen, 0);
	assert_true(other.held);
	gone.final = true;
	lp_canary_lost(&c, &gone);
	assert_int_equal(c.chosen, 1);
	assert_false(other.held);
	lp_canary_lost(&off, &gone);
}

static void canary__is_one_that_is_there(void **state)
{
	struct lp_link away = {.opts = {.index = 0}}, there = {.opts = {.index = 1}};
	struct lp_link *links[] = {&away, &there};
	struct lp_canary c = {0};

	(void)state;
	lp_canary_begin(&c, loop, links, 2);
	assert_int_equal(c.chosen, 0);
	there.state = LP_LINK_STREAMING;
	lp_canary_try(&c);
	assert_int_equal(c.chosen, 1);
	assert_true(away.held);
	assert_false(there.held);
	/* What was given to one is tried there, whoever comes back. */
	away.state = LP_LINK_RESTING;
	lp_canary_try(&c);
	assert_int_equal(c.chosen, 1);
	assert_true(away.held);
	there.state = LP_LINK_DOWN;
	lp_canary_try(&c);
	assert_int_equal(c.chosen, 0);
	assert_true(there.held);
	/* When it has settled the first that is there is the first again. */
	c.is_trying = false;
	c.chosen = 1;
	there.state = LP_LINK_STREAMING;
	lp_canary_try(&c);
	assert_int_equal(c.chosen, 0);
}

/* At the start nobody is there yet: the first that comes is the first, not the first of the list.
 */
static void canary__is_the_first_that_comes(void **state)
{
	struct lp_link late = {.opts = {.index = 0}}, early = {.opts = {.index = 1}};
	struct lp_link *links[] = {&late, &early};
	struct lp_canary c = {0}, off = {0};

	(void)state;
	lp_canary_begin(&c, loop, links, 2);
	early.state = LP_LINK_READY;
	lp_canary_up(&c, &early);
	assert_int_equal(c.chosen, 1);
	assert_true(late.held);
	assert_false(early.held);
	/* It stays, also when it is away for a moment: it has been given what is tried. */
	late.state = LP_LINK_READY;
	lp_canary_up(&c, &late);
	assert_int_equal(c.chosen, 1);
	early.state = LP_LINK_DOWN;
	lp_canary_lost(&c, &early);
	lp_canary_up(&c, &late);
	assert_int_equal(c.chosen, 1);
	assert_true(lp_canary_tries(&c, &early));
	assert_false(lp_canary_tries(&c, &late));
	lp_canary_end(&c);
	lp_canary_up(&off, &late);
	assert_false(lp_canary_tries(&off, &late));
}

static const struct lp_link *moved_from, *moved_to;
static int moves;

static void on_moved(void *ctx, const struct lp_link *from, const struct lp_link *to)
{
	(void)ctx;
	moves++;
	moved_from = from;
	moved_to = to;
}

/* The loop until the time is over that the chosen one may be away. */
static void stay_away(struct lp_canary *c)
{
	uint64_t deadline_us = lp_now_us() + 10000000u;

	assert_non_null(c->away.loop);
	while (c->away.loop) {
		assert_true(lp_now_us() < deadline_us);
		assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	}
}

static void canary__is_another_when_it_stays_away(void **state)
{
	struct lp_link gone = {.opts = {.index = 0}}, other = {.opts = {.index = 1}};
	struct lp_link *links[] = {&gone, &other};
	struct lp_canary c = {.on_moved = on_moved};

	(void)state;
	moves = 0;
	gone.state = other.state = LP_LINK_STREAMING;
	lp_canary_begin(&c, loop, links, 2);
	c.away_us = 20000;
	/* What is over before that changes nothing. */
	gone.state = LP_LINK_DOWN;
	lp_canary_lost(&c, &gone);
	gone.state = LP_LINK_READY;
	lp_canary_up(&c, &gone);
	assert_null(c.away.loop);
	/* Each try to come back is a loss of its own, and is no new beginning. */
	gone.state = LP_LINK_DOWN;
	lp_canary_lost(&c, &gone);
	gone.state = LP_LINK_OPENING;
	c.away_us = UINT32_MAX;
	lp_canary_lost(&c, &gone);
	c.away_us = 20000;
	stay_away(&c);
	assert_int_equal(c.chosen, 1);
	assert_false(other.held);
	assert_true(gone.held);
	assert_int_equal(moves, 1);
	assert_ptr_equal(moved_from, &gone);
	assert_ptr_equal(moved_to, &other);
	/* When nobody is there, it is the first that comes. */
	other.state = LP_LINK_DOWN;
	lp_canary_lost(&c, &other);
	stay_away(&c);
	assert_int_equal(moves, 2);
	assert_null(moved_to);
	other.state = LP_LINK_READY;
	lp_canary_up(&c, &other);
	assert_int_equal(c.chosen, 1);
	assert_false(other.held);
	lp_canary_end(&c);
}

/* The time that one was away is not counted for the next one. */
static void canary__that_is_new_has_all_of_its_time(void **state)
{
	struct lp_link gone = {.opts = {.index = 0}}, other = {.opts = {.index = 1}};
	struct lp_link *links[] = {&gone, &other};
	struct lp_canary c = {0};

	(void)state;
	gone.state = other.state = LP_LINK_STREAMING;
	lp_canary_begin(&c, loop, links, 2);
	gone.state = LP_LINK_DOWN;
	lp_canary_lost(&c, &gone);
	assert_non_null(c.away.loop);
	lp_canary_try(&c);
	assert_int_equal(c.chosen, 1);
	assert_null(c.away.loop);
	other.state = LP_LINK_DOWN;
	lp_canary_lost(&c, &other);
	assert_non_null(c.away.loop);
	other.final = true;
	lp_canary_lost(&c, &other);
	assert_int_equal(c.chosen, 0);
	assert_null(c.away.loop);
	lp_canary_end(&c);
}

/* Nobody else gets what failed on the one that is away now. */
static void canary__stays_when_it_failed_there(void **state)
{
	struct lp_link other = {.opts = {.index = 1}};
	struct lp_link *links[2];
	struct lp_canary c = {.on_moved = on_moved};

	(void)state;
	moves = 0;
	start_streaming();
	links[0] = link_;
	links[1] = &other;
	other.state = LP_LINK_STREAMING;
	lp_canary_begin(&c, loop, links, 2);
	c.away_us = 20000;
	say(LP_MSG_FAILED, 41, LP_WIRE_STAGE_START, &c);
	(void)expect(LP_MSG_ROLLBACK);
	link_->state = LP_LINK_DOWN;
	lp_canary_lost(&c, link_);
	stay_away(&c);
	link_->final = true;
	lp_canary_lost(&c, link_);
	assert_int_equal(c.chosen, 0);
	assert_true(other.held);
	assert_int_equal(moves, 0);
	link_->final = false;
	link_->state = LP_LINK_STREAMING;
	lp_canary_end(&c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hold__keeps_back_what_is_pushed),
		TEST(hold__that_kept_nothing_back_ends_without_a_word),
		TEST(hold__keeps_back_catching_up),
		TEST(hold__lets_what_is_in_flight_end),
		TEST(hold__keeps_back_every_comparison),
		TEST(hold__lets_it_be_verified),
		TEST(canary__passes_when_all_of_it_settled),
		TEST(canary__goes_back_when_it_failed),
		TEST(canary__is_another_when_it_may_not_come_back),
		TEST(canary__is_one_that_is_there),
		TEST(canary__is_the_first_that_comes),
		TEST(canary__is_another_when_it_stays_away),
		TEST(canary__that_is_new_has_all_of_its_time),
		TEST(canary__stays_when_it_failed_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
