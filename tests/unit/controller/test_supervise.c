/* test_supervise.c: starting, swapping, failing starts, coalescing, output. */
#include "tests/unit/controller/test_supervise_rig.h"

#include "controller/sup_step.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void start__serves_and_settles(void **state)
{
	struct rig *rig = *state;
	struct lp_sup_status status;

	rig_create(rig);
	lp_sup_status(rig->sup, &status);
	assert_int_equal(status.state, LP_SUP_IDLE);
	lp_sup_start(rig->sup, 1);
	assert_int_equal(rig->log.len, 0); /* nothing is told from inside the call */
	(void)rig_wait(rig, "settled 1");
	assert_string_equal(lp_buf_text(&rig->log), "hold\nforward 1\nrestarted 1 1\nsettled 1\n");
	assert_int_equal(rig_ask(rig), 1);
	assert_true(rig->took_us > 0);
	lp_sup_status(rig->sup, &status);
	assert_int_equal(status.state, LP_SUP_SERVING);
	assert_string_equal(lp_sup_state_name(status.state), "serving");
	assert_int_equal(status.generation, 1);
	assert_int_equal(status.revision, 1);
	assert_int_equal(status.settled, 1);
	assert_true(rig_alive((long)status.pid));
	rig_stop(rig);
	assert_false(rig_alive((long)status.pid));
}

static void start__without_a_command_settles(void **state)
{
	struct rig *rig = *state;

	rig->conf.command.n = 0;
	rig_create(rig);
	lp_sup_start(rig->sup, 0);
	(void)rig_wait(rig, "settled 0");
	rig_applied(rig, 4, "a");
	(void)rig_wait(rig, "settled 4");
	assert_string_equal(lp_buf_text(&rig->log), "settled 0\nsettled 4\n");
	rig_stop(rig);
}

static void start__gives_environment_and_clean_descriptors(void **state)
{
	struct lp_conf_env env[] = {{(char[]){"EXTRA"}, (char[]){"two"}}};
	struct rig *rig = *state;
	char port[32];
	const char *out;

	rig->conf.env = env;
	rig->conf.n_env = 1;
	rig_mode(rig, "env");
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	out = lp_buf_text(&rig->out);
	(void)snprintf(port, sizeof(port), "PORT=%u\n", rig->port);
	assert_non_null(strstr(out, port));
	assert_non_null(strstr(out, "LIVEPUSH_GENERATION=1\n"));
	assert_non_null(strstr(out, "BASE=one\n"));
	assert_non_null(strstr(out, "EXTRA=two\n"));
	assert_non_null(strstr(out, "fds [0, 1, 2]\n"));
	assert_non_null(strstr(out, "stdin /dev/null\n"));
	assert_non_null(strstr(out, "group True\n"));
	rig_stop(rig);
}

static bool is_dead(struct rig *rig, const void *pid)
{
	(void)rig;
	return !rig_alive(*(const long *)pid);
}

static void applied__swaps_and_retires_the_old(void **state)
{
	struct rig *rig = *state;
	struct lp_sup_status status;
	long first;

	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	lp_sup_status(rig->sup, &status);
	first = (long)status.pid;
	rig_applied(rig, 2, "app.py");
	(void)rig_wait(rig, "settled 2");
	assert_string_equal(lp_buf_text(&rig->log), "hold\nforward 1\nrestarted 1 1\nsettled 1\n"
						    "forward 2\nrestarted 2 2\nsettled 2\n");
	assert_int_equal(rig_ask(rig), 2);
	rig_until(rig, is_dead, &first);
	rig_stop(rig);
}

static void applied__cuts_what_does_not_drain(void **state)
{
	struct rig *rig = *state;
	struct lp_sup_status status;
	long first;

	rig->drain = false;
	rig->conf.restart.drain_ms = 300;
	rig->conf.restart.streams_ms = 300;
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	lp_sup_status(rig->sup, &status);
	first = (long)status.pid;
	lp_sup_restart(rig->sup, 1);
	(void)rig_wait(rig, "restarted 1 2");
	assert_int_equal(rig_count(rig, "cut"), 0);
	assert_true(rig_alive(first));
	(void)rig_wait(rig, "cut 1");
	rig_until(rig, is_dead, &first);
	rig_stop(rig);
}

