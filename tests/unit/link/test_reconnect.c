/* test_reconnect.c: a link that lost its connection, or whose peer says nothing: when it tries
 * again, and what it spares then. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/link/feed_rig.h"
#include "tests/unit/link/link_rig.h"
#include "tests/unit/noise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LARGE ((size_t)2 * 1024 * 1024)

static void dispatch_until_connecting(void)
{
	uint64_t deadline_us = lp_now_us() + 10000000u;

	while (!link_->ws) {
		assert_true(lp_now_us() < deadline_us);
		assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	}
}

/* Connections that fail until the wait is a second at least. */
static void fail_often(void)
{
	for (int i = 0; i < 7; i++) {
		fake_lose("refused");
		if (i < 6)
			dispatch_until_connecting();
	}
	assert_null(link_->ws);
	assert_true(link_->retry.due_us > lp_now_us() + 700000u);
}

static void nudge__tries_at_once(void **state)
{
	uint64_t now_us;

	(void)state;
	fail_often();
	link_->connect_us = 0; /* the last try was long ago */
	lp_link_nudge(link_);
	assert_non_null(link_->ws);
	/* The next failures are followed up quickly again. */
	fake_lose("refused");
	now_us = lp_now_us();
	assert_true(link_->retry.due_us <= now_us + 50000u);
	/* Right after a try it is only made sure that the next one comes soon. */
	link_->tries = 7;
	lp_timer_set(loop, &link_->retry, now_us + 5000000u);
	lp_link_nudge(link_);
	assert_null(link_->ws);
	assert_true(link_->retry.due_us <= now_us + 200000u);
	dispatch_until_connecting();
	fake_accept();
	start_streaming();
}

/* What was sent into a dead network is given up for a new try. */
static void nudge__replaces_a_try_that_hangs(void **state)
{
	struct lp_ws *old;

	(void)state;
	fake_lose("lost");
	dispatch_until_connecting();
	old = link_->ws;
	link_->connect_us -= 1000000u;
	lp_link_nudge(link_);
	assert_non_null(link_->ws);
	assert_true(link_->ws != old || link_->connect_us + 500000u > lp_now_us());
	assert_int_equal(downs, 1);
	fake_accept();
	start_streaming();
}

static void nudge__probes_a_connection_that_stands(void **state)
{
	(void)state;
	start_streaming();
	lp_link_nudge(link_);
	assert_int_equal(fake_probes(), 1);
	assert_true(lp_link_is_streaming(link_));
	assert_int_equal(downs, 0);
}

/* TCP would try again when it suits it. */
static void nudge__replaces_a_connection_that_is_stuck(void **state)
{
	(void)state;
	start_streaming();
	save("f", "sent while the network was away");
	(void)expect(LP_MSG_CHANGE);
	fake_stick(true);
	link_->connect_us -= 1000000u;
	lp_link_nudge(link_);
	assert_int_equal(fake_probes(), 0);
	assert_true(downs == 1 && finals == 0);
	assert_non_null(link_->ws);
	assert_false(lp_link_is_streaming(link_));
	fake_accept();
	ups = caught_up = idles = 0;
	revision = 0;
	start_streaming();
}

static void nudge__leaves_alone_who_was_refused(void **state)
{
	struct lp_msg msg = {.kind = LP_MSG_REFUSED};

	(void)state;
	msg.u.refused.code = LP_REFUSE_HELD;
	msg.u.refused.text = lp_bytes_of("held");
	fake_say(&msg);
	assert_false(lp_link_has_ended(link_));
	fake_lose("closed");
	assert_true(lp_link_has_ended(link_));
	lp_link_nudge(link_);
	assert_null(link_->ws);
}

/* A peer that takes the connection and says nothing, or does not even take it. */
static void opening__does_not_wait_for_ever(void **state)
{
	static const struct {
		bool accepted;
		uint64_t most_us;
	} cases[] = {{false, 4100000}, {true, 10100000}};

	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		uint64_t now_us;

		if (i > 0) {
			(void)tear_down(state);
			(void)set_up(state);
		}
		if (!cases[i].accepted) {
			fake_lose("lost");
			dispatch_until_connecting();
		}
		now_us = lp_now_us();
		assert_non_null(link_->opening.loop);
		assert_true(link_->opening.due_us > now_us + 1000000u);
		assert_true(link_->opening.due_us < now_us + cases[i].most_us);
		/* As if it had passed. */
		lp_timer_clear(&link_->opening);
		link_->opening.on_fire(&link_->opening);
		assert_true(fake_was_closed());
		fake_lose("closed");
		assert_string_equal(reason, "it does not answer");
		assert_int_equal(finals, 0);
	}
}

