/* test_tree.c: an instance's tree: staging, committing, listing, and what of it survives. */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/controller/tree_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct rig rig;

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

static void commit__puts_what_the_operations_say(void **state)
{
	(void)state;
	assert_int_equal(RIG_APPLY(&rig, op_dir("d", 0750), op_dir("d/e", 0755),
				   op_file("d/e/f", "hello", 0640), op_file("empty", "", 0600),
				   op_file("run", "#!", 0755), op_link("l", "d/e/f")),
			 0);
	assert_string_equal(app_reads(&rig, "d/e/f"), "hello");
	assert_string_equal(app_reads(&rig, "empty"), "");
	assert_string_equal(app_reads(&rig, "l"), "-> d/e/f");
	assert_int_equal(app_mode(&rig, "d"), 0750);
	assert_int_equal(app_mode(&rig, "d/e/f"), 0640);
	assert_int_equal(app_mode(&rig, "empty"), 0600);
	assert_int_equal(app_mode(&rig, "run"), 0755);
	assert_int_equal(rig_staged(&rig), 0);
	assert_string_equal(rig_list(&rig, ""), "d dir 750 o\nempty file 600 o\nl link 000 o\n"
						"run file 755 o\n");
}

static void commit__sets_modes_whatever_the_umask_is(void **state)
{
	mode_t before = umask(077);

	(void)state;
	assert_int_equal(RIG_APPLY(&rig, op_dir("open", 0777), op_file("open/f", "x", 0666)), 0);
	(void)umask(before);
	assert_int_equal(app_mode(&rig, "open"), 0777);
	assert_int_equal(app_mode(&rig, "open/f"), 0666);
}

static void commit__never_sets_set_id_bits(void **state)
{
	struct lp_wire_op file = op_file("f", "x", 06755), dir = op_dir("d", 03777);

	(void)state;
	assert_int_equal(RIG_APPLY(&rig, dir, file), 0);
	assert_int_equal(app_mode(&rig, "f"), 0755);
	assert_int_equal(app_mode(&rig, "d"), 0777);
	assert_int_equal(RIG_APPLY(&rig, op_keep("f", "x", 04711)), 0);
	assert_int_equal(app_mode(&rig, "f"), 0711);
}

static void op__refuses_what_is_wrong(void **state)
{
	struct lp_wire_op digest = op_file("f", "x", 0644), size = op_file("f", "x", 0644),
			  no_target = op_link("l", "x"), link_size = op_link("l", "x"),
			  kind = op_file("f", "x", 0644), op = op_file("f", "x", 0644),
			  keep_dir = op_dir("d", 0755);
	const struct {
		const char *name;
		struct lp_wire_op op;
	} cases[] = {
		{"another digest", digest},
		{"another size", size},
		{"a link without its target", no_target},
		{"a link of another size", link_size},
		{"a link to the root", op_link("l", "/etc/passwd")},
		{"a link out of the tree", op_link("l", "../x")},
		{"a link out of the tree, deeper", op_link("d/l", "../../x")},
		{"a link that climbs later", op_link("d/l", "e/../../x")},
		{"no kind", kind},
		{"no operation", op},
		{"a directory that is kept", keep_dir},
		{"livepush's own directory", op_dir(".livepush", 0755)},
		{"a file in it", op_file(".livepush/owned", "", 0644)},
		{"its removal", op_delete(".livepush")},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_wire_op wrong = cases[i].op;

		if (i == 0)
			wrong.digest[15] ^= 1;
		if (i == 1 || i == 3)
			wrong.size++;
		if (i == 2)
			wrong.has_content = false;
		if (i == 8)
			wrong.kind = LP_KIND_NONE;
		if (i == 9)
			wrong.op = 9;
		if (i == 10)
			wrong.op = LP_OP_KEEP;
		if (RIG_APPLY(&rig, wrong) != -EBADMSG)
			fail_msg("%s: %d %s", cases[i].name, rig.err.code, rig.err.msg);
		assert_int_not_equal(strlen(rig.err.msg), 0);
	}
	assert_int_equal(rig_staged(&rig), 0);
	assert_string_equal(rig_list(&rig, ""), "");
	assert_true(app_sees_dir(&rig, ".livepush"));
	/* The name is special at the top only. */
	assert_int_equal(RIG_APPLY(&rig, op_dir("d", 0755), op_file("d/.livepush", "x", 0644)), 0);
}

