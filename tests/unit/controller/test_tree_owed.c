/* test_tree_owed.c: what cannot be put back is told, kept and put back later: with every system
 * call of the undoing failing, once and from then on, and with the controller killed before each.
 */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "controller/rows.h"
#include "tests/unit/controller/changes.h"
#include "tests/unit/controller/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define CALLS_MAX 4000

static const int errors[] = {EIO, ENOSPC, EACCES, EROFS};

int __real_fstatat64(int fd, const char *path, struct stat *st, int flags);
int __wrap_fstatat64(int fd, const char *path, struct stat *st, int flags);
int __wrap_fstatat64(int fd, const char *path, struct stat *st, int flags)
{
	return faults_strike("fstatat") ? -1 : __real_fstatat64(fd, path, st, flags);
}

/* The index says what the files are. */
static void expect_truth(struct rig *r, size_t at)
{
	struct lp_verified v;

	lp_tree_verify_begin(r->tree);
	while (!lp_tree_verify_turn(r->tree, 1000000, &v))
		;
	if (v.drifted > 0)
		fail_msg("call %zu: the index does not know of %s", at, v.paths[0]);
	lp_verified_finish(&v);
}

/* What is owed is told with the way out, and holds up everything. */
static void expect_told(struct rig *r)
{
	struct lp_err why = {0};

	assert_true(lp_tree_owes(r->tree, &why));
	assert_non_null(strstr(why.msg, "cannot be put back"));
	assert_non_null(strstr(why.msg, LP_STATE_DIR "/stage"));
	assert_true(rig_staged(r) > 0);
}

/* Either way of trying again. */
static void try_again(struct rig *r, size_t at)
{
	if (at % 2)
		rig_reopen(r);
	else
		lp_tree_tidy(r->tree);
	assert_false(lp_tree_owes(r->tree, NULL));
}

/* Lets the calls behind the last one of a commit fail, beginning with each of them. Returns how
 * often something was owed. */
static size_t fail_undoing(size_t times, const char *old, const char *new)
{
	size_t last = changes_last_call(), owed = 0, struck = 1;

	for (size_t at = 1; struck > 0; at++) {
		struct rig r;
		bool owes;

		changes_set_up(&r);
		faults_arm(last, ENOSPC);
		faults_also(at, times, errors[at % LP_COUNT_OF(errors)]);
		assert_true(changes_apply(&r) < 0);
		struck = faults_also_struck();
		owes = lp_tree_owes(r.tree, NULL);
		owed += owes;
		if (owes) {
			expect_told(&r);
			assert_non_null(strstr(r.err.msg, "; then: "));
		}
		if (owes && times > 1)
			assert_true(RIG_APPLY(&r, op_file("other", "o", 0644)) < 0);
		faults_arm(0, 0);
		if (owes && times == 1)
			expect_truth(&r, at);
		try_again(&r, at);
		changes_expect(&r, old, "tried again", at);
		assert_int_equal(changes_apply(&r), 0);
		changes_expect(&r, new, "applied", at);
		rig_close(&r);
		assert_true(at < CALLS_MAX);
	}
	return owed;
}

static void undo__that_fails_once_is_told_and_done_later(void **state)
{
	LP_AUTO_FREE char *old = NULL, *new = NULL;

	(void)state;
	changes_states(&old, &new);
	assert_true(fail_undoing(1, old, new) > 20);
}

static void undo__that_keeps_failing_is_told_and_done_later(void **state)
{
	LP_AUTO_FREE char *old = NULL, *new = NULL;

	(void)state;
	changes_states(&old, &new);
	assert_true(fail_undoing(SIZE_MAX / 2, old, new) > 40);
}

static int roll_back(struct rig *r)
{
	struct lp_applied done;
	int e = lp_tree_rollback(r->tree, 9, &done, &r->err);

	lp_applied_finish(&done);
	return e;
}

/* Returns how often something was owed. */
static size_t fail_rollback(size_t times, const char *old, const char *new)
{
	size_t owed = 0;
	bool hit = true;

	for (size_t at = 1; hit; at++) {
		int error = errors[at % LP_COUNT_OF(errors)], e;
		LP_AUTO_FREE char *now = NULL;
		struct rig r;

		changes_set_up(&r);
		assert_int_equal(changes_apply(&r), 0);
		faults_arm(at, error);
		faults_also(1, times, error);
		e = roll_back(&r);
		hit = faults_hit() != NULL;
		if (lp_tree_owes(r.tree, NULL)) {
			expect_told(&r);
			assert_true(e < 0);
			owed++;
		}
		faults_arm(0, 0);
		try_again(&r, at);
		now = changes_state(&r);
		if (e == 0 || strcmp(now, new) != 0)
			changes_expect(&r, old, "rolled back", at);
		rig_close(&r);
		assert_true(at < CALLS_MAX);
	}
	return owed;
}

static void rollback__that_fails_in_part_says_so_and_goes_on(void **state)
{
	LP_AUTO_FREE char *old = NULL, *new = NULL;

	(void)state;
	changes_states(&old, &new);
	assert_true(fail_rollback(0, old, new) > 20);
	assert_true(fail_rollback(SIZE_MAX / 2, old, new) > 20);
}

