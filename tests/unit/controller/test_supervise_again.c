/* test_supervise_again.c: health commands, trees that went back, and what failures tell. */
#include "tests/unit/controller/test_supervise_rig.h"

#include "controller/sup.h"

#include <string.h>
#include <unistd.h>

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

static bool runs_command(struct rig *rig, const void *arg)
{
	(void)arg;
	return rig->sup->run != NULL;
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

/* A start is not forgotten when its command runs meanwhile. */
static void rolled__starts_what_is_under_way_anew(void **state)
{
	struct rig *rig = *state;
	const char *path = "note.txt";
	char *both[] = {(char[]){"*.txt"}}, *in[] = {(char[]){"*.in"}};
	char *argv[] = {(char[]){"sleep"}, (char[]){"0.3"}, NULL};

	rig->rules[0] =
		(struct lp_conf_rule){.match = both, .n_match = 1, .action = LP_ACTION_NONE};
	rig->rules[1] = (struct lp_conf_rule){.match = in,
					      .n_match = 1,
					      .action = LP_ACTION_RUN,
					      .run = {.argv = argv, .n = 2},
					      .timeout_ms = 20000};
	rig->conf.n_rules = 2;
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	rig_applied(rig, 2, "a.in");
	rig_until(rig, runs_command, NULL);
	lp_sup_rolled(rig->sup, 1, &path, 1, false);
	(void)rig_wait(rig, "settled");
	assert_int_equal(rig->sup->state, LP_SUP_SERVING);
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
		TEST(rolled__starts_what_is_under_way_anew),
		TEST(rolled__starts_what_does_not_run),
		TEST(rolled__restarts_when_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