/* Feeds the bytes in pieces of `piece` as DATA. Returns what failed first. */
static int feed(const uint8_t *bytes, size_t len, size_t piece)
{
	int r = 0;

	for (size_t at = 0; at < len && r == 0; at += piece) {
		const struct lp_bytes part = {bytes + at, len - at < piece ? len - at : piece};

		r = lp_tree_data(rig.tree, at, &part, &rig.err);
	}
	return r;
}

static int commit(void)
{
	struct lp_applied done;
	int r = lp_tree_commit(rig.tree, lp_tree_revision(rig.tree) + 1, &done, &rig.err);

	lp_applied_finish(&done);
	return r;
}

static void data__makes_a_large_file(void **state)
{
	LP_AUTO_FREE uint8_t *bytes = lp_xcalloc(1, 1000001);
	const struct lp_bytes nothing = {bytes, 0}, one = {bytes, 1};
	struct lp_wire_op op;
	struct lp_entry e;

	(void)state;
	lp_random(bytes, 1000001);
	op = op_large("big", bytes, 1000000);
	lp_tree_begin(rig.tree);
	assert_int_equal(lp_tree_op(rig.tree, &op, &rig.err), 0);
	assert_int_equal(feed(bytes, 1000000, 77777), 0);
	assert_int_equal(lp_tree_data(rig.tree, 0, &one, &rig.err), -EBADMSG);
	assert_int_equal(commit(), 0);
	assert_string_equal(rig_list(&rig, ""), "big file 644 o\n");
	assert_int_equal(lp_tree_bytes(rig.tree), 1000000);
	rig_reopen(&rig); /* reads it and compares */
	assert_int_equal(lp_tree_bytes(rig.tree), 1000000);
	e.digest = lp_tree_root(rig.tree);
	assert_false(lp_digest_is_none(&e.digest));

	lp_tree_begin(rig.tree);
	assert_int_equal(lp_tree_data(rig.tree, 0, &one, &rig.err), -EBADMSG);
	assert_int_equal(lp_tree_skip(rig.tree, &rig.err), -EBADMSG);
	assert_int_equal(lp_tree_op(rig.tree, &op, &rig.err), 0);
	assert_int_equal(lp_tree_data(rig.tree, 0, &nothing, &rig.err), -EBADMSG);
	assert_int_equal(feed(bytes, 1000001, 1000001), -EBADMSG); /* too much */
	lp_tree_drop(rig.tree);
	assert_int_equal(rig_staged(&rig), 0);
}

static void data__must_be_whole_and_right(void **state)
{
	LP_AUTO_FREE uint8_t *bytes = lp_xcalloc(1, 300000);
	struct lp_wire_op op = op_large("big", bytes, 300000), other = op_dir("d", 0755);

	(void)state;
	/* The changeset ends in the middle. */
	lp_tree_begin(rig.tree);
	assert_int_equal(lp_tree_op(rig.tree, &op, &rig.err), 0);
	assert_int_equal(feed(bytes, 299999, 100000), 0);
	assert_int_equal(lp_tree_op(rig.tree, &other, &rig.err), -EBADMSG);
	assert_int_equal(commit(), -EBADMSG);
	/* Another content. */
	lp_tree_begin(rig.tree);
	assert_int_equal(lp_tree_op(rig.tree, &op, &rig.err), 0);
	bytes[250000] = 1;
	assert_int_equal(feed(bytes, 300000, 100000), -EBADMSG);
	lp_tree_drop(rig.tree);
	assert_false(app_sees(&rig, "big"));
	assert_int_equal(rig_staged(&rig), 0);
}