/* A start that cannot take back what a crash left begins all the same, or says why it does not. */
static void recovery__that_fails_is_told_and_done_later(void **state)
{
	LP_AUTO_FREE char *old = NULL, *new = NULL;
	size_t last = changes_last_call(), owed = 0;
	bool hit = true;

	(void)state;
	changes_states(&old, &new);
	for (size_t at = 1; hit; at++) {
		struct rig r;
		int e;

		changes_set_up(&r);
		faults_arm(last, ENOSPC);
		faults_also(1, SIZE_MAX / 2, EIO);
		assert_true(changes_apply(&r) < 0);
		lp_tree_close(r.tree);
		faults_arm(at, errors[at % LP_COUNT_OF(errors)]);
		e = lp_tree_open(&r.tree, r.dir, &r.err);
		hit = faults_hit() != NULL;
		faults_arm(0, 0);
		if (e < 0) {
			assert_true(r.err.msg[0] != '\0');
			assert_int_equal(lp_tree_open(&r.tree, r.dir, &r.err), 0);
		} else if (lp_tree_owes(r.tree, NULL)) {
			owed++;
			expect_told(&r);
			expect_truth(&r, at);
			try_again(&r, at);
		}
		/* What could not be looked at is, now. */
		rig_reopen(&r);
		changes_expect(&r, old, "opened", at);
		rig_close(&r);
		assert_true(at < CALLS_MAX);
	}
	assert_true(owed > 20);
}

/* Who removes what is kept gives it up: the index knows what is there. */
static void owed__is_given_up_when_it_is_removed(void **state)
{
	struct rig r;

	(void)state;
	changes_set_up(&r);
	faults_arm(changes_last_call(), ENOSPC);
	faults_also(1, SIZE_MAX / 2, EIO);
	assert_true(changes_apply(&r) < 0);
	faults_arm(0, 0);
	expect_told(&r);
	app_remove(&r, LP_STATE_DIR "/stage");
	lp_tree_tidy(r.tree);
	assert_false(lp_tree_owes(r.tree, NULL));
	expect_truth(&r, 0);
	assert_string_equal(app_reads(&r, "kind2"), "2");
	assert_int_equal(RIG_APPLY(&r, op_file("kind2", "3", 0644)), 0);
	rig_close(&r);
}

static void write_into(const struct rig *r, const char *path)
{
	LP_AUTO_FREE char *full = lp_xasprintf("%s/%s", r->dir, path);
	LP_AUTO_CLOSE int fd = open(full, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "of the app", 10, 7), 10);
}

