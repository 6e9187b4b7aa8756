/* test_tree_content.c: large files that are patched or go on after a lost connection, reading the
 * whole tree again, and what is kept for taking back. */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/controller/tree_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define BYTES ((size_t)3 * 1024 * 1024)

static struct rig rig;
static uint8_t *old_bytes, *new_bytes;

static int set_up(void **state)
{
	(void)state;
	rig_open(&rig);
	old_bytes = lp_xcalloc(1, BYTES);
	new_bytes = lp_xcalloc(1, 2 * BYTES);
	for (size_t i = 0; i < BYTES; i++)
		old_bytes[i] = (uint8_t)((i * 2654435761u) >> 13);
	memcpy(new_bytes, old_bytes, BYTES);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(old_bytes);
	free(new_bytes);
	rig_close(&rig);
	return 0;
}

static int commit(uint64_t revision)
{
	struct lp_applied done;
	int r = lp_tree_commit(rig.tree, revision, &done, &rig.err);

	lp_applied_finish(&done);
	lp_tree_tidy(rig.tree);
	return r;
}

static int begin_put(const uint8_t *bytes, size_t len)
{
	const struct lp_wire_op op = op_large("big", bytes, len);

	lp_tree_begin(rig.tree);
	return lp_tree_op(rig.tree, &op, &rig.err);
}

static void put_old(void)
{
	const struct lp_bytes all = {old_bytes, BYTES};

	assert_int_equal(begin_put(old_bytes, BYTES), 0);
	assert_int_equal(lp_tree_data(rig.tree, 0, &all, &rig.err), 0);
	assert_int_equal(commit(1), 0);
}

static int send_patch(const uint8_t *base, size_t base_len, bool in_place,
		      struct lp_wire_segment *segments, size_t n)
{
	const struct lp_wire_op old = op_large("big", base, base_len);
	struct lp_msg_patch msg = {.in_place = in_place, .segments = segments, .n_segments = n};

	memcpy(msg.base, old.digest, 16);
	return lp_tree_patch(rig.tree, &msg, &rig.err);
}

static struct lp_wire_segment kept(size_t from, size_t len)
{
	return (struct lp_wire_segment){.from = from, .len = len};
}

static struct lp_wire_segment fresh(size_t at, size_t len)
{
	return (struct lp_wire_segment){
		.len = len, .has_content = true, .content = {new_bytes + at, len}};
}

static void expect_big(const uint8_t *bytes, size_t len)
{
	struct lp_digest now = app_digest(&rig, "big"), wanted = lp_digest_of(bytes, len);

	assert_memory_equal(&now, &wanted, sizeof(now));
}

static ino_t inode(void)
{
	struct stat st;

	assert_int_equal(fstatat(lp_tree_fd(rig.tree), "big", &st, 0), 0);
	return st.st_ino;
}

/* 4 KiB in the middle and some at the end, which makes it longer. */
static int patch_middle(bool in_place)
{
	struct lp_wire_segment segments[] = {
		kept(0, 1000000),
		fresh(1000000, 4096),
		kept(1004096, BYTES - 1004096),
		fresh(BYTES, 5000),
	};
	int r;

	memset(new_bytes + 1000000, 'n', 4096);
	memset(new_bytes + BYTES, 'e', 5000);
	r = begin_put(new_bytes, BYTES + 5000);
	return r < 0 ? r : send_patch(old_bytes, BYTES, in_place, segments, 4);
}

static void patch__in_place_writes_into_the_file(void **state)
{
	struct lp_applied done;
	ino_t before;

	(void)state;
	put_old();
	before = inode();
	assert_int_equal(patch_middle(true), 0);
	expect_big(old_bytes, BYTES); /* nothing before the commit */
	assert_int_equal(commit(2), 0);
	assert_true(inode() == before);
	expect_big(new_bytes, BYTES + 5000);
	assert_int_equal(lp_tree_bytes(rig.tree), BYTES + 5000);
	assert_int_equal(lp_tree_rollback(rig.tree, 2, &done, &rig.err), 0);
	lp_applied_finish(&done);
	assert_true(inode() == before);
	expect_big(old_bytes, BYTES);
	assert_int_equal(lp_tree_revision(rig.tree), 1);
}

