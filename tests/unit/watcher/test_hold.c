/* test_hold.c: holding back, by clients and for git, with the real git as well. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/watcher/content_rig.h"
#include "watcher/workspace_internal.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static void hold__keeps_until_all_release(void **state)
{
	int first, second;

	(void)state;
	assert_null(lp_workspace_held(rig.ws));
	first = lp_workspace_hold(rig.ws, "one");
	second = lp_workspace_hold(rig.ws, "two");
	assert_true(first > 0 && second > 0 && first != second);
	assert_string_equal(lp_workspace_held(rig.ws), "one");
	rig_write(&rig, "a", "a");
	rig_write(&rig, "real.tmp", "r");
	rig_mkdir(&rig, "d");
	rig_write(&rig, "d/f", "f");
	assert_string_equal(rig_take(&rig), "");
	assert_true(lp_workspace_has_notes(rig.ws));
	assert_true(lp_workspace_release(rig.ws, first));
	assert_false(lp_workspace_release(rig.ws, first));
	assert_false(lp_workspace_release(rig.ws, 0));
	assert_string_equal(lp_workspace_held(rig.ws), "two");
	assert_string_equal(rig_take(&rig), "");
	assert_true(lp_workspace_release(rig.ws, second));
	assert_null(lp_workspace_held(rig.ws));
	/* All of it at once, whatever it is called: whoever released is done. */
	assert_string_equal(rig_take(&rig), "PUT a\nPUT d\nPUT d/f\nPUT real.tmp\n");
	assert_int_equal(rig.n_changesets, 1);
	rig_check(&rig);
}

/* Runs until nobody holds, at most ms. */
static void wait_released(int ms)
{
	uint64_t began_us = lp_now_us();

	while (lp_watch_drain(rig.watch), lp_workspace_held(rig.ws)) {
		if (lp_now_us() - began_us > (uint64_t)ms * 1000)
			fail_msg("%s holds for more than %d ms", lp_workspace_held(rig.ws), ms);
		rig_run(&rig, 5);
	}
}

static void git__holds_while_its_lock_is_there(void **state)
{
	int fd;

	(void)state;
	rig_mkdir(&rig, ".git");
	assert_string_equal(rig_take(&rig), "");
	for (int i = 0; i < 3; i++) {
		fd = rig_open_file(&rig, ".git/index.lock", O_WRONLY | O_CREAT | O_EXCL);
		rig_write(&rig, "a", i == 1 ? "b" : "a");
		assert_string_equal(rig_take(&rig), "");
		assert_string_equal(lp_workspace_held(rig.ws), "git");
		rig_write(&rig, "b", i == 1 ? "b" : "a");
		rig_run(&rig, 100);
		assert_string_equal(rig_take(&rig), "");
		assert_int_equal(close(fd), 0);
		rig_rename(&rig, ".git/index.lock", ".git/index");
		assert_string_equal(rig_take(&rig), ""); /* perhaps there is more */
		wait_released(2000);
		assert_string_equal(rig_take(&rig), "PUT a\nPUT b\n");
	}
	/* What takes hours does not hold. */
	rig_mkdir(&rig, ".git/rebase-merge");
	rig_write(&rig, ".git/MERGE_HEAD", "0");
	rig_write(&rig, "a", "saved");
	assert_string_equal(rig_take(&rig), "PUT a\n");
	assert_int_equal(rig.notices.len, 0);
}

/* git may have ended before the first of its events is read. */
static void git__holds_when_its_lock_was_there(void **state)
{
	(void)state;
	rig_mkdir(&rig, ".git");
	rig_write(&rig, "gone", "1");
	(void)rig_settle(&rig);
	rig_write(&rig, ".git/index.lock", "");
	rig_write(&rig, "a", "a");
	rig_remove(&rig, "gone");
	rig_rename(&rig, ".git/index.lock", ".git/index");
	assert_string_equal(rig_take(&rig), "");
	wait_released(2000);
	assert_string_equal(rig_take(&rig), "PUT a\nDELETE gone\n");
}

