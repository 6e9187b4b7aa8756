/* test_supervise_rules.c: commands and signals of rules, carried out. */
#include "tests/unit/controller/test_supervise_rig.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static char *globs_c[] = {(char[]){"*.c"}};
static char *globs_gen[] = {(char[]){"*.gen"}};
static char *build[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, (char[]){"./build"}, NULL};
static char *generate[] = {(char[]){"./generate"}, NULL};
static char *globs_ini[] = {(char[]){"*.ini"}};

/* Rule 1: *.c runs ./build; rule 2: *.gen runs ./generate; rule 3: *.ini sends SIGHUP. */
static void set_rules(struct rig *rig, uint32_t timeout_ms)
{
	rig->rules[0] = (struct lp_conf_rule){.match = globs_c,
					      .n_match = 1,
					      .action = LP_ACTION_RUN,
					      .run = {build, 3},
					      .timeout_ms = timeout_ms};
	rig->rules[1] = (struct lp_conf_rule){.match = globs_gen,
					      .n_match = 1,
					      .action = LP_ACTION_RUN,
					      .run = {generate, 1},
					      .timeout_ms = timeout_ms};
	rig->rules[2] = (struct lp_conf_rule){
		.match = globs_ini, .n_match = 1, .action = LP_ACTION_SIGNAL, .signo = SIGHUP};
	rig->conf.n_rules = 3;
}

static void start(struct rig *rig, uint32_t timeout_ms)
{
	set_rules(rig, timeout_ms);
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
}

static void run__goes_before_the_restart_in_rule_order(void **state)
{
	struct rig *rig = *state;
	const char *paths[] = {"x.gen", "sub/b.c", "a.c", "a.c", "n.ini"};

	rig_write(rig, "build",
		  "#!/bin/sh\necho build $LIVEPUSH_GENERATION ${PORT-none} $BASE\n"
		  "tr '\\0' '\\n' <\"$LIVEPUSH_CHANGED\"\n"
		  "stat -c 'mode %a' \"$LIVEPUSH_CHANGED\"\necho warn >&2\n"
		  "echo \"$LIVEPUSH_CHANGED\" >where\n");
	rig_write(rig, "generate",
		  "#!/bin/sh\necho generate; cat where; ls -d `cat where`\nexit 0\n");
	start(rig, 5000);
	lp_sup_applied(rig->sup, 2, paths, LP_COUNT_OF(paths));
	(void)rig_wait(rig, "settled 2");
	assert_non_null(strstr(lp_buf_text(&rig->out),
			       "build 2 none one\na.c\nsub/b.c\nmode 600\ngenerate\n/tmp/livepush-"
			       "changed-"));
	/* The list of the first command was gone when the second ran. */
	assert_non_null(strstr(lp_buf_text(&rig->err), "warn\nls: cannot access"));
	assert_int_equal(rig_ask(rig), 2);
	rig_stop(rig);
}

static void run__list_of_changes_goes_where_tmpdir_says(void **state)
{
	struct rig *rig = *state;
	struct lp_conf_env env[] = {{(char[]){"TMPDIR"}, rig->dir}};
	char want[128];

	rig->conf.env = env;
	rig->conf.n_env = 1;
	rig_write(rig, "build", "#!/bin/sh\necho \"list $LIVEPUSH_CHANGED\"\n");
	start(rig, 5000);
	rig_applied(rig, 2, "a.c");
	(void)rig_wait(rig, "settled 2");
	(void)snprintf(want, sizeof(want), "list %s/livepush-changed-", rig->dir);
	assert_non_null(strstr(lp_buf_text(&rig->out), want));
	rig_stop(rig);
}