static void applied__leaves_streams_a_time_of_their_own(void **state)
{
	struct rig *rig = *state;

	rig->drain = false;
	rig->conf.restart.drain_ms = 100;
	rig->conf.restart.streams_ms = 300;
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	lp_sup_restart(rig->sup, 1);
	(void)rig_wait(rig, "cut requests 1");
	assert_int_equal(rig_count(rig, "end streams"), 0);
	(void)rig_wait(rig, "end streams 1");
	assert_int_equal(rig_count(rig, "cut 1"), 0);
	(void)rig_wait(rig, "cut 1");
	assert_int_equal(rig_count(rig, "cut requests 1"), 1);
	assert_int_equal(rig_count(rig, "end streams 1"), 1);
	rig_stop(rig);
}

static void applied__failing_start_keeps_the_old(void **state)
{
	struct rig *rig = *state;
	struct lp_sup_status status;

	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	rig_mode(rig, "exit 3");
	rig_applied(rig, 2, "app.py");
	assert_string_equal(rig_wait(rig, "failed"),
			    "failed START 2 2 the app exited with status 3 before it was healthy");
	assert_string_equal(rig->excerpt, "Traceback: boom");
	assert_int_equal(rig_ask(rig), 1);
	lp_sup_status(rig->sup, &status);
	assert_int_equal(status.state, LP_SUP_SERVING);
	assert_int_equal(status.generation, 1);
	rig_mode(rig, "segv");
	rig_applied(rig, 3, "app.py");
	assert_non_null(strstr(rig_wait(rig, "failed"), "was killed by SIGSEGV"));
	/* A change that asks for nothing by itself tries again what is owed. */
	rig->rules[0] = (struct lp_conf_rule){
		.match = (char *[]){(char[]){"*.md"}}, .n_match = 1, .action = LP_ACTION_NONE};
	rig->conf.n_rules = 1;
	lp_sup_reconfigure(rig->sup, &rig->conf);
	rig_mode(rig, "serve");
	rig_applied(rig, 4, "README.md");
	(void)rig_wait(rig, "settled 4");
	assert_int_equal(rig_ask(rig), 4);
	assert_int_equal(rig_count(rig, "refuse"), 0);
	assert_int_equal(rig_count(rig, "settled"), 2);
	rig_stop(rig);
}

static void start__first_failure_is_refused_until_a_change(void **state)
{
	struct rig *rig = *state;
	struct lp_sup_status status;

	rig_mode(rig, "exit 1");
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	assert_string_equal(rig_wait(rig, "refuse"),
			    "refuse The app could not be started: the app exited with status 1 "
			    "before it was healthy.");
	(void)rig_wait(rig, "failed START 1 1");
	lp_sup_status(rig->sup, &status);
	assert_int_equal(status.state, LP_SUP_FAILED);
	rig_mode(rig, "serve");
	rig_applied(rig, 2, "app.py");
	(void)rig_wait(rig, "hold");
	(void)rig_wait(rig, "forward 2");
	(void)rig_wait(rig, "settled 2");
	rig_stop(rig);
}

static void start__unknown_command_is_named(void **state)
{
	static const struct {
		const char *argv0;
		const char *error;
	} cases[] = {
		{"no-such-command-here",
		 "failed START 1 1 command 'no-such-command-here' not found in PATH ("},
		{"./missing", "failed START 1 1 cannot run './missing': no such file"},
		{"./mode", "failed START 1 1 cannot run './mode': not an executable file"},
		{"./bad", "failed START 1 1 cannot run './bad': no such file, or the interpreter"},
	};
	struct rig *rig = *state;
	char name[64];
	char *argv[] = {name, NULL};

	rig->conf.command = (struct lp_conf_command){.argv = argv, .n = 1};
	rig_write(rig, "bad", "#!/no/such/interpreter\n");
	assert_int_equal(fchmodat(rig->dir_fd, "mode", 0600, 0), 0);
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		(void)snprintf(name, sizeof(name), "%s", cases[i].argv0);
		rig_create(rig);
		lp_sup_start(rig->sup, 1);
		assert_non_null(strstr(rig_wait(rig, "failed"), cases[i].error));
		assert_string_equal(rig->excerpt, "");
		rig_stop(rig);
		lp_sup_destroy(rig->sup);
		rig->sup = NULL;
	}
}