static void put_large(const uint8_t *content, struct lp_digest *digest)
{
	struct lp_entry e = {.kind = LP_KIND_FILE, .mode = 0644, .size = LARGE};
	struct lp_chunks *chunks = chunks_of(content, LARGE);
	struct lp_node *node = NULL;
	int fd = open(large_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(lp_write_all(fd, content, LARGE), 0);
	assert_int_equal(close(fd), 0);
	*digest = e.digest = lp_chunks_digest(chunks);
	assert_int_equal(lp_index_put(workspace, "large", &e, NULL, &node), 0);
	lp_node_set_chunks(node, chunks);
	lp_chunks_unref(chunks);
}

/* Content bytes of the catch-up that comes now, of the kind that is expected. */
static size_t caught_up_with(enum lp_msg_kind kind, uint64_t *first_at)
{
	const struct lp_msg *msg;
	bool done = false;
	size_t bytes = 0;

	*first_at = UINT64_MAX;
	while (!done) {
		(void)fake_pump(SIZE_MAX);
		msg = fake_sent();
		assert_non_null(msg);
		if (msg->kind == LP_MSG_CHANGE) {
			done = msg->u.change.flags & LP_CHANGE_LAST;
			continue;
		}
		assert_int_equal(msg->kind, kind);
		if (kind == LP_MSG_DATA) {
			if (*first_at == UINT64_MAX)
				*first_at = msg->u.data.at;
			bytes += msg->u.data.content.len;
			continue;
		}
		for (size_t i = 0; i < msg->u.patch.n_segments; i++)
			bytes += msg->u.patch.segments[i].content.len;
	}
	return bytes;
}

static uint8_t content[LARGE];

static int set_up_large(void **state)
{
	(void)snprintf(large_path, sizeof(large_path), "/tmp/livepush-link-%d", (int)getpid());
	fill_noise(content, sizeof(content), 1);
	return set_up(state);
}

static int tear_down_large(void **state)
{
	(void)unlink(large_path);
	return tear_down(state);
}

static void catch_up__resumes_a_large_file(void **state)
{
	struct lp_digest digest, other = {{1}};
	struct lp_wire_entry none;
	uint64_t at;

	(void)state;
	put_large(content, &digest);
	partial_have = LARGE / 2 + 5;
	partial = digest;
	welcome(&other, false);
	assert_int_equal(expect(LP_MSG_LIST)->u.list.n_paths, 1);
	lp_index_remove(workspace, "f");
	list("", &none, 0, true);
	assert_int_equal(caught_up_with(LP_MSG_DATA, &at), LARGE - partial_have);
	assert_int_equal(at, partial_have);
	applied(revision);
	assert_true(lp_link_is_idle(link_));
}

/* A version that the instance lists, and the workspace had when it was connected last. */
static void catch_up__patches_what_is_known_to_be_there(void **state)
{
	struct lp_changeset *cs = lp_changeset_create();
	struct lp_digest before, after, other = {{1}};
	struct lp_wire_entry listed = {.name = lp_bytes_of("large"),
				       .kind = LP_KIND_FILE,
				       .mode = 0644,
				       .size = LARGE,
				       .owned = true};
	struct lp_reel *reel;
	struct lp_entry e;
	struct lp_op *op;
	uint64_t at;

	(void)state;
	lp_index_remove(workspace, "f");
	put_large(content, &before);
	start_streaming();
	fake_lose("lost");
	/* Saved while it is down. */
	content[LARGE / 2] ^= 1;
	put_large(content, &after);
	e = lp_node_entry(lp_index_get(workspace, "large"));
	op = lp_changeset_add(cs, LP_OP_PUT, "large", &e, NULL);
	content[LARGE / 2] ^= 1;
	op->base.digest = before;
	op->base.chunks = chunks_of(content, LARGE);
	cs->revision = ++revision;
	reel = lp_reel_create(cs, &source);
	lp_link_push(link_, cs, reel);
	lp_link_push(link_, cs, reel);
	lp_reel_unref(reel);
	lp_changeset_unref(cs);
	assert_int_equal(link_->n_old, 1);
	dispatch_until_connecting();
	fake_accept();
	welcome(&other, false);
	(void)expect(LP_MSG_LIST);
	memcpy(listed.digest, before.b, 16);
	list("", &listed, 1, true);
	assert_true(caught_up_with(LP_MSG_PATCH, &at) <= (size_t)LP_CHUNK_MAX_BYTES);
	applied(revision);
	assert_int_equal(link_->n_old, 0);
	/* Once more with another version there: all of it. */
	failed();
	(void)expect(LP_MSG_LIST);
	memcpy(listed.digest, other.b, 16);
	list("", &listed, 1, true);
	assert_int_equal(caught_up_with(LP_MSG_DATA, &at), LARGE);
	assert_int_equal(at, 0);
}

static void catch_up__of_two_empty_trees_asks_nothing(void **state)
{
	const struct lp_digest none = {{0}};

	(void)state;
	lp_index_remove(workspace, "");
	welcome(&none, false);
	assert_int_equal(expect(LP_MSG_CHANGE)->u.change.n_ops, 0);
	expect_nothing();
	applied(revision);
	assert_true(lp_link_is_idle(link_));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nudge__tries_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nudge__replaces_a_try_that_hangs, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(nudge__probes_a_connection_that_stands, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(nudge__replaces_a_connection_that_is_stuck, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(nudge__leaves_alone_who_was_refused, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(opening__does_not_wait_for_ever, set_up, tear_down),
		cmocka_unit_test_setup_teardown(catch_up__resumes_a_large_file, set_up_large,
						tear_down_large),
		cmocka_unit_test_setup_teardown(catch_up__patches_what_is_known_to_be_there,
						set_up_large, tear_down_large),
		cmocka_unit_test_setup_teardown(catch_up__of_two_empty_trees_asks_nothing, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