static void patch__makes_another_file_otherwise(void **state)
{
	struct lp_wire_segment moved[] = {fresh(0, 100), kept(0, BYTES)};
	ino_t before;

	(void)state;
	put_old();
	before = inode();
	assert_int_equal(patch_middle(false), 0);
	assert_int_equal(commit(2), 0);
	assert_true(inode() != before);
	expect_big(new_bytes, BYTES + 5000);
	/* Everything moves by 100 bytes, which cannot be done in place. */
	put_old();
	before = inode();
	memset(new_bytes, 'v', 100);
	memcpy(new_bytes + 100, old_bytes, BYTES);
	assert_int_equal(begin_put(new_bytes, BYTES + 100), 0);
	assert_int_equal(send_patch(old_bytes, BYTES, true, moved, 2), 0);
	assert_int_equal(commit(4), 0);
	assert_true(inode() != before);
	expect_big(new_bytes, BYTES + 100);
}

/* It could not be opened any more to be put back. */
static void patch__that_makes_it_read_only_makes_another_file(void **state)
{
	struct lp_wire_segment segments[] = {fresh(0, 1), kept(1, BYTES - 1)};
	struct lp_wire_op op;
	ino_t before;

	(void)state;
	put_old();
	before = inode();
	new_bytes[0] ^= 1;
	op = op_large("big", new_bytes, BYTES);
	op.mode = 0444;
	lp_tree_begin(rig.tree);
	assert_int_equal(lp_tree_op(rig.tree, &op, &rig.err), 0);
	assert_int_equal(send_patch(old_bytes, BYTES, true, segments, 2), 0);
	assert_int_equal(commit(2), 0);
	assert_true(inode() != before);
	expect_big(new_bytes, BYTES);
}

/* So many places are not written in place; it comes in many messages. */
static void patch__of_very_many_places_makes_another_file(void **state)
{
	struct lp_wire_segment segments[2];
	ino_t before;

	(void)state;
	put_old();
	before = inode();
	for (size_t at = 0; at < BYTES; at += 512)
		new_bytes[at] ^= 1;
	assert_int_equal(begin_put(new_bytes, BYTES), 0);
	for (size_t at = 0; at < BYTES; at += 512) {
		segments[0] = fresh(at, 1);
		segments[1] = kept(at + 1, 511);
		assert_int_equal(send_patch(old_bytes, BYTES, true, segments, 2), 0);
	}
	assert_int_equal(commit(2), 0);
	assert_true(inode() != before);
	expect_big(new_bytes, BYTES);
}

static void patch__follows_a_move(void **state)
{
	struct lp_wire_op move = {.op = LP_OP_MOVE, .kind = LP_KIND_FILE, .has_content = true};
	struct lp_wire_op put;
	struct lp_wire_segment segments[] = {kept(0, 7), fresh(7, 1), kept(8, BYTES - 8)};

	(void)state;
	put_old();
	new_bytes[7] ^= 1;
	move.path = lp_bytes_of("moved");
	move.content = lp_bytes_of("big");
	put = op_large("moved", new_bytes, BYTES);
	for (int i = 0; i < 2; i++) {
		ino_t before = inode();
		struct lp_applied done;
		struct lp_digest now, wanted = lp_digest_of(new_bytes, BYTES);
		struct stat st;

		lp_tree_begin(rig.tree);
		assert_int_equal(lp_tree_op(rig.tree, &move, &rig.err), 0);
		assert_int_equal(lp_tree_op(rig.tree, &put, &rig.err), 0);
		assert_int_equal(send_patch(old_bytes, BYTES, i == 0, segments, 3), 0);
		assert_int_equal(commit(2), 0);
		assert_false(app_sees(&rig, "big"));
		now = app_digest(&rig, "moved");
		assert_memory_equal(&now, &wanted, sizeof(now));
		assert_int_equal(fstatat(lp_tree_fd(rig.tree), "moved", &st, 0), 0);
		assert_true((st.st_ino == before) == (i == 0));
		assert_int_equal(lp_tree_rollback(rig.tree, 2, &done, &rig.err), 0);
		lp_applied_finish(&done);
		expect_big(old_bytes, BYTES);
		assert_false(app_sees(&rig, "moved"));
	}
}

