/* test_stream.c: what a link that streams does beside sending: pacing, verifying, keeping track of
 * what the instance may not hold, and asking for large trees in bounded steps. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "link/fleet.h"
#include "tests/unit/link/feed_rig.h"
#include "tests/unit/link/link_rig.h"
#include "tests/unit/noise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void verified(uint64_t drifted, const struct lp_digest *root)
{
	struct lp_msg msg = {.kind = LP_MSG_VERIFIED};

	msg.u.verified.drifted = drifted;
	memcpy(msg.u.verified.root, root->b, 16);
	fake_say(&msg);
}

static void verify__compares_trees_where_they_differ(void **state)
{
	struct lp_digest root, other = {{1}};
	struct lp_wire_entry none;

	(void)state;
	assert_int_equal(lp_link_verify(link_), -ENOTCONN);
	start_streaming();
	root = lp_index_root(workspace);
	assert_int_equal(lp_link_verify(link_), 0);
	(void)expect(LP_MSG_VERIFY);
	verified(0, &root);
	expect_nothing();
	assert_true(lp_link_is_idle(link_));
	assert_int_equal(lp_link_verify(link_), 0);
	(void)expect(LP_MSG_VERIFY);
	verified(1, &other);
	(void)expect(LP_MSG_LIST);
	lp_index_remove(workspace, "f");
	list("", &none, 0, true);
	expect_catch_up(NULL, 0);
	applied(revision);
	assert_true(lp_link_is_idle(link_));
}

static void verify__waits_for_what_is_in_flight(void **state)
{
	struct lp_digest root;

	(void)state;
	start_streaming();
	save("g", "new");
	assert_int_equal(lp_link_verify(link_), 0);
	(void)expect(LP_MSG_CHANGE);
	expect_nothing();
	applied(revision);
	(void)expect(LP_MSG_VERIFY);
	save("h", "meanwhile");
	(void)expect(LP_MSG_CHANGE);
	/* Of before that save: compared when it is answered. */
	root = (struct lp_digest){{9}};
	verified(0, &root);
	expect_nothing();
	applied(revision);
	(void)expect(LP_MSG_LIST);
}

static struct lp_rate rate;

static void rate__paces_contents_and_nothing_else(void **state)
{
	struct lp_msg ask = {.kind = LP_MSG_ASK};
	uint64_t now_us;

	(void)state;
	start_streaming();
	lp_rate_init(&rate, 100, lp_now_us());
	link_->opts.rate = &rate;
	save("g", "a content that is longer than what a bucket of ten bytes has");
	(void)expect(LP_MSG_CHANGE); /* goes into debt */
	save("h", "the next");
	expect_nothing();
	now_us = lp_now_us();
	assert_non_null(link_->paced.loop);
	assert_true(link_->paced.due_us > now_us + 500000u);
	assert_int_equal(lp_link_send(link_, &ask), 0);
	(void)expect(LP_MSG_ASK);
	rate.last_us -= 10000000u; /* as if ten seconds had passed */
	lp_timer_set(loop, &link_->paced, now_us);
	(void)wait_for(LP_MSG_CHANGE);
}

/* A file that could not be sent as it is: what builds on it is sent whole until the trees are known
 * to be equal again. */
