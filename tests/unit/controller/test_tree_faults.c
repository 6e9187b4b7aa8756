/* test_tree_faults.c: a commit is done wholly or not at all: with every one of its system calls
 * failing once, and with the controller killed before each of them. */
#include "common/base/lp_mem.h"
#include "tests/unit/controller/changes.h"
#include "tests/unit/controller/faults.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define CALLS_MAX 4000

static void commit__does_all_or_nothing_when_a_call_fails(void **state)
{
	static const int errors[] = {ENOSPC, EIO, EACCES, EROFS};
	LP_AUTO_FREE char *old = NULL, *new = NULL;
	size_t failed = 0, at = 1, total = 1;

	(void)state;
	changes_states(&old, &new);
	for (; at <= total; at++) {
		struct rig r;
		int e;

		changes_set_up(&r);
		faults_arm(at, errors[at % LP_COUNT_OF(errors)]);
		e = changes_apply(&r);
		total = faults_hit() ? at + 1 : at;
		faults_arm(0, 0);
		failed += e < 0;
		changes_expect(&r, e < 0 ? old : new, e < 0 ? r.err.msg : "no error", at);
		rig_reopen(&r);
		changes_expect(&r, e < 0 ? old : new, "opened again", at);
		if (e < 0) {
			assert_true(r.err.msg[0] != '\0');
			e = changes_apply(&r);
			if (e < 0)
				fail_msg("again: %s", r.err.msg);
			changes_expect(&r, new, "again", at);
		}
		rig_close(&r);
		assert_true(at < CALLS_MAX);
	}
	assert_true(failed > 50);
}

/* Does it in a process of its own, which is killed before its call number `at`, and opens the tree
 * again. Returns whether the process came to its end instead, which has to be a good one. */