static void patch__refuses_what_does_not_fit(void **state)
{
	const struct {
		const char *name;
		struct lp_wire_segment segment;
		int expected;
	} cases[] = {
		{"nothing", kept(0, 0), -EBADMSG},
		{"more than the file", kept(0, BYTES + 1), -EBADMSG},
		{"from behind the base", kept(BYTES, 1), -EBADMSG},
		{"from far behind it", {.from = INT64_MAX, .len = INT64_MAX}, -EBADMSG},
		{"beyond all bounds", {.from = UINT64_MAX, .len = UINT64_MAX}, -EBADMSG},
		{"a length that is not the content's",
		 {.len = 2, .has_content = true, .content = {new_bytes, 1}},
		 -EBADMSG},
		{"another content", fresh(0, BYTES), -EBADMSG},
	};

	(void)state;
	put_old();
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_wire_segment s = cases[i].segment;

		new_bytes[0] = 'a';
		assert_int_equal(begin_put(new_bytes, BYTES), 0);
		new_bytes[0] = 'b';
		if (send_patch(old_bytes, BYTES, i % 2, &s, 1) != cases[i].expected)
			fail_msg("%s: %s", cases[i].name, rig.err.msg);
		lp_tree_drop(rig.tree);
		assert_int_equal(rig_staged(&rig), 0);
		expect_big(old_bytes, BYTES);
	}
}

static void patch__needs_its_base(void **state)
{
	struct lp_wire_segment all = kept(0, BYTES), small = kept(0, 10);
	const struct lp_wire_op other = op_large("other", old_bytes, BYTES),
				tiny = op_large("tiny", old_bytes, 10);
	struct lp_msg_patch msg = {.segments = &all, .n_segments = 1};
	const struct lp_bytes piece = {old_bytes, 10};

	(void)state;
	put_old();
	/* Another base. */
	assert_int_equal(begin_put(old_bytes, BYTES), 0);
	assert_int_equal(send_patch(new_bytes, BYTES - 1, true, &all, 1), -ESTALE);
	/* Nothing there. */
	lp_tree_begin(rig.tree);
	assert_int_equal(lp_tree_op(rig.tree, &other, &rig.err), 0);
	assert_int_equal(lp_tree_patch(rig.tree, &msg, &rig.err), -ESTALE);
	/* Too small, none due, in the middle of data, incomplete. */
	lp_tree_begin(rig.tree);
	assert_int_equal(lp_tree_op(rig.tree, &tiny, &rig.err), 0);
	assert_int_equal(send_patch(old_bytes, BYTES, true, &small, 1), -EBADMSG);
	lp_tree_begin(rig.tree);
	assert_int_equal(send_patch(old_bytes, BYTES, true, &small, 1), -EBADMSG);
	assert_int_equal(begin_put(old_bytes, BYTES), 0);
	assert_int_equal(lp_tree_data(rig.tree, 0, &piece, &rig.err), 0);
	assert_int_equal(send_patch(old_bytes, BYTES, true, &small, 1), -EBADMSG);
	assert_int_equal(begin_put(old_bytes, BYTES), 0);
	assert_int_equal(send_patch(old_bytes, BYTES, true, &small, 1), 0);
	assert_int_equal(lp_tree_op(rig.tree, &tiny, &rig.err), -EBADMSG);
	assert_int_equal(lp_tree_data(rig.tree, 10, &piece, &rig.err), -EBADMSG);
	assert_int_equal(commit(2), -EBADMSG);
	/* The app changed it: seen, and told by the next listing. */
	{
		LP_AUTO_CLOSE int fd = openat(lp_tree_fd(rig.tree), "big", O_WRONLY | O_CLOEXEC);
		struct lp_digest before = lp_tree_root(rig.tree), after;

		assert_int_equal(pwrite(fd, "app", 3, 100), 3);
		assert_int_equal(begin_put(old_bytes, BYTES), 0);
		assert_int_equal(send_patch(old_bytes, BYTES, true, &all, 1), -ESTALE);
		after = lp_tree_root(rig.tree);
		assert_false(lp_digest_equal(&before, &after));
	}
}

