/* test_tree_faults.c: a commit is done wholly or not at all: with every one of its system calls
 * failing once, and with the controller killed before each of them. */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/controller/faults.h"
#include "tests/unit/controller/tree_rig.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define LARGE_BYTES ((size_t)300 * 1000)
#define CALLS_MAX   4000

static uint8_t large[LARGE_BYTES], patched[LARGE_BYTES];

static void fill_large(void)
{
	for (size_t i = 0; i < LARGE_BYTES; i++)
		large[i] = (uint8_t)(i * i >> 7);
	memcpy(patched, large, LARGE_BYTES);
	memset(patched + 200000, 'x', 5000);
}

static void put_large(struct rig *r, const char *path)
{
	const struct lp_wire_op op = op_large(path, large, LARGE_BYTES);
	const struct lp_bytes all = {large, LARGE_BYTES};
	struct lp_applied done;

	lp_tree_begin(r->tree);
	assert_int_equal(lp_tree_op(r->tree, &op, &r->err), 0);
	assert_int_equal(lp_tree_data(r->tree, 0, &all, &r->err), 0);
	assert_int_equal(lp_tree_commit(r->tree, 1, &done, &r->err), 0);
	lp_applied_finish(&done);
	lp_tree_tidy(r->tree);
}

/* What is there before. */
static void set_up_old(struct rig *r)
{
	rig_open(r);
	put_large(r, "large");
	put_large(r, "patched");
	assert_int_equal(RIG_APPLY(r, op_dir("a", 0755), op_dir("a/b", 0755),
				   op_file("a/b/f", "f", 0644), op_file("a/g", "g", 0644),
				   op_dir("gone", 0755), op_dir("gone/x", 0755),
				   op_file("gone/x/y", "y", 0600), op_dir("mixed", 0755),
				   op_dir("mixed/in", 0755), op_file("mixed/in/mine", "m", 0644),
				   op_file("mixed/h", "h", 0644), op_file("kind1", "1", 0644),
				   op_dir("kind2", 0755), op_file("kind2/z", "z", 0644),
				   op_file("mode", "m", 0644), op_dir("dmode", 0755),
				   op_file("move1", "m1", 0644), op_file("move2", "m2", 0644),
				   op_link("link", "mode")),
			 0);
	app_write(r, "mixed/in/log", "of the app");
	app_write(r, "theirs", "of the app");
}

static int patch(struct rig *r, const char *path, bool in_place)
{
	struct lp_wire_op op = op_large(path, patched, LARGE_BYTES);
	struct lp_wire_op old = op_large(path, large, LARGE_BYTES);
	struct lp_wire_segment segments[] = {
		{.from = 0, .len = 200000},
		{.len = 5000, .has_content = true, .content = {patched + 200000, 5000}},
		{.from = 205000, .len = LARGE_BYTES - 205000},
	};
	struct lp_msg_patch msg = {
		.in_place = in_place, .segments = segments, .n_segments = LP_COUNT_OF(segments)};
	int e = lp_tree_op(r->tree, &op, &r->err);

	memcpy(msg.base, old.digest, 16);
	return e < 0 ? e : lp_tree_patch(r->tree, &msg, &r->err);
}

static struct lp_wire_op op_move(const char *from, const char *to, unsigned kind)
{
	struct lp_wire_op op = {.op = LP_OP_MOVE, .kind = kind};

	op.path = lp_bytes_of(to);
	op.has_content = true;
	op.content = lp_bytes_of(from);
	return op;
}

/* The changeset with everything in it. */
static int change(struct rig *r)
{
	const struct lp_wire_op ops[] = {
		op_move("a", "fresh/moved", LP_KIND_DIR),
		op_move("move1", "move2", LP_KIND_FILE),
		op_move("mode", "mode2", LP_KIND_FILE),
		op_file("fresh/moved/b/f", "other", 0644),
		op_dir("fresh", 0750),
		op_dir("fresh/deep", 0755),
		op_file("fresh/deep/file", "deep", 0644),
		op_link("fresh/deep/link", "file"),
		op_dir("kind1", 0755),
		op_file("kind1/in", "in", 0644),
		op_file("kind2", "2", 0644),
		op_keep("mode2", "m", 0755),
		op_dir("dmode", 0700),
		op_link("link", "large"),
		op_file("theirs", "mine now", 0644),
		op_delete("gone"),
		op_delete("mixed"),
	};
	struct lp_applied done = {0};
	int e = 0;

	lp_tree_begin(r->tree);
	for (size_t i = 0; i < LP_COUNT_OF(ops) && e == 0; i++) {
		/* Directories go before what is in them, moves before everything. */
		static const size_t order[] = {0, 1,  2,  4,  5,  6,  7,  3, 8,
					       9, 10, 11, 12, 13, 14, 15, 16};

		e = lp_tree_op(r->tree, &ops[order[i]], &r->err);
	}
	if (e == 0)
		e = patch(r, "large", true);
	if (e == 0)
		e = patch(r, "patched", false);
	if (e == 0)
		e = lp_tree_commit(r->tree, 9, &done, &r->err);
	else
		lp_tree_drop(r->tree);
	lp_applied_finish(&done);
	return e;
}

static int skip_state(const struct dirent *e)
{
	return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
	       strcmp(e->d_name, LP_STATE_DIR) != 0;
}

