/* test_explain.c: what is said about a path, by rule files in a directory of the test's own. */
#include "cli/explain.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct place {
	char dir[64];
	int fd;
};

static void put(const struct place *p, const char *path, const char *text)
{
	LP_AUTO_CLOSE int fd = openat(p->fd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(lp_write_all(fd, text, strlen(text)), 0);
}

static int set_up(void **state)
{
	struct place *p = lp_xcalloc(1, sizeof(*p));

	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/lp-explain-XXXXXX");
	if (!mkdtemp(p->dir))
		return -1;
	p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = p;
	return p->fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;

	(void)close(p->fd);
	(void)lp_remove_tree(AT_FDCWD, p->dir);
	free(p);
	return 0;
}

static void lp_explain_line__finds_the_pattern_in_the_list(void **state)
{
	static const char yml[] =
		"app: x\nignore:\n  - a/\n  - '*.log'\nrules:\n  - match: '*.css'\n";
	static const char flow[] = "# c\nignore: [one, \"two\"]\napp: three\n";

	(void)state;
	assert_int_equal(lp_explain_line(yml, "a/"), 3);
	assert_int_equal(lp_explain_line(yml, "*.log"), 4);
	/* Written in another way: the key itself. What stands under another key is not it. */
	assert_int_equal(lp_explain_line(yml, "*.css"), 2);
	assert_int_equal(lp_explain_line(flow, "two"), 2);
	assert_int_equal(lp_explain_line(flow, "three"), 2);
	assert_int_equal(lp_explain_line("app: x\n", "x"), 0);
	assert_int_equal(lp_explain_line("", "x"), 0);
}

static void lp_explain_path__names_the_file_and_the_line(void **state)
{
	struct place *p = *state;
	struct lp_conf conf;
	struct lp_explain e;
	struct lp_err err = {0};

	lp_conf_init(&conf);
	assert_int_equal(mkdirat(p->fd, "sub", 0700), 0);
	put(p, ".gitignore", "\n# x\n*.o\n");
	put(p, "sub/.cfignore", "!keep.o\n/deep/\n");
	put(p, "sub/keep.o", "");

	assert_int_equal(lp_explain_path(&e, p->fd, "sub/a.o", &conf, "", &err), 0);
	assert_true(e.ignored && !e.is_there);
	assert_string_equal(e.rule.file, ".gitignore");
	assert_int_equal(e.rule.line, 3);
	lp_explain_finish(&e);

	assert_int_equal(lp_explain_path(&e, p->fd, "sub/keep.o", &conf, "", &err), 0);
	assert_true(!e.ignored && e.is_there && e.rule.negated);
	assert_string_equal(e.rule.file, "sub/.cfignore");
	assert_int_equal(e.action, LP_ACTION_RESTART);
	lp_explain_finish(&e);

	assert_int_equal(lp_explain_path(&e, p->fd, "sub/deep/x/y", &conf, "", &err), 0);
	assert_true(e.ignored);
	assert_string_equal(e.rule.above, "sub/deep");
	assert_int_equal(e.rule.line, 2);
	lp_explain_finish(&e);

	assert_int_equal(lp_explain_path(&e, p->fd, "none", &conf, "", &err), 0);
	assert_true(!e.ignored && !e.rule.file && !e.left_out);
	lp_explain_finish(&e);
	lp_conf_finish(&conf);
}

static void lp_explain_absolute__resolves_what_is_there(void **state)
{
	struct place *p = *state;
	LP_AUTO_FREE char *link = lp_xasprintf("%s/link", p->dir);
	LP_AUTO_FREE char *given = lp_xasprintf("%s/link/no/such/", p->dir);
	LP_AUTO_FREE char *wanted = lp_xasprintf("%s/sub/no/such", p->dir);
	LP_AUTO_FREE char *itself = NULL, *got = NULL;

	assert_int_equal(mkdirat(p->fd, "sub", 0700), 0);
	assert_int_equal(symlinkat("sub", p->fd, "link"), 0);
	got = lp_explain_absolute(given);
	assert_string_equal(got, wanted);
	itself = lp_explain_absolute(link);
	assert_string_equal(itself, link);
}

static void lp_explain_workspace__is_the_nearest_that_looks_like_one(void **state)
{
	struct place *p = *state;
	LP_AUTO_FREE char *path = lp_xasprintf("%s/a/b/c", p->dir);
	LP_AUTO_FREE char *a = lp_xasprintf("%s/a", p->dir);
	LP_AUTO_FREE char *found = NULL, *inner = NULL;

	put(p, "livepush.yml", "");
	found = lp_explain_workspace(path);
	assert_string_equal(found, p->dir);
	assert_int_equal(mkdirat(p->fd, "a", 0700), 0);
	assert_int_equal(mkdirat(p->fd, "a/.git", 0700), 0);
	inner = lp_explain_workspace(path);
	assert_string_equal(inner, a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lp_explain_line__finds_the_pattern_in_the_list),
		cmocka_unit_test_setup_teardown(lp_explain_path__names_the_file_and_the_line,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(lp_explain_absolute__resolves_what_is_there, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			lp_explain_workspace__is_the_nearest_that_looks_like_one, set_up,
			tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
