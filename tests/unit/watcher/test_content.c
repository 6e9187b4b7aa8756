/* test_content.c: one look at one file. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/watcher/content_rig.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

static void look__reads_what_is_there(void **state)
{
	const struct lp_look_opts keep = {.want_blob = true}, drop = {0};
	struct lp_digest d = lp_digest_of("hello", 5);

	(void)state;
	rig_write(&rig, "f", "hello");
	rig_write(&rig, "empty", "");
	rig_mkdir(&rig, "d");
	rig_chmod(&rig, "d", 02750);
	rig_chmod(&rig, "f", 04755);
	rig_symlink(&rig, "l", "no/where");
	assert_int_equal(content_rig_look("f", &keep), LP_LOOK_READ);
	assert_true(look.e.kind == LP_KIND_FILE && look.e.mode == 0755 && look.e.size == 5);
	assert_true(lp_digest_equal(&look.e.digest, &d));
	assert_int_equal(look.blob->len, 5);
	assert_memory_equal(look.blob->data, "hello", 5);
	assert_int_equal(content_rig_look("f", &drop), LP_LOOK_READ);
	assert_null(look.blob);
	assert_int_equal(content_rig_look("empty", &keep), LP_LOOK_READ);
	assert_int_equal(look.blob->len, 0);
	assert_int_equal(content_rig_look("d", &keep), LP_LOOK_READ);
	assert_true(look.e.kind == LP_KIND_DIR && look.e.mode == 0750 && !look.blob);
	assert_int_equal(content_rig_look("l", &drop), LP_LOOK_READ);
	assert_true(look.e.kind == LP_KIND_LINK && look.e.mode == 0 && look.e.size == 8);
	assert_memory_equal(look.blob->data, "no/where", 8);
	assert_int_equal(content_rig_look("none", &keep), LP_LOOK_GONE);
	assert_int_equal(content_rig_look("f", &drop), LP_LOOK_READ);
}

static void look__keeps_small_contents_only(void **state)
{
	const struct lp_look_opts keep = {.want_blob = true};
	LP_AUTO_FREE char *text = lp_xcalloc(1, LP_INLINE_MAX_BYTES + 2);

	(void)state;
	memset(text, 'x', LP_INLINE_MAX_BYTES);
	rig_write(&rig, "f", text);
	assert_int_equal(content_rig_look("f", &keep), LP_LOOK_READ);
	assert_int_equal(look.blob->len, LP_INLINE_MAX_BYTES);
	text[LP_INLINE_MAX_BYTES] = 'x';
	rig_write(&rig, "f", text);
	assert_int_equal(content_rig_look("f", &keep), LP_LOOK_READ);
	assert_null(look.blob);
	assert_int_equal(look.e.size, LP_INLINE_MAX_BYTES + 1);
}

static void look__knows_by_stat_what_is_the_same(void **state)
{
	uint64_t deadline_us = lp_now_us() + RIG_DEADLINE_US;
	struct lp_look_opts opts = {.ticks = lp_ticks_of(lp_workspace_fd(rig.ws))};
	struct lp_stat_sig known;

	(void)state;
	rig_write(&rig, "f", "hello");
	/* Not before its times are so old that another change would show in them. */
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
	while (look.is_racy) {
		assert_true(lp_now_us() < deadline_us);
		rig_run(&rig, 50);
		assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
	}
	known = look.sig;
	opts.known = &known;
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_SAME);
	rig_chmod(&rig, "f", 0600); /* the change time tells */
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
}

/* However quickly one change follows the other: either the times tell, or the look says that they
 * may not. */
static void look__never_misses_a_change(void **state)
{
	const struct lp_ticks ticks[] = {{0}, lp_ticks_of(lp_workspace_fd(rig.ws))};
	char path[96];
	int fd, n_racy[2] = {0};

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/f", rig.dir);
	for (int i = 0; i < 4000; i++) {
		struct lp_look_opts opts = {.ticks = ticks[i % 2]};
		struct lp_stat_sig known;

		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		assert_int_equal(pwrite(fd, &i, sizeof(i), 0), sizeof(i));
		assert_int_equal(close(fd), 0);
		assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
		n_racy[i % 2] += look.is_racy;
		if (look.is_racy)
			continue;
		known = look.sig;
		opts.known = &known;
		fd = open(path, O_WRONLY | O_CLOEXEC);
		assert_int_equal(pwrite(fd, "next", 4, 0), 4);
		assert_int_equal(close(fd), 0);
		assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
	}
	assert_int_equal(n_racy[0], 2000); /* where nothing is known, all of them */
	if (ticks[1].ns == 0)
		assert_int_equal(n_racy[1], 0);
}