/* The rules of the workspace's own repository, however and whenever they come. */
static void git__excludes_at_once(void **state)
{
	int fd;

	(void)state;
	rig_write(&rig, "a.log", "a");
	rig_write(&rig, "b.log", "b");
	rig_mkdir(&rig, "sub");
	assert_string_equal(rig_settle(&rig), "PUT a.log\nPUT b.log\nPUT sub\n");
	rig_mkdir(&rig, ".git");
	rig_mkdir(&rig, ".git/info");
	rig_write(&rig, ".git/info/exclude", "a.log\n");
	assert_string_equal(rig_settle(&rig), "DELETE a.log\n");
	/* Closed: there is nothing to wait for. */
	rig_write(&rig, ".git/info/exclude", "b.log\n");
	assert_string_equal(rig_take(&rig), "PUT a.log\nDELETE b.log\n");
	rig_write(&rig, ".git/info/new", "*.log\n");
	rig_rename(&rig, ".git/info/new", ".git/info/exclude");
	assert_string_equal(rig_take(&rig), "DELETE a.log\n");
	/* Half of a save. */
	fd = rig_open_file(&rig, ".git/info/exclude", O_WRONLY | O_TRUNC);
	assert_string_equal(rig_take(&rig), "");
	assert_int_equal(lp_write_all(fd, "b.log\n", 6), 0);
	assert_string_equal(rig_take(&rig), "");
	assert_int_equal(close(fd), 0);
	assert_string_equal(rig_take(&rig), "PUT a.log\n");
	/* What the next session finds. */
	rig_write(&rig, ".git/info/exclude", "a.log\n");
	rig_scan(&rig);
	assert_null(lp_index_get(lp_workspace_index(rig.ws), "a.log"));
	assert_non_null(lp_index_get(lp_workspace_index(rig.ws), "b.log"));
	(void)rig_take(&rig);
	rig_rename(&rig, ".git", "sub/.git"); /* not the root's any more */
	assert_string_equal(rig_settle(&rig), "PUT a.log\n");
	rig_rename(&rig, "sub/.git", ".git");
	assert_string_equal(rig_settle(&rig), "DELETE a.log\n");
	rig_remove(&rig, ".git");
	assert_string_equal(rig_settle(&rig), "PUT a.log\n");
}

/* One that was left behind by a crash: nobody has it open. */
static void git__does_not_wait_for_a_lock_that_was_left(void **state)
{
	uint64_t began_us = lp_now_us();

	(void)state;
	rig_mkdir(&rig, "sub");
	rig_mkdir(&rig, "sub/.git");
	(void)rig_settle(&rig);
	rig_write(&rig, "sub/.git/index.lock", "");
	rig_write(&rig, "a", "a");
	assert_string_equal(rig_take(&rig), "");
	assert_string_equal(lp_workspace_held(rig.ws), "git in sub");
	wait_released(10000);
	assert_true(lp_now_us() - began_us >= 2000000);
	assert_string_equal(rig_take(&rig), "PUT a\n");
	assert_non_null(strstr(lp_buf_text(&rig.notices), "sub/.git/index.lock is there but no"));
	rig.notices.len = 0;
	rig_write(&rig, "a", "b");
	assert_string_equal(rig_take(&rig), "PUT a\n");
	/* The next command's lock is another one. */
	rig_remove(&rig, "sub/.git/index.lock");
	(void)rig_take(&rig);
	rig_write(&rig, "sub/.git/index.lock", "");
	rig_write(&rig, "a", "c");
	assert_string_equal(rig_take(&rig), "");
	rig_remove(&rig, "sub/.git/index.lock");
	wait_released(2000);
	assert_string_equal(rig_take(&rig), "PUT a\n");
	assert_int_equal(rig.notices.len, 0);
	/* The repository goes, its lock with it. */
	rig_write(&rig, "sub/.git/index.lock", "");
	(void)rig_take(&rig);
	assert_non_null(lp_workspace_held(rig.ws));
	rig_remove(&rig, "sub");
	wait_released(2000);
	assert_string_equal(rig_settle(&rig), "DELETE sub\n");
}