static void start__script_without_interpreter_runs_in_sh(void **state)
{
	struct rig *rig = *state;
	char *argv[] = {(char[]){"./run"}, (char[]){"a b"}, NULL};

	rig->conf.command = (struct lp_conf_command){.argv = argv, .n = 2};
	rig_write(rig, "run", "echo \"got $1\"\nexec python3 -S app.py\n");
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	assert_string_equal(lp_buf_text(&rig->out), "got a b\n");
	rig_stop(rig);
}

static void health__timeout_fails_the_start(void **state)
{
	struct rig *rig = *state;
	long pid;

	rig->conf.health.timeout_ms = 600;
	rig_mode(rig, "mute");
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	assert_non_null(strstr(rig_wait(rig, "failed HEALTH 1 1 not healthy after 600 ms: nothing "
					     "listens on 127.0.0.1:"),
			       "$PORT"));
	assert_string_equal(rig->excerpt, "I never listen");
	pid = rig_wait_number(rig, "mute.pid");
	rig_until(rig, is_dead, &pid);
	rig_stop(rig);
}

static void health__http_waits_for_the_status(void **state)
{
	struct rig *rig = *state;

	rig->conf.health.kind = LP_HEALTH_HTTP;
	rig->conf.health.path = (char[]){"/up?now"};
	rig_mode(rig, "http 3");
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	assert_int_equal(rig_wait_number(rig, "asked"), 4);
	assert_non_null(strstr(lp_buf_text(&rig->out), "GET /up?now HTTP/1.1\n"));
	rig_mode(rig, "http 1000000");
	rig->conf.health.timeout_ms = 700;
	rig_applied(rig, 2, "app.py");
	(void)rig_wait(rig, "failed HEALTH 2 2 not healthy after 700 ms: it answers with status "
			    "503 (wanted: 200 to 399)");
	rig_stop(rig);
}

static void applied__during_a_start_replaces_it(void **state)
{
	struct rig *rig = *state;
	long slow;

	rig_mode(rig, "slow 600");
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	slow = rig_wait_number(rig, "slow.1");
	rig_applied(rig, 2, "app.py");
	rig_applied(rig, 3, "lib.py");
	rig_mode(rig, "serve");
	(void)rig_wait(rig, "settled 3");
	/* Both changes came before the loop could look: one start for them. */
	assert_string_equal(lp_buf_text(&rig->log), "hold\nforward 2\nrestarted 3 2\nsettled 3\n");
	rig_until(rig, is_dead, &slow);
	rig_mode(rig, "slow 600");
	rig_applied(rig, 4, "app.py");
	(void)rig_wait_number(rig, "slow.3");
	rig_mode(rig, "serve");
	rig_applied(rig, 5, "app.py");
	(void)rig_wait(rig, "settled 5");
	assert_int_equal(rig_count(rig, "restarted 4"), 0);
	assert_int_equal(rig_count(rig, "failed"), 0);
	rig_stop(rig);
}

static void applied__none_during_a_start_lets_it_go_on(void **state)
{
	struct rig *rig = *state;

	rig->rules[0] = (struct lp_conf_rule){
		.match = (char *[]){(char[]){"*.md"}}, .n_match = 1, .action = LP_ACTION_NONE};
	rig->conf.n_rules = 1;
	rig_mode(rig, "slow 0.2");
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait_number(rig, "slow.1");
	rig_applied(rig, 2, "README.md");
	(void)rig_wait(rig, "settled 2");
	assert_string_equal(lp_buf_text(&rig->log), "hold\nforward 1\nrestarted 2 1\nsettled 2\n");
	rig_stop(rig);
}

