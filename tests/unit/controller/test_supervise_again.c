/* test_supervise_again.c: health commands, trees that went back, and apps that restart themselves.
 */
#include "tests/unit/controller/test_supervise_rig.h"

#include "common/base/lp_clock.h"
#include "controller/sup.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LP_LOOP_TIMES 5 /* changes during starts that make a loop */

static char *check[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, (char[]){"./check"}, NULL};

static char *nowhere[] = {(char[]){"./is-not-there"}, NULL};

static void check_with(struct rig *rig, const char *script, uint16_t threshold)
{
	rig_write(rig, "check", script);
	rig->conf.health.kind = LP_HEALTH_COMMAND;
	rig->conf.health.command = (struct lp_conf_command){check, 3};
	rig->conf.health.threshold = threshold;
	rig->conf.health.interval_ms = 10;
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
}

static void health_command__decides(void **state)
{
	struct rig *rig = *state;

	check_with(rig,
		   "#!/bin/sh\necho $LIVEPUSH_GENERATION $PORT >>asked\n"
		   "test $(wc -l <asked) -ge 3\n",
		   2);
	(void)rig_wait(rig, "settled 1");
	assert_int_equal(rig_count(rig, "restarted"), 1);
	/* Two that were bad, two that were good. */
	rig_write(rig, "asked.done", "");
	rig_mode(rig, "serve");
	lp_sup_stop(rig->sup);
	(void)rig_wait(rig, "stopped");
}

static void health_command__says_why_not(void **state)
{
	struct rig *rig = *state;

	rig->conf.health.timeout_ms = 400;
	check_with(rig, "#!/bin/sh\necho first\necho no database >&2\nexit 3\n", 1);
	assert_non_null(strstr(rig_wait(rig, "failed HEALTH 1 1"),
			       "health.command exited with status 3: no database"));
	rig_stop(rig);
}

static void health_command__is_killed_when_it_hangs(void **state)
{
	struct rig *rig = *state;
	long pid;

	rig->conf.health.timeout_ms = 1500;
	rig->conf.health.probe_ms = 300;
	check_with(rig, "#!/bin/sh\necho $$ >pid.tmp\nmv pid.tmp pid.now\nsleep 600\n", 1);
	pid = rig_wait_number(rig, "pid.now");
	assert_non_null(strstr(rig_wait(rig, "failed HEALTH 1 1"), "did not end within 300 ms"));
	assert_true(pid > 0);
	rig_stop(rig);
	assert_false(rig_alive(pid));
}

static void health_command__ends_with_the_generation(void **state)
{
	struct rig *rig = *state;
	long pid;

	check_with(rig, "#!/bin/sh\necho $$ >pid.tmp\nmv pid.tmp pid.now\nsleep 600\n", 1);
	pid = rig_wait_number(rig, "pid.now");
	rig_stop(rig);
	assert_false(rig_alive(pid));
}

static void health_command__that_cannot_be_run_is_told(void **state)
{
	struct rig *rig = *state;

	rig->conf.health = (struct lp_conf_health){.kind = LP_HEALTH_COMMAND,
						   .command = {nowhere, 1},
						   .timeout_ms = 200,
						   .probe_ms = 1000,
						   .interval_ms = 10};
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	assert_non_null(strstr(rig_wait(rig, "failed HEALTH 1 1"), "./is-not-there"));
	rig_stop(rig);
}

static void failure__names_what_changed(void **state)
{
	struct rig *rig = *state;
	const char *paths[] = {"a.py", "b.py"};

	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	rig_mode(rig, "exit 3");
	lp_sup_applied(rig->sup, 2, paths, 2);
	(void)rig_wait(rig, "failed START 2 2");
	assert_string_equal(rig->path, "a.py");
	assert_int_equal(rig->n_paths, 2);
	lp_sup_restart(rig->sup, 2);
	(void)rig_wait(rig, "failed START 2 3");
	assert_string_equal(rig->path, "");
	rig_stop(rig);
}

static void rolled__leaves_the_serving_generation_alone(void **state)
{
	struct rig *rig = *state;
	const char *path = "a.py";

	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	rig_mode(rig, "exit 3");
	rig_applied(rig, 2, path);
	(void)rig_wait(rig, "failed START 2 2");
	rig_mode(rig, "serve");
	lp_sup_rolled(rig->sup, 1, &path, 1, false);
	(void)rig_wait(rig, "settled 1");
	assert_int_equal(rig_ask(rig), 1);
	assert_int_equal(rig_count(rig, "restarted"), 1);
	/* What is saved next is tried. */
	rig_applied(rig, 3, path);
	(void)rig_wait(rig, "restarted 3 3");
	rig_stop(rig);
}