static void git(const char *command)
{
	char line[512];
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)snprintf(line, sizeof(line),
			       "exec >/dev/null 2>&1; set -e; HOME=/nonexistent; export HOME; "
			       "GIT_CONFIG_NOSYSTEM=1; export GIT_CONFIG_NOSYSTEM; "
			       "git() { command git -c user.name=n -c user.email=e -c "
			       "init.defaultBranch=main \"$@\"; }; cd %s; %s",
			       rig.dir, command);
		(void)execl("/bin/sh", "sh", "-c", line, (char *)NULL);
		_exit(127);
	}
	do {
		(void)rig_take(&rig);
		rig_run(&rig, 1);
	} while (waitpid(pid, &status, WNOHANG) == 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s: %d", command, status);
}

/* A checkout of many files is one changeset; a worktree has its own locks elsewhere. */
static void git__is_one_changeset(void **state)
{
	(void)state;
	if (access("/usr/bin/git", X_OK) < 0)
		skip();
	git("git init .; for i in $(seq 300); do echo $i >f$i; done; git add .; git commit -m 1; "
	    "git checkout -b two; for i in $(seq 300); do echo two >f$i; done; rm f7; mkdir d; "
	    "echo new >d/x.tmp; git add -A .; git commit -m 2");
	(void)rig_settle(&rig);
	rig.n_changesets = 0;
	git("git checkout main");
	(void)rig_settle(&rig);
	assert_int_equal(rig.n_changesets, 1);
	git("git checkout two");
	(void)rig_settle(&rig);
	assert_int_equal(rig.n_changesets, 2);
	git("git worktree add tree main");
	(void)rig_settle(&rig);
	rig.n_changesets = 0;
	git("cd tree; git checkout --detach two");
	(void)rig_settle(&rig);
	assert_int_equal(rig.n_changesets, 1);
	assert_int_equal(rig.notices.len, 0);
	assert_non_null(lp_index_get(lp_workspace_index(rig.ws), "tree/d/x.tmp"));
	assert_null(lp_index_get(lp_workspace_index(rig.ws), ".git"));
}

static void put(const char *dir, const char *name, const char *text)
{
	LP_AUTO_FREE char *path = lp_xasprintf("%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(lp_write_all(fd, text, strlen(text)), 0);
	assert_int_equal(close(fd), 0);
}

/* A worktree shares the rules of the repository that it belongs to. */
static void git__rules_of_a_worktree_are_elsewhere(void **state)
{
	LP_AUTO_FREE char *repo = lp_xasprintf("%s.git", rig.dir);
	LP_AUTO_FREE char *own = lp_xasprintf("%s/worktrees/w", repo);
	LP_AUTO_FREE char *info = lp_xasprintf("%s/info", repo);
	LP_AUTO_FREE char *line = lp_xasprintf("gitdir: %s\n", own);

	(void)state;
	assert_int_equal(lp_mkdir_p(own, 0755), 0);
	assert_int_equal(lp_mkdir_p(info, 0755), 0);
	put(own, "commondir", "../..\n");
	put(info, "exclude", "*.log\n");
	rig_write(&rig, "a.log", "a");
	rig_write(&rig, "b.txt", "b");
	assert_string_equal(rig_settle(&rig), "PUT a.log\nPUT b.txt\n");
	rig_write(&rig, ".git", line);
	assert_string_equal(rig_settle(&rig), "DELETE a.log\n");
	put(info, "exclude", "*.txt\n");
	assert_string_equal(rig_settle(&rig), "PUT a.log\nDELETE b.txt\n");
	put(own, "commondir", "nowhere\n");
	put(info, "exclude", "");
	assert_string_equal(rig_settle(&rig), "PUT b.txt\n");
	assert_int_equal(rig.notices.len, 0);
	assert_int_equal(lp_remove_tree(AT_FDCWD, repo), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(hold__keeps_until_all_release,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(git__holds_while_its_lock_is_there,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(git__holds_when_its_lock_was_there,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(git__excludes_at_once, content_rig_set_up_scanned,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(git__does_not_wait_for_a_lock_that_was_left,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(git__is_one_changeset, content_rig_set_up_scanned,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(git__rules_of_a_worktree_are_elsewhere,
						content_rig_set_up_scanned, content_rig_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
