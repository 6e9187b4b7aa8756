/* test_workspace.c: what a workspace makes of each kind of change. */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/watcher/content_rig.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static void take__names_each_change(void **state)
{
	(void)state;
	assert_string_equal(rig_settle(&rig), "");
	rig_write(&rig, "f", "one");
	assert_string_equal(rig_settle(&rig), "PUT f\n");
	rig_write(&rig, "f", "two");
	assert_string_equal(rig_settle(&rig), "PUT f\n");
	rig_write(&rig, "f", "two"); /* saved without a change */
	assert_string_equal(rig_settle(&rig), "");
	rig_chmod(&rig, "f", 0755);
	assert_string_equal(rig_settle(&rig), "KEEP f\n");
	rig_chmod(&rig, "f", 0755);
	assert_string_equal(rig_settle(&rig), "");
	rig_mkdir(&rig, "d");
	rig_chmod(&rig, "d", 0700);
	assert_string_equal(rig_settle(&rig), "PUT d\n");
	rig_chmod(&rig, "d", 0750);
	assert_string_equal(rig_settle(&rig), "PUT d\n");
	rig_rename(&rig, "f", "d/g");
	assert_string_equal(rig_settle(&rig), "PUT d/g\nDELETE f\n");
	rig_symlink(&rig, "l", "d/g");
	assert_string_equal(rig_settle(&rig), "PUT l\n");
	rig_remove(&rig, "l");
	rig_symlink(&rig, "l", "d");
	assert_string_equal(rig_settle(&rig), "PUT l\n");
	rig_remove(&rig, "d");
	assert_string_equal(rig_settle(&rig), "DELETE d\n");
	rig_write(&rig, "gone", "soon");
	rig_remove(&rig, "gone");
	assert_string_equal(rig_settle(&rig), "");
	rig_check(&rig);
	assert_int_equal(rig.notices.len, 0);
}

static void make_x(enum lp_kind kind, const char *name)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "x/y/%s", name);
	rig_remove(&rig, "x");
	if (kind == LP_KIND_FILE) {
		rig_write(&rig, "x", name);
	} else if (kind == LP_KIND_LINK) {
		rig_symlink(&rig, "x", name);
	} else {
		rig_mkdir(&rig, "x");
		rig_mkdir(&rig, "x/y");
		rig_write(&rig, path, name);
	}
	(void)rig_settle(&rig);
	rig_check(&rig);
}

static void take__changes_kinds(void **state)
{
	(void)state;
	for (enum lp_kind from = LP_KIND_FILE; from < LP_KIND_COUNT_; from++) {
		for (enum lp_kind to = LP_KIND_FILE; to < LP_KIND_COUNT_; to++) {
			make_x(from, "old");
			make_x(to, "new");
		}
	}
}

static void take__renames_directories(void **state)
{
	(void)state;
	rig_mkdir(&rig, "a");
	rig_mkdir(&rig, "a/b");
	rig_mkdir(&rig, "a/b/c");
	rig_write(&rig, "a/b/c/f", "f");
	(void)rig_settle(&rig);
	rig_rename(&rig, "a", "z");
	assert_string_equal(rig_settle(&rig), "MOVE a z\n");
	/* The watches below know their new names. */
	rig_write(&rig, "z/b/c/f", "again");
	assert_string_equal(rig_settle(&rig), "PUT z/b/c/f\n");
	rig_rename(&rig, "z/b", "b");
	rig_write(&rig, "b/c/g", "g");
	assert_string_equal(rig_settle(&rig), "MOVE z/b b\nPUT b/c/g\n");
	/* The old name is used again. */
	rig_mkdir(&rig, "a");
	rig_mkdir(&rig, "a/b");
	rig_rename(&rig, "b", "a/b/b");
	rig_write(&rig, "a/b/b/c/g", "h");
	/* Its new directory is not on the instances before this changeset. */
	assert_string_equal(rig_settle(&rig),
			    "PUT a\nPUT a/b\nPUT a/b/b\nPUT a/b/b/c\nPUT a/b/b/c/f\n"
			    "PUT a/b/b/c/g\nDELETE b\n");
	rig_write(&rig, "a/b/b/c/new", "n");
	assert_string_equal(rig_settle(&rig), "PUT a/b/b/c/new\n");
	rig_check(&rig);
}

