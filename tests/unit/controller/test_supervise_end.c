/* test_supervise_end.c: crashes, stop-start, and that nothing is left behind. */
#include "tests/unit/controller/test_supervise_rig.h"

#include "common/base/lp_clock.h"
#include "common/loop/loop_internal.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static long serving_pid(struct rig *rig)
{
	struct lp_sup_status status;

	lp_sup_status(rig->sup, &status);
	return (long)status.pid;
}

static bool is_dead(struct rig *rig, const void *pid)
{
	(void)rig;
	return !rig_alive(*(const long *)pid);
}

static void start(struct rig *rig)
{
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
}

static void crash__holds_and_restarts_with_backoff(void **state)
{
	struct rig *rig = *state;
	struct lp_sup_status status;
	uint64_t before_us, waits_us[3];

	start(rig);
	for (int i = 0; i < 3; i++) {
		before_us = lp_now_us();
		(void)kill((pid_t)serving_pid(rig), SIGSEGV);
		(void)rig_wait(rig, "hold");
		assert_string_equal(rig_wait(rig, "failed CRASH 1") + strlen("failed CRASH 1 1 "),
				    "the app was killed by SIGSEGV (Segmentation fault) while it "
				    "was serving");
		lp_sup_status(rig->sup, &status);
		assert_int_equal(status.state, LP_SUP_BACKOFF);
		assert_int_equal(status.generation, 0);
		(void)rig_wait(rig, "restarted 1");
		waits_us[i] = lp_now_us() - before_us;
	}
	assert_true(waits_us[0] >= 100000);
	assert_true(waits_us[1] >= 200000);
	assert_true(waits_us[2] >= 400000);
	lp_sup_status(rig->sup, &status);
	assert_int_equal(status.crashes, 3);
	assert_int_equal(rig_ask(rig), 4);
	assert_int_equal(rig_count(rig, "settled"), 1);
	rig_stop(rig);
}

static bool is_starting(struct rig *rig, const void *arg)
{
	struct lp_sup_status status;

	(void)arg;
	lp_sup_status(rig->sup, &status);
	return status.state == LP_SUP_STARTING;
}

static void crash__change_does_not_wait_for_the_backoff(void **state)
{
	struct rig *rig = *state;
	uint64_t asked_us;

	start(rig);
	rig_mode(rig, "exit 1");
	(void)kill((pid_t)serving_pid(rig), SIGKILL);
	(void)rig_wait(rig, "failed CRASH");
	/* Tries that fail go on by themselves, further and further apart. */
	for (int i = 0; i < 4; i++)
		(void)rig_wait(rig, "failed START");
	assert_int_equal(rig_count(rig, "refuse"), 0);
	assert_non_null(strstr(lp_buf_text(&rig->own), "the next try is in 1600 ms\n"));
	rig_mode(rig, "serve");
	lp_sup_restart(rig->sup, 2);
	asked_us = lp_now_us();
	rig_until(rig, is_starting, NULL);
	assert_true(lp_now_us() - asked_us < 1000000);
	(void)rig_wait(rig, "settled 2");
	rig_stop(rig);
}

static void crash__while_the_next_starts_waits_for_it(void **state)
{
	struct rig *rig = *state;
	struct lp_sup_status status;

	start(rig);
	rig_mode(rig, "slow 0.3");
	rig_applied(rig, 2, "app.py");
	(void)rig_wait_number(rig, "slow.2");
	(void)kill((pid_t)serving_pid(rig), SIGKILL);
	(void)rig_wait(rig, "hold");
	(void)rig_wait(rig, "failed CRASH 1 1");
	lp_sup_status(rig->sup, &status);
	assert_int_equal(status.state, LP_SUP_STARTING);
	(void)rig_wait(rig, "settled 2");
	assert_int_equal(rig_ask(rig), 2);
	rig_stop(rig);
}

static uint16_t some_port(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	(void)close(fd);
	return ntohs(addr.sin_port);
}

static void stop_start__holds_and_uses_the_fixed_port(void **state)
{
	struct rig *rig = *state;
	uint16_t port = some_port();

	rig->conf.restart.strategy = LP_STRATEGY_STOP_START;
	rig->conf.restart.port = port;
	start(rig);
	assert_int_equal(rig->port, port);
	rig_applied(rig, 2, "app.py");
	(void)rig_wait(rig, "settled 2");
	assert_string_equal(lp_buf_text(&rig->log), "hold\nforward 1\nrestarted 1 1\nsettled 1\n"
						    "hold\nforward 2\nrestarted 2 2\nsettled 2\n");
	assert_int_equal(rig->port, port);
	assert_int_equal(rig_ask(rig), 2);
	rig_mode(rig, "exit 4");
	rig_applied(rig, 3, "app.py");
	(void)rig_wait(rig, "refuse");
	assert_string_equal(rig_wait(rig, "failed"),
			    "failed START 3 3 the app exited with status 4 before it was healthy");
	rig_mode(rig, "serve");
	rig_applied(rig, 4, "app.py");
	(void)rig_wait(rig, "settled 4");
	assert_int_equal(rig_ask(rig), 4);
	rig_stop(rig);
}

