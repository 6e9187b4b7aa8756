/* test_revisions.c: the list of revisions: what becomes of them, where a rollback leads, and that
 * all of it survives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "controller/revisions.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct rig {
	char dir[64];
	int fd;
	struct lp_revisions *h;
};

static int setup(void **state)
{
	struct rig *rig = lp_xcalloc(1, sizeof(*rig));

	(void)snprintf(rig->dir, sizeof(rig->dir), "/tmp/lp-revisions-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	rig->fd = open(rig->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(rig->fd >= 0);
	assert_int_equal(mkdirat(rig->fd, LP_STATE_DIR, 0700), 0);
	rig->h = lp_revisions_open(rig->fd);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	lp_revisions_close(rig->h);
	(void)close(rig->fd);
	assert_int_equal(lp_remove_tree(AT_FDCWD, rig->dir), 0);
	free(rig);
	return 0;
}

static void reopen(struct rig *rig)
{
	lp_revisions_close(rig->h);
	rig->h = lp_revisions_open(rig->fd);
}

/* tree: which one it leads to. */
static void apply_tree(const struct rig *rig, uint64_t revision, const char *path, uint8_t tree)
{
	char *paths[] = {(char *)(uintptr_t)path};
	const struct lp_applied a = {.revision = revision,
				     .files = 1,
				     .bytes = 10,
				     .removed = path[0] == '-',
				     .root = {.b = {7, tree}},
				     .paths = paths,
				     .n_paths = 1};

	lp_revisions_applied(rig->h, &a, 1000 + revision);
}

static void apply(const struct rig *rig, uint64_t revision, const char *path)
{
	apply_tree(rig, revision, path, (uint8_t)revision);
}

/* "1h 2f": revisions with the first letter of their states (p h f s u), with '+' when they are
 * kept. */
static const char *listed(const struct rig *rig, uint64_t reach)
{
	static const char letters[] = "?phfsu";
	static char text[4096];
	struct lp_wire_revision *list;
	size_t n = lp_revisions_list(rig->h, LP_WIRE_REVISIONS_MAX, reach, &list), len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%llu%c%s", i ? " " : "",
					(unsigned long long)list[i].revision,
					letters[list[i].state], list[i].kept ? "+" : "");
	free(list);
	return text;
}

static void outcomes__are_noted(void **state)
{
	struct rig *rig = *state;

	apply(rig, 1, "a");
	assert_string_equal(listed(rig, 0), "1p");
	lp_revisions_settled(rig->h, 1);
	apply(rig, 2, "b");
	apply(rig, 3, "c");
	lp_revisions_failed(rig->h, 3, "it exited");
	apply(rig, 5, "d");
	/* One that changed nothing stands between. */
	lp_revisions_settled(rig->h, 6);
	assert_string_equal(listed(rig, 0), "1h 2s 3f 5h");
	/* A crash later does not make it a bad change. */
	lp_revisions_failed(rig->h, 6, "it exited");
	assert_string_equal(listed(rig, 0), "1h 2s 3f 5h");
	lp_revisions_failed(rig->h, 0, "before all");
	lp_revisions_settled(rig->h, 0);
	assert_string_equal(listed(rig, 0), "1h 2s 3f 5h");
}

static void reach__says_what_is_kept(void **state)
{
	struct rig *rig = *state;

	for (uint64_t i = 1; i <= 4; i++)
		apply(rig, i, "a");
	assert_string_equal(listed(rig, 1), "1p+ 2p+ 3p+ 4p");
	assert_string_equal(listed(rig, 3), "1p 2p+ 3p+ 4p");
	assert_string_equal(listed(rig, 0), "1p 2p 3p 4p");
}

static void what_mends_a_revision__belongs_to_it(void **state)
{
	struct rig *rig = *state;
	struct lp_wire_revision *list;
	struct lp_applied nothing = {.revision = 9};

	apply(rig, 4, "a");
	lp_revisions_failed(rig->h, 4, "it exited");
	apply(rig, 4, "-b");
	lp_revisions_applied(rig->h, &nothing, 1);
	assert_int_equal(lp_revisions_list(rig->h, 10, 0, &list), 1);
	assert_int_equal(list[0].state, LP_REVISION_PENDING);
	assert_int_equal(list[0].files, 2);
	assert_int_equal(list[0].removed, 1);
	assert_int_equal(list[0].bytes, 20);
	assert_int_equal(list[0].at_ms, 1004);
	assert_int_equal(list[0].paths.len, 5);
	assert_memory_equal(list[0].paths.p, "a\0-b", 5);
	free(list);
}