/* What the directory calls a file may be something else by now. */
static void look__bears_what_is_no_file_any_more(void **state)
{
	const struct lp_look_opts opts = {.is_file = true};
	char path[96];

	(void)state;
	rig_mkdir(&rig, "d");
	rig_symlink(&rig, "l", "f");
	(void)snprintf(path, sizeof(path), "%s/fifo", rig.dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(content_rig_look("d", &opts), LP_LOOK_GONE);
	assert_int_equal(content_rig_look("l", &opts), LP_LOOK_GONE);
	assert_int_equal(content_rig_look("fifo", &opts), LP_LOOK_GONE);
	assert_int_equal(content_rig_look("none", &opts), LP_LOOK_GONE);
	rig_write(&rig, "f", "it is");
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
	{
		int fd = rig_open_file(&rig, "f", O_WRONLY);

		assert_int_equal(content_rig_look("f", &opts), LP_LOOK_BUSY);
		assert_int_equal(close(fd), 0);
	}
}

/* Whoever does not own a file may not leave its access time alone. */
static void look__reads_files_of_others(void **state)
{
	const struct lp_look_opts opts = {.just_closed = true};
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	rig_chmod(&rig, ".", 0755);
	rig_write(&rig, "f", "root's");
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		bool fine = setgid(65534) == 0 && setuid(65534) == 0 &&
			    lp_look_at(lp_workspace_fd(rig.ws), "f", &opts, &look) == 0;

		_exit(fine && look.state == LP_LOOK_READ && look.e.size == 6 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void look__calls_what_has_no_content_special(void **state)
{
	const struct lp_look_opts opts = {.want_blob = true};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char path[96];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/fifo", rig.dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/socket", rig.dir);
	assert_int_equal(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(content_rig_look("fifo", &opts), LP_LOOK_SPECIAL);
	assert_int_equal(content_rig_look("socket", &opts), LP_LOOK_SPECIAL);
	assert_int_equal(close(fd), 0);
}

static void look__waits_for_writers_only(void **state)
{
	const struct lp_look_opts opts = {.want_blob = true}, anyway = {.even_if_busy = true};
	int writer, reader, mapped;

	(void)state;
	rig_write(&rig, "f", "whole");
	reader = rig_open_file(&rig, "f", O_RDONLY);
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
	writer = rig_open_file(&rig, "f", O_WRONLY);
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_BUSY);
	assert_null(look.blob);
	assert_int_equal(content_rig_look("f", &anyway), LP_LOOK_READ);
	assert_int_equal(lp_write_all(writer, "half", 4), 0);
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_BUSY);
	assert_int_equal(close(writer), 0);
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
	mapped = rig_open_file(&rig, "f", O_RDWR);
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_BUSY);
	assert_int_equal(close(mapped), 0);
	assert_int_equal(close(reader), 0);
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
}

/* A writer that comes while a file is read waits until it has been read; it is not sent away, and
 * the signal that goes with a broken lease ends nobody. */
static void look__lets_writers_in_again(void **state)
{
	const struct lp_look_opts opts = {.want_blob = true};
	LP_AUTO_FREE char *text = lp_xcalloc(1, LP_INLINE_MAX_BYTES + 1);
	pid_t pid;
	uint64_t deadline_us = lp_now_us() + RIG_DEADLINE_US;
	char path[96];
	int status, until[2];

	(void)state;
	memset(text, 'x', LP_INLINE_MAX_BYTES);
	rig_write(&rig, "f", text);
	assert_int_equal(pipe2(until, O_CLOEXEC | O_NONBLOCK), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int bad = close(until[1]);

		/* Until the parent closes its end. */
		for (int i = 0; read(until[0], path, 1) != 0; i++) {
			int fd;

			(void)snprintf(path, sizeof(path), "%s/f", rig.dir);
			fd = open(path, O_WRONLY | O_CLOEXEC);
			bad |= fd < 0 || write(fd, i % 2 ? "y" : "z", 1) != 1 || close(fd) < 0;
		}
		_exit(bad);
	}
	for (int n_read = 0; n_read < 200;) {
		assert_true(lp_now_us() < deadline_us);
		n_read += content_rig_look("f", &opts) == LP_LOOK_READ;
		if (look.state == LP_LOOK_READ)
			assert_int_equal(look.blob->len, LP_INLINE_MAX_BYTES);
	}
	assert_int_equal(close(until[1]), 0);
	assert_int_equal(close(until[0]), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
}

static void open_file__waits_for_writers_and_makes_them_wait(void **state)
{
	int writer, fd;

	(void)state;
	rig_write(&rig, "f", "whole");
	writer = rig_open_file(&rig, "f", O_WRONLY);
	assert_int_equal(lp_workspace_open_file(rig.ws, "f"), -EBUSY);
	assert_int_equal(close(writer), 0);
	fd = lp_workspace_open_file(rig.ws, "f");
	assert_true(fd >= 0);
	/* With O_NONBLOCK the kernel says so instead of waiting. */
	{
		char path[96];

		(void)snprintf(path, sizeof(path), "%s/f", rig.dir);
		assert_int_equal(open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC), -1);
		assert_int_equal(errno, EWOULDBLOCK);
	}
	assert_int_equal(close(fd), 0);
	writer = rig_open_file(&rig, "f", O_WRONLY | O_NONBLOCK);
	assert_int_equal(close(writer), 0);
	assert_int_equal(lp_workspace_open_file(rig.ws, "none"), -ENOENT);
	rig_symlink(&rig, "l", "f");
	assert_int_equal(lp_workspace_open_file(rig.ws, "l"), -ELOOP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(look__reads_what_is_there, content_rig_set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(look__keeps_small_contents_only, content_rig_set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(look__knows_by_stat_what_is_the_same,
						content_rig_set_up, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(look__never_misses_a_change, content_rig_set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(look__bears_what_is_no_file_any_more,
						content_rig_set_up, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(look__reads_files_of_others, content_rig_set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(look__calls_what_has_no_content_special,
						content_rig_set_up, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(look__waits_for_writers_only, content_rig_set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(look__lets_writers_in_again, content_rig_set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(open_file__waits_for_writers_and_makes_them_wait,
						content_rig_set_up, content_rig_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