static void take__leaves_out_what_cannot_be_mirrored(void **state)
{
	char path[96];

	(void)state;
	rig_symlink(&rig, "out", "../elsewhere");
	rig_symlink(&rig, "root", "/etc");
	(void)snprintf(path, sizeof(path), "%s/fifo", rig.dir);
	assert_int_equal(mkfifo(path, 0644), 0);
	assert_string_equal(rig_settle(&rig), "");
	assert_non_null(strstr(lp_buf_text(&rig.notices), "out: left out: is a link that leads"));
	assert_non_null(strstr(lp_buf_text(&rig.notices), "root: left out: is a link that leads"));
	assert_non_null(strstr(lp_buf_text(&rig.notices), "fifo: left out: is a socket, fifo"));
	rig.notices.len = 0;
	rig_remove(&rig, "out");
	rig_symlink(&rig, "out", "../again"); /* said once */
	assert_string_equal(rig_settle(&rig), "");
	assert_int_equal(rig.notices.len, 0);
	rig_remove(&rig, "out");
	rig_symlink(&rig, "out", "fine");
	assert_string_equal(rig_settle(&rig), "PUT out\n");
	/* One that was mirrored and leads out now is taken away. */
	rig_remove(&rig, "out");
	rig_symlink(&rig, "out", "..");
	assert_string_equal(rig_settle(&rig), "DELETE out\n");
}

static void take__bears_any_name(void **state)
{
	char name[256], line[600];

	(void)state;
	memset(name, 'n', 255);
	name[255] = '\0';
	rig_write(&rig, name, "long");
	(void)snprintf(line, sizeof(line), "PUT %s\n", name);
	assert_string_equal(rig_settle(&rig), line);
	rig_write(&rig, "a\nb", "");
	rig_write(&rig, "\xff\xfe", "");
	rig_write(&rig, " ", "");
	rig_mkdir(&rig, "-");
	rig_write(&rig, "-/*?[\\", "");
	assert_string_equal(rig_settle(&rig),
			    "PUT  \nPUT -\nPUT -/*?[\\\nPUT a\nb\nPUT \xff\xfe\n");
	rig_check(&rig);
}