static void rolled__starts_what_does_not_run(void **state)
{
	struct rig *rig = *state;
	const char *path = "a.py";

	rig->conf.restart.strategy = LP_STRATEGY_STOP_START;
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	rig_mode(rig, "exit 3");
	rig_applied(rig, 2, path);
	(void)rig_wait(rig, "failed START 2 2");
	rig_mode(rig, "serve");
	lp_sup_rolled(rig->sup, 1, &path, 1, false);
	(void)rig_wait(rig, "restarted 1 3");
	(void)rig_wait(rig, "settled 1");
	rig_stop(rig);
}

static void rolled__restarts_when_asked(void **state)
{
	struct rig *rig = *state;
	const char *path = "a.py";

	rig_create(rig);
	lp_sup_start(rig->sup, 2);
	(void)rig_wait(rig, "settled 2");
	lp_sup_rolled(rig->sup, 1, &path, 1, true);
	(void)rig_wait(rig, "restarted 1 2");
	(void)rig_wait(rig, "settled 1");
	rig_stop(rig);
}

static bool is_starting(struct rig *rig, const void *arg)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "slow.%d", *(const int *)arg);
	return faccessat(rig->dir_fd, name, F_OK, 0) == 0;
}

/* Changes a.py with each start until the supervisor calls it a loop; the number of the generation
 * that is under way then. */
static int loop_until_told(struct rig *rig, uint64_t *revision)
{
	int generation = 1;

	rig_applied(rig, *revision, "a.py");
	for (int i = 0; i < LP_LOOP_TIMES; i++) {
		generation++;
		rig_until(rig, is_starting, &generation);
		rig_applied(rig, ++*revision, "a.py");
	}
	return generation;
}

static void loop__is_broken_and_told(void **state)
{
	struct rig *rig = *state;
	uint64_t revision = 2;
	int generation;

	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	rig_mode(rig, "slow 0.5");
	generation = loop_until_told(rig, &revision);
	assert_non_null(strstr(rig_wait(rig, "failed LOOP"), "'/a.py' into 'ignore'"));
	assert_string_equal(rig->path, "a.py");
	/* The start that is under way comes to its end. */
	rig_applied(rig, ++revision, "a.py");
	(void)rig_wait(rig, "restarted");
	assert_int_equal(rig_ask(rig), generation);
	(void)rig_wait(rig, "settled");
	/* Something else restarts it. */
	rig_applied(rig, ++revision, "b.py");
	generation++;
	rig_until(rig, is_starting, &generation);
	rig_applied(rig, ++revision, "a.py");
	(void)rig_wait(rig, "restarted");
	assert_int_equal(rig_ask(rig), generation);
	assert_int_equal(rig_count(rig, "failed"), 1);
	rig_stop(rig);
}

static bool has_hup(struct rig *rig, const void *arg)
{
	(void)arg;
	return lp_buf_text(&rig->out) && strstr(lp_buf_text(&rig->out), "got hup in 1\n");
}

static void loop__passes_over_nothing_else(void **state)
{
	struct rig *rig = *state;
	const char *both[] = {"a.py", "app.ini"};
	char *match[] = {(char[]){"*.ini"}};
	uint64_t revision = 2;
	int generation;

	rig->rules[0] = (struct lp_conf_rule){
		.match = match, .n_match = 1, .action = LP_ACTION_SIGNAL, .signo = SIGHUP};
	rig->conf.n_rules = 1;
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	rig_mode(rig, "slow 600");
	generation = loop_until_told(rig, &revision);
	(void)rig_wait(rig, "failed LOOP");
	assert_false(lp_sup_applied(rig->sup, ++revision, both, 1));
	assert_true(lp_sup_applied(rig->sup, ++revision, both, 2));
	rig_until(rig, has_hup, NULL);
	assert_int_equal(rig->sup->next->number, generation);
	rig_stop(rig);
}

