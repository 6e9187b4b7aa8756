/* test_tree_hostile.c: others change the tree while it is applied to: nothing outside of it is
 * touched, and what the app makes meanwhile is respected. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/controller/tree_rig.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define RACE_US 1500000u

static struct rig rig, outside;
static atomic_bool stop;

static int set_up(void **state)
{
	(void)state;
	rig_open(&rig);
	rig_open(&outside);
	atomic_store(&stop, false);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rig_close(&rig);
	rig_close(&outside);
	return 0;
}

/* What the app does before the next rename with that number, counted from 0. */
static void (*before_rename)(int number);
static int n_renames;

int __real_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	if (before_rename)
		before_rename(n_renames++);
	return __real_renameat2(from_fd, from, to_fd, to, flags);
}

/* Makes "d/e" by turns a directory and a link to one outside. */
static void *swap(void *arg)
{
	int root = lp_tree_fd(rig.tree);

	(void)arg;
	while (!atomic_load(&stop))
		(void)renameat2(root, "d/e", root, "out", RENAME_EXCHANGE);
	return NULL;
}

static void commit__stays_inside_while_directories_become_links(void **state)
{
	pthread_t thread;
	uint64_t until = lp_now_us() + RACE_US;
	size_t done = 0;

	(void)state;
	app_write(&outside, "f", "safe");
	app_write(&outside, "gone", "safe");
	app_mkdir(&outside, "sub");
	app_write(&outside, "sub/x", "safe");
	assert_int_equal(RIG_APPLY(&rig, op_dir("d", 0755), op_dir("d/e", 0755),
				   op_file("d/e/f", "f", 0644)),
			 0);
	app_symlink(&rig, "out", outside.dir);
	assert_int_equal(pthread_create(&thread, NULL, swap, NULL), 0);
	for (int i = 0; lp_now_us() < until; i++) {
		char text[16];

		(void)snprintf(text, sizeof(text), "%d", i);
		done += RIG_APPLY(&rig, op_file("d/e/f", text, 0600),
				  op_file("d/e/gone", "g", 0600), op_dir("d/e/sub", 0700),
				  op_file("d/e/sub/x", text, 0600)) == 0;
		done += RIG_APPLY(&rig, op_delete("d/e/gone"), op_delete("d/e/sub")) == 0;
	}
	atomic_store(&stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(done > 0);
	assert_string_equal(app_reads(&outside, "f"), "safe");
	assert_int_equal(app_mode(&outside, "f"), 0644);
	assert_string_equal(app_reads(&outside, "gone"), "safe");
	assert_string_equal(app_reads(&outside, "sub/x"), "safe");
	assert_int_equal(app_mode(&outside, "sub"), 0755);
}

static void write_below(int number)
{
	if (number == 0)
		app_write(&rig, "d/e/log", "of the app");
}

static void write_and_make_again(int number)
{
	if (number == 0)
		app_write(&rig, "d/e/log", "of the app");
	if (number == 1) {
		app_mkdir(&rig, "d");
		app_write(&rig, "d/own", "of the app");
	}
}

/* Each time that it is gone but for that. */
static void write_always(int number)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "d/log%d", number / 2);
	if (number % 2 == 0)
		app_write(&rig, path, "of the app");
}

