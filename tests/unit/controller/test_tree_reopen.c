/* test_tree_reopen.c: what a tree knows after its controller was away, and trees of another user.
 */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/controller/tree_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

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

static void set_mode(const char *path, mode_t mode)
{
	char full[128];

	(void)snprintf(full, sizeof(full), "%s/%s", rig.dir, path);
	assert_int_equal(chmod(full, mode), 0);
}

static void put_some(void)
{
	assert_int_equal(RIG_APPLY(&rig, op_dir("d", 0750), op_file("d/f", "f", 0644),
				   op_file("g", "g", 0755), op_link("l", "d/f")),
			 0);
	assert_int_equal(RIG_APPLY(&rig, op_file("h", "h", 0644), op_delete("g")), 0);
}

static void open__knows_what_the_workspace_owned(void **state)
{
	struct lp_digest before, after;

	(void)state;
	put_some();
	app_write(&rig, "d/own", "of the app");
	before = lp_tree_root(rig.tree);
	for (int i = 0; i < 3; i++) {
		rig_reopen(&rig);
		after = lp_tree_root(rig.tree);
		assert_true(lp_digest_equal(&before, &after));
		assert_int_equal(lp_tree_revision(rig.tree), 2);
		assert_string_equal(rig_list(&rig, "d"), "f file 644 o\nown file 644 -\n");
		assert_string_equal(rig_list(&rig, ""),
				    "d dir 750 o\nh file 644 o\nl link 000 o\n");
	}
}