static void paths__are_the_first_that_fit(void **state)
{
	struct rig *rig = *state;
	char *paths[40];
	struct lp_wire_revision *list;
	struct lp_applied a = {.revision = 1, .paths = paths, .n_paths = LP_COUNT_OF(paths)};

	for (size_t i = 0; i < LP_COUNT_OF(paths); i++) {
		paths[i] = lp_xcalloc(1, 301);
		memset(paths[i], 'x', i == 0 ? 10 : 300);
	}
	lp_revisions_applied(rig->h, &a, 1);
	a.revision = 2;
	memset(paths[0], 'y', 300);
	for (size_t i = 1; i < LP_COUNT_OF(paths); i++)
		paths[i][1] = '\0';
	lp_revisions_applied(rig->h, &a, 1);
	reopen(rig);
	assert_int_equal(lp_revisions_list(rig->h, 10, 0, &list), 2);
	assert_int_equal(list[0].files, 40);
	assert_int_equal(list[0].paths.len, 11 + 3 * 301);
	assert_int_equal(list[1].paths.len, 301 + 15 * 2);
	free(list);
	for (size_t i = 0; i < LP_COUNT_OF(paths); i++)
		free(paths[i]);
}

static void assert_goal(const struct rig *rig, uint64_t wanted, uint64_t to, uint64_t before)
{
	struct lp_goal goal = {0};

	assert_int_equal(lp_revisions_goal(rig->h, wanted, &goal, NULL), 0);
	assert_int_equal(goal.to, to);
	assert_int_equal(goal.before, before);
}

static void assert_no_goal(const struct rig *rig, uint64_t wanted, const char *why)
{
	struct lp_goal goal;
	struct lp_err err = {0};

	assert_int_equal(lp_revisions_goal(rig->h, wanted, &goal, &err), -ENOENT);
	assert_non_null(strstr(err.msg, why));
}

static void goal__is_what_was_named_or_the_last_healthy_one(void **state)
{
	struct rig *rig = *state;
	struct lp_goal goal = {0};

	assert_no_goal(rig, 0, "no revision is known");
	apply(rig, 1, "a");
	lp_revisions_settled(rig->h, 1);
	assert_no_goal(rig, 0, "no revision before");
	assert_no_goal(rig, 1, "is what the tree holds");
	assert_false(lp_revisions_escape(rig->h, &goal));
	apply(rig, 3, "b");
	lp_revisions_failed(rig->h, 3, "no");
	apply(rig, 4, "c");
	lp_revisions_failed(rig->h, 4, "no");
	assert_goal(rig, 0, 1, 3);
	assert_goal(rig, 3, 3, 4);
	assert_no_goal(rig, 2, "is not known");
	assert_no_goal(rig, 4, "is what the tree holds");
	assert_true(lp_revisions_escape(rig->h, &goal));
	assert_int_equal(goal.to, 1);
	assert_int_equal(goal.before, 3);
	lp_revisions_rolled(rig->h, &goal);
	assert_string_equal(listed(rig, 1), "1h 3u 4u");
	assert_false(lp_revisions_escape(rig->h, &goal));
	/* Numbers may come again. */
	apply(rig, 4, "d");
	assert_string_equal(listed(rig, 1), "1h+ 3u 4u 4p");
	assert_goal(rig, 0, 1, 4);
}

/* A failed save and its repair lead to the tree that was there before. */
static void goal__is_another_tree(void **state)
{
	struct rig *rig = *state;

	apply(rig, 1, "a");
	lp_revisions_settled(rig->h, 1);
	apply(rig, 2, "a");
	lp_revisions_settled(rig->h, 2);
	apply(rig, 3, "a");
	lp_revisions_failed(rig->h, 3, "no");
	apply_tree(rig, 4, "a", 2);
	lp_revisions_settled(rig->h, 4);
	assert_goal(rig, 0, 1, 2);
	assert_goal(rig, 2, 2, 3);
}

static void list__is_bounded_and_survives(void **state)
{
	struct rig *rig = *state;
	struct lp_wire_revision *list;
	struct stat st;
	char long_error[2000];

	memset(long_error, 'e', sizeof(long_error) - 1);
	long_error[sizeof(long_error) - 1] = '\0';
	for (uint64_t i = 1; i <= 1000; i++) {
		apply(rig, i, "some/path/of/a/file");
		lp_revisions_failed(rig->h, i, long_error);
	}
	reopen(rig);
	assert_int_equal(lp_revisions_list(rig->h, 1000, 0, &list), LP_WIRE_REVISIONS_MAX);
	assert_int_equal(list[0].revision, 1001 - LP_WIRE_REVISIONS_MAX);
	assert_int_equal(list[LP_WIRE_REVISIONS_MAX - 1].revision, 1000);
	assert_int_equal(list[0].error.len, LP_WIRE_TEXT_MAX_BYTES);
	free(list);
	assert_int_equal(lp_revisions_list(rig->h, 3, 0, &list), 3);
	assert_int_equal(list[0].revision, 998);
	free(list);
	assert_int_equal(fstatat(rig->fd, LP_STATE_DIR "/" LP_REVISIONS_FILE, &st, 0), 0);
	assert_true(st.st_size < (off_t)1024 * 1024);
	apply(rig, 1001, "a");
	reopen(rig);
	assert_int_equal(lp_revisions_list(rig->h, 1, 0, &list), 1);
	assert_int_equal(list[0].revision, 1001);
	free(list);
}