static void skip__leaves_the_file_out_and_goes_on(void **state)
{
	uint8_t bytes[1000] = {0};
	struct lp_wire_op big = op_large("big", bytes, sizeof(bytes)),
			  next = op_file("next", "n", 0644);

	(void)state;
	lp_tree_begin(rig.tree);
	assert_int_equal(lp_tree_op(rig.tree, &big, &rig.err), 0);
	assert_int_equal(feed(bytes, 500, 100), 0);
	assert_int_equal(lp_tree_skip(rig.tree, &rig.err), 0);
	assert_int_equal(lp_tree_op(rig.tree, &next, &rig.err), 0);
	assert_int_equal(commit(), 0);
	assert_string_equal(rig_list(&rig, ""), "next file 644 o\n");
	assert_int_equal(rig_staged(&rig), 0);
}

static void commit__changes_the_kind_of_an_entry(void **state)
{
	(void)state;
	assert_int_equal(RIG_APPLY(&rig, op_dir("x", 0755), op_dir("x/y", 0755),
				   op_file("x/y/f", "f", 0644), op_file("z", "z", 0644)),
			 0);
	assert_int_equal(RIG_APPLY(&rig, op_file("x", "file now", 0644), op_dir("z", 0755),
				   op_file("z/in", "in", 0644)),
			 0);
	assert_string_equal(app_reads(&rig, "x"), "file now");
	assert_string_equal(app_reads(&rig, "z/in"), "in");
	assert_int_equal(lp_tree_count(rig.tree), 3);
	assert_int_equal(RIG_APPLY(&rig, op_link("x", "z"), op_link("z", "x")), 0);
	assert_string_equal(app_reads(&rig, "z"), "-> x");
	assert_int_equal(RIG_APPLY(&rig, op_dir("x", 0711), op_file("z", "again", 0644)), 0);
	assert_int_equal(app_mode(&rig, "x"), 0711);
	assert_string_equal(app_reads(&rig, "z"), "again");
}

static void commit__keeps_what_the_app_made(void **state)
{
	(void)state;
	assert_int_equal(
		RIG_APPLY(&rig, op_dir("d", 0755), op_file("d/mine", "m", 0644), op_dir("e", 0755)),
		0);
	app_write(&rig, "d/log", "of the app");
	app_write(&rig, "own", "of the app");
	assert_int_equal(RIG_APPLY(&rig, op_delete("d"), op_delete("e"), op_delete("own")), 0);
	assert_false(app_sees(&rig, "d/mine"));
	assert_false(app_sees(&rig, "e"));
	assert_string_equal(app_reads(&rig, "d/log"), "of the app");
	assert_string_equal(app_reads(&rig, "own"), "of the app");
	assert_string_equal(rig_list(&rig, ""), "d dir 755 -\nown file 644 -\n");
	assert_int_equal(lp_tree_count(rig.tree), 0);
	assert_true(lp_tree_is_foreign(rig.tree));
	/* A directory that holds the app's files does not give way to a file. */
	assert_int_equal(RIG_APPLY(&rig, op_file("d", "no", 0644)), -EISDIR);
	assert_non_null(strstr(rig.err.msg, "d: "));
	assert_int_equal(RIG_APPLY(&rig, op_dir("own", 0755)), -EEXIST);
	assert_string_equal(app_reads(&rig, "d/log"), "of the app");
	assert_int_equal(lp_tree_count(rig.tree), 0);
}