static void run__failure_keeps_the_old_and_is_tried_again(void **state)
{
	struct rig *rig = *state;
	struct lp_sup_status status;

	rig_write(rig, "build", "#!/bin/sh\necho 'a.c:1: error'; exit 2\n");
	start(rig, 5000);
	rig_applied(rig, 2, "a.c");
	assert_string_equal(rig_wait(rig, "failed"),
			    "failed RULE 2 0 rule 1 ('./build') exited with status 2");
	assert_string_equal(rig->excerpt, "a.c:1: error");
	lp_sup_status(rig->sup, &status);
	assert_int_equal(status.state, LP_SUP_SERVING);
	assert_int_equal(rig_ask(rig), 1);
	/* The build is owed: a change elsewhere does not restart without it. */
	rig_write(rig, "build", "#!/bin/sh\ntr '\\0' ' ' <$LIVEPUSH_CHANGED\necho built\n");
	rig_applied(rig, 3, "app.py");
	(void)rig_wait(rig, "settled 3");
	assert_non_null(strstr(lp_buf_text(&rig->out), "a.c built\n"));
	assert_int_equal(rig_ask(rig), 2);
	assert_int_equal(rig_count(rig, "settled 2"), 0);
	assert_int_equal(rig_count(rig, "hold"), 1);
	rig_stop(rig);
}

static void run__first_start_waits_for_it(void **state)
{
	struct rig *rig = *state;
	struct lp_sup_status status;

	rig_write(rig, "build", "#!/bin/sh\nexit 1\n");
	set_rules(rig, 5000);
	rig_create(rig);
	rig_applied(rig, 1, "a.c");
	(void)rig_wait(rig, "hold");
	(void)rig_wait(rig, "refuse");
	(void)rig_wait(rig, "failed RULE 1 0");
	lp_sup_status(rig->sup, &status);
	assert_int_equal(status.state, LP_SUP_FAILED);
	rig_write(rig, "build", "#!/bin/sh\nexit 0\n");
	rig_applied(rig, 2, "a.c");
	(void)rig_wait(rig, "settled 2");
	assert_int_equal(rig_ask(rig), 1);
	rig_stop(rig);
}

static bool is_dead(struct rig *rig, const void *pid)
{
	(void)rig;
	return !rig_alive(*(const long *)pid);
}

static void run__timeout_ends_the_whole_group(void **state)
{
	struct rig *rig = *state;
	long pid;

	rig->conf.restart.grace_ms = 200;
	rig_write(rig, "build",
		  "#!/bin/sh\necho working\ntrap '' TERM\n"
		  "(echo $(exec sh -c 'echo $PPID') >pid.tmp; mv pid.tmp pid; sleep 600) &\nwait\n"
		  "while :; do sleep 600; done\n");
	start(rig, 400);
	rig_applied(rig, 2, "a.c");
	pid = rig_wait_number(rig, "pid");
	assert_true(rig_alive(pid));
	assert_string_equal(rig_wait(rig, "failed"),
			    "failed RULE 2 0 rule 1 ('./build') did not end within 400 ms");
	assert_string_equal(rig->excerpt, "working");
	rig_until(rig, is_dead, &pid);
	assert_int_equal(rig_ask(rig), 1);
	rig_stop(rig);
}

static void run__missing_command_is_named(void **state)
{
	struct rig *rig = *state;

	start(rig, 5000);
	rig_applied(rig, 2, "x.gen");
	assert_non_null(strstr(rig_wait(rig, "failed RULE 2 0 rule 2 ('./generate') cannot run"),
			       "no such file"));
	rig_stop(rig);
}

static void run__change_meanwhile_runs_it_again(void **state)
{
	struct rig *rig = *state;

	/* The first run waits until the test says go. */
	rig_write(rig, "build",
		  "#!/bin/sh\necho run >>runs; cp runs started\n"
		  "while ! [ -e go ]; do sleep 0.01; done\n"
		  "tr '\\0' ' ' <$LIVEPUSH_CHANGED; echo\n");
	start(rig, 15000);
	rig_applied(rig, 2, "a.c");
	(void)rig_wait_number(rig, "started");
	rig_applied(rig, 3, "b.c");
	rig_applied(rig, 4, "b.c");
	rig_applied(rig, 5, "n.ini");
	rig_write(rig, "go", "");
	(void)rig_wait(rig, "settled 5");
	assert_non_null(strstr(lp_buf_text(&rig->out), "a.c \nb.c \ngot hup in 1\n"));
	assert_int_equal(rig_count(rig, "restarted"), 2);
	assert_int_equal(rig_count(rig, "restarted 5 2"), 1);
	assert_int_equal(rig_ask(rig), 2);
	rig_stop(rig);
}

