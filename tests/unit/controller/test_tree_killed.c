/* test_tree_killed.c: the undoing of a commit, and a start after a crash, go on wherever they are
 * killed. */
#include "common/base/lp_mem.h"
#include "tests/unit/controller/changes.h"
#include "tests/unit/controller/faults.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define CALLS_MAX 4000
#define SAMPLES   3

/* Runs act in a process of its own. Returns whether it was killed; whatever else it came to. */
static bool is_killed(struct rig *r, void (*act)(struct rig *r, size_t at), size_t at)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		act(r, at);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status))
		assert_int_equal(WEXITSTATUS(status), 0);
	return WIFSIGNALED(status);
}

static void die_applying(struct rig *r, size_t at)
{
	if (lp_tree_open(&r->tree, r->dir, &r->err) < 0)
		_exit(2);
	faults_arm(at, 0);
	(void)!changes_apply(r);
}

static void die_opening(struct rig *r, size_t at)
{
	faults_arm(at, 0);
	(void)!lp_tree_open(&r->tree, r->dir, &r->err);
}

static size_t failing_call;

static void die_undoing(struct rig *r, size_t at)
{
	if (lp_tree_open(&r->tree, r->dir, &r->err) < 0)
		_exit(2);
	faults_arm(failing_call, ENOSPC);
	faults_also(at, 1, 0);
	(void)!changes_apply(r);
}

static void close_tree(struct rig *r)
{
	lp_tree_close(r->tree);
	r->tree = NULL;
}

static void undo__goes_on_when_killed(void **state)
{
	LP_AUTO_FREE char *old = NULL, *new = NULL;
	bool killed = true;
	size_t at;

	(void)state;
	changes_states(&old, &new);
	failing_call = changes_last_call();
	for (at = 1; killed; at++) {
		struct rig r;

		changes_set_up(&r);
		close_tree(&r);
		killed = is_killed(&r, die_undoing, at);
		assert_int_equal(lp_tree_open(&r.tree, r.dir, &r.err), 0);
		changes_expect(&r, old, "killed", at);
		rig_close(&r);
		assert_true(at < CALLS_MAX);
	}
	assert_true(at > 40);
}

/* A start after a crash that is killed, too, at each of its steps. */
static void recovery__goes_on_when_killed(void **state)
{
	LP_AUTO_FREE char *old = NULL, *new = NULL;
	unsigned seed = (unsigned)time(NULL);
	size_t last = changes_last_call();

	(void)state;
	print_message("seed %u\n", seed);
	changes_states(&old, &new);
	for (int i = 0; i < SAMPLES; i++) {
		size_t first = last / 2 + (size_t)rand_r(&seed) % (last - last / 2);
		bool killed = true;

		for (size_t at = 1; killed; at++) {
			struct rig r;

			changes_set_up(&r);
			close_tree(&r);
			assert_true(is_killed(&r, die_applying, first));
			killed = is_killed(&r, die_opening, at);
			assert_int_equal(lp_tree_open(&r.tree, r.dir, &r.err), 0);
			changes_expect(&r, old, "killed while starting", at);
			rig_close(&r);
			assert_true(at < CALLS_MAX);
		}
	}
}

static void die_saving(struct rig *r, size_t at)
{
	if (lp_tree_open(&r->tree, r->dir, &r->err) < 0)
		_exit(2);
	faults_arm(at, 0);
	if (RIG_APPLY(r, op_file("f", "new", 0644)) < 0)
		_exit(3);
}

/* Where the old file cannot be kept by a link, one of them is there all the same, and both are when
 * it is to be taken back. */
static void save__without_links_loses_nothing_when_killed(void **state)
{
	(void)state;
	for (int what = FAULTS_NO_LINKS; what <= FAULTS_NO_EXCHANGE; what++) {
		size_t rolled = 0;
		bool killed = true;

		faults_without((enum faults_missing)what);
		for (size_t at = 1; killed; at++) {
			LP_AUTO_FREE char *now = NULL;
			struct lp_applied done = {0};
			struct rig r;

			rig_open(&r);
			assert_int_equal(RIG_APPLY(&r, op_file("f", "old", 0644)), 0);
			close_tree(&r);
			killed = is_killed(&r, die_saving, at);
			if (what == FAULTS_NO_LINKS)
				assert_true(app_sees(&r, "f"));
			assert_int_equal(lp_tree_open(&r.tree, r.dir, &r.err), 0);
			now = lp_xstrdup(app_reads(&r, "f"));
			assert_string_equal(now, lp_tree_revision(r.tree) == 2 ? "new" : "old");
			if (lp_tree_rollback(r.tree, 2, &done, &r.err) == 0) {
				assert_string_equal(app_reads(&r, "f"), "old");
				rolled++;
			}
			lp_applied_finish(&done);
			rig_close(&r);
			assert_true(at < CALLS_MAX);
		}
		assert_true(rolled > 0);
	}
	faults_without(FAULTS_NOTHING);
}

/* The same for the changeset with everything in it. */
static void commit__without_links_is_undone_when_killed(void **state)
{
	LP_AUTO_FREE char *old = NULL, *new = NULL;

	(void)state;
	changes_states(&old, &new);
	for (int what = FAULTS_NO_LINKS; what <= FAULTS_NO_EXCHANGE; what++) {
		bool killed = true;

		faults_without((enum faults_missing)what);
		for (size_t at = 1; killed; at++) {
			LP_AUTO_FREE char *now = NULL;
			struct rig r;

			changes_set_up(&r);
			close_tree(&r);
			killed = is_killed(&r, die_applying, at);
			assert_int_equal(lp_tree_open(&r.tree, r.dir, &r.err), 0);
			now = changes_state(&r);
			if (strcmp(now, new) != 0)
				changes_expect(&r, old, "killed", at);
			rig_close(&r);
			assert_true(at < CALLS_MAX);
		}
	}
	faults_without(FAULTS_NOTHING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(save__without_links_loses_nothing_when_killed),
		cmocka_unit_test(commit__without_links_is_undone_when_killed),
		cmocka_unit_test(undo__goes_on_when_killed),
		cmocka_unit_test(recovery__goes_on_when_killed),
	};

	changes_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