/* Everything below a directory, as text. NOLINTNEXTLINE(misc-no-recursion) */
static void describe(const struct rig *r, const char *dir, struct lp_buf *out)
{
	LP_AUTO_FREE char *full = lp_xasprintf("%s/%s", r->dir, dir);
	struct dirent **names = NULL;
	int n = scandir(full, &names, skip_state, alphasort);

	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		LP_AUTO_FREE char *path =
			lp_xasprintf("%s%s%s", dir, dir[0] ? "/" : "", names[i]->d_name);
		bool is_dir = app_sees_dir(r, path);
		struct lp_digest d = {{0}};

		if (!is_dir)
			d = app_digest(r, path);

		assert_int_equal(lp_buf_addf(out, "%s %o %02x%02x%02x%02x\n", path,
					     app_mode(r, path), d.b[0], d.b[1], d.b[2], d.b[3]),
				 0);
		if (is_dir)
			describe(r, path, out);
		free(names[i]);
	}
	free(names);
}

static char *state_of(struct rig *r)
{
	struct lp_buf out = {0};
	struct lp_digest root = lp_tree_root(r->tree);
	char hex[LP_DIGEST_HEX_BYTES];

	describe(r, "", &out);
	lp_digest_hex(&root, hex);
	assert_int_equal(
		lp_buf_addf(&out, "root %s revision %d", hex, (int)lp_tree_revision(r->tree)), 0);
	assert_non_null(lp_buf_text(&out));
	return (char *)out.data;
}

static void expect_state(struct rig *r, const char *wanted, const char *what, size_t at)
{
	LP_AUTO_FREE char *now = state_of(r);

	if (strcmp(now, wanted) != 0)
		fail_msg("%s, call %zu: the tree is\n%s\ninstead of\n%s", what, at, now, wanted);
}

static void states(char **old, char **new)
{
	struct rig r;

	set_up_old(&r);
	*old = state_of(&r);
	assert_int_equal(change(&r), 0);
	*new = state_of(&r);
	assert_null(strstr(*new, "gone"));
	assert_non_null(strstr(*new, "fresh/moved/b/f"));
	assert_non_null(strstr(*new, "mixed/in/log"));
	assert_null(strstr(*new, "mixed/in/mine"));
	rig_reopen(&r);
	expect_state(&r, *new, "opened again", 0);
	rig_close(&r);
}

static void commit__does_all_or_nothing_when_a_call_fails(void **state)
{
	static const int errors[] = {ENOSPC, EIO, EACCES, EROFS};
	LP_AUTO_FREE char *old = NULL, *new = NULL;
	size_t failed = 0, at = 1, total = 1;

	(void)state;
	states(&old, &new);
	for (; at <= total; at++) {
		struct rig r;
		int e;

		set_up_old(&r);
		faults_arm(at, errors[at % LP_COUNT_OF(errors)]);
		e = change(&r);
		total = faults_hit() ? at + 1 : at;
		faults_arm(0, 0);
		failed += e < 0;
		expect_state(&r, e < 0 ? old : new, e < 0 ? r.err.msg : "no error", at);
		rig_reopen(&r);
		expect_state(&r, e < 0 ? old : new, "opened again", at);
		if (e < 0) {
			assert_true(r.err.msg[0] != '\0');
			e = change(&r);
			if (e < 0)
				fail_msg("again: %s", r.err.msg);
			expect_state(&r, new, "again", at);
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
	states(&old, &new);
	for (size_t at = 1; !ended; at++) {
		LP_AUTO_FREE char *now = NULL;
		struct rig r;

		set_up_old(&r);
		ended = ends_before(&r, at, change);
		now = state_of(&r);
		kills += !ended;
		finished += strcmp(now, new) == 0;
		if (strcmp(now, new) != 0)
			expect_state(&r, old, "killed", at);
		if (strcmp(now, new) != 0 && change(&r) < 0)
			fail_msg("killed at %zu, again: %s", at, r.err.msg);
		expect_state(&r, new, "again", at);
		assert_int_equal(rig_staged(&r), 0);
		rig_close(&r);
	}
	assert_true(kills > 50);
	assert_true(finished > 1); /* killed behind the point from which it counts, too */
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

	found = (struct lp_digest){{0}};
	assert_int_equal(lp_tree_list(r->tree, "", find_f, &letter, &r->err), 0);
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
	states(&old, &new);
	set_up_old(&r);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(change(&r), 0);
		if (i == 1)
			rig_reopen(&r);
		expect_state(&r, new, "changed", 0);
		assert_int_equal(lp_tree_rollback(r.tree, 9, &done, &r.err), 0);
		assert_true(done.n_paths > 10);
		lp_applied_finish(&done);
		expect_state(&r, old, "rolled back", 0);
		rig_reopen(&r);
		expect_state(&r, old, "opened again", 0);
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
	states(&old, &new);
	for (size_t at = 1; !ended; at++) {
		LP_AUTO_FREE char *now = NULL;
		struct rig r;

		set_up_old(&r);
		assert_int_equal(change(&r), 0);
		ended = ends_before(&r, at, roll_back);
		now = state_of(&r);
		if (strcmp(now, new) != 0)
			expect_state(&r, old, "killed", at);
		rig_close(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commit__does_all_or_nothing_when_a_call_fails),
		cmocka_unit_test(commit__does_all_or_nothing_when_killed),
		cmocka_unit_test(commit__of_one_file_is_whole_when_killed),
		cmocka_unit_test(rollback__brings_the_old_state_back),
		cmocka_unit_test(rollback__does_all_or_nothing_when_killed),
	};

	fill_large();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