static void open__sees_what_changed_meanwhile(void **state)
{
	static const struct {
		const char *name;
		const char *remove;
		const char *write;
		const char *mode;
		bool is_owned;
	} cases[] = {
		{"nothing", NULL, NULL, NULL, true},
		{"content", NULL, "d/f", NULL, true},
		{"a file that is gone", "d/f", NULL, NULL, false},
		{"a link that is gone", "l", NULL, NULL, false},
		{"a directory that is gone", "d", NULL, NULL, false},
		{"the mode of a file", NULL, NULL, "h", true},
		{"the mode of a directory", NULL, NULL, "d", true},
		{"a link that became a file", "l", "l", NULL, true},
		{"a directory that became a file", "d", "d", NULL, false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct rig fresh = rig;
		struct lp_digest before, after;

		rig_open(&rig);
		put_some();
		before = lp_tree_root(rig.tree);
		lp_tree_close(rig.tree);
		rig.tree = NULL;
		if (cases[i].remove)
			app_remove(&rig, cases[i].remove);
		if (cases[i].write)
			app_write(&rig, cases[i].write, "other");
		if (cases[i].mode)
			set_mode(cases[i].mode, 0700);
		rig_reopen(&rig);
		after = lp_tree_root(rig.tree);
		if (lp_digest_equal(&before, &after) != (i == 0))
			fail_msg("%s: is not seen", cases[i].name);
		if (cases[i].is_owned != (lp_tree_count(rig.tree) == 4))
			fail_msg("%s: %zu entries", cases[i].name, lp_tree_count(rig.tree));
		rig_close(&rig);
		rig = fresh;
	}
}

/* The log cut off at any byte, and damaged at any byte, gives a tree that opens; what it still
 * claims to own is there, and that something is missing is known. */
static void open__bears_a_torn_or_damaged_log(void **state)
{
	struct lp_buf log = {0};
	LP_AUTO_CLOSE int state_fd = -1;

	(void)state;
	put_some();
	state_fd = lp_open_beneath(lp_tree_fd(rig.tree), LP_STATE_DIR, O_RDONLY | O_DIRECTORY, 0);
	assert_int_equal(lp_read_file(state_fd, "owned", &log), 0);
	assert_true(log.len > 200);
	for (size_t i = 0; i < 2 * log.len; i++) {
		size_t at = i / 2, len = i % 2 ? log.len : at;
		struct lp_tree *tree = NULL;
		int fd;

		lp_tree_close(rig.tree);
		rig.tree = NULL;
		log.data[at] ^= i % 2 ? 0x5a : 0;
		fd = openat(state_fd, "owned", O_WRONLY | O_TRUNC | O_CLOEXEC);
		assert_int_equal(lp_write_all(fd, log.data, len), 0);
		assert_int_equal(close(fd), 0);
		log.data[at] ^= i % 2 ? 0x5a : 0;
		assert_int_equal(lp_tree_open(&tree, rig.dir, &rig.err), 0);
		rig.tree = tree;
		assert_true(lp_tree_count(tree) <= 5);
		assert_true(lp_tree_unread(tree) <= len);
		if (i % 2)
			assert_true(lp_tree_unread(tree) > 0);
	}
	rig_reopen(&rig);
	assert_int_equal(lp_tree_unread(rig.tree), 0);
	assert_string_equal(app_reads(&rig, "d/f"), "f");
	lp_buf_finish(&log);
}

static void open__refuses_a_second_controller(void **state)
{
	struct lp_tree *second = NULL;
	struct lp_wire_op op = op_file("f", "x", 0644);
	struct lp_applied done;

	(void)state;
	lp_tree_begin(rig.tree);
	assert_int_equal(lp_tree_op(rig.tree, &op, &rig.err), 0);
	assert_int_equal(lp_tree_open(&second, rig.dir, &rig.err), -EWOULDBLOCK);
	assert_non_null(strstr(rig.err.msg, "another"));
	/* What the first has staged is still there. */
	assert_int_equal(lp_tree_commit(rig.tree, 1, &done, &rig.err), 0);
	lp_applied_finish(&done);
}

static void open__clears_what_was_staged(void **state)
{
	(void)state;
	app_write(&rig, LP_STATE_DIR "/stage/17", "left");
	app_mkdir(&rig, LP_STATE_DIR "/stage/dir");
	rig_reopen(&rig);
	assert_int_equal(rig_staged(&rig), 0);
}

static void open__waits_for_no_pipe(void **state)
{
	char log[128];

	(void)state;
	lp_tree_close(rig.tree);
	rig.tree = NULL;
	(void)snprintf(log, sizeof(log), "%s/" LP_STATE_DIR "/owned", rig.dir);
	assert_int_equal(unlink(log), 0);
	assert_int_equal(mkfifo(log, 0600), 0);
	rig_reopen(&rig);
	assert_int_equal(RIG_APPLY(&rig, op_file("f", "x", 0644)), 0);
	rig_reopen(&rig);
	assert_int_equal(lp_tree_count(rig.tree), 1);
}

/* The log is written anew when it has grown far beyond what it says. */
static void append__keeps_the_log_small(void **state)
{
	char log[128];
	struct stat st;

	(void)state;
	(void)snprintf(log, sizeof(log), "%s/" LP_STATE_DIR "/owned", rig.dir);
	for (int round = 0; round < 20; round++) {
		struct lp_wire_op ops[1000];

		for (size_t i = 0; i < LP_COUNT_OF(ops); i++)
			ops[i] = op_delete("some/path/that/is/rather/long/for/what/it/says/here");
		assert_int_equal(rig_apply(&rig, ops, LP_COUNT_OF(ops)), 0);
	}
	assert_int_equal(RIG_APPLY(&rig, op_file("f", "x", 0644)), 0);
	assert_int_equal(stat(log, &st), 0);
	assert_true(st.st_size < 1024 * 1024 + 200000);
	rig_reopen(&rig);
	assert_int_equal(lp_tree_revision(rig.tree), 21);
	assert_int_equal(lp_tree_count(rig.tree), 1);
}

/* Without its journal what is staged says nothing, and what it replaced would be lost. */
static void open__keeps_what_it_cannot_take_back(void **state)
{
	char stage[128], journal[160];
	struct lp_tree *tree = NULL;
	LP_AUTO_CLOSE int fd = -1;

	(void)state;
	put_some();
	lp_tree_close(rig.tree);
	rig.tree = NULL;
	(void)snprintf(stage, sizeof(stage), "%s/" LP_STATE_DIR "/stage", rig.dir);
	(void)snprintf(journal, sizeof(journal), "%s/journal", stage);
	(void)mkdir(stage, 0700);
	app_write(&rig, LP_STATE_DIR "/stage/0.old", "replaced");
	/* Beyond what a journal can be. */
	fd = open(journal, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)3 << 30), 0);
	assert_true(lp_tree_open(&tree, rig.dir, &rig.err) < 0);
	assert_non_null(strstr(rig.err.msg, "stage/journal"));
	assert_string_equal(app_reads(&rig, LP_STATE_DIR "/stage/0.old"), "replaced");
	assert_int_equal(unlink(journal), 0);
	rig_reopen(&rig);
	assert_int_equal(lp_tree_revision(rig.tree), 2);
}