static void commit__crosses_no_link_of_the_app(void **state)
{
	struct rig outside;

	(void)state;
	rig_open(&outside);
	app_write(&outside, "victim", "safe");
	assert_int_equal(RIG_APPLY(&rig, op_dir("d", 0755), op_dir("d/e", 0755),
				   op_file("d/e/victim", "mine", 0644)),
			 0);
	app_remove(&rig, "d/e");
	app_symlink(&rig, "d/e", outside.dir);
	assert_true(RIG_APPLY(&rig, op_file("d/e/victim", "overwritten", 0644)) < 0);
	assert_true(RIG_APPLY(&rig, op_keep("d/e/victim", "mine", 0600)) < 0);
	assert_true(RIG_APPLY(&rig, op_file("d/e/new", "x", 0644)) < 0);
	/* Nothing of ours is there any more: that is what was asked for. */
	assert_int_equal(RIG_APPLY(&rig, op_delete("d/e/victim")), 0);
	assert_string_equal(app_reads(&outside, "victim"), "safe");
	assert_int_equal(app_mode(&outside, "victim"), 0644);
	assert_false(app_sees(&outside, "new"));
	/* Listing shows the link, so that the owner learns what is in the way. */
	assert_string_equal(rig_list(&rig, "d/e"), "");
	assert_string_equal(rig_list(&rig, "d"), "e link 000 -\n");
	assert_int_equal(RIG_APPLY(&rig, op_dir("d/e", 0755)), -EEXIST);
	assert_non_null(strstr(rig.err.msg, "d/e: "));
	/* A file's place that the app made a link is replaced, not followed. */
	app_symlink(&rig, "d/f", "../../../../etc/hostname");
	assert_int_equal(RIG_APPLY(&rig, op_file("d/f", "mine", 0644)), 0);
	assert_string_equal(app_reads(&rig, "d/f"), "mine");
	rig_close(&outside);
}

static void commit__makes_directories_again_that_the_app_removed(void **state)
{
	(void)state;
	assert_int_equal(RIG_APPLY(&rig, op_dir("d", 0711), op_dir("d/e", 0750),
				   op_file("d/e/f", "f", 0644), op_file("d/e/g", "g", 0644)),
			 0);
	app_remove(&rig, "d");
	assert_int_equal(RIG_APPLY(&rig, op_delete("d/e/g")), 0);
	assert_false(app_sees(&rig, "d")); /* deleting makes nothing */
	assert_int_equal(RIG_APPLY(&rig, op_file("d/e/f", "again", 0644)), 0);
	assert_string_equal(app_reads(&rig, "d/e/f"), "again");
	assert_int_equal(app_mode(&rig, "d"), 0711);
	assert_int_equal(app_mode(&rig, "d/e"), 0750);
}

static void commit__needs_the_directory_to_be_the_workspaces(void **state)
{
	(void)state;
	assert_int_equal(RIG_APPLY(&rig, op_file("no/such/f", "x", 0644)), -ESTALE);
	assert_false(app_sees(&rig, "no"));
	app_mkdir(&rig, "theirs");
	assert_int_equal(RIG_APPLY(&rig, op_file("theirs/f", "x", 0644)), -ESTALE);
	assert_false(app_sees(&rig, "theirs/f"));
	assert_int_equal(rig_staged(&rig), 0);
}

static void commit__of_keep_wants_the_same_content(void **state)
{
	struct lp_wire_op size = op_keep("f", "one", 0644), link;

	(void)state;
	assert_int_equal(RIG_APPLY(&rig, op_file("f", "one", 0644), op_link("l", "f")), 0);
	assert_int_equal(RIG_APPLY(&rig, op_keep("f", "one", 0755)), 0);
	assert_int_equal(app_mode(&rig, "f"), 0755);
	assert_int_equal(RIG_APPLY(&rig, op_keep("f", "two", 0644)), -ESTALE);
	size.size++;
	assert_int_equal(RIG_APPLY(&rig, size), -ESTALE);
	assert_int_equal(RIG_APPLY(&rig, op_keep("none", "one", 0644)), -ESTALE);
	link = op_keep("l", "f", 0);
	link.kind = LP_KIND_LINK;
	assert_int_equal(RIG_APPLY(&rig, link), 0);
	link = op_keep("l", "g", 0);
	link.kind = LP_KIND_LINK;
	assert_int_equal(RIG_APPLY(&rig, link), -ESTALE);
	/* What the app has of the same content becomes the workspace's. */
	app_write(&rig, "theirs", "same");
	assert_int_equal(RIG_APPLY(&rig, op_keep("theirs", "same", 0600)), 0);
	assert_string_equal(rig_list(&rig, ""), "f file 755 o\nl link 000 o\n"
						"theirs file 600 o\n");
	/* A directory in the file's place keeps its mode. */
	app_remove(&rig, "f");
	app_mkdir(&rig, "f");
	assert_int_equal(RIG_APPLY(&rig, op_keep("f", "one", 0600)), -ESTALE);
	assert_int_equal(app_mode(&rig, "f"), 0755);
	app_remove(&rig, "f");
	assert_int_equal(RIG_APPLY(&rig, op_keep("f", "one", 0600)), -ESTALE);
}