static void patch__leaves_other_names_of_the_file_alone(void **state)
{
	struct lp_digest now, wanted = lp_digest_of(old_bytes, BYTES);

	(void)state;
	put_old();
	assert_int_equal(linkat(lp_tree_fd(rig.tree), "big", lp_tree_fd(rig.tree), "second", 0), 0);
	assert_int_equal(patch_middle(true), 0);
	assert_int_equal(commit(2), 0);
	expect_big(new_bytes, BYTES + 5000);
	now = app_digest(&rig, "second");
	assert_memory_equal(&now, &wanted, sizeof(now));
}

static void lost__goes_on_where_it_stopped(void **state)
{
	const struct lp_bytes first = {old_bytes, 2000000},
			      rest = {old_bytes + 2000000, BYTES - 2000000};
	struct lp_digest partial, wanted;
	struct lp_wire_op op = op_large("big", old_bytes, BYTES);

	(void)state;
	memcpy(wanted.b, op.digest, 16);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(lp_tree_partial(rig.tree, &partial), 0);
		assert_int_equal(begin_put(old_bytes, BYTES), 0);
		assert_int_equal(lp_tree_data(rig.tree, 0, &first, &rig.err), 0);
		lp_tree_lost(rig.tree);
		assert_int_equal(rig_staged(&rig), 0);
		assert_int_equal(lp_tree_partial(rig.tree, &partial), 2000000);
		assert_memory_equal(&partial, &wanted, 16);
		assert_int_equal(begin_put(old_bytes, BYTES), 0);
		if (i == 0) {
			/* From the beginning. */
			assert_int_equal(lp_tree_data(rig.tree, 0, &first, &rig.err), 0);
			assert_int_equal(lp_tree_data(rig.tree, 2000000, &rest, &rig.err), 0);
			assert_int_equal(commit(1), 0);
		} else if (i == 1) {
			assert_int_equal(lp_tree_data(rig.tree, 2000000, &rest, &rig.err), 0);
			assert_int_equal(commit(2), 0);
		} else {
			/* Another content forgets it. */
			assert_int_equal(lp_tree_data(rig.tree, 1999999, &rest, &rig.err),
					 -EBADMSG);
			lp_tree_drop(rig.tree);
			assert_int_equal(lp_tree_partial(rig.tree, &partial), 2000000);
			assert_int_equal(RIG_APPLY(&rig, op_file("f", "f", 0644)), 0);
			assert_int_equal(lp_tree_partial(rig.tree, &partial), 0);
		}
		expect_big(old_bytes, BYTES);
		assert_int_equal(app_mode(&rig, "big"), 0644);
	}
}

static void undo__is_bounded(void **state)
{
	uint64_t oldest;

	(void)state;
	for (int i = 0; i < 100; i++) {
		char text[16];

		(void)snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(RIG_APPLY(&rig, op_file("f", text, 0644)), 0);
	}
	assert_int_equal(lp_tree_kept(rig.tree, &oldest), 64);
	assert_int_equal(oldest, 37);
	rig_reopen(&rig);
	assert_int_equal(lp_tree_kept(rig.tree, &oldest), 64);
	{
		struct lp_applied done;

		assert_int_equal(lp_tree_rollback(rig.tree, 36, &done, &rig.err), -ENOENT);
		lp_applied_finish(&done);
		assert_int_equal(lp_tree_rollback(rig.tree, 37, &done, &rig.err), 0);
		assert_int_equal(done.n_paths, 1);
		assert_int_equal(done.revision, 36);
		lp_applied_finish(&done);
	}
	assert_string_equal(app_reads(&rig, "f"), "35");
	assert_int_equal(lp_tree_kept(rig.tree, &oldest), 0);
}