/* After a large changeset the log and the index are put in order; nothing of them may change. */
static void tidy__changes_nothing_that_is_seen(void **state)
{
	static char paths[6000][24];
	static struct lp_wire_op ops[6000];
	struct lp_digest before, after;
	size_t count;

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(ops); i++) {
		/* A directory and five files in it. */
		(void)snprintf(paths[i], sizeof(paths[i]), i % 6 ? "d%04zu/f%zu" : "d%04zu", i / 6,
			       i % 6);
		ops[i] = i % 6 ? op_file(paths[i], paths[i], 0644) : op_dir(paths[i], 0755);
	}
	lp_tree_begin(rig.tree);
	for (size_t i = 0; i < LP_COUNT_OF(ops); i++)
		assert_int_equal(lp_tree_op(rig.tree, &ops[i], &rig.err), 0);
	{
		struct lp_applied done;

		assert_int_equal(lp_tree_commit(rig.tree, 1, &done, &rig.err), 0);
		assert_int_equal(done.n_paths, 5000);
		assert_string_equal(done.paths[4999], "d0999/f5");
		lp_applied_finish(&done);
	}
	before = lp_tree_root(rig.tree);
	count = lp_tree_count(rig.tree);
	lp_tree_tidy(rig.tree);
	after = lp_tree_root(rig.tree);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(lp_tree_count(rig.tree), count);
	assert_int_equal(lp_tree_files(rig.tree), 5000);
	assert_string_equal(rig_list(&rig, "d0007"),
			    "f1 file 644 o\nf2 file 644 o\nf3 file 644 o\nf4 file 644 o\n"
			    "f5 file 644 o\n");
	assert_int_equal(RIG_APPLY(&rig, op_delete("d0007"), op_file("d0008/f1", "x", 0644)), 0);
	assert_int_equal(lp_tree_count(rig.tree), count - 6);
	before = lp_tree_root(rig.tree);
	rig_reopen(&rig);
	after = lp_tree_root(rig.tree);
	assert_memory_equal(&before, &after, sizeof(before));
}

static int as_nobody(void)
{
	struct rig r = {0};
	struct lp_wire_op locked[] = {op_dir("d", 0555), op_dir("d/e", 0500),
				      op_file("d/e/f", "f", 0444), op_file("d/g", "g", 0644)};

	if (setgid(65534) < 0 || setuid(65534) < 0)
		return 1;
	rig_open(&r);
	if (rig_apply(&r, locked, 4) < 0 || app_mode(&r, "d") != 0555 ||
	    app_mode(&r, "d/e") != 0500)
		return 2;
	if (RIG_APPLY(&r, op_file("d/e/f", "new", 0444), op_delete("d/g"), op_dir("d/h", 0755)) < 0)
		return 3;
	if (strcmp(app_reads(&r, "d/e/f"), "new") != 0 || app_sees(&r, "d/g") ||
	    !app_sees_dir(&r, "d/h") || app_mode(&r, "d") != 0555 || app_mode(&r, "d/e") != 0500)
		return 4;
	if (RIG_APPLY(&r, op_delete("d")) < 0 || app_sees(&r, "d"))
		return 5;
	/* A file that nobody may read can still get another mode. */
	if (RIG_APPLY(&r, op_file("secret", "s", 0)) < 0 ||
	    RIG_APPLY(&r, op_keep("secret", "s", 0600)) < 0 || app_mode(&r, "secret") != 0600)
		return 6;
	rig_close(&r);
	return 0;
}

