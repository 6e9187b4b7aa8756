/* test_supervise_parts.c: excerpts, environment blocks and single child processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/loop/child.h"
#include "common/loop/loop_internal.h"
#include "controller/excerpt.h"
#include "controller/sup_env.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void excerpt__keeps_whole_last_lines(void **state)
{
	struct lp_excerpt *ex = calloc(1, sizeof(*ex));
	char line[64];
	const char *text;

	(void)state;
	assert_non_null(ex);
	assert_string_equal(lp_excerpt_text(ex), "");
	lp_excerpt_add(ex, "one", 3);
	assert_string_equal(lp_excerpt_text(ex), "one");
	lp_excerpt_add(ex, " more\n", 6);
	assert_string_equal(lp_excerpt_text(ex), "one more");
	lp_excerpt_add(ex, "a\0b", 3);
	assert_string_equal(lp_excerpt_text(ex), "one more\na?b");
	for (int i = 0; i < 5000; i++) {
		int n = snprintf(line, sizeof(line), "line %d\n", i);

		lp_excerpt_add(ex, line, (size_t)n);
	}
	text = lp_excerpt_text(ex);
	assert_memory_equal(text, "line 4950\n", 10);
	assert_string_equal(text + strlen(text) - 10, "\nline 4999");
	free(ex);
}

static void excerpt__is_bounded_in_bytes(void **state)
{
	static const size_t pieces[] = {1, 7, 1000, 16384, 100000};
	static char flood[100000];

	(void)state;
	memset(flood, 'x', sizeof(flood));
	for (size_t i = 0; i < LP_COUNT_OF(pieces); i++) {
		struct lp_excerpt *ex = calloc(1, sizeof(*ex));

		assert_non_null(ex);
		for (size_t sent = 0; sent < 100000; sent += pieces[i])
			lp_excerpt_add(ex, flood, pieces[i]);
		assert_int_equal(strlen(lp_excerpt_text(ex)), LP_EXCERPT_BYTES);
		/* With a line end in it, the cut goes there. */
		lp_excerpt_add(ex, "\nshort\n", 7);
		assert_string_equal(lp_excerpt_text(ex), "short");
		free(ex);
	}
}

static void excerpt__does_not_cut_characters(void **state)
{
	struct lp_excerpt *ex = calloc(1, sizeof(*ex));

	(void)state;
	assert_non_null(ex);
	for (int i = 0; i < 10000; i++)
		lp_excerpt_add(ex, "\xe2\x82\xac", 3);
	assert_memory_equal(lp_excerpt_text(ex), "\xe2\x82\xac", 3);
	assert_int_equal(strlen(lp_excerpt_text(ex)) % 3, 0);
	free(ex);
}

static void env__sets_replaces_and_removes(void **state)
{
	const char *const base[] = {"A=1", "AB=2", "C=", NULL};
	struct lp_env env;

	(void)state;
	lp_env_init(&env, base);
	lp_env_set(&env, "A", "x=y");
	lp_env_set(&env, "D", "4");
	lp_env_unset(&env, "AB");
	lp_env_unset(&env, "B");
	assert_string_equal(lp_env_get(&env, "A"), "x=y");
	assert_null(lp_env_get(&env, "AB"));
	assert_string_equal(lp_env_block(&env)[1], "C=");
	assert_string_equal(lp_env_block(&env)[2], "D=4");
	assert_null(lp_env_block(&env)[3]);
	lp_env_finish(&env);
	lp_env_init(&env, NULL);
	assert_null(lp_env_block(&env)[0]);
	lp_env_finish(&env);
}

static void status_text__says_how_it_ended(void **state)
{
	static const struct {
		int status;
		const char *text;
	} cases[] = {
		{0, "exited with status 0"},
		{3 << 8, "exited with status 3"},
		{255 << 8, "exited with status 255"},
		{SIGKILL, "was killed by SIGKILL (Killed)"},
		{SIGSEGV | 0x80, "was killed by SIGSEGV (Segmentation fault)"},
		{45, "was killed by signal 45"},
	};
	char text[128];

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		lp_child_status_text(cases[i].status, text, sizeof(text));
		assert_string_equal(text, cases[i].text);
	}
}

