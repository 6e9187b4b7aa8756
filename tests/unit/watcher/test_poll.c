/* test_poll.c: too few watches, a root that goes away, events that are lost again and again. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "tests/unit/watcher/content_rig.h"
#include "watcher/workspace_internal.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define OWN_LIMIT "/proc/sys/user/max_inotify_watches"

static bool put_text(const char *path, const char *text)
{
	LP_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && lp_write_all(fd, text, strlen(text)) == 0;
}

/* Runs until the take says so, at most 20 s. */
static bool comes(const char *ops)
{
	uint64_t began_us = lp_now_us();

	while (lp_now_us() - began_us < 20000000) {
		if (strcmp(rig_take(&rig), ops) == 0)
			return true;
		if (rig.ops.len > 0)
			print_message("instead of\n%scame\n%s", ops, lp_buf_text(&rig.ops));
		rig_run(&rig, 20);
	}
	return false;
}

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			print_message("line %d: %s\n", __LINE__, #condition);                      \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

/* Fails in a child that is no test of its own. */
static void must(bool holds, const char *what)
{
	if (holds)
		return;
	print_message("%s\n%s\n", what, lp_buf_text(&rig.notices));
	_exit(1);
}

/* Every kind of change below d<i>: whether it is watched is not told. */
static void change_all(int i)
{
	char text[64], path[32];

	(void)snprintf(path, sizeof(path), "d%d/f", i);
	rig_write(&rig, path, "new content");
	(void)snprintf(text, sizeof(text), "PUT %s\n", path);
	must(comes(text), text);
	(void)snprintf(path, sizeof(path), "d%d/g", i);
	rig_write(&rig, path, "g");
	(void)snprintf(text, sizeof(text), "PUT %s\n", path);
	must(comes(text), text);
	rig_chmod(&rig, path, 0755);
	(void)snprintf(text, sizeof(text), "KEEP %s\n", path);
	must(comes(text), text);
	rig_remove(&rig, path);
	(void)snprintf(text, sizeof(text), "DELETE %s\n", path);
	must(comes(text), text);
	(void)snprintf(path, sizeof(path), "d%d/s", i);
	rig_mkdir(&rig, path);
	(void)snprintf(text, sizeof(text), "PUT %s\n", path);
	must(comes(text), text);
}

static void fill(void)
{
	char path[32];

	for (int i = 0; i < 6; i++) {
		(void)snprintf(path, sizeof(path), "d%d", i);
		rig_mkdir(&rig, path);
		(void)snprintf(path, sizeof(path), "d%d/f", i);
		rig_write(&rig, path, "old");
	}
}

static bool is_said(const char *text)
{
	return strstr(lp_buf_text(&rig.notices), text);
}

/* In a user namespace with 5 watches: the root and four directories of six. */
static void with_few_watches(void)
{
	must(put_text(OWN_LIMIT, "5"), OWN_LIMIT);
	rig_open(&rig, false);
	fill();
	rig_scan(&rig);
	must(lp_watch_count(rig.watch) == 5, "5 watches");
	must(is_said("has 5 of the 5"), "how many there are");
	must(is_said("sysctl fs.inotify.max_user_watches=7"), "how many it needs");
	must(is_said("2 directories are looked at"), "what it does");
	rig.notices.len = 0;
	rig_run(&rig, 2500);
	must(rig_take(&rig)[0] == '\0', "what is as it was is no change");
	for (int i = 0; i < 6; i++)
		change_all(i);
	must(rig.notices.len > 0, "it says that it got much worse");
	must(put_text(OWN_LIMIT, "1000"), OWN_LIMIT);
	for (int i = 0; i < 2000 && lp_watch_count(rig.watch) < 13; i++)
		rig_run(&rig, 20);
	must(lp_watch_count(rig.watch) == 13, "all is watched when the limit is raised");
	(void)rig_settle(&rig);
	rig_write(&rig, "d3/s/deep", "1");
	must(strcmp(rig_take(&rig), "PUT d3/s/deep\n") == 0, "an event");
	rig_check(&rig);
	rig_close(&rig);
}

static bool enter_namespace(void)
{
	char map[64];
	unsigned uid = geteuid(), gid = getegid();

	if (unshare(CLONE_NEWUSER) < 0)
		return false;
	(void)snprintf(map, sizeof(map), "0 %u 1", uid);
	if (!put_text("/proc/self/uid_map", map) || !put_text("/proc/self/setgroups", "deny"))
		return false;
	(void)snprintf(map, sizeof(map), "0 %u 1", gid);
	return put_text("/proc/self/gid_map", map) && access(OWN_LIMIT, W_OK) == 0;
}

static void poll__looks_at_what_cannot_be_watched(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		if (!enter_namespace())
			_exit(77);
		with_few_watches();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void root__may_go_and_come_back(void **state)
{
	char away[96], path[32];

	(void)state;
	for (int i = 0; i < 30; i++) {
		(void)snprintf(path, sizeof(path), "f%d", i);
		rig_write(&rig, path, path);
	}
	(void)rig_settle(&rig);
	/* Moved away and back. */
	(void)snprintf(away, sizeof(away), "%s.away", rig.dir);
	assert_int_equal(rename(rig.dir, away), 0);
	assert_string_equal(rig_take(&rig), "");
	assert_non_null(strstr(lp_buf_text(&rig.notices), "was removed or moved away"));
	rig_run(&rig, 600);
	assert_string_equal(rig_take(&rig), "");
	assert_int_equal(rename(away, rig.dir), 0);
	rig_write(&rig, "f1", "changed meanwhile");
	assert_true(comes("PUT f1\n"));
	assert_non_null(strstr(lp_buf_text(&rig.notices), "is there again"));
	rig_check(&rig);
	/* Removed file by file, and made again. */
	rig_remove(&rig, "");
	assert_string_equal(rig_take(&rig), "");
	rig_run(&rig, 300);
	assert_string_equal(rig_take(&rig), "");
	assert_int_equal(mkdir(rig.dir, 0755), 0);
	rig_run(&rig, 300);
	assert_string_equal(rig_take(&rig), ""); /* an empty one is not it yet */
	for (int i = 1; i < 31; i++) {
		(void)snprintf(path, sizeof(path), "f%d", i);
		rig_write(&rig, path, path);
	}
	assert_true(comes("DELETE f0\nPUT f1\nPUT f30\n"));
	rig_check(&rig);
	rig_write(&rig, "f2", "seen again");
	assert_string_equal(rig_settle(&rig), "PUT f2\n");
	rig_check(&rig);
	assert_int_equal(lp_watch_count(rig.watch), 1);
}

/* Whose removal is no event. */
static void root__may_go_while_it_is_empty(void **state)
{
	uint64_t began_us = lp_now_us();

	(void)state;
	rig_remove(&rig, "");
	while (rig_take(&rig), rig.notices.len == 0) {
		assert_true(lp_now_us() - began_us < 20000000);
		rig_run(&rig, 20);
	}
	assert_non_null(strstr(lp_buf_text(&rig.notices), "was removed or moved away"));
	assert_int_equal(mkdir(rig.dir, 0755), 0);
	rig_write(&rig, "f", "f");
	assert_true(comes("PUT f\n"));
	rig_check(&rig);
}

/* Each loss is answered, but not each by a scan of its own. */
static void rescan__slows_down(void **state)
{
	const struct lp_event lost = {.kind = LP_EVENT_LOST, .path = ""};
	uint64_t began_us = lp_now_us();
	unsigned scans;

	(void)state;
	rig_mkdir(&rig, "d");
	(void)rig_settle(&rig);
	rig.n_dirs = 0;
	while (lp_now_us() - began_us < 1000000) {
		lp_workspace_note(rig.ws, &lost, false);
		(void)rig_take(&rig);
		rig_run(&rig, 5);
	}
	scans = rig.n_dirs / 2;
	assert_in_range(scans, 2, 6);
	assert_true(lp_workspace_has_notes(rig.ws));
	(void)rig_settle(&rig);
	assert_int_equal(rig.n_dirs / 2, scans + 1);
	/* After a calm time the next one is answered at once. */
	rig.n_dirs = 0;
	for (int i = 0; i < 2000 && rig.n_dirs == 0; i++) {
		rig_run(&rig, 10);
		if (i % 100 == 0)
			lp_workspace_note(rig.ws, &lost, false);
		(void)rig_take(&rig);
	}
	assert_true(rig.n_dirs > 0);
	(void)rig_settle(&rig);
}

static int has_no_watch(void *ctx, const char *path, int fd, struct lp_err *err)
{
	(void)ctx;
	(void)path;
	(void)fd;
	return lp_err_say(err, ENOSPC, "there are no more watches");
}

/* Listing it takes more than one slice. */
static void poll__finds_all_of_a_huge_directory(void **state)
{
	static const struct lp_workspace_ops unwatched = {.on_dir = has_no_watch};
	const size_t many = 5000;
	uint64_t deadline_us = lp_now_us() + RIG_DEADLINE_US;
	struct lp_workspace *ws;
	struct lp_err err = {0};
	char path[32];

	(void)state;
	rig_mkdir(&rig, "d");
	rig_write(&rig, "d/before", "");
	assert_int_equal(lp_workspace_open(&ws, rig.loop, rig.dir, &unwatched, NULL, NULL), 0);
	assert_int_equal(lp_workspace_scan(ws, &err), 0);
	assert_int_equal(lp_workspace_files(ws), 1);
	for (size_t i = 0; i < many; i++) {
		(void)snprintf(path, sizeof(path), "d/f%zu", i);
		rig_write(&rig, path, "");
	}
	rig_remove(&rig, "d/before");
	while (lp_workspace_files(ws) != many || lp_index_get(ws->index, "d/before")) {
		assert_true(lp_now_us() < deadline_us);
		rig_run(&rig, 20);
		lp_changeset_unref(lp_workspace_take(ws));
	}
	lp_workspace_close(ws);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(poll__looks_at_what_cannot_be_watched),
		cmocka_unit_test_setup_teardown(poll__finds_all_of_a_huge_directory,
						content_rig_set_up, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(root__may_go_and_come_back,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(root__may_go_while_it_is_empty,
						content_rig_set_up_scanned, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(rescan__slows_down, content_rig_set_up_scanned,
						content_rig_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