static void run__stop_meanwhile_ends_it(void **state)
{
	struct rig *rig = *state;
	long pid;

	rig_write(rig, "build", "#!/bin/sh\necho $$ >pid.tmp; mv pid.tmp pid; exec sleep 600\n");
	start(rig, 60000);
	rig_applied(rig, 2, "a.c");
	pid = rig_wait_number(rig, "pid");
	rig_stop(rig);
	assert_false(rig_alive(pid));
	assert_int_equal(rig_count(rig, "failed"), 0);
}

static void signal__reaches_the_app_without_a_restart(void **state)
{
	struct rig *rig = *state;

	start(rig, 5000);
	rig_applied(rig, 2, "n.ini");
	(void)rig_wait(rig, "settled 2");
	assert_int_equal(rig_count(rig, "restarted"), 1);
	while (!strstr(lp_buf_text(&rig->out), "got hup in 1\n")) {
		rig_applied(rig, 3, "m.ini");
		(void)rig_wait(rig, "settled 3");
	}
	assert_int_equal(rig_ask(rig), 1);
	rig_stop(rig);
}

static void signal__starts_the_app_when_none_ran(void **state)
{
	struct rig *rig = *state;

	set_rules(rig, 5000);
	rig_create(rig);
	rig_applied(rig, 1, "n.ini");
	(void)rig_wait(rig, "settled 1");
	assert_int_equal(rig_ask(rig), 1);
	rig_stop(rig);
	assert_null(strstr(lp_buf_text(&rig->out) ? lp_buf_text(&rig->out) : "", "got hup"));
}

static void reconfigure__uses_the_new_rules(void **state)
{
	struct rig *rig = *state;
	struct lp_conf other;
	struct lp_conf_rule rule = {.match = globs_c,
				    .n_match = 1,
				    .action = LP_ACTION_RUN,
				    .run = {generate, 1},
				    .timeout_ms = 5000};

	rig_write(rig, "build", "#!/bin/sh\nexit 1\n");
	rig_write(rig, "generate", "#!/bin/sh\necho generated `tr '\\0' ' ' <$LIVEPUSH_CHANGED`\n");
	start(rig, 5000);
	rig_applied(rig, 2, "a.c");
	(void)rig_wait(rig, "failed RULE");
	other = rig->conf;
	other.rules = &rule;
	other.n_rules = 1;
	lp_sup_reconfigure(rig->sup, &other);
	memset(rig->rules, 0, sizeof(rig->rules)); /* the old ones may go */
	lp_sup_restart(rig->sup, 3);
	(void)rig_wait(rig, "settled 3");
	assert_non_null(strstr(lp_buf_text(&rig->out), "generated a.c\n"));
	rig_stop(rig);
	lp_sup_reconfigure(rig->sup, &rig->conf);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(run__goes_before_the_restart_in_rule_order),
		RIG_TEST(run__list_of_changes_goes_where_tmpdir_says),
		RIG_TEST(run__failure_keeps_the_old_and_is_tried_again),
		RIG_TEST(run__first_start_waits_for_it),
		RIG_TEST(run__timeout_ends_the_whole_group),
		RIG_TEST(run__missing_command_is_named),
		RIG_TEST(run__change_meanwhile_runs_it_again),
		RIG_TEST(run__stop_meanwhile_ends_it),
		RIG_TEST(signal__reaches_the_app_without_a_restart),
		RIG_TEST(signal__starts_the_app_when_none_ran),
		RIG_TEST(reconfigure__uses_the_new_rules),
	};

	return cmocka_run_group_tests_name("supervise_rules", tests, NULL, NULL);
}
