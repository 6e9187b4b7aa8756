/* test_tree_verify.c: a tree is read again in turns, whatever is applied to it in between. */
#include "common/base/lp_mem.h"
#include "tests/unit/controller/tree_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LARGE_BYTES ((size_t)2000000)

static struct rig rig;
static uint8_t large[LARGE_BYTES];

static int set_up(void **state)
{
	(void)state;
	rig_open(&rig);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

static void put_large(uint8_t fill)
{
	const struct lp_bytes all = {large, LARGE_BYTES};
	struct lp_wire_op op;
	struct lp_applied done;

	memset(large, fill, LARGE_BYTES);
	op = op_large("large", large, LARGE_BYTES);
	lp_tree_begin(rig.tree);
	assert_int_equal(lp_tree_op(rig.tree, &op, &rig.err), 0);
	assert_int_equal(lp_tree_data(rig.tree, 0, &all, &rig.err), 0);
	assert_int_equal(lp_tree_commit(rig.tree, 1, &done, &rig.err), 0);
	lp_applied_finish(&done);
}

static void verify(struct lp_verified *v)
{
	lp_tree_verify_begin(rig.tree);
	while (!lp_tree_verify_turn(rig.tree, 0, v))
		;
}

static void verify__finds_what_changed(void **state)
{
	struct lp_verified v;
	struct lp_digest before, after;

	(void)state;
	put_large('l');
	assert_int_equal(RIG_APPLY(&rig, op_dir("d", 0755), op_file("d/f", "f", 0644),
				   op_file("d/g", "g", 0644), op_link("k", "d/f"),
				   op_dir("e", 0755), op_file("e/h", "h", 0644)),
			 0);
	before = lp_tree_root(rig.tree);
	verify(&v);
	assert_int_equal(v.drifted, 0);
	assert_int_equal(v.files, 4);
	assert_int_equal(v.bytes, LARGE_BYTES + 3);
	assert_memory_equal(&v.root, &before, sizeof(before));
	lp_verified_finish(&v);
	app_write(&rig, "d/f", "other");
	app_write(&rig, "d/own", "of the app");
	app_remove(&rig, "d/g");
	app_remove(&rig, "e");
	app_write(&rig, "e", "file now");
	/* One that is given up finds nothing that is told. */
	lp_tree_verify_begin(rig.tree);
	lp_tree_verify_end(rig.tree);
	verify(&v);
	assert_int_equal(v.drifted, 3);
	assert_int_equal(v.n_paths, 3);
	assert_string_equal(v.paths[0], "d/f");
	assert_string_equal(v.paths[1], "d/g");
	assert_string_equal(v.paths[2], "e");
	after = lp_tree_root(rig.tree);
	assert_memory_equal(&v.root, &after, sizeof(after));
	assert_false(lp_digest_equal(&before, &after));
	lp_verified_finish(&v);
	verify(&v);
	assert_int_equal(v.drifted, 0);
	lp_verified_finish(&v);
}

static void put_tree(void)
{
	assert_int_equal(RIG_APPLY(&rig, op_dir("a", 0755), op_file("a/1", "1", 0644),
				   op_file("a/2", "2", 0644), op_dir("b", 0755),
				   op_dir("b/c", 0755), op_file("b/c/3", "3", 0644),
				   op_file("b/d", "4", 0644), op_file("e", "5", 0644)),
			 0);
	put_large('l');
}

static void change_tree(size_t which)
{
	switch (which) {
	case 0:
		assert_int_equal(RIG_APPLY(&rig, op_delete("a"), op_delete("b/c")), 0);
		break;
	case 1:
		assert_int_equal(RIG_APPLY(&rig, op_file("a", "file now", 0644)), 0);
		break;
	case 2:
		assert_int_equal(RIG_APPLY(&rig, op_file("0", "0", 0644),
					   op_file("b/c0", "6", 0644), op_file("z", "z", 0644)),
				 0);
		break;
	case 3:
		put_large('m');
		break;
	case 4:
		assert_int_equal(RIG_APPLY(&rig, op_delete("a"), op_delete("b"), op_delete("e"),
					   op_delete("large")),
				 0);
		break;
	default:
		break;
	}
}

/* A changeset before every turn in which there is something to do, of every sort: what it changes
 * has not drifted, and what the app changed at the end is found all the same. */
static void verify__goes_on_behind_what_is_applied(void **state)
{
	(void)state;
	for (size_t which = 0; which < 6; which++) {
		bool ends = false;

		for (size_t at = 0; !ends; at++) {
			struct rig outer = rig;
			struct lp_verified v;
			struct lp_digest root;
			size_t turn = 0;

			rig_open(&rig);
			put_tree();
			assert_int_equal(RIG_APPLY(&rig, op_file("y", "y", 0644)), 0);
			app_write(&rig, "y", "of the app");
			lp_tree_verify_begin(rig.tree);
			for (;; turn++) {
				if (turn == at)
					change_tree(which);
				if (lp_tree_verify_turn(rig.tree, 0, &v))
					break;
			}
			ends = turn < at;
			root = lp_tree_root(rig.tree);
			assert_memory_equal(&v.root, &root, sizeof(root));
			if (v.drifted != 1 || strcmp(v.paths[0], "y") != 0)
				fail_msg("change %zu at turn %zu: %d drifted, %s", which, at,
					 (int)v.drifted, v.n_paths > 0 ? v.paths[0] : "none");
			lp_verified_finish(&v);
			rig_close(&rig);
			rig = outer;
			assert_true(at < 1000);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(verify__finds_what_changed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(verify__goes_on_behind_what_is_applied, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