/* Directories nested until their path is longer than is mirrored. */
static void take__leaves_out_paths_that_are_too_long(void **state)
{
	char name[252];
	int fd = open(rig.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	memset(name, 'd', 250);
	name[250] = '\0';
	for (int i = 0; i < 20; i++) {
		int next;

		assert_int_equal(mkdirat(fd, name, 0755), 0);
		next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		assert_int_equal(close(fd), 0);
		fd = next;
	}
	assert_int_equal(close(fd), 0);
	(void)rig_settle(&rig);
	assert_int_equal(lp_index_count(lp_workspace_index(rig.ws)), 16);
	assert_non_null(strstr(lp_buf_text(&rig.notices), "longer than 4095"));
}

static void rules__take_effect_when_they_change(void **state)
{
	(void)state;
	rig_write(&rig, "a.log", "a");
	rig_mkdir(&rig, "build");
	rig_mkdir(&rig, "build/deep");
	rig_write(&rig, "build/deep/f", "f");
	rig_write(&rig, "keep", "k");
	(void)rig_settle(&rig);
	rig_write(&rig, ".gitignore", "*.log\nbuild/\n");
	assert_string_equal(rig_settle(&rig), "PUT .gitignore\nDELETE a.log\nDELETE build\n");
	rig_write(&rig, "a.log", "unseen");
	rig_write(&rig, "build/deep/f", "unseen");
	rig_write(&rig, "build/new", "unseen");
	assert_string_equal(rig_settle(&rig), "");
	rig_write(&rig, ".livepushignore", "!a.log\n");
	assert_string_equal(rig_settle(&rig), "PUT .livepushignore\nPUT a.log\n");
	rig_remove(&rig, ".gitignore");
	assert_string_equal(rig_settle(&rig), "DELETE .gitignore\nPUT build\nPUT build/deep\n"
					      "PUT build/deep/f\nPUT build/new\n");
	rig_write(&rig, "build/deep/f", "seen");
	assert_string_equal(rig_settle(&rig), "PUT build/deep/f\n");
	rig_check(&rig);
	/* Rules of a deeper directory. */
	rig_write(&rig, "build/.cfignore", "deep\n");
	assert_string_equal(rig_settle(&rig), "PUT build/.cfignore\nDELETE build/deep\n");
	rig_rename(&rig, "build", "other");
	assert_string_equal(rig_settle(&rig), "MOVE build other\n");
	rig_remove(&rig, "other/.cfignore");
	assert_string_equal(rig_settle(&rig),
			    "DELETE other/.cfignore\nPUT other/deep\nPUT other/deep/f\n");
	rig_check(&rig);
}

static void rules__of_the_configuration(void **state)
{
	static char any[] = "*.log", top[] = "/top";
	char *lines[] = {any, top};

	(void)state;
	rig_write(&rig, "a.log", "a");
	rig_write(&rig, "top", "t");
	(void)rig_settle(&rig);
	rig_write(&rig, "livepush.yml", "app: x\n");
	assert_string_equal(rig_settle(&rig), "PUT livepush.yml\n");
	assert_int_equal(rig.n_conf, 1);
	assert_int_equal(lp_workspace_set_ignore(rig.ws, lines, 2), 0);
	assert_string_equal(rig_settle(&rig), "DELETE a.log\nDELETE top\n");
	assert_int_equal(lp_workspace_set_ignore(rig.ws, NULL, 0), 0);
	assert_string_equal(rig_settle(&rig), "PUT a.log\nPUT top\n");
	rig_write(&rig, ".git", "never");
	rig_mkdir(&rig, ".livepush");
	assert_string_equal(rig_settle(&rig), "");
}

/* A rule file that is no file neither stops nor misleads the walk. */
static void rules__may_be_anything(void **state)
{
	char path[96];

	(void)state;
	rig_write(&rig, "rules", "kept\n");
	rig_write(&rig, "kept", "k");
	rig_symlink(&rig, ".gitignore", "rules");
	(void)snprintf(path, sizeof(path), "%s/.cfignore", rig.dir);
	assert_int_equal(mkfifo(path, 0644), 0);
	rig_mkdir(&rig, ".livepushignore");
	assert_string_equal(rig_settle(&rig),
			    "PUT .gitignore\nPUT .livepushignore\nPUT kept\nPUT rules\n");
}

static void take__waits_for_the_writer(void **state)
{
	int fd;

	(void)state;
	rig_write(&rig, "f", "old");
	(void)rig_settle(&rig);
	fd = rig_open_file(&rig, "f", O_WRONLY | O_TRUNC);
	assert_int_equal(lp_write_all(fd, "ha", 2), 0);
	assert_string_equal(rig_take(&rig), "");
	rig_chmod(&rig, "f", 0600); /* an event that is not the closing */
	assert_string_equal(rig_take(&rig), "");
	rig_run(&rig, 300); /* the timer looks again */
	assert_string_equal(rig_take(&rig), "");
	assert_int_equal(lp_write_all(fd, "lf", 2), 0);
	rig_mkdir(&rig, "d"); /* others do not wait */
	assert_string_equal(rig_take(&rig), "PUT d\n");
	assert_int_equal(close(fd), 0);
	assert_string_equal(rig_settle(&rig), "PUT f\n");
	rig_check(&rig);
	/* New in a new directory that is walked while it is written. */
	rig_mkdir(&rig, "n");
	fd = rig_open_file(&rig, "n/f", O_WRONLY | O_CREAT);
	assert_string_equal(rig_take(&rig), "PUT n\n");
	rig_chmod(&rig, "n", 0700);
	assert_string_equal(rig_take(&rig), "PUT n\n");
	assert_int_equal(lp_write_all(fd, "whole", 5), 0);
	assert_int_equal(close(fd), 0);
	assert_string_equal(rig_settle(&rig), "PUT n/f\n");
	rig_check(&rig);
}

/* Nobody waits for ever for a file that went away while it was written. */
static void take__forgets_writers_of_what_is_gone(void **state)
{
	int fd;

	(void)state;
	rig_mkdir(&rig, "d");
	fd = rig_open_file(&rig, "d/f", O_WRONLY | O_CREAT);
	(void)rig_take(&rig);
	rig_remove(&rig, "d");
	assert_string_equal(rig_settle(&rig), "DELETE d\n");
	assert_int_equal(close(fd), 0);
	fd = rig_open_file(&rig, "g", O_WRONLY | O_CREAT);
	(void)rig_take(&rig);
	rig_write(&rig, ".gitignore", "g\n");
	assert_string_equal(rig_settle(&rig), "PUT .gitignore\n");
	assert_int_equal(close(fd), 0);
	assert_string_equal(rig_settle(&rig), "");
}

static void resend__holds_what_did_not_change(void **state)
{
	int fd;

	(void)state;
	rig_mkdir(&rig, "d");
	rig_write(&rig, "d/f", "same");
	rig_symlink(&rig, "l", "d");
	(void)rig_settle(&rig);
	lp_workspace_resend(rig.ws, "d/f");
	lp_workspace_resend(rig.ws, "l");
	assert_string_equal(rig_settle(&rig), "PUT d/f\nPUT l\n");
	assert_string_equal(rig_settle(&rig), "");
	/* Also when it has to wait, and when a walk comes first. */
	fd = rig_open_file(&rig, "d/f", O_WRONLY);
	lp_workspace_resend(rig.ws, "d/f");
	assert_string_equal(rig_take(&rig), "");
	rig_write(&rig, "d/.gitignore", "none\n");
	assert_string_equal(rig_take(&rig), "PUT d/.gitignore\n");
	assert_int_equal(close(fd), 0);
	assert_string_equal(rig_settle(&rig), "PUT d/f\n");
	lp_workspace_resend(rig.ws, "gone");
	lp_workspace_resend(rig.ws, "no/such");
	assert_string_equal(rig_settle(&rig), "");
	rig_check(&rig);
}

static int as_nobody(void)
{
	struct rig r;

	if (setgid(65534) < 0 || setuid(65534) < 0)
		return 1;
	rig_open(&r, true);
	rig_write(&r, "f", "f");
	rig_mkdir(&r, "d");
	rig_mkdir(&r, "d/e");
	rig_write(&r, "d/e/g", "g");
	rig_chmod(&r, "d", 0);
	rig_write(&r, "secret", "s");
	rig_chmod(&r, "secret", 0);
	if (strcmp(rig_settle(&r), "PUT d\nPUT f\n") != 0)
		return 2;
	if (!strstr(lp_buf_text(&r.notices), "d: left out: ") ||
	    !strstr(lp_buf_text(&r.notices), "secret: left out: "))
		return 3;
	rig_chmod(&r, "d", 0755);
	rig_chmod(&r, "secret", 0644);
	if (strcmp(rig_settle(&r), "PUT d\nPUT d/e\nPUT d/e/g\nPUT secret\n") != 0)
		return 4;
	rig_chmod(&r, "secret", 0200); /* what cannot be read cannot be mirrored */
	if (strcmp(rig_settle(&r), "DELETE secret\n") != 0)
		return 5;
	rig_write(&r, "d/e/g", "again");
	if (strcmp(rig_settle(&r), "PUT d/e/g\n") != 0)
		return 6;
	rig_close(&r);
	return 0;
}

/* Root may read anything, so an ordinary user tries it. */
static void take__says_what_it_cannot_read(void **state)
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

static void open__says_what_is_wrong(void **state)
{
	static const struct lp_workspace_ops none = {0};
	struct lp_workspace *ws = NULL;
	struct lp_err err = {0};
	char path[96];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/none", rig.dir);
	assert_int_equal(lp_workspace_open(&ws, rig.loop, path, &none, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.msg, path));
	rig_write(&rig, "none", "a file");
	assert_int_equal(lp_workspace_open(&ws, rig.loop, path, &none, NULL, &err), -ENOTDIR);
	assert_int_equal(lp_workspace_open(&ws, rig.loop, rig.dir, &none, NULL, &err), 0);
	assert_int_equal(lp_workspace_scan(ws, &err), 0);
	assert_int_equal(lp_index_count(lp_workspace_index(ws)), 1);
	lp_workspace_raise_revision(ws, 17);
	lp_workspace_raise_revision(ws, 5);
	assert_int_equal(lp_workspace_revision(ws), 17);
	lp_workspace_close(ws);
	lp_workspace_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(take__names_each_change, content_rig_set_up_scanned,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(take__changes_kinds, content_rig_set_up_scanned,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(take__renames_directories,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(take__leaves_out_what_cannot_be_mirrored,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(take__bears_any_name, content_rig_set_up_scanned,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(take__leaves_out_paths_that_are_too_long,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(rules__take_effect_when_they_change,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(rules__of_the_configuration,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(rules__may_be_anything, content_rig_set_up_scanned,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(take__waits_for_the_writer,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(take__forgets_writers_of_what_is_gone,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(resend__holds_what_did_not_change,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(open__says_what_is_wrong,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test(take__says_what_it_cannot_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