static void stop_start__waits_until_the_old_group_is_gone(void **state)
{
	struct rig *rig = *state;
	uint64_t before_us;
	long child;

	rig->conf.restart.strategy = LP_STRATEGY_STOP_START;
	rig->conf.restart.grace_ms = 400;
	rig_mode(rig, "child");
	start(rig);
	child = rig_wait_number(rig, "child.pid");
	rig_mode(rig, "serve");
	before_us = lp_now_us();
	rig_applied(rig, 2, "app.py");
	(void)rig_wait(rig, "restarted 2");
	assert_false(rig_alive(child));
	assert_true(lp_now_us() - before_us >= 400000);
	assert_non_null(strstr(lp_buf_text(&rig->own), "generation 1 did not end within 400 ms of "
						       "SIGTERM and was killed\n"));
	rig_stop(rig);
}

static void stop_start__foreign_listener_is_named(void **state)
{
	struct rig *rig = *state;
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	rig->conf.restart.strategy = LP_STRATEGY_STOP_START;
	rig->conf.restart.port = ntohs(addr.sin_port);
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	assert_non_null(strstr(rig_wait(rig, "failed START 1 1 another process listens on"),
			       "restart.port"));
	(void)close(fd);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	rig_stop(rig);
}

static void stop__kills_what_ignores_term(void **state)
{
	struct rig *rig = *state;
	uint64_t before_us;
	long pid;

	rig->conf.restart.grace_ms = 300;
	rig_mode(rig, "stubborn");
	start(rig);
	pid = serving_pid(rig);
	before_us = lp_now_us();
	rig_stop(rig);
	assert_true(lp_now_us() - before_us >= 300000);
	assert_false(rig_alive(pid));
	/* What comes after a stop is not heard. */
	lp_sup_restart(rig->sup, 9);
	lp_sup_stop(rig->sup);
	assert_int_equal(rig_count(rig, "stopped"), 1);
}

/* Each kind of process that an app may leave: in its group, out of it, out of it and deaf. */
static void stop__leaves_no_grandchild(void **state)
{
	static const char *const modes[] = {"child", "stray", "detached"};
	struct rig *rig = *state;

	rig->conf.restart.grace_ms = 300;
	for (size_t i = 0; i < LP_COUNT_OF(modes); i++) {
		long child;

		(void)unlinkat(rig->dir_fd, "child.pid", 0);
		rig_mode(rig, modes[i]);
		start(rig);
		child = rig_wait_number(rig, "child.pid");
		assert_true(rig_alive(child));
		rig_stop(rig);
		assert_false(rig_alive(child));
		lp_sup_destroy(rig->sup);
		rig->sup = NULL;
	}
}

static void swap__ends_what_left_the_group(void **state)
{
	struct rig *rig = *state;
	long child;

	rig->conf.restart.grace_ms = 300;
	rig_mode(rig, "detached");
	start(rig);
	child = rig_wait_number(rig, "child.pid");
	rig_mode(rig, "serve");
	rig_applied(rig, 2, "app.py");
	(void)rig_wait(rig, "settled 2");
	rig_until(rig, is_dead, &child);
	assert_int_equal(rig_ask(rig), 2);
	rig_stop(rig);
}

static void crash__ends_what_is_left_of_the_group(void **state)
{
	struct rig *rig = *state;
	long child;

	rig->conf.restart.grace_ms = 200;
	rig_mode(rig, "child");
	start(rig);
	child = rig_wait_number(rig, "child.pid");
	rig_mode(rig, "serve");
	(void)kill((pid_t)serving_pid(rig), SIGKILL);
	(void)rig_wait(rig, "restarted 1 2");
	rig_until(rig, is_dead, &child);
	rig_stop(rig);
}

static void destroy__kills_everything_at_once(void **state)
{
	struct rig *rig = *state;
	long pid, child;

	rig->conf.restart.grace_ms = 60000;
	rig_mode(rig, "detached");
	start(rig);
	child = rig_wait_number(rig, "child.pid");
	pid = serving_pid(rig);
	lp_sup_destroy(rig->sup);
	rig->sup = NULL;
	assert_false(rig_alive(pid));
	assert_false(rig_alive(child));
}

static void stop__without_a_start(void **state)
{
	struct rig *rig = *state;

	rig_create(rig);
	rig_stop(rig);
	assert_int_equal(rig_count(rig, "failed"), 0);
}

static void stop__during_a_start(void **state)
{
	struct rig *rig = *state;
	long pid;

	rig_mode(rig, "slow 600");
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	pid = rig_wait_number(rig, "slow.1");
	rig_stop(rig);
	assert_false(rig_alive(pid));
	assert_int_equal(rig_count(rig, "failed"), 0);
}

