/* test_hostile.c: an instance that says what it was not asked, or what cannot be: the connection
 * ends, and nothing else comes of it. */
#include "tests/unit/link/link_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* The link has closed the connection because of what was said. */
static void expect_refused(const char *why)
{
	if (!fake_was_closed())
		fail_msg("still connected, though %s", why);
	assert_string_equal(link_->last_error, "the instance answers out of order");
}

static void start_again(void **state)
{
	(void)tear_down(state);
	assert_int_equal(set_up(state), 0);
}

static void link__refuses_what_instances_do_not_say(void **state)
{
	static const enum lp_msg_kind kinds[] = {
		LP_MSG_HELLO,   LP_MSG_CHALLENGE, LP_MSG_PROOF,    LP_MSG_WELCOME,
		LP_MSG_LIST,    LP_MSG_CHANGE,    LP_MSG_DATA,     LP_MSG_SKIP,
		LP_MSG_RESTART, LP_MSG_ASK,       LP_MSG_TAIL,     LP_MSG_VERIFY,
		LP_MSG_FLEET,   LP_MSG_HISTORY,   LP_MSG_ROLLBACK, LP_MSG_VERIFIED,
	};

	for (size_t i = 0; i < LP_COUNT_OF(kinds); i++) {
		const struct lp_msg msg = {.kind = kinds[i]};

		if (i > 0)
			start_again(state);
		start_streaming();
		fake_say(&msg);
		expect_refused(lp_msg_name(kinds[i]));
	}
}

/* People are shown what fails; an instance must not have their terminal to itself. */
static void link__shows_only_so_many_failures(void **state)
{
	struct lp_msg msg = {.kind = LP_MSG_FAILED};
	unsigned before;

	(void)state;
	msg.u.failed.stage = LP_WIRE_STAGE_LOOP;
	start_streaming();
	before = messages;
	for (unsigned i = 0; i < 10000; i++)
		fake_say(&msg);
	assert_true(fake_is_open());
	/* 50, and what time has forgiven meanwhile. */
	assert_true(messages - before >= 50 && messages - before < 5000);
	/* The answer to what was sent is always told. */
	save("g", "new");
	(void)expect(LP_MSG_CHANGE);
	before = messages;
	msg.u.failed.stage = LP_WIRE_STAGE_APPLY;
	fake_say(&msg);
	assert_int_equal(messages, before + 1);
	assert_true(lp_link_is_idle(link_));
}

static void link__refuses_answers_to_nothing(void **state)
{
	struct lp_msg msg = {.kind = LP_MSG_FAILED};

	start_streaming();
	applied(revision);
	expect_refused("nothing was sent");
	start_again(state);
	start_streaming();
	save("g", "not sent yet");
	applied(revision);
	expect_refused("it was not sent yet");
	start_again(state);
	start_streaming();
	msg.u.failed.stage = LP_WIRE_STAGE_APPLY;
	fake_say(&msg);
	expect_refused("nothing was sent that could fail");
	start_again(state);
	start_streaming();
	save("g", "new");
	(void)expect(LP_MSG_CHANGE);
	applied(revision);
	assert_true(lp_link_is_idle(link_));
	applied(revision);
	expect_refused("it was answered already");
}

/* It has no workspace to compare anything with. */
static void observer__hears_no_answers_to_owners(void **state)
{
	static const enum lp_msg_kind kinds[] = {LP_MSG_VERIFIED, LP_MSG_APPLIED, LP_MSG_CREDIT,
						 LP_MSG_LISTING, LP_MSG_RELOADED};

	for (size_t i = 0; i < LP_COUNT_OF(kinds); i++) {
		const struct lp_msg msg = {.kind = kinds[i]};
		const struct lp_digest none = {{0}};

		if (i > 0)
			start_again(state);
		link_->opts.role = LP_ROLE_OBSERVER;
		memset(&link_->source, 0, sizeof(link_->source));
		welcome(&none, false);
		assert_int_equal(ups, 1);
		fake_say(&msg);
		expect_refused(lp_msg_name(kinds[i]));
	}
}

static void walk__refuses_a_name_twice(void **state)
{
	const struct lp_digest other = {{1}};
	struct lp_wire_entry twice[2] = {0};

	(void)state;
	for (size_t i = 0; i < 2; i++)
		twice[i] = (struct lp_wire_entry){
			.name = lp_bytes_of("f"), .kind = LP_KIND_FILE, .owned = true};
	welcome(&other, false);
	(void)expect(LP_MSG_LIST);
	list("", twice, 2, true);
	assert_true(fake_was_closed());
	assert_string_equal(link_->last_error, "the instance lists a name twice");
}

static void link__believes_no_absurd_revision(void **state)
{
	const uint64_t absurd[] = {UINT64_MAX, UINT64_MAX - 1, (uint64_t)INT64_MAX};

	for (size_t i = 0; i < LP_COUNT_OF(absurd); i++) {
		const struct lp_digest none = {{0}};

		if (i > 0)
			start_again(state);
		claimed = absurd[i];
		welcome(&none, false);
		assert_true(fake_was_closed());
		assert_true(revision < 100);
		assert_true(link_->final);
	}
}

static void link__shows_no_escapes_in_a_reason(void **state)
{
	(void)state;
	start_streaming();
	fake_lose("\x1b]0;title\x07 gone");
	assert_string_equal(reason, "?]0;title? gone");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(link__shows_only_so_many_failures, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(link__refuses_what_instances_do_not_say, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(link__refuses_answers_to_nothing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(observer__hears_no_answers_to_owners, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(walk__refuses_a_name_twice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(link__shows_no_escapes_in_a_reason, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(link__believes_no_absurd_revision, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
