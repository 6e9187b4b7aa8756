/* test_supervise_loop.c: an app that restarts itself by what it writes, and people who do no more
 * than save often. */
#include "tests/unit/controller/test_supervise_rig.h"

#include "common/base/lp_clock.h"
#include "controller/sup.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
	for (int i = 0; i < LP_LOOP_STARTS; i++) {
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
	for (int i = 0; i < 2 * LP_LOOP_STARTS; i++) {
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
	for (uint64_t revision = 2; revision < 2 + 2 * LP_LOOP_STARTS; revision++) {
		rig_applied(rig, revision, "a.py");
		(void)rig_wait(rig, "settled");
		/* Nobody waits, or hears of it, before there were that many. */
		if (revision < 2 + LP_LOOP_STARTS)
			assert_null(rig->sup->loop.trial.on_fire);
	}
	/* Another process may listen on the port that a start was given before the app does. Then
	 * it takes that for healthy, and the app's own end for a crash, which is no loop. */
	if (rig_count(rig, "failed LOOP") > 0)
		fail_msg("%s", lp_buf_text(&rig->log));
	assert_int_equal(rig_count(rig, "restarted"), 1 + 2 * LP_LOOP_STARTS);
	rig_stop(rig);
}

static bool is_applied(struct rig *rig, uint64_t revision)
{
	const char *path = "a.py";

	return lp_sup_applied(rig->sup, revision, &path, 1);
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
		assert_true(++changes <= 8 * LP_LOOP_STARTS);
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
	assert_true(changes > LP_LOOP_STARTS);
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

static bool has_settled_or_is_on_trial(struct rig *rig, const void *revision)
{
	return rig->sup->loop.trial.loop || rig->sup->settled >= *(const uint64_t *)revision;
}

/* a.py changes some time after each start until one is on trial. Returns the last revision. */
static uint64_t change_until_on_trial(struct rig *rig)
{
	uint64_t due_us, revision = 1;

	/* A machine that is busy may be too slow at first. */
	while (!rig->sup->loop.trial.loop) {
		assert_true(++revision < 10 * (uint64_t)LP_LOOP_STARTS);
		rig_applied(rig, revision, "a.py");
		rig_until(rig, has_settled_or_is_on_trial, &revision);
		due_us = lp_now_us() + 600000;
		rig_until(rig, is_past_or_on_trial, &due_us);
	}
	return revision;
}

static void loop__trial_ends_when_nothing_serves(void **state)
{
	struct rig *rig = *state;
	struct lp_sup_status serving;
	uint64_t revision;

	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	revision = change_until_on_trial(rig);
	lp_sup_status(rig->sup, &serving);
	assert_int_equal(kill((pid_t)serving.pid, SIGKILL), 0);
	(void)rig_wait(rig, "failed CRASH");
	assert_true(!rig->sup->loop.trial.loop || rig->sup->loop.trial.due_us <= lp_now_us());
	(void)rig_wait(rig, "settled");
	assert_int_equal(rig_ask(rig), revision);
	rig_stop(rig);
}

/* What ends on trial has shown that it can be started. */
static void loop__trial_that_is_killed_is_tried_again(void **state)
{
	struct rig *rig = *state;

	rig->conf.restart.strategy = LP_STRATEGY_STOP_START;
	rig->conf.restart.hold_ms = 60000;
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	(void)change_until_on_trial(rig);
	assert_non_null(rig->sup->next);
	lp_timer_set(rig->loop, &rig->sup->loop.trial, lp_now_us() + 60000000);
	assert_int_equal(kill(rig->sup->next->proc.child.pid, SIGKILL), 0);
	assert_non_null(strstr(rig_wait(rig, "failed START"), "before it served"));
	(void)rig_wait(rig, "restarted");
	rig_stop(rig);
}

static bool is_serving(struct rig *rig, const void *arg)
{
	(void)arg;
	return rig->sup->state == LP_SUP_SERVING;
}

/* a.py is a loop's, then the app fails and nothing serves. */
static void loop_and_fail(struct rig *rig, uint64_t *revision)
{
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	(void)write_after_each_start(rig, revision, 400000);
	rig_until(rig, is_serving, NULL);
	rig_mode(rig, "exit 3");
	assert_int_equal(kill(rig->sup->serving->proc.child.pid, SIGKILL), 0);
	(void)rig_wait(rig, "failed CRASH");
	/* It may be tried again by itself before that. */
	while (rig->sup->state != LP_SUP_FAILED) {
		rig_applied(rig, ++*revision, "b.py");
		(void)rig_wait(rig, "failed START");
	}
	rig_mode(rig, "serve");
}

struct saver {
	uint64_t *revision;
	uint64_t last_us;
};

static bool serves_while_it_is_saved(struct rig *rig, const void *arg)
{
	struct saver *s = (struct saver *)(uintptr_t)arg;

	if (lp_now_us() - s->last_us >= 200000) {
		rig_applied(rig, ++*s->revision, "a.py");
		s->last_us = lp_now_us();
	}
	return is_serving(rig, NULL);
}

/* What is passed over keeps nothing down that could be started. */
static void loop__keeps_no_app_down_that_is_saved_on_and_on(void **state)
{
	struct rig *rig = *state;
	uint64_t revision = 2;
	struct saver saver = {.revision = &revision};

	rig_create(rig);
	loop_and_fail(rig, &revision);
	rig->sup->loop.last_us = lp_now_us(); /* however slow the machine is */
	rig_until(rig, serves_while_it_is_saved, &saver);
	rig_stop(rig);
}

/* The same of one save that comes at once, when it has been tried once more before. */
static void loop__starts_what_is_down_once_the_path_is_quiet(void **state)
{
	struct rig *rig = *state;
	uint64_t revision = 2;
	char expected[32];

	rig_create(rig);
	loop_and_fail(rig, &revision);
	rig->sup->loop.tried = true;
	lp_timer_clear(&rig->sup->loop.quiet);
	rig->sup->failed_us = lp_now_us();
	assert_false(is_applied(rig, ++revision));
	rig_until(rig, is_serving, NULL);
	(void)snprintf(expected, sizeof(expected), "settled %" PRIu64, revision);
	(void)rig_wait(rig, expected);
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
	for (int i = 0; i < LP_LOOP_STARTS - 1; i++) {
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

static bool serves_what_was_asked_since(struct rig *rig, const void *since_us)
{
	return rig->sup->serving && rig->sup->serving->asked_us >= *(const uint64_t *)since_us;
}

/* What somebody saves later restarts the app at once, although the path was a loop's. */
static void loop__ends_when_the_pace_drops(void **state)
{
	struct rig *rig = *state;
	uint64_t due_us, asked_us, revision = 2;

	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	(void)write_after_each_start(rig, &revision, 400000);
	assert_in_range(rig->sup->loop.pace_us, 1000000, 9999999);
	assert_true(rig->sup->loop.quiet.due_us <= lp_now_us() + rig->sup->loop.pace_us);
	/* Once more, when it is quiet. */
	asked_us = rig->sup->loop.last_us + 1000000;
	rig_until(rig, serves_what_was_asked_since, &asked_us);
	/* The app writes it as before; some time later somebody else does. */
	assert_false(is_applied(rig, ++revision));
	due_us = lp_now_us() + rig->sup->loop.pace_us + 100000;
	rig_until(rig, is_past, &due_us);
	assert_true(is_applied(rig, ++revision));
	rig_until(rig, serves_what_was_asked_since, &due_us);
	assert_int_equal(rig_count(rig, "failed"), 1);
	rig_stop(rig);
}

/* A person who saves on and on while nothing of it is up yet: the last save serves soon. */
static void loop__of_somebody_who_saves_steadily_ends_with_it(void **state)
{
	struct rig *rig = *state;
	uint64_t last_us = 0, due_us, revision = 2;

	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	rig_mode(rig, "slow 0.3");
	for (int i = 0; i < 3 * LP_LOOP_STARTS; i++) {
		last_us = lp_now_us();
		rig_applied(rig, revision++, "a.py");
		due_us = last_us + 200000;
		rig_until(rig, is_past, &due_us);
	}
	if (rig->sup->loop.quiet.loop)
		assert_true(rig->sup->loop.quiet.due_us <= lp_now_us() + 5000000);
	rig_until(rig, serves_what_was_asked_since, &last_us);
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
	for (int i = 0; i < LP_LOOP_STARTS; i++) {
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
	for (uint64_t revision = 2; revision < 2 + 3 * LP_LOOP_STARTS; revision++) {
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
		TEST(loop__is_broken_and_told),
		TEST(loop__passes_over_nothing_else),
		TEST(loop__is_none_when_others_change),
		TEST(loop__is_none_when_each_start_came_to_its_end),
		TEST(loop__that_goes_on_after_the_start_is_broken),
		TEST(loop__trial_ends_when_nothing_serves),
		TEST(loop__trial_that_is_killed_is_tried_again),
		TEST(loop__keeps_no_app_down_that_is_saved_on_and_on),
		TEST(loop__starts_what_is_down_once_the_path_is_quiet),
		TEST(loop__ends_when_the_pace_drops),
		TEST(loop__of_somebody_who_saves_steadily_ends_with_it),
		TEST(loop__puts_nothing_on_trial_after_failures),
		TEST(loop__puts_nothing_on_trial_that_comes_in_pairs),
		TEST(loop__is_none_of_what_starts_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