static int roll_back(uint64_t revision)
{
	struct lp_applied done;
	int r = lp_tree_rollback(rig.tree, revision, &done, &rig.err);

	lp_applied_finish(&done);
	return r;
}

/* A commit of which nothing is kept (its journal did not fit on the disk, or the controller was
 * killed before it was written) would stay when one before it is taken back. */
static void undo__does_not_reach_behind_a_gap(void **state)
{
	static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
	uint64_t oldest;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(RIG_APPLY(&rig, op_file(names[i], "new", 0644)), 0);
	rig_reopen(&rig);
	app_remove(&rig, ".livepush/undo/2");
	rig_reopen(&rig);
	assert_int_equal(lp_tree_kept(rig.tree, &oldest), 2);
	assert_int_equal(oldest, 3);
	assert_int_equal(roll_back(1), -ENOENT);
	assert_int_equal(roll_back(2), -ENOENT);
	assert_int_equal(roll_back(3), 0);
	assert_int_equal(lp_tree_revision(rig.tree), 2);
	assert_true(app_sees(&rig, "b"));
	assert_false(app_sees(&rig, "c"));
	for (size_t i = 4; i < 6; i++)
		assert_int_equal(RIG_APPLY(&rig, op_file(names[i], "new", 0644)), 0);
	rig_reopen(&rig);
	assert_int_equal(lp_tree_kept(rig.tree, &oldest), 2);
	app_remove(&rig, ".livepush/undo/4");
	rig_reopen(&rig);
	assert_int_equal(lp_tree_kept(rig.tree, &oldest), 0);
}

/* What could be put of a revision that failed is no part of the one before. */
static void rollback__leaves_nothing_of_what_did_not_come_about(void **state)
{
	const struct lp_wire_op third = op_file("b", "third", 0644);

	(void)state;
	assert_int_equal(RIG_APPLY(&rig, op_file("b", "first", 0644)), 0);
	app_mkdir(&rig, "m");
	app_write(&rig, "m/log", "of the app");
	assert_int_equal(RIG_APPLY(&rig, op_file("b", "second", 0644), op_file("c", "c", 0644),
				   op_file("m", "mine", 0644)),
			 -EISDIR);
	assert_string_equal(app_reads(&rig, "b"), "second");
	lp_tree_begin(rig.tree);
	assert_int_equal(lp_tree_op(rig.tree, &third, &rig.err), 0);
	assert_int_equal(commit(3), 0);
	assert_int_equal(roll_back(3), 0);
	assert_int_equal(lp_tree_revision(rig.tree), 1);
	assert_string_equal(app_reads(&rig, "b"), "first");
	assert_false(app_sees(&rig, "c"));
	assert_string_equal(app_reads(&rig, "m/log"), "of the app");
	assert_int_equal(roll_back(1), 0);
	assert_false(app_sees(&rig, "b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(patch__in_place_writes_into_the_file, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(patch__makes_another_file_otherwise, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(patch__that_makes_it_read_only_makes_another_file,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(patch__of_very_many_places_makes_another_file,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(patch__follows_a_move, set_up, tear_down),
		cmocka_unit_test_setup_teardown(patch__refuses_what_does_not_fit, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(patch__needs_its_base, set_up, tear_down),
		cmocka_unit_test_setup_teardown(patch__leaves_other_names_of_the_file_alone, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(lost__goes_on_where_it_stopped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(undo__is_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(undo__does_not_reach_behind_a_gap, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(rollback__leaves_nothing_of_what_did_not_come_about,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
