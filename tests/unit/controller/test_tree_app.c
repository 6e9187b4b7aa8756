/* test_tree_app.c: what the app put in the place of a file, or wrote into it, while that was to be
 * taken back, is not lost, and told. */
#include "common/base/lp_mem.h"
#include "tests/unit/controller/changes.h"
#include "tests/unit/controller/faults.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define CALLS_MAX 4000

/* As a program that writes beside and renames. */
static void app_replace(const struct rig *r, const char *path, const char *content)
{
	app_write(r, "app.tmp", content);
	assert_int_equal(renameat(lp_tree_fd(r->tree), "app.tmp", lp_tree_fd(r->tree), path), 0);
}

/* The index says what the files are. */
static void expect_truth(struct rig *r)
{
	struct lp_verified v;

	lp_tree_verify_begin(r->tree);
	while (!lp_tree_verify_turn(r->tree, 1000000, &v))
		;
	if (v.drifted > 0)
		fail_msg("the index does not know of %s", v.paths[0]);
	lp_verified_finish(&v);
}

static void expect_left(struct rig *r, size_t n, const char *path)
{
	LP_AUTO_FREE char *told = NULL;

	assert_int_equal(lp_tree_left(r->tree, &told), n);
	if (n == 1)
		assert_string_equal(told, path);
	free(lp_take_ptr(&told));
	assert_int_equal(lp_tree_left(r->tree, &told), 0);
	assert_null(told);
}

static int roll_back(struct rig *r, uint64_t revision)
{
	struct lp_applied done;
	int e = lp_tree_rollback(r->tree, revision, &done, &r->err);

	lp_applied_finish(&done);
	return e;
}

static void nothing(const struct rig *r)
{
	(void)r;
}

static void replace_file(const struct rig *r)
{
	app_replace(r, "f", "app");
}

static void write_file(const struct rig *r)
{
	app_write(r, "f", "app"); /* as long as what is there */
}

static void grow_file(const struct rig *r)
{
	app_write(r, "f", "of the app");
}

static void link_file(const struct rig *r)
{
	app_remove(r, "f");
	app_symlink(r, "f", "app");
}

static void remove_file(const struct rig *r)
{
	app_remove(r, "f");
}

static void replace_fresh(const struct rig *r)
{
	app_replace(r, "fresh", "app");
}

static void write_fresh(const struct rig *r)
{
	app_write(r, "fresh", "app");
}

static void replace_link(const struct rig *r)
{
	app_remove(r, "l");
	app_symlink(r, "l", "app");
}

static void rollback__keeps_what_the_app_has_there(void **state)
{
	static const struct {
		const char *name;
		void (*act)(const struct rig *r);
		const char *left;
		const char *f, *fresh, *l;
	} cases[] = {
		{"nothing", nothing, NULL, "old", NULL, "-> f"},
		{"replaced", replace_file, "f", "app", NULL, "-> f"},
		{"written into", write_file, "f", "app", NULL, "-> f"},
		{"grown", grow_file, "f", "of the app", NULL, "-> f"},
		{"a link", link_file, "f", "-> app", NULL, "-> f"},
		{"removed", remove_file, NULL, "old", NULL, "-> f"},
		{"a new one replaced", replace_fresh, "fresh", "old", "app", "-> f"},
		{"a new one written into", write_fresh, "fresh", "old", "app", "-> f"},
		{"another link", replace_link, "l", "old", NULL, "-> app"},
	};

	(void)state;
	for (size_t i = 0; i < 3 * LP_COUNT_OF(cases); i++) {
		size_t at = i / 3;
		struct rig r;

		faults_without((enum faults_missing)(i % 3));
		print_message("%s, %zu\n", cases[at].name, i % 3);
		rig_open(&r);
		assert_int_equal(RIG_APPLY(&r, op_file("f", "old", 0644), op_file("g", "g", 0644),
					   op_link("l", "f")),
				 0);
		assert_int_equal(RIG_APPLY(&r, op_file("f", "new", 0644), op_file("g", "h", 0644),
					   op_link("l", "g"), op_file("fresh", "new", 0644)),
				 0);
		cases[at].act(&r);
		assert_int_equal(roll_back(&r, 2), 0);
		expect_left(&r, cases[at].left != NULL, cases[at].left);
		assert_string_equal(app_reads(&r, "f"), cases[at].f);
		assert_string_equal(app_reads(&r, "g"), "g");
		assert_string_equal(app_reads(&r, "l"), cases[at].l);
		if (cases[at].fresh)
			assert_string_equal(app_reads(&r, "fresh"), cases[at].fresh);
		assert_true(app_sees(&r, "fresh") == (cases[at].fresh != NULL));
		expect_truth(&r);
		rig_close(&r);
	}
	faults_without(FAULTS_NOTHING);
}

/* What is tried again and again finds what the app did since. */
static void owed__keeps_what_the_app_put_there_meanwhile(void **state)
{
	size_t found = 0, told = 0;
	bool hit = true;

	(void)state;
	for (size_t at = 1; hit; at++) {
		struct rig r;

		changes_set_up(&r);
		assert_int_equal(changes_apply(&r), 0);
		faults_arm(at, EIO);
		faults_also(1, SIZE_MAX / 2, EIO);
		(void)roll_back(&r, 9);
		hit = faults_hit() != NULL;
		faults_arm(0, 0);
		/* Whether that one is back already, or is not. */
		if (lp_tree_owes(r.tree, NULL)) {
			LP_AUTO_FREE char *path = NULL;

			found++;
			app_replace(&r, "theirs", "saved");
			if (at % 2)
				rig_reopen(&r);
			lp_tree_tidy(r.tree);
			assert_false(lp_tree_owes(r.tree, NULL));
			assert_string_equal(app_reads(&r, "theirs"), "saved");
			assert_string_equal(app_reads(&r, "kind1"), "1");
			/* What is known to be back is not looked at again. */
			if (lp_tree_left(r.tree, &path) > 0) {
				assert_string_equal(path, "theirs");
				told++;
			}
			expect_truth(&r);
		}
		rig_close(&r);
		assert_true(at < CALLS_MAX);
	}
	assert_true(found > 20 && told > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rollback__keeps_what_the_app_has_there),
		cmocka_unit_test(owed__keeps_what_the_app_put_there_meanwhile),
	};

	changes_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