static void unsure__sends_whole_files(void **state)
{
	const size_t len = 1000000;
	LP_AUTO_FREE uint8_t *bytes = lp_xcalloc(1, len);
	struct lp_entry e = {.kind = LP_KIND_FILE, .mode = 0644, .size = len};
	struct lp_digest root;
	const struct lp_msg *msg;
	struct lp_msg done = {.kind = LP_MSG_APPLIED};
	int fd;

	(void)state;
	(void)snprintf(large_path, sizeof(large_path), "/tmp/livepush-link-XXXXXX");
	fd = mkstemp(large_path);
	fill_noise(bytes, len, 1);
	assert_int_equal(lp_write_all(fd, bytes, len), 0);
	assert_int_equal(close(fd), 0);
	e.digest = digest_of(bytes, len);
	start_streaming();
	for (int i = 0; i < 3; i++) {
		struct lp_changeset *cs = lp_changeset_create();
		struct lp_op *op;
		struct lp_reel *reel;
		bool patched = false, whole = false, last = false;

		if (i == 0) /* gone before it could be sent */
			lp_changeset_add(cs, LP_OP_PUT, "gone", &e, NULL);
		op = lp_changeset_add(cs, LP_OP_PUT, "large", &e, NULL);
		op->chunks = chunks_of(bytes, len);
		if (i > 0) {
			op->base.digest = e.digest;
			op->base.chunks = chunks_of(bytes, len);
		}
		cs->revision = ++revision;
		reel = lp_reel_create(cs, &source);
		lp_link_push(link_, cs, reel);
		lp_reel_unref(reel);
		lp_changeset_unref(cs);
		while (!last) {
			(void)fake_pump(SIZE_MAX);
			msg = fake_sent();
			assert_non_null(msg);
			patched |= msg->kind == LP_MSG_PATCH;
			whole |= msg->kind == LP_MSG_DATA;
			last = msg->kind == LP_MSG_CHANGE && msg->u.change.flags & LP_CHANGE_LAST;
		}
		assert_int_equal(whole, i < 2);
		assert_int_equal(patched, i == 2);
		/* The second time the instance says that it holds what the workspace holds. */
		root = lp_index_root(workspace);
		done.u.applied.revision = revision;
		if (i == 1)
			memcpy(done.u.applied.root, root.b, 16);
		fake_say(&done);
		assert_int_equal(link_->unsure, i == 0);
	}
	assert_int_equal(unlink(large_path), 0);
}

static bool has_root(const struct lp_msg *msg)
{
	struct lp_digest root = {{0}};

	assert_true(msg->u.change.flags & LP_CHANGE_LAST);
	memcpy(root.b, msg->u.change.root, sizeof(root.b));
	return !lp_digest_is_none(&root);
}

static void push_gone(void)
{
	struct lp_changeset *cs = lp_changeset_create();
	struct lp_entry e;
	struct lp_reel *reel;

	put("gone", "before it could be sent");
	e = lp_node_entry(lp_index_get(workspace, "gone"));
	lp_changeset_add(cs, LP_OP_PUT, "gone", &e, NULL);
	cs->root = lp_index_root(workspace);
	cs->revision = ++revision;
	reel = lp_reel_create(cs, &source);
	lp_link_push(link_, cs, reel);
	lp_reel_unref(reel);
	lp_changeset_unref(cs);
}

/* What was taken before it was known that a file cannot be sent leads to another root than it says:
 * none is named until the roots are seen to be equal again. */
static void unsure__names_no_root(void **state)
{
	struct lp_msg done = {.kind = LP_MSG_APPLIED};
	struct lp_digest root;

	(void)state;
	start_streaming();
	push_gone();
	save("f", "taken before the first was sent");
	save("g", "the same");
	assert_false(has_root(expect(LP_MSG_CHANGE)));
	assert_int_equal(stales, 1);
	assert_false(has_root(expect(LP_MSG_CHANGE)));
	assert_false(has_root(expect(LP_MSG_CHANGE)));
	applied(revision - 2);
	applied(revision - 1);
	applied(revision);
	assert_true(link_->unsure);
	assert_int_equal(lp_index_remove(workspace, "gone"), 1);
	save("h", "what is left out is seen to be gone");
	assert_false(has_root(expect(LP_MSG_CHANGE)));
	root = lp_index_root(workspace);
	done.u.applied.revision = revision;
	memcpy(done.u.applied.root, root.b, 16);
	fake_say(&done);
	assert_false(link_->unsure);
	save("i", "sure again");
	assert_true(has_root(expect(LP_MSG_CHANGE)));
}

/* When nothing brings what was left out, trees are compared after a while. */
static void unsure__does_not_last(void **state)
{
	struct lp_wire_entry none;

	(void)state;
	start_streaming();
	push_gone();
	(void)expect(LP_MSG_CHANGE);
	applied(revision);
	expect_nothing();
	assert_true(lp_link_is_idle(link_) && lp_link_is_in_doubt(link_));
	(void)wait_for(LP_MSG_LIST);
	assert_int_equal(lp_index_remove(workspace, "gone"), 1);
	assert_int_equal(lp_index_remove(workspace, "f"), 1);
	list("", &none, 0, true);
	expect_catch_up(NULL, 0);
	assert_false(link_->unsure);
	applied(revision);
	assert_true(lp_link_is_idle(link_));
}