static bool long_line_came(struct rig *rig, const void *arg)
{
	(void)arg;
	return rig->out.len >= 256 + (1u << 20) + 1;
}

static void output__passes_bytes_and_long_lines(void **state)
{
	struct rig *rig = *state;

	rig_mode(rig, "bytes");
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	rig_until(rig, long_line_came, NULL);
	for (size_t i = 0; i < 256; i++)
		assert_int_equal(rig->out.data[i], i);
	for (size_t i = 0; i < (1u << 20); i++)
		assert_int_equal(rig->out.data[256 + i], 'x');
	assert_int_equal(rig->out.data[256 + (1u << 20)], '\n');
	(void)rig_wait(rig, "settled 1");
	rig_stop(rig);
}

static void restart__again_and_again_leaves_no_process(void **state)
{
	struct rig *rig = *state;

	rig->drain = false; /* old generations pile up until the limit */
	rig_mode(rig, "stubborn");
	rig->conf.restart.grace_ms = 60000;
	rig->conf.restart.drain_ms = 60000;
	rig_create(rig);
	lp_sup_start(rig->sup, 1);
	(void)rig_wait(rig, "settled 1");
	for (uint64_t revision = 2; revision <= 16; revision++) {
		rig_applied(rig, revision, "app.py");
		(void)rig_wait(rig, "settled");
	}
	assert_true(rig_count(rig, "cut") >= 1);
	lp_sup_destroy(rig->sup);
	rig->sup = NULL;
	rig_create(rig);
	rig_stop(rig);
}

static void steps__are_all_thought_of(void **state)
{
	(void)state;
	for (int s = 0; s < LP_SUP_STATE_COUNT_; s++) {
		for (int e = 0; e < LP_EV_COUNT_; e++) {
			const struct lp_sup_step *step =
				lp_sup_step((enum lp_sup_state)s, (enum lp_sup_event)e);

			assert_true(step->known);
			/* What ended the serving generation, or a start, leaves no state that
			 * speaks of one. */
			if (step->acts & (LP_ACT_HOLD | LP_ACT_REFUSE))
				assert_true(step->to != LP_SUP_SERVING &&
					    step->to != LP_SUP_SWAPPING);
			if (step->acts & LP_ACT_FORWARD)
				assert_int_equal(step->to, LP_SUP_SERVING);
			assert_int_equal((step->acts & LP_ACT_DELAY) != 0,
					 step->to == LP_SUP_BACKOFF && step->acts != 0);
		}
		assert_non_null(lp_sup_state_name((enum lp_sup_state)s));
	}
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(start__serves_and_settles),
		RIG_TEST(start__without_a_command_settles),
		RIG_TEST(start__gives_environment_and_clean_descriptors),
		RIG_TEST(applied__swaps_and_retires_the_old),
		RIG_TEST(applied__cuts_what_does_not_drain),
		RIG_TEST(applied__leaves_streams_a_time_of_their_own),
		RIG_TEST(applied__failing_start_keeps_the_old),
		RIG_TEST(start__first_failure_is_refused_until_a_change),
		RIG_TEST(start__unknown_command_is_named),
		RIG_TEST(start__script_without_interpreter_runs_in_sh),
		RIG_TEST(health__timeout_fails_the_start),
		RIG_TEST(health__http_waits_for_the_status),
		RIG_TEST(applied__during_a_start_replaces_it),
		RIG_TEST(applied__none_during_a_start_lets_it_go_on),
		RIG_TEST(output__passes_bytes_and_long_lines),
		RIG_TEST(restart__again_and_again_leaves_no_process),
		cmocka_unit_test(steps__are_all_thought_of),
	};

	return cmocka_run_group_tests_name("supervise", tests, NULL, NULL);
}