struct watched {
	struct lp_child child;
	int exits;
	int status;
	int group; /* what kill(-pid, 0) said in on_exit */
};

static void on_exit_of_child(struct lp_child *child, int status)
{
	struct watched *w = LP_CONTAINER_OF(child, struct watched, child);

	w->exits++;
	w->status = status;
	w->group = lp_child_signal(child, 0);
}

/* Runs a shell line to its end with stdout in a pipe; appends what it wrote to out. */
static void run_line(const char *line, struct lp_spawn spec, struct watched *w, struct lp_buf *out)
{
	const char *argv[] = {"sh", "-c", line, NULL};
	uint64_t deadline_us = lp_now_us() + 20000000u;
	struct lp_loop *loop;
	struct lp_err err;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(lp_loop_create(&loop, &err), 0);
	w->child.on_exit = on_exit_of_child;
	spec.argv = argv;
	spec.envp = (const char *const[]){NULL};
	spec.out_fd = ends[1];
	spec.err_fd = -1;
	assert_int_equal(lp_child_spawn(loop, &w->child, &spec, &err), 0);
	assert_true(w->child.pid > 0);
	(void)close(ends[1]);
	while (w->exits == 0) {
		assert_true(lp_now_us() < deadline_us);
		assert_int_equal(lp_loop_dispatch(loop, 50), 0);
	}
	assert_int_equal(w->child.pid, 0);
	assert_int_equal(lp_child_signal(&w->child, SIGTERM), -ESRCH);
	lp_child_forget(&w->child);
	assert_int_equal(lp_read_all(ends[0], out), 0);
	(void)close(ends[0]);
	lp_loop_destroy(loop);
}

static void spawn__starts_with_a_clean_slate(void **state)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct lp_spawn spec = {.cwd_fd = -1, .keep_fd = -1, .nofile = 77};
	struct watched w = {0};
	struct lp_buf out = {0};
	sigset_t blocked, before;
	int kept = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int leaky = fcntl(kept, F_DUPFD, 30);
	char want[32];

	(void)state;
	spec.keep_fd = kept;
	assert_true(kept >= 3 && leaky >= 30);
	(void)sigaction(SIGUSR1, &ignore, NULL);
	(void)sigemptyset(&blocked);
	(void)sigaddset(&blocked, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &blocked, &before);
	run_line("ulimit -n; grep -E '^Sig(Blk|Ign)' /proc/self/status\n"
		 "for f in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 30 31; do\n"
		 "[ -e /proc/$$/fd/$f ] && printf '%s ' $f; done; echo\n"
		 "readlink /proc/self/fd/0; exit 5",
		 spec, &w, &out);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	ignore.sa_handler = SIG_DFL;
	(void)sigaction(SIGUSR1, &ignore, NULL);
	assert_non_null(strstr(lp_buf_text(&out), "77\nSigBlk:\t0000000000000000\n"
						  "SigIgn:\t0000000000000000\n"));
	(void)snprintf(want, sizeof(want), "\n0 1 2 %d \n/dev/null\n", kept);
	assert_non_null(strstr(lp_buf_text(&out), want));
	assert_int_equal(w.exits, 1);
	assert_true(WIFEXITED(w.status));
	assert_int_equal(WEXITSTATUS(w.status), 5);
	assert_int_equal(w.group, -ESRCH);
	(void)close(kept);
	(void)close(leaky);
	lp_buf_finish(&out);
}

static void spawn__on_exit_can_reach_what_is_left_of_the_group(void **state)
{
	struct watched w = {0};
	struct lp_buf out = {0};
	struct lp_spawn spec = {.cwd_fd = -1, .keep_fd = -1};
	pid_t left;

	(void)state;
	run_line("sleep 600 >/dev/null & echo $!", spec, &w, &out);
	left = (pid_t)strtol(lp_buf_text(&out), NULL, 10);
	assert_int_equal(w.group, 0);
	assert_int_equal(kill(left, SIGKILL), 0);
	lp_buf_finish(&out);
}