/* A tree of very many directories: no LIST asks for more than its answer may take. */
static void walk__asks_in_bounded_steps(void **state)
{
	static struct lp_wire_entry dirs[12000];
	static char names[12000][8];
	struct lp_digest other = {{1}};
	struct lp_entry dir = {.kind = LP_KIND_DIR, .mode = 0755};
	size_t asked = 0, lists = 0;
	char path[64];

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(dirs); i++) {
		(void)snprintf(names[i], sizeof(names[i]), "d%05zu", i);
		assert_int_equal(lp_index_put(workspace, names[i], &dir, NULL, NULL), 0);
		for (int j = 0; j < 10; j++) {
			(void)snprintf(path, sizeof(path), "%s/f%d", names[i], j);
			put(path, "");
		}
		dirs[i] = (struct lp_wire_entry){.name = lp_bytes_of(names[i]),
						 .kind = LP_KIND_DIR,
						 .mode = 0755,
						 .owned = true};
		memcpy(dirs[i].digest, other.b, 16);
	}
	welcome(&other, false);
	assert_int_equal(expect(LP_MSG_LIST)->u.list.n_paths, 1);
	list("", dirs, LP_COUNT_OF(dirs), true);
	while (asked < LP_COUNT_OF(dirs)) {
		size_t n = expect(LP_MSG_LIST)->u.list.n_paths;

		assert_true(n > 100 && n <= 4000);
		lists++;
		for (size_t i = 0; i < n; i++)
			list(names[asked++], NULL, 0, i + 1 == n);
	}
	assert_true(lists >= 6 && lists < 30);
	assert_int_equal(link_->state, LP_LINK_CATCHING);
}

/* A directory that moves while it is walked is sent where it is, and removed where it was. */
static void walk__follows_what_moves_meanwhile(void **state)
{
	struct lp_digest other = {{1}};
	struct lp_entry dir = {.kind = LP_KIND_DIR, .mode = 0755};
	struct lp_changeset *cs = lp_changeset_create();
	struct lp_wire_entry old = {
		.name = lp_bytes_of("a"), .kind = LP_KIND_DIR, .mode = 0755, .owned = true};
	const struct lp_msg *msg;
	struct lp_digest digest;
	struct lp_reel *reel;

	(void)state;
	lp_index_remove(workspace, "f");
	assert_int_equal(lp_index_put(workspace, "a", &dir, NULL, NULL), 0);
	assert_int_equal(lp_index_put(workspace, "a/b", &dir, NULL, NULL), 0);
	(void)lp_index_root(workspace);
	digest = lp_index_get(workspace, "a")->e.digest;
	memcpy(old.digest, digest.b, 16);
	welcome(&other, false);
	(void)expect(LP_MSG_LIST);
	assert_int_equal(lp_node_move(workspace, lp_index_get(workspace, "a"), "z"), 0);
	lp_changeset_add_move(cs, "a", "z", &dir);
	cs->revision = ++revision;
	reel = lp_reel_create(cs, &source);
	lp_link_push(link_, cs, reel);
	lp_reel_unref(reel);
	lp_changeset_unref(cs);
	list("", &old, 1, true);
	msg = expect(LP_MSG_CHANGE);
	assert_int_equal(msg->u.change.n_ops, 3);
	assert_int_equal(msg->u.change.ops[0].op, LP_OP_DELETE);
	assert_memory_equal(msg->u.change.ops[0].path.p, "a", 1);
	assert_int_equal(msg->u.change.ops[1].op, LP_OP_PUT);
	assert_memory_equal(msg->u.change.ops[1].path.p, "z", 1);
	assert_memory_equal(msg->u.change.ops[2].path.p, "z/b", 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(verify__compares_trees_where_they_differ, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(verify__waits_for_what_is_in_flight, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(rate__paces_contents_and_nothing_else, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(unsure__sends_whole_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unsure__names_no_root, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unsure__does_not_last, set_up, tear_down),
		cmocka_unit_test_setup_teardown(walk__asks_in_bounded_steps, set_up, tear_down),
		cmocka_unit_test_setup_teardown(walk__follows_what_moves_meanwhile, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