/* The app writes into a directory that was found to hold nothing of its, just before it goes. */
static void commit__leaves_what_the_app_makes_in_what_is_deleted(void **state)
{
	static const struct {
		const char *name;
		void (*hook)(int number);
		const char *stays[2];
		bool fails_first;
	} cases[] = {
		{"a file", write_below, {"d/e/log", "d/e/log"}, false},
		{"a file, then the directory", write_and_make_again, {"d/e/log", "d/own"}, true},
		{"a file, and another one", write_always, {"d/log0", "d/log0"}, false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		int r;

		assert_int_equal(RIG_APPLY(&rig, op_dir("d", 0755), op_dir("d/e", 0755),
					   op_file("d/e/f", "f", 0644), op_dir("d/h", 0755),
					   op_file("d/h/i", "i", 0644)),
				 0);
		n_renames = 0;
		before_rename = cases[i].hook;
		r = RIG_APPLY(&rig, op_delete("d"));
		before_rename = NULL;
		if (cases[i].fails_first != (r == -EAGAIN))
			fail_msg("%s: %d, %s", cases[i].name, r, rig.err.msg);
		if (cases[i].fails_first) {
			assert_non_null(strstr(rig.err.msg, "d:"));
			assert_string_equal(app_reads(&rig, "d/e/f"), "f");
			assert_int_equal(RIG_APPLY(&rig, op_delete("d")), 0);
		}
		for (size_t k = 0; k < LP_COUNT_OF(cases[i].stays); k++)
			assert_string_equal(app_reads(&rig, cases[i].stays[k]), "of the app");
		assert_false(app_sees(&rig, "d/e/f"));
		assert_false(app_sees(&rig, "d/h"));
		assert_int_equal(lp_tree_count(rig.tree), 0);
		app_remove(&rig, "d");
	}
}

/* The app makes the directory that is being staged: what is in both stays. */
static void commit__joins_a_directory_that_the_app_made_meanwhile(void **state)
{
	const struct lp_wire_op ops[] = {
		op_dir("d", 0755),         op_dir("d/in", 0750),  op_file("d/in/f", "mine", 0644),
		op_file("d/g", "g", 0644), op_dir("d/new", 0755), op_file("d/new/h", "h", 0644)};
	struct lp_applied done;

	(void)state;
	for (int i = 0; i < 2; i++) {
		lp_tree_begin(rig.tree);
		for (size_t k = 0; k < LP_COUNT_OF(ops); k++)
			assert_int_equal(lp_tree_op(rig.tree, &ops[k], &rig.err), 0);
		app_mkdir(&rig, "d");
		app_mkdir(&rig, "d/in");
		app_write(&rig, "d/in/f", "of the app");
		app_write(&rig, "d/in/log", "of the app");
		assert_int_equal(lp_tree_commit(rig.tree, 1, &done, &rig.err), 0);
		assert_int_equal(done.n_paths, 3);
		lp_applied_finish(&done);
		assert_string_equal(app_reads(&rig, "d/in/f"), "mine");
		assert_string_equal(app_reads(&rig, "d/in/log"), "of the app");
		assert_string_equal(app_reads(&rig, "d/new/h"), "h");
		assert_int_equal(app_mode(&rig, "d/in"), 0750);
		assert_string_equal(rig_list(&rig, "d/in"), "f file 644 o\nlog file 644 -\n");
		assert_int_equal(lp_tree_rollback(rig.tree, 1, &done, &rig.err), 0);
		lp_applied_finish(&done);
		assert_string_equal(app_reads(&rig, "d/in/f"), "of the app");
		assert_string_equal(app_reads(&rig, "d/in/log"), "of the app");
		assert_false(app_sees(&rig, "d/new"));
		assert_false(app_sees(&rig, "d/g"));
		app_remove(&rig, "d");
	}
}

/* A new directory appears at once, with all that is in it. */
static void *look(void *arg)
{
	bool *ok = arg;
	int root = lp_tree_fd(rig.tree);

	*ok = true;
	while (!atomic_load(&stop)) {
		struct stat st;
		int fd = openat(root, "whole", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0)
			continue;
		if (fstatat(fd, "sub/last", &st, 0) < 0 || st.st_size != 4)
			*ok = fstatat(root, "whole", &st, 0) < 0; /* being deleted */
		(void)close(fd);
		if (!*ok)
			break;
	}
	return NULL;
}

static void commit__shows_a_new_directory_complete(void **state)
{
	bool ok = false;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, look, &ok), 0);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(RIG_APPLY(&rig, op_dir("whole", 0755),
					   op_file("whole/a", "a", 0644), op_dir("whole/sub", 0755),
					   op_file("whole/sub/last", "last", 0644)),
				 0);
		assert_int_equal(RIG_APPLY(&rig, op_delete("whole")), 0);
	}
	atomic_store(&stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(ok);
}