static void spawn__refuses_what_cannot_be(void **state)
{
	const char *none[] = {NULL};
	const char *echo[] = {"echo", NULL};
	const char *long_argv[] = {"sh", NULL, NULL};
	struct watched w = {.child.on_exit = on_exit_of_child};
	struct lp_spawn spec = {.argv = none, .cwd_fd = -1, .out_fd = -1, .err_fd = -1};
	struct lp_loop *loop;
	struct lp_err err = {0};
	const size_t huge_bytes = 4194304;
	char *huge = calloc(1, huge_bytes);

	(void)state;
	assert_non_null(huge);
	assert_int_equal(lp_loop_create(&loop, &err), 0);
	spec.keep_fd = -1;
	assert_int_equal(lp_child_spawn(loop, &w.child, &spec, &err), -EINVAL);
	spec.argv = echo;
	spec.keep_fd = 1;
	assert_int_equal(lp_child_spawn(loop, &w.child, &spec, &err), -EINVAL);
	spec.keep_fd = -1;
	spec.cwd_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(lp_child_spawn(loop, &w.child, &spec, &err), -ENOTDIR);
	assert_string_equal(err.msg, "cannot enter the child's directory for 'echo': "
				     "Not a directory");
	(void)close(spec.cwd_fd);
	spec.cwd_fd = -1;
	memset(huge, 'x', huge_bytes - 1);
	long_argv[1] = huge;
	spec.argv = long_argv;
	assert_int_equal(lp_child_spawn(loop, &w.child, &spec, &err), -E2BIG);
	assert_int_equal(w.child.pid, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	free(huge);
	lp_loop_destroy(loop);
}

/* In a process of its own: starts a sleeper that is to die with it, tells its number, and ends. */
static _Noreturn void parent_that_ends(int write_fd)
{
	const char *argv[] = {"sleep", "600", NULL};
	struct watched w = {.child.on_exit = on_exit_of_child};
	struct lp_spawn spec = {.argv = argv,
				.cwd_fd = -1,
				.out_fd = -1,
				.err_fd = -1,
				.keep_fd = -1,
				.die_with_parent = true};
	struct lp_loop *loop;
	struct lp_err err;

	if (lp_loop_create(&loop, &err) == 0 && lp_child_spawn(loop, &w.child, &spec, &err) == 0)
		(void)!write(write_fd, &w.child.pid, sizeof(w.child.pid));
	_exit(0);
}

static void spawn__child_dies_with_its_parent(void **state)
{
	uint64_t deadline_us = lp_now_us() + 20000000u;
	pid_t parent, child = 0;
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	parent = fork();
	assert_true(parent >= 0);
	if (parent == 0)
		parent_that_ends(ends[1]);
	assert_int_equal(read(ends[0], &child, sizeof(child)), sizeof(child));
	assert_int_equal(waitpid(parent, NULL, 0), parent);
	while (kill(child, 0) == 0) {
		assert_true(lp_now_us() < deadline_us);
		(void)poll(NULL, 0, 1);
	}
	(void)close(ends[0]);
	(void)close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(excerpt__keeps_whole_last_lines),
		cmocka_unit_test(excerpt__is_bounded_in_bytes),
		cmocka_unit_test(excerpt__does_not_cut_characters),
		cmocka_unit_test(env__sets_replaces_and_removes),
		cmocka_unit_test(status_text__says_how_it_ended),
		cmocka_unit_test(spawn__starts_with_a_clean_slate),
		cmocka_unit_test(spawn__on_exit_can_reach_what_is_left_of_the_group),
		cmocka_unit_test(spawn__refuses_what_cannot_be),
		cmocka_unit_test(spawn__child_dies_with_its_parent),
	};

	return cmocka_run_group_tests_name("supervise_parts", tests, NULL, NULL);
}