static void app_append(const struct rig *r, const char *path)
{
	LP_AUTO_FREE char *full = lp_xasprintf("%s/%s", r->dir, path);
	LP_AUTO_CLOSE int fd = open(full, O_WRONLY | O_APPEND | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(lp_write_all(fd, "of the app", 10), 0);
}

/* A file that was patched in place and that the app changed since stays as the app has it. */
static void rollback__leaves_what_the_app_changed_in_a_patched_file(void **state)
{
	struct lp_digest app;
	struct rig r;

	(void)state;
	for (int replaced = 0; replaced < 2; replaced++) {
		changes_set_up(&r);
		assert_int_equal(changes_apply(&r), 0);
		if (replaced) {
			app_remove(&r, "large");
			app_write(&r, "large", "of the app");
		} else {
			write_into(&r, "large");
		}
		app = app_digest(&r, "large");
		assert_int_equal(roll_back(&r), 0);
		assert_memory_equal(app.b, app_digest(&r, "large").b, sizeof(app.b));
		assert_string_equal(app_reads(&r, "kind1"), "1");
		expect_truth(&r, 0);
		rig_close(&r);
	}
}

/* Waits until a change of the file is seen in its time. */
static void let_time_pass(const struct rig *r, const char *path)
{
	struct timespec now;
	struct stat st;

	assert_int_equal(fstatat(lp_tree_fd(r->tree), path, &st, 0), 0);
	do
		assert_int_equal(clock_gettime(CLOCK_REALTIME_COARSE, &now), 0);
	while (now.tv_sec == st.st_mtim.tv_sec && now.tv_nsec == st.st_mtim.tv_nsec);
}

/* Also of a file that a later changeset wrote into, whether that one came about or not. */
static void rollback__takes_back_patches_on_top_of_each_other(void **state)
{
	LP_AUTO_FREE char *old = NULL, *new = NULL;
	size_t failed = 0, rolled = 0;
	bool hit = true;

	(void)state;
	changes_states(&old, &new);
	for (size_t at = 1; hit; at++) {
		struct rig r;
		int again, e;

		changes_set_up(&r);
		assert_int_equal(changes_apply(&r), 0);
		let_time_pass(&r, "large");
		faults_arm(at, ENOSPC);
		again = changes_patch_again(&r);
		failed += again < 0;
		hit = faults_hit() != NULL;
		faults_arm(0, 0);
		e = roll_back(&r);
		/* Unless what the later one replaced could not be kept. */
		if (e != -ENOENT || again < 0)
			changes_expect(&r, old, "rolled back", at);
		rolled += e == 0;
		rig_close(&r);
		assert_true(at < CALLS_MAX);
	}
	assert_true(failed > 5 && rolled > failed);
}

/* What the app wrote into a file that is back stays, however often the others are tried again. */
static void owed__leaves_alone_what_is_back(void **state)
{
	bool found = false;

	(void)state;
	for (size_t at = 1; !found; at++) {
		struct lp_digest before, app;
		struct rig r;

		changes_set_up(&r);
		before = app_digest(&r, "large");
		assert_int_equal(changes_apply(&r), 0);
		faults_arm(at, EIO);
		faults_also(1, SIZE_MAX / 2, EIO);
		(void)roll_back(&r);
		assert_non_null(faults_hit());
		faults_arm(0, 0);
		app = app_digest(&r, "large");
		/* Which goes back behind it. */
		found = lp_tree_owes(r.tree, NULL) && lp_digest_equal(&app, &before) &&
			strcmp(app_reads(&r, "theirs"), "of the app") == 0;
		if (found) {
			app_append(&r, "large");
			app = app_digest(&r, "large");
			lp_tree_tidy(r.tree);
			assert_false(lp_tree_owes(r.tree, NULL));
			before = app_digest(&r, "large");
			assert_memory_equal(app.b, before.b, sizeof(app.b));
			assert_string_equal(app_reads(&r, "kind1"), "1");
			expect_truth(&r, at);
		}
		rig_close(&r);
	}
}

/* Puts a journal into the staging area, beside something that was replaced. */
static void leave_journal(struct rig *r, const struct lp_row *row)
{
	const struct lp_batch batch = {.id = 9, .revision = 9, .n_rows = 1};
	LP_AUTO_FREE char *path = lp_xasprintf("%s/%s/stage/journal", r->dir, LP_STATE_DIR);
	LP_AUTO_CLOSE int fd = -1;
	struct lp_buf buf = {0};

	lp_tree_close(r->tree);
	r->tree = NULL;
	app_remove(r, LP_STATE_DIR "/stage");
	app_mkdir(r, LP_STATE_DIR "/stage");
	app_write(r, LP_STATE_DIR "/stage/0.old", "the only copy");
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && lp_rows_begin(&buf) == 0);
	assert_int_equal(lp_rows_add(&buf, row), 0);
	lp_rows_end(&buf, 0, &batch);
	if (!row->op)
		buf.data[buf.len - 1] ^= 1; /* damaged */
	assert_int_equal(lp_write_all(fd, buf.data, buf.len), 0);
	lp_buf_finish(&buf);
	assert_int_equal(lp_tree_open(&r->tree, r->dir, &r->err), 0);
}

static void journal__that_makes_no_sense_is_kept_aside(void **state)
{
	static const struct lp_row rows[] = {
		{.kind = LP_ROW_OP, .path = "f"}, /* stands for a damaged one */
		{.kind = LP_ROW_OP, .op = LP_OP_DELETE, .path = LP_STATE_DIR "/owned"},
		{.kind = LP_ROW_OP, .op = LP_OP_MOVE, .path = "f", .from = LP_STATE_DIR "/owned"},
		{.kind = LP_ROW_OP, .op = LP_OP_MOVE, .path = "f"},
		{.kind = LP_ROW_OP, .op = 77, .path = "f"},
		{.kind = LP_ROW_OP, .op = LP_OP_PUT, .path = "f", .sig = 5, .flags = 3},
		{.kind = LP_ROW_ENTRY, .op = LP_OP_PUT, .path = "f"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
		struct rig r;

		rig_open(&r);
		assert_int_equal(RIG_APPLY(&r, op_file("f", "f", 0644)), 0);
		leave_journal(&r, &rows[i]);
		assert_true(lp_tree_has_damage(r.tree));
		assert_string_equal(app_reads(&r, LP_STATE_DIR "/damaged/0.old"), "the only copy");
		assert_string_equal(app_reads(&r, "f"), "f");
		assert_int_equal(RIG_APPLY(&r, op_file("f", "g", 0644)), 0);
		rig_reopen(&r);
		assert_false(lp_tree_has_damage(r.tree));
		rig_close(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(owed__is_given_up_when_it_is_removed),
		cmocka_unit_test(journal__that_makes_no_sense_is_kept_aside),
		cmocka_unit_test(rollback__leaves_what_the_app_changed_in_a_patched_file),
		cmocka_unit_test(rollback__takes_back_patches_on_top_of_each_other),
		cmocka_unit_test(owed__leaves_alone_what_is_back),
		cmocka_unit_test(recovery__that_fails_is_told_and_done_later),
		cmocka_unit_test(undo__that_fails_once_is_told_and_done_later),
		cmocka_unit_test(undo__that_keeps_failing_is_told_and_done_later),
		cmocka_unit_test(rollback__that_fails_in_part_says_so_and_goes_on),
	};

	changes_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