static void health__process_settles(void **state)
{
	struct rig *rig = *state;

	rig->conf.health.kind = LP_HEALTH_PROCESS;
	rig_mode(rig, "mute");
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "restarted 1 1");
	assert_true(rig->took_us >= 200000);
	/* Longer than a busy machine takes to get the command to its exit. */
	rig->conf.health.settle_ms = 30000;
	rig_mode(rig, "exit 0");
	rig_applied(rig, 2, "app.py");
	(void)rig_wait(rig, "failed START 2 2 the app exited with status 0");
	rig_stop(rig);
}

static unsigned int next_random(unsigned int *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return (*seed >> 16) & 0x7fffu;
}

/* One random event: a change, a restart, a crash, another behaviour, another strategy, or a moment
 * for the loop. */
static void stir(struct rig *rig, unsigned int *seed, uint64_t revision)
{
	static const char *const modes[] = {"serve", "exit 1", "slow 0.05", "child",
					    "stray", "mute",   "stubborn",  "serve"};
	static const char *const paths[] = {"app.py", "a.c", "b.ini", "README.md"};
	long pid = serving_pid(rig);

	switch (next_random(seed) % 8) {
	case 0:
		lp_sup_restart(rig->sup, revision);
		break;
	case 1:
		if (pid > 0)
			(void)kill((pid_t)pid, SIGKILL);
		break;
	case 2:
		rig_mode(rig, modes[next_random(seed) % LP_COUNT_OF(modes)]);
		break;
	case 3:
		rig->conf.restart.strategy =
			next_random(seed) % 2 ? LP_STRATEGY_SWAP : LP_STRATEGY_STOP_START;
		lp_sup_reconfigure(rig->sup, &rig->conf);
		break;
	case 4:
		rig_write(rig, "status", next_random(seed) % 2 ? "0" : "1");
		break;
	default:
		rig_applied(rig, revision, paths[next_random(seed) % LP_COUNT_OF(paths)]);
		break;
	}
	for (unsigned int rounds = next_random(seed) % 40; rounds > 0; rounds--)
		assert_int_equal(lp_loop_dispatch(rig->loop, 2), 0);
}

static void anything__ends_well(void **state)
{
	char *c_files[] = {(char[]){"*.c"}};
	char *ini[] = {(char[]){"*.ini"}};
	char *md[] = {(char[]){"*.md"}};
	char *build[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, (char[]){"exit `cat status`"}, NULL};
	struct rig *rig = *state;
	unsigned int seed = 20240229;
	uint64_t revision = 1;

	if (getenv("SUPERVISE_SEED"))
		seed = (unsigned int)strtoul(getenv("SUPERVISE_SEED"), NULL, 10);
	rig->conf.restart.grace_ms = 150;
	rig->conf.health.timeout_ms = 3000;
	rig_write(rig, "status", "0");
	rig->rules[0] = (struct lp_conf_rule){.match = c_files,
					      .n_match = 1,
					      .action = LP_ACTION_RUN,
					      .run = {build, 3},
					      .timeout_ms = 5000};
	rig->rules[1] = (struct lp_conf_rule){
		.match = ini, .n_match = 1, .action = LP_ACTION_SIGNAL, .signo = SIGHUP};
	rig->rules[2] = (struct lp_conf_rule){.match = md, .n_match = 1, .action = LP_ACTION_NONE};
	rig->conf.n_rules = 3;
	rig_create(rig);
	for (int round = 0; round < 3; round++) {
		char settled[48];

		for (int i = 0; i < 25; i++)
			stir(rig, &seed, ++revision);
		rig_mode(rig, "serve");
		rig_write(rig, "status", "0");
		lp_sup_restart(rig->sup, ++revision);
		(void)snprintf(settled, sizeof(settled), "settled %llu",
			       (unsigned long long)revision);
		(void)rig_wait(rig, settled);
		assert_true(rig_ask(rig) == rig->serving);
	}
	rig_stop(rig);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(crash__holds_and_restarts_with_backoff),
		RIG_TEST(crash__change_does_not_wait_for_the_backoff),
		RIG_TEST(crash__while_the_next_starts_waits_for_it),
		RIG_TEST(stop_start__holds_and_uses_the_fixed_port),
		RIG_TEST(stop_start__waits_until_the_old_group_is_gone),
		RIG_TEST(stop_start__foreign_listener_is_named),
		RIG_TEST(stop__kills_what_ignores_term),
		RIG_TEST(stop__leaves_no_grandchild),
		RIG_TEST(swap__ends_what_left_the_group),
		RIG_TEST(crash__ends_what_is_left_of_the_group),
		RIG_TEST(destroy__kills_everything_at_once),
		RIG_TEST(stop__without_a_start),
		RIG_TEST(stop__during_a_start),
		RIG_TEST(health__process_settles),
		RIG_TEST(anything__ends_well),
	};

	return cmocka_run_group_tests_name("supervise_end", tests, NULL, NULL);
}