/* Operations that contradict each other or come in no order do no harm. */
static void commit__bears_any_order_of_operations(void **state)
{
	static const char *const paths[] = {"a", "a/b", "a/b/c", "d", "d/e", "a/f"};
	uint32_t seed = 1;

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct lp_wire_op ops[12];
		struct lp_digest before, after;

		for (size_t i = 0; i < LP_COUNT_OF(ops); i++) {
			const char *path, *other;

			seed = seed * 1664525u + 1013904223u;
			path = paths[(seed >> 8) % LP_COUNT_OF(paths)];
			other = paths[(seed >> 12) % LP_COUNT_OF(paths)];
			switch ((seed >> 20) % 6) {
			case 0:
				ops[i] = op_delete(path);
				break;
			case 1:
				ops[i] = op_file(path, other, 0644);
				break;
			case 2:
				ops[i] = op_link(path, "a");
				break;
			case 3:
				ops[i] = op_delete(path);
				ops[i].op = LP_OP_MOVE;
				ops[i].kind = LP_KIND_DIR;
				ops[i].has_content = true;
				ops[i].content = lp_bytes_of(other);
				break;
			default:
				ops[i] = op_dir(path, 0755);
			}
		}
		(void)rig_apply(&rig, ops, 1 + seed % LP_COUNT_OF(ops));
		assert_int_equal(rig_staged(&rig), 0);
		before = lp_tree_root(rig.tree);
		if (round % 10)
			continue;
		rig_reopen(&rig);
		after = lp_tree_root(rig.tree);
		if (!lp_digest_equal(&before, &after))
			fail_msg("round %d: the index was not what is on disk", round);
	}
}

/* What is kept of a changeset until it is complete has a limit, and reaching it harms nothing. */
static void op__of_a_changeset_without_end_is_refused(void **state)
{
	static char path[4001];
	struct lp_wire_op op, last;
	size_t n = 0;
	int r = 0;

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	for (size_t i = 200; i < sizeof(path) - 1; i += 201)
		path[i] = '/';
	op = op_delete(path);
	/* A path on the wire ends where the next thing begins. */
	last = op_delete("short-and-then-something-else");
	last.path.len = strlen("short");
	lp_tree_begin(rig.tree);
	while (r == 0 && n < 1000000) {
		r = lp_tree_op(rig.tree, &op, &rig.err);
		n += r == 0;
	}
	assert_int_equal(r, -E2BIG);
	assert_true(n > 50000 && n < 70000);
	assert_int_equal(lp_tree_op(rig.tree, &last, &rig.err), -E2BIG);
	assert_int_equal(strncmp(rig.err.msg, "short: ", 7), 0);
	assert_non_null(strstr(rig.err.msg, ".livepushignore"));
	lp_tree_drop(rig.tree);
	assert_int_equal(RIG_APPLY(&rig, op_file("f", "x", 0644)), 0);
}

struct counted {
	size_t owned;
	size_t foreign;
};

static void count_entries(void *ctx, const struct lp_wire_entry *entries, size_t n, bool more)
{
	struct counted *c = ctx;

	(void)more;
	for (size_t i = 0; i < n; i++)
		*(entries[i].owned ? &c->owned : &c->foreign) += 1;
}

/* What the app makes in one directory does not fill the memory of an answer. */
static void list__of_very_many_files_is_bounded(void **state)
{
	const size_t many = 66000;
	size_t room = LP_LIST_FOREIGN_BYTES;
	struct counted c = {0};
	char name[32];
	int dir;

	(void)state;
	assert_int_equal(RIG_APPLY(&rig, op_file("first", "1", 0644)), 0);
	dir = lp_tree_fd(rig.tree);
	for (size_t i = 0; i < many; i++) {
		(void)snprintf(name, sizeof(name), "app-%zu", i);
		assert_int_equal(mknodat(dir, name, S_IFREG | 0644, 0), 0);
	}
	assert_int_equal(RIG_APPLY(&rig, op_file("last", "2", 0644)), 0);
	assert_int_equal(lp_tree_list(rig.tree, "", &room, count_entries, &c, &rig.err), 1);
	assert_int_equal(c.owned, 2);
	assert_int_equal(c.foreign, 65536);
	/* Nor in many directories: what was told is taken off what may be told of the others. */
	assert_true(room < LP_LIST_FOREIGN_BYTES - (size_t)65536 * 48);
	room = 1000;
	c = (struct counted){0};
	assert_int_equal(lp_tree_list(rig.tree, "", &room, count_entries, &c, &rig.err), 1);
	assert_int_equal(c.owned, 2);
	assert_true(c.foreign > 10 && c.foreign < 21 && room < 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(commit__stays_inside_while_directories_become_links,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			commit__leaves_what_the_app_makes_in_what_is_deleted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			commit__joins_a_directory_that_the_app_made_meanwhile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(commit__shows_a_new_directory_complete, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(commit__bears_any_order_of_operations, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(list__of_very_many_files_is_bounded, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(op__of_a_changeset_without_end_is_refused, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