static void loop__is_none_when_others_change(void **state)
{
	struct rig *rig = *state;
	uint64_t revision = 2;
	char path[16];
	int generation = 1;

	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	rig_mode(rig, "slow 0.2");
	for (int i = 0; i < 2 * LP_LOOP_TIMES; i++) {
		(void)snprintf(path, sizeof(path), "%d.py", i);
		rig_applied(rig, revision++, path);
		generation++;
		rig_until(rig, is_starting, &generation);
	}
	(void)rig_wait(rig, "settled");
	assert_int_equal(rig_ask(rig), generation);
	assert_int_equal(rig_count(rig, "failed"), 0);
	rig_stop(rig);
}

static void loop__is_none_when_each_start_came_to_its_end(void **state)
{
	struct rig *rig = *state;

	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	for (uint64_t revision = 2; revision < 2 + 2 * LP_LOOP_TIMES; revision++) {
		rig_applied(rig, revision, "a.py");
		(void)rig_wait(rig, "settled");
	}
	/* Another process may listen on the port that a start was given before the app does. Then
	 * it takes that for healthy, and the app's own end for a crash, which is no loop. */
	if (rig_count(rig, "failed LOOP") > 0)
		fail_msg("%s", lp_buf_text(&rig->log));
	assert_int_equal(rig_count(rig, "restarted"), 1 + 2 * LP_LOOP_TIMES);
	rig_stop(rig);
}

static bool is_past(struct rig *rig, const void *arg)
{
	(void)rig;
	return lp_now_us() >= *(const uint64_t *)arg;
}

/* Some time is over, or a start is on trial, which a slow machine must not miss. */
static bool is_past_or_on_trial(struct rig *rig, const void *arg)
{
	return rig->sup->loop.trial.loop || is_past(rig, arg);
}

/* a.py changes some time after each start of the app, until the supervisor calls it a loop. Returns
 * how often it changed. */
static int write_after_each_start(struct rig *rig, uint64_t *revision, uint64_t after_us)
{
	int generation = 1, changes = 0;
	uint64_t due_us;

	rig_mode(rig, "slow 0");
	rig_applied(rig, *revision, "app.py");
	while (rig_count(rig, "failed LOOP") == 0) {
		generation++;
		rig_until(rig, is_starting, &generation);
		due_us = lp_now_us() + after_us;
		rig_until(rig, is_past_or_on_trial, &due_us);
		rig_applied(rig, ++*revision, "a.py");
		assert_true(++changes <= 8 * LP_LOOP_TIMES);
		due_us = lp_now_us() + 1000;
		rig_until(rig, is_past, &due_us);
	}
	return changes;
}

static void loop__that_goes_on_after_the_start_is_broken(void **state)
{
	struct rig *rig = *state;
	uint64_t revision = 2;
	char expected[32];
	int changes;

	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	changes = write_after_each_start(rig, &revision, 400000);
	/* The first one is like any save; five restarts follow, more on a machine that is busy. */
	assert_true(changes > LP_LOOP_TIMES);
	assert_non_null(strstr(rig_wait(rig, "failed LOOP"), "a.py changed during or soon after"));
	assert_string_equal(rig->path, "a.py");
	(void)snprintf(expected, sizeof(expected), "settled %" PRIu64, revision);
	(void)rig_wait(rig, expected);
	assert_int_equal(rig_ask(rig), changes + 1);
	/* Later ones start nothing, and settle. */
	rig_applied(rig, ++revision, "a.py");
	(void)snprintf(expected, sizeof(expected), "settled %" PRIu64, revision);
	(void)rig_wait(rig, expected);
	assert_int_equal(rig_ask(rig), changes + 1);
	/* What else is saved restarts it. */
	rig_applied(rig, ++revision, "b.py");
	(void)snprintf(expected, sizeof(expected), "settled %" PRIu64, revision);
	(void)rig_wait(rig, expected);
	assert_int_equal(rig_ask(rig), changes + 2);
	rig_applied(rig, ++revision, "a.py");
	(void)snprintf(expected, sizeof(expected), "settled %" PRIu64, revision);
	(void)rig_wait(rig, expected);
	assert_int_equal(rig_ask(rig), changes + 2);
	/* It may have been somebody's save after all. */
	(void)rig_wait(rig, "restarted");
	assert_int_equal(rig_ask(rig), changes + 3);
	assert_int_equal(rig_count(rig, "failed"), 1);
	rig_stop(rig);
}

static bool is_on_trial(struct rig *rig, const void *arg)
{
	(void)arg;
	return rig->sup->loop.trial.loop != NULL;
}

