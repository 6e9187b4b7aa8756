/* test_sketch.c: a link of a workspace that has not read all of its files yet. */
#include "common/base/lp_mem.h"
#include "tests/unit/link/link_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define N_FILLS 3

static struct lp_changeset *followed;
static unsigned n_fills;
static int read_result;

static bool is_sketch(void)
{
	return lp_node_is_blank(lp_index_get(workspace, "f"));
}

static struct lp_index *sketch(void *ctx)
{
	(void)ctx;
	return is_sketch() ? workspace : NULL;
}

/* All is read: the index and the changeset get what they lack. */
static void complete(void)
{
	put("f", "content");
	if (followed) {
		followed->root = lp_index_root(workspace);
		lp_changeset_unref(followed);
		followed = NULL;
	}
}

static bool fill(void *ctx)
{
	(void)ctx;
	if (++n_fills == N_FILLS)
		complete();
	return n_fills >= N_FILLS;
}

static void follow(void *ctx, struct lp_changeset *cs)
{
	(void)ctx;
	assert_null(followed);
	followed = lp_changeset_ref(cs);
}

static int read_blank(void *ctx, const char *path, struct lp_entry *e, void *to)
{
	(void)ctx;
	assert_string_equal(path, "f");
	assert_true(lp_entry_is_blank(e));
	if (read_result == 0) {
		memcpy(to, "content", e->size);
		e->digest = lp_digest_of("content", 7);
		complete();
	}
	return read_result;
}

static int start(void **state)
{
	const struct lp_entry e = {.kind = LP_KIND_FILE, .mode = 0644, .size = 7};

	(void)set_up(state);
	followed = NULL;
	n_fills = 0;
	read_result = 0;
	link_->source.sketch = sketch;
	link_->source.fill = fill;
	link_->source.follow = follow;
	link_->source.read_blank = read_blank;
	assert_int_equal(lp_index_put(workspace, "f", &e, NULL, NULL), 0);
	return 0;
}

static int end(void **state)
{
	lp_changeset_unref(followed);
	return tear_down(state);
}

static void link__reads_what_it_sends_to_an_empty_instance(void **state)
{
	const struct lp_digest none = {0}, content = lp_digest_of("content", 7);
	const struct lp_msg *msg;
	struct lp_digest root;

	(void)state;
	foreign = false;
	claimed = 0;
	welcome(&none, false);
	msg = expect(LP_MSG_CHANGE);
	root = lp_index_root(workspace);
	assert_int_equal(msg->u.change.flags, LP_CHANGE_FIRST | LP_CHANGE_LAST);
	assert_int_equal(msg->u.change.n_ops, 1);
	assert_memory_equal(msg->u.change.ops[0].digest, content.b, 16);
	assert_int_equal(msg->u.change.ops[0].content.len, 7);
	assert_memory_equal(msg->u.change.ops[0].content.p, "content", 7);
	assert_memory_equal(msg->u.change.root, root.b, 16);
	assert_int_equal(n_fills, 0);
	applied(revision);
	assert_true(lp_link_is_idle(link_));
	assert_true(lp_link_has_led_to(link_, root.b));
}

static void link__leaves_out_what_is_not_as_it_was_seen(void **state)
{
	const struct lp_digest none = {0};
	const struct lp_msg *msg;

	(void)state;
	foreign = false;
	read_result = -ESTALE;
	welcome(&none, false);
	msg = expect(LP_MSG_CHANGE);
	assert_int_equal(msg->u.change.flags, LP_CHANGE_FIRST | LP_CHANGE_LAST);
	assert_int_equal(msg->u.change.n_ops, 0);
	assert_memory_equal(msg->u.change.root, none.b, 16);
	assert_int_equal(stales, 1);
}

/* Whether an instance that has something needs it can be told by the digests only. */
static void link__has_all_read_before_it_compares(void **state)
{
	const struct lp_digest other = lp_digest_of("other", 5);

	(void)state;
	welcome(&other, false);
	assert_true(is_sketch());
	assert_int_equal(wait_for(LP_MSG_LIST)->u.list.n_paths, 1);
	assert_int_equal(n_fills, N_FILLS);
}

static void link__finds_out_that_nothing_differs(void **state)
{
	struct lp_digest root;
	const struct lp_msg *msg;

	(void)state;
	put("f", "content");
	root = lp_index_root(workspace);
	(void)end(state);
	(void)start(state);
	welcome(&root, false);
	msg = wait_for(LP_MSG_CHANGE);
	assert_int_equal(msg->u.change.n_ops, 0);
	assert_memory_equal(msg->u.change.root, root.b, 16);
	assert_int_equal(msg->u.change.revision, claimed);
}

/* The number that it names when it is welcomed is checked; what it says later raises none. */
static void link__lets_nobody_raise_the_revision_meanwhile(void **state)
{
	const struct lp_digest other = lp_digest_of("other", 5);

	(void)state;
	welcome(&other, false);
	assert_true(is_sketch());
	applied(UINT64_C(1) << 60);
	(void)wait_for(LP_MSG_LIST);
	assert_true(revision == claimed + 1);
}

static void link__has_its_instance_verify_meanwhile(void **state)
{
	const struct lp_digest other = lp_digest_of("other", 5);
	struct lp_msg msg = {.kind = LP_MSG_VERIFIED};

	(void)state;
	welcome(&other, false);
	assert_true(is_sketch());
	assert_int_equal(lp_link_verify(link_), 0);
	(void)expect(LP_MSG_VERIFY);
	memcpy(msg.u.verified.root, other.b, sizeof(other.b));
	fake_say(&msg);
	assert_int_equal(messages, 1);
	(void)wait_for(LP_MSG_LIST);
}

static void link__forgets_what_it_waits_for_when_it_is_lost(void **state)
{
	const struct lp_digest other = lp_digest_of("other", 5);

	(void)state;
	welcome(&other, false);
	fake_lose("lost");
	assert_int_equal(n_fills, 1);
	assert_null(link_->resync_timer.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(link__reads_what_it_sends_to_an_empty_instance,
						start, end),
		cmocka_unit_test_setup_teardown(link__leaves_out_what_is_not_as_it_was_seen, start,
						end),
		cmocka_unit_test_setup_teardown(link__has_all_read_before_it_compares, start, end),
		cmocka_unit_test_setup_teardown(link__finds_out_that_nothing_differs, start, end),
		cmocka_unit_test_setup_teardown(link__lets_nobody_raise_the_revision_meanwhile,
						start, end),
		cmocka_unit_test_setup_teardown(link__has_its_instance_verify_meanwhile, start,
						end),
		cmocka_unit_test_setup_teardown(link__forgets_what_it_waits_for_when_it_is_lost,
						start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