static bool ends_before(struct rig *r, size_t at, int (*act)(struct rig *r))
{
	int status;
	pid_t pid;

	/* The lock goes with the process. */
	lp_tree_close(r->tree);
	r->tree = NULL;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (lp_tree_open(&r->tree, r->dir, &r->err) < 0)
			_exit(2);
		faults_arm(at, 0);
		_exit(act(r) < 0 ? 3 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		assert_int_equal(WEXITSTATUS(status), 0);
	else
		assert_int_equal(WTERMSIG(status), SIGKILL);
	assert_int_equal(lp_tree_open(&r->tree, r->dir, &r->err), 0);
	assert_true(at < CALLS_MAX);
	return WIFEXITED(status);
}

static void commit__does_all_or_nothing_when_killed(void **state)
{
	LP_AUTO_FREE char *old = NULL, *new = NULL;
	size_t kills = 0, finished = 0;
	bool ended = false;

	(void)state;
	changes_states(&old, &new);
	for (size_t at = 1; !ended; at++) {
		LP_AUTO_FREE char *now = NULL;
		struct rig r;

		changes_set_up(&r);
		ended = ends_before(&r, at, changes_apply);
		now = changes_state(&r);
		kills += !ended;
		finished += strcmp(now, new) == 0;
		if (strcmp(now, new) != 0)
			changes_expect(&r, old, "killed", at);
		if (strcmp(now, new) != 0 && changes_apply(&r) < 0)
			fail_msg("killed at %zu, again: %s", at, r.err.msg);
		changes_expect(&r, new, "again", at);
		assert_int_equal(rig_staged(&r), 0);
		rig_close(&r);
	}
	assert_true(kills > 50);
	assert_true(finished > 1); /* killed behind the point from which it counts, too */
}

/* A changeset without operations, which says a revision only. */
static void commit__of_nothing_leaves_nothing_in_the_way(void **state)
{
	size_t failed = 0;
	bool hit = true;

	(void)state;
	for (size_t at = 1; hit; at++) {
		struct rig r;

		rig_open(&r);
		faults_arm(at, ENOSPC);
		failed += rig_apply(&r, NULL, 0) < 0;
		hit = faults_hit() != NULL;
		faults_arm(0, 0);
		if (RIG_APPLY(&r, op_file("a", "a", 0644), op_file("b", "b", 0644)) < 0)
			fail_msg("call %zu: %s", at, r.err.msg);
		rig_close(&r);
	}
	assert_true(failed > 1);
}

static struct lp_digest found;

static void find_f(void *ctx, const struct lp_wire_entry *entries, size_t n, bool more)
{
	(void)more;
	for (size_t i = 0; i < n; i++)
		if (entries[i].name.len == 1 && memcmp(entries[i].name.p, ctx, 1) == 0)
			memcpy(found.b, entries[i].digest, sizeof(found.b));
}

/* What the tree says of a file with a name of one letter. */
static struct lp_digest listed_digest(struct rig *r, const char *name)
{
	char letter = name[0];

	size_t room = LP_LIST_FOREIGN_BYTES;

	found = (struct lp_digest){{0}};
	assert_int_equal(lp_tree_list(r->tree, "", &room, find_f, &letter, &r->err), 0);
	return found;
}

static int save_new(struct rig *r)
{
	return RIG_APPLY(r, op_file("f", "new", 0644));
}

/* The usual save has no journal while it is done: what is there is the old file or the new one, and
 * the tree never claims to hold what it does not. */
static void commit__of_one_file_is_whole_when_killed(void **state)
{
	size_t kills = 0, finished = 0, taken_back = 0;
	bool ended = false;

	(void)state;
	for (size_t at = 1; !ended; at++) {
		struct lp_digest none = {{0}}, is, said;
		struct lp_applied done;
		struct rig r;

		rig_open(&r);
		assert_int_equal(RIG_APPLY(&r, op_file("f", "old", 0644)), 0);
		ended = ends_before(&r, at, save_new);
		kills += !ended;
		is = app_digest(&r, "f");
		said = listed_digest(&r, "f");
		if (!lp_digest_equal(&said, &none))
			assert_true(lp_digest_equal(&said, &is));
		if (lp_tree_revision(r.tree) == 2) {
			finished++;
			assert_string_equal(app_reads(&r, "f"), "new");
			if (lp_tree_rollback(r.tree, 2, &done, &r.err) == 0) {
				taken_back++;
				assert_string_equal(app_reads(&r, "f"), "old");
			}
			lp_applied_finish(&done);
		}
		assert_int_equal(save_new(&r), 0);
		assert_string_equal(app_reads(&r, "f"), "new");
		assert_int_equal(rig_staged(&r), 0);
		rig_close(&r);
	}
	assert_true(kills > 5);
	assert_true(finished > taken_back); /* killed before its journal was written, too */
	assert_true(taken_back > 0);
}

static void rollback__brings_the_old_state_back(void **state)
{
	LP_AUTO_FREE char *old = NULL, *new = NULL;
	struct lp_applied done;
	struct rig r;

	(void)state;
	changes_states(&old, &new);
	changes_set_up(&r);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(changes_apply(&r), 0);
		if (i == 1)
			rig_reopen(&r);
		changes_expect(&r, new, "changed", 0);
		assert_int_equal(lp_tree_rollback(r.tree, 9, &done, &r.err), 0);
		assert_true(done.n_paths > 10);
		lp_applied_finish(&done);
		changes_expect(&r, old, "rolled back", 0);
		rig_reopen(&r);
		changes_expect(&r, old, "opened again", 0);
	}
	assert_int_equal(lp_tree_rollback(r.tree, 9, &done, &r.err), -ENOENT);
	rig_close(&r);
}

static int roll_back(struct rig *r)
{
	struct lp_applied done;
	int e = lp_tree_rollback(r->tree, 9, &done, &r->err);

	lp_applied_finish(&done);
	return e;
}

static void rollback__does_all_or_nothing_when_killed(void **state)
{
	LP_AUTO_FREE char *old = NULL, *new = NULL;
	bool ended = false;

	(void)state;
	changes_states(&old, &new);
	for (size_t at = 1; !ended; at++) {
		LP_AUTO_FREE char *now = NULL;
		struct rig r;

		changes_set_up(&r);
		assert_int_equal(changes_apply(&r), 0);
		ended = ends_before(&r, at, roll_back);
		now = changes_state(&r);
		if (strcmp(now, new) != 0)
			changes_expect(&r, old, "killed", at);
		rig_close(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commit__does_all_or_nothing_when_a_call_fails),
		cmocka_unit_test(commit__does_all_or_nothing_when_killed),
		cmocka_unit_test(commit__of_nothing_leaves_nothing_in_the_way),
		cmocka_unit_test(commit__of_one_file_is_whole_when_killed),
		cmocka_unit_test(rollback__brings_the_old_state_back),
		cmocka_unit_test(rollback__does_all_or_nothing_when_killed),
	};

	changes_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