static void trees__are_named(void **state)
{
	struct rig *rig = *state;
	struct lp_wire_revision *list;

	apply(rig, 4, "a");
	apply(rig, 5, "b");
	reopen(rig);
	assert_int_equal(lp_revisions_list(rig->h, LP_WIRE_REVISIONS_MAX, 0, &list), 2);
	for (uint8_t i = 0; i < 2; i++) {
		assert_int_equal(list[i].root[0], 7);
		assert_int_equal(list[i].root[1], 4 + i);
	}
	free(list);
}

static void a_file_that_was_cut_off__ends_there(void **state)
{
	struct rig *rig = *state;
	struct stat st;

	apply(rig, 1, "a");
	apply(rig, 2, "b");
	apply(rig, 3, "c");
	lp_revisions_close(rig->h);
	assert_int_equal(fstatat(rig->fd, LP_STATE_DIR "/" LP_REVISIONS_FILE, &st, 0), 0);
	for (off_t size = st.st_size; size-- > 0;) {
		LP_AUTO_CLOSE int fd =
			openat(rig->fd, LP_STATE_DIR "/" LP_REVISIONS_FILE, O_WRONLY | O_CLOEXEC);

		assert_int_equal(ftruncate(fd, size), 0);
		rig->h = lp_revisions_open(rig->fd);
		assert_true(strncmp("1p 2p", listed(rig, 0), strlen(listed(rig, 0))) == 0);
		lp_revisions_close(rig->h);
		/* What opening it wrote anew is at most as long. */
		assert_int_equal(fstatat(rig->fd, LP_STATE_DIR "/" LP_REVISIONS_FILE, &st, 0), 0);
		assert_true(st.st_size <= size);
		size = st.st_size;
	}
	rig->h = lp_revisions_open(rig->fd);
	assert_string_equal(listed(rig, 0), "");
}

static void a_file_that_cannot_be_read__is_not_written_over(void **state)
{
	const off_t too_large = (off_t)1024 * 1024 + 1;
	struct rig *rig = *state;
	LP_AUTO_CLOSE int fd = -1;
	struct stat st;

	lp_revisions_close(rig->h);
	fd = openat(rig->fd, LP_STATE_DIR "/" LP_REVISIONS_FILE, O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, too_large), 0);
	rig->h = lp_revisions_open(rig->fd);
	apply(rig, 1, "a");
	assert_string_equal(listed(rig, 0), "1p");
	assert_int_equal(fstatat(rig->fd, LP_STATE_DIR "/" LP_REVISIONS_FILE, &st, 0), 0);
	assert_int_equal(st.st_size, too_large);
}

static void a_file_that_is_something_else__is_no_history(void **state)
{
	struct rig *rig = *state;
	LP_AUTO_CLOSE int fd = -1;

	lp_revisions_close(rig->h);
	fd = openat(rig->fd, LP_STATE_DIR "/" LP_REVISIONS_FILE, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(lp_write_all(fd, "\xff\xff\xff\x7fgarbage", 11), 0);
	rig->h = lp_revisions_open(rig->fd);
	assert_string_equal(listed(rig, 0), "");
	lp_revisions_close(rig->h);
	assert_int_equal(unlinkat(rig->fd, LP_STATE_DIR "/" LP_REVISIONS_FILE, 0), 0);
	assert_int_equal(mkdirat(rig->fd, LP_STATE_DIR "/" LP_REVISIONS_FILE, 0700), 0);
	rig->h = lp_revisions_open(rig->fd);
	apply(rig, 1, "a");
	lp_revisions_settled(rig->h, 1);
	assert_string_equal(listed(rig, 0), "1h");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(outcomes__are_noted),
		TEST(reach__says_what_is_kept),
		TEST(what_mends_a_revision__belongs_to_it),
		TEST(paths__are_the_first_that_fit),
		TEST(goal__is_what_was_named_or_the_last_healthy_one),
		TEST(goal__is_another_tree),
		TEST(list__is_bounded_and_survives),
		TEST(trees__are_named),
		TEST(a_file_that_was_cut_off__ends_there),
		TEST(a_file_that_cannot_be_read__is_not_written_over),
		TEST(a_file_that_is_something_else__is_no_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
