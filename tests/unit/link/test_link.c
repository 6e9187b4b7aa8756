/* test_link.c: a link against an instance that the test speaks for: opening, streaming, flow. */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/link/link_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void link__streams_and_answers(void **state)
{
	(void)state;
	start_streaming();
	save("f", "other");
	save("g", "new");
	assert_false(lp_link_is_idle(link_));
	assert_int_equal(expect(LP_MSG_CHANGE)->u.change.revision, 42);
	assert_int_equal(expect(LP_MSG_CHANGE)->u.change.revision, 43);
	applied(42);
	assert_int_equal(idles, 1);
	applied(43);
	assert_int_equal(idles, 2);
	assert_int_equal(lp_link_applied(link_), 43);
}

static void link__gives_up_where_trying_again_is_no_use(void **state)
{
	static const struct {
		const char *name;
		uint64_t code;
		bool is_final;
	} cases[] = {
		{"another version", LP_REFUSE_VERSION, true},
		{"the secret", LP_REFUSE_SECRET, true},
		{"another owner", LP_REFUSE_HELD, true},
		{"taken over", LP_REFUSE_TAKEN, true},
		{"going down", LP_REFUSE_CLOSED, false},
	};

	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_msg msg = {.kind = LP_MSG_REFUSED};

		if (i > 0) {
			(void)tear_down(state);
			(void)set_up(state);
		}
		msg.u.refused.code = cases[i].code;
		msg.u.refused.text = lp_bytes_of(cases[i].name);
		fake_say(&msg);
		assert_true(fake_was_closed());
		fake_lose("closed");
		assert_int_equal(downs, 1);
		assert_int_equal(finals, cases[i].is_final);
		assert_string_equal(reason, cases[i].name);
	}
}

static void link__does_not_trust_an_instance_without_the_secret(void **state)
{
	const struct lp_digest none = {{0}};

	(void)state;
	welcome(&none, true);
	assert_true(fake_was_closed());
	expect_nothing();
	fake_lose("closed");
	assert_int_equal(finals, 1);
	assert_int_equal(ups, 0);
}

static void link__closes_on_what_does_not_belong(void **state)
{
	struct lp_msg msgs[] = {
		{.kind = LP_MSG_WELCOME}, {.kind = LP_MSG_APPLIED}, {.kind = LP_MSG_LISTING},
		{.kind = LP_MSG_LOG},     {.kind = LP_MSG_CHANGE},
	};

	for (size_t i = 0; i <= LP_COUNT_OF(msgs); i++) {
		if (i > 0) {
			(void)tear_down(state);
			(void)set_up(state);
		}
		if (i == LP_COUNT_OF(msgs))
			fake_say_bytes("nonsense", 8);
		else
			fake_say(&msgs[i]);
		assert_true(fake_was_closed());
		fake_lose("closed");
		assert_true(downs == 1 && finals == 0 && ups == 0);
	}
}

static void link__keeps_to_the_window(void **state)
{
	LP_AUTO_FREE uint8_t *bytes = lp_xcalloc(1, (size_t)40 * 1024 * 1024);
	struct lp_changeset *cs = lp_changeset_create();
	struct lp_entry e = {
		.kind = LP_KIND_FILE, .mode = 0644, .size = (uint64_t)40 * 1024 * 1024};
	uint64_t sent = 0, consumed = 0, data = 0;
	const struct lp_msg *msg;
	struct lp_hasher *hasher;
	struct lp_reel *reel;
	bool done = false;
	int fd;

	(void)state;
	(void)snprintf(large_path, sizeof(large_path), "/tmp/livepush-link-XXXXXX");
	fd = mkstemp(large_path);
	assert_int_equal(lp_write_all(fd, bytes, e.size), 0);
	assert_int_equal(close(fd), 0);
	hasher = lp_hasher_create();
	lp_hasher_add(hasher, bytes, e.size);
	e.digest = lp_hasher_get(hasher);
	lp_hasher_destroy(hasher);
	start_streaming();
	sent = consumed = link_->sent;
	lp_changeset_add(cs, LP_OP_PUT, "large", &e, NULL);
	cs->revision = ++revision;
	reel = lp_reel_create(cs, &source);
	lp_link_push(link_, cs, reel);
	lp_reel_unref(reel);
	lp_changeset_unref(cs);
	while (!done) {
		uint64_t before = sent;

		(void)fake_pump(SIZE_MAX);
		while ((msg = fake_sent())) {
			sent += fake_sent_bytes();
			data += msg->kind == LP_MSG_DATA ? msg->u.data.content.len : 0;
			done |= msg->kind == LP_MSG_CHANGE && msg->u.change.flags & LP_CHANGE_LAST;
		}
		assert_true(sent > before);
		assert_true(sent - consumed <= LP_WIRE_WINDOW_BYTES);
		assert_int_equal(sent, link_->sent);
		credit(sent + 1); /* more than was sent: not believed */
		assert_int_equal(fake_pump(SIZE_MAX), 0);
		consumed = sent - 1000000;
		credit(consumed);
	}
	assert_int_equal(data, e.size);
	assert_int_equal(unlink(large_path), 0);
}

static void create__refuses_bad_secrets_and_urls(void **state)
{
	struct lp_link_opts opts = {
		.url = "http://x", .secret = "short", .app = "a", .holder = "h", .workspace = id};
	struct lp_link *bad = NULL;
	struct lp_err err = {0};

	(void)state;
	assert_int_equal(lp_link_create(&bad, loop, &opts, &ops, &source, &err), -EINVAL);
	opts.secret = LINK_SECRET;
	assert_int_equal(lp_link_create(&bad, loop, &opts, &ops, &source, &err), 0);
	while (finals == 0)
		assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	lp_link_destroy(bad);
	lp_link_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(link__streams_and_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(link__gives_up_where_trying_again_is_no_use, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(link__does_not_trust_an_instance_without_the_secret,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(link__closes_on_what_does_not_belong, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(link__keeps_to_the_window, set_up, tear_down),
		cmocka_unit_test_setup_teardown(create__refuses_bad_secrets_and_urls, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