static void commit__that_fails_half_way_changes_nothing(void **state)
{
	const char *before = "b file 644 o\nm file 644 -\n";

	(void)state;
	app_write(&rig, "m", "of the app");
	assert_int_equal(RIG_APPLY(&rig, op_file("b", "old", 0644)), 0);
	assert_int_equal(RIG_APPLY(&rig, op_dir("a", 0755), op_file("a/f", "f", 0644),
				   op_file("b", "new", 0600), op_file("m", "mine", 0644),
				   op_file("k/none", "x", 0644)),
			 -ESTALE);
	for (int i = 0; i < 2; i++) {
		assert_false(app_sees(&rig, "a"));
		assert_string_equal(app_reads(&rig, "m"), "of the app");
		assert_string_equal(app_reads(&rig, "b"), "old");
		assert_int_equal(app_mode(&rig, "b"), 0644);
		assert_string_equal(rig_list(&rig, ""), before);
		assert_int_equal(rig_staged(&rig), 0);
		assert_int_equal(lp_tree_revision(rig.tree), 1);
		rig_reopen(&rig);
	}
	assert_int_equal(RIG_APPLY(&rig, op_delete("m"), op_delete("b")), 0);
	assert_string_equal(app_reads(&rig, "m"), "of the app");
	assert_false(app_sees(&rig, "b"));
}

/* What the app has in the way of one path does not hold up the others; it is not the revision. */
static void commit__puts_what_is_not_in_the_way(void **state)
{
	(void)state;
	assert_int_equal(RIG_APPLY(&rig, op_file("b", "old", 0644)), 0);
	app_mkdir(&rig, "m");
	app_write(&rig, "m/log", "of the app");
	app_write(&rig, "n", "of the app");
	assert_int_equal(RIG_APPLY(&rig, op_file("b", "new", 0644), op_file("m", "mine", 0644),
				   op_dir("n", 0755), op_file("n/f", "f", 0644),
				   op_file("o", "o", 0644)),
			 -EISDIR);
	assert_non_null(strstr(rig.err.msg, "m: "));
	for (int i = 0; i < 2; i++) {
		assert_string_equal(app_reads(&rig, "b"), "new");
		assert_string_equal(app_reads(&rig, "m/log"), "of the app");
		assert_string_equal(app_reads(&rig, "n"), "of the app");
		assert_string_equal(rig_list(&rig, ""), "b file 644 o\nm dir 755 -\n"
							"n file 644 -\no file 644 o\n");
		assert_int_equal(lp_tree_revision(rig.tree), 1);
		rig_reopen(&rig);
	}
	assert_int_equal(RIG_APPLY(&rig, op_delete("b"), op_delete("o")), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(commit__puts_what_the_operations_say, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(commit__sets_modes_whatever_the_umask_is, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(commit__never_sets_set_id_bits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(op__refuses_what_is_wrong, set_up, tear_down),
		cmocka_unit_test_setup_teardown(data__makes_a_large_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(data__must_be_whole_and_right, set_up, tear_down),
		cmocka_unit_test_setup_teardown(skip__leaves_the_file_out_and_goes_on, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(commit__changes_the_kind_of_an_entry, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(commit__keeps_what_the_app_made, set_up, tear_down),
		cmocka_unit_test_setup_teardown(commit__crosses_no_link_of_the_app, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			commit__makes_directories_again_that_the_app_removed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(commit__needs_the_directory_to_be_the_workspaces,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(commit__of_keep_wants_the_same_content, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(commit__that_fails_half_way_changes_nothing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(commit__puts_what_is_not_in_the_way, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