static void loop__trial_ends_when_nothing_serves(void **state)
{
	struct rig *rig = *state;
	struct lp_sup_status serving;
	uint64_t due_us, revision = 2;

	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	for (int i = 0; i < LP_LOOP_TRIAL; i++) {
		rig_applied(rig, revision++, "a.py");
		(void)rig_wait(rig, "settled");
		due_us = lp_now_us() + 600000;
		rig_until(rig, is_past, &due_us);
	}
	rig_applied(rig, revision, "a.py");
	rig_until(rig, is_on_trial, NULL);
	lp_sup_status(rig->sup, &serving);
	assert_int_equal(kill((pid_t)serving.pid, SIGKILL), 0);
	(void)rig_wait(rig, "failed CRASH");
	assert_true(!rig->sup->loop.trial.loop || rig->sup->loop.trial.due_us <= lp_now_us());
	(void)rig_wait(rig, "settled");
	assert_int_equal(rig_ask(rig), 2 + LP_LOOP_TRIAL);
	rig_stop(rig);
}

/* Somebody who mends the app has it back at once. */
static void loop__puts_nothing_on_trial_after_failures(void **state)
{
	struct rig *rig = *state;
	uint64_t revision = 2;

	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	rig_mode(rig, "exit 3");
	for (int i = 0; i < LP_LOOP_TRIAL + 1; i++) {
		rig_applied(rig, revision++, "a.py");
		(void)rig_wait(rig, "failed START");
	}
	rig_mode(rig, "serve");
	rig_applied(rig, revision, "a.py");
	(void)rig_wait(rig, "settled");
	assert_null(rig->sup->loop.trial.on_fire);
	assert_int_equal(rig_count(rig, "restarted"), 2);
	rig_stop(rig);
}

static bool has_next(struct rig *rig, const void *arg)
{
	(void)arg;
	return rig->sup->next != NULL;
}

/* Somebody saves, a formatter writes the same file at once, and somebody looks at it for a while.
 */
static void loop__puts_nothing_on_trial_that_comes_in_pairs(void **state)
{
	struct rig *rig = *state;
	uint64_t due_us, revision = 2;

	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	for (int i = 0; i < LP_LOOP_TRIAL; i++) {
		rig_applied(rig, revision++, "a.py");
		rig_until(rig, has_next, NULL);
		rig_applied(rig, revision++, "a.py");
		(void)rig_wait(rig, "settled");
		due_us = lp_now_us() + 1500000;
		rig_until(rig, is_past, &due_us);
	}
	assert_null(rig->sup->loop.trial.on_fire);
	assert_int_equal(rig_count(rig, "failed LOOP"), 0);
	rig_stop(rig);
}

static void loop__is_none_of_what_starts_nothing(void **state)
{
	struct rig *rig = *state;
	char *match[] = {(char[]){"*.log"}};

	rig->rules[0] = (struct lp_conf_rule){
		.match = match, .n_match = 1, .action = LP_ACTION_NONE, .timeout_ms = 1000};
	rig->conf.n_rules = 1;
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	for (uint64_t revision = 2; revision < 2 + 3 * LP_LOOP_TIMES; revision++) {
		rig_applied(rig, revision, "app.log");
		(void)rig_wait(rig, "settled");
	}
	assert_int_equal(rig_count(rig, "restarted"), 1);
	assert_int_equal(rig_count(rig, "failed"), 0);
	rig_stop(rig);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(health_command__decides),
		TEST(health_command__says_why_not),
		TEST(health_command__is_killed_when_it_hangs),
		TEST(health_command__ends_with_the_generation),
		TEST(health_command__that_cannot_be_run_is_told),
		TEST(failure__names_what_changed),
		TEST(rolled__leaves_the_serving_generation_alone),
		TEST(rolled__starts_what_does_not_run),
		TEST(rolled__restarts_when_asked),
		TEST(loop__is_broken_and_told),
		TEST(loop__passes_over_nothing_else),
		TEST(loop__is_none_when_others_change),
		TEST(loop__is_none_when_each_start_came_to_its_end),
		TEST(loop__that_goes_on_after_the_start_is_broken),
		TEST(loop__trial_ends_when_nothing_serves),
		TEST(loop__puts_nothing_on_trial_after_failures),
		TEST(loop__puts_nothing_on_trial_that_comes_in_pairs),
		TEST(loop__is_none_of_what_starts_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