/* Root may write anywhere, so an ordinary user tries it. */
static void commit__works_in_read_only_directories(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(as_nobody());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void count_emits(void *ctx, const struct lp_wire_entry *entries, size_t n, bool more)
{
	size_t *counts = ctx;

	(void)entries;
	counts[0]++;
	counts[1] += n;
	counts[2] = more;
	assert_true(n <= 1000);
}

static void list__comes_in_pieces(void **state)
{
	size_t counts[3] = {0}, room = LP_LIST_FOREIGN_BYTES;

	(void)state;
	for (int i = 0; i < 2500; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%d", i);
		app_write(&rig, name, name);
	}
	assert_int_equal(lp_tree_list(rig.tree, "", &room, count_emits, counts, &rig.err), 0);
	assert_int_equal(counts[0], 3);
	assert_int_equal(counts[1], 2500);
	assert_int_equal(counts[2], 0);
}

static void list__says_what_is_there_now(void **state)
{
	(void)state;
	put_some();
	app_remove(&rig, "h");
	app_remove(&rig, "l");
	app_mkdir(&rig, "l");
	assert_string_equal(rig_list(&rig, ""), "d dir 750 o\nl dir 755 -\n");
	assert_int_equal(lp_tree_count(rig.tree), 2);
	app_remove(&rig, "d");
	assert_string_equal(rig_list(&rig, "d"), "");
	assert_string_equal(rig_list(&rig, "no/such"), "");
	assert_string_equal(rig_list(&rig, ""), "l dir 755 -\n");
	assert_int_equal(lp_tree_count(rig.tree), 0);
}

/* The node of a file that grew large is another one than it was. */
static void open__bears_a_file_that_grew_large(void **state)
{
	LP_AUTO_FREE char *large = lp_xcalloc(1, 300001);

	(void)state;
	memset(large, 'x', 300000);
	assert_int_equal(RIG_APPLY(&rig, op_file("a", "a", 0644), op_file("b", "b", 0644),
				   op_file("c", "c", 0644)),
			 0);
	/* A freed node's place is taken by the next one that is made. */
	assert_int_equal(RIG_APPLY(&rig, op_file("d", "a", 0644), op_delete("a")), 0);
	lp_tree_close(rig.tree);
	rig.tree = NULL;
	app_write(&rig, "b", large);
	for (int i = 0; i < 2; i++) {
		rig_reopen(&rig);
		assert_string_equal(rig_list(&rig, ""),
				    "b file 644 o\nc file 644 o\nd file 644 o\n");
		assert_int_equal(lp_tree_count(rig.tree), 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(open__knows_what_the_workspace_owned, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(open__sees_what_changed_meanwhile, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(open__bears_a_torn_or_damaged_log, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(open__bears_a_file_that_grew_large, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(open__refuses_a_second_controller, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(open__clears_what_was_staged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(open__waits_for_no_pipe, set_up, tear_down),
		cmocka_unit_test_setup_teardown(append__keeps_the_log_small, set_up, tear_down),
		cmocka_unit_test_setup_teardown(open__keeps_what_it_cannot_take_back, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(tidy__changes_nothing_that_is_seen, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(list__comes_in_pieces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(list__says_what_is_there_now, set_up, tear_down),
		cmocka_unit_test(commit__works_in_read_only_directories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
