/* cli/cmd_hold.c: livepush hold and release: for whoever writes many files that belong together. */
#include "cli/command.h"
#include "cli/control.h"
#include "cli/number.h"
#include "cli/output.h"
#include "common/base/lp_buf.h"

#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#define DEFAULT_MS     60000u
#define TIMEOUT_MS     5000u
#define WHO_MAX_BYTES  100
#define NOT_FOUND      127 /* as shells have it */
#define NOT_EXECUTABLE 126

/* Who is said to hold: the command, or this process's caller. */
static void name_holder(const struct lp_args *args, struct lp_buf *who)
{
	int r = 0;

	lp_buf_init(who, WHO_MAX_BYTES);
	for (size_t i = 0; args->child && args->child[i] && r == 0; i++)
		r = lp_buf_addf(who, "%s%s", i > 0 ? " " : "", args->child[i]);
	/* What does not fit is left out. */
	if (!args->child)
		r = lp_buf_addf(who, "livepush hold (pid %d)", (int)getppid());
	(void)r;
}

static int spawn(pid_t *pid, char *const *argv, const sigset_t *mask)
{
	posix_spawnattr_t attr;
	sigset_t defaults;
	int e;

	(void)sigemptyset(&defaults);
	(void)sigaddset(&defaults, SIGPIPE);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setsigdefault(&attr, &defaults);
	(void)posix_spawnattr_setsigmask(&attr, mask);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	e = posix_spawnp(pid, argv[0], NULL, &attr, argv, environ);
	(void)posix_spawnattr_destroy(&attr);
	return e;
}

/* Waits for its end. What somebody sends to this process is meant for it, too; what a terminal
 * sends it has got by itself. */
static int await(pid_t pid, const sigset_t *signals)
{
	int status = 0;

	for (;;) {
		pid_t ended = waitpid(pid, &status, WNOHANG);
		siginfo_t info = {0};

		if (ended == pid || (ended < 0 && errno != EINTR))
			return status;
		if (sigwaitinfo(signals, &info) > 0 && info.si_signo != SIGCHLD &&
		    info.si_code <= 0)
			(void)kill(pid, info.si_signo);
	}
}

/* Runs the command to its end. Returns its exit status as shells report it. */
static int run(const struct lp_args *args)
{
	static const int passed[] = {SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
	const struct sigaction usual = {.sa_handler = SIG_DFL};
	sigset_t signals, before;
	int e, status;
	pid_t pid;

	(void)sigemptyset(&signals);
	for (size_t i = 0; i < LP_COUNT_OF(passed); i++)
		(void)sigaddset(&signals, passed[i]);
	(void)sigprocmask(SIG_BLOCK, &signals, &before);
	/* Where its caller ignored it there would be no status. */
	(void)sigaction(SIGCHLD, &usual, NULL);
	e = spawn(&pid, args->child, &before);
	if (e != 0) {
		(void)lp_out_fail(args->json, "%s: cannot be run: %s", args->child[0], strerror(e));
		return e == ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
	}
	status = await(pid, &signals);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int lp_cmd_hold(const struct lp_args *args)
{
	const char *seconds = lp_arg(args, "for"), *app = args->words[0];
	uint32_t for_ms = args->child ? 0 : DEFAULT_MS;
	LP_AUTO_CLOSE int session = -1;
	struct lp_err err = {0};
	json_t *answer = NULL;
	struct lp_buf who;
	int r;

	if (seconds && (lp_parse_seconds(seconds, &for_ms) < 0 || for_ms == 0))
		return lp_out_misuse(args, "for", LP_SECONDS_NOT_0);
	name_holder(args, &who);
	r = lp_control_ask_open(&answer, &session, app,
				json_pack("{s:s, s:o, s:I, s:b}", "cmd", "hold", "who",
					  lp_out_text(who.data, who.len), "for_ms",
					  (json_int_t)for_ms, "attached", args->child != NULL),
				TIMEOUT_MS, &err);
	lp_buf_finish(&who);
	if (r == 0 && !lp_control_is_ok(answer, app, &err))
		r = -EIO;
	json_decref(answer);
	if (r < 0)
		return lp_out_fail(args->json, "%s", err.msg);
	if (args->child)
		return run(args); /* the end of this process is the end of the hold */
	if (args->json)
		(void)lp_out_json(json_pack("{s:s, s:s, s:I}", "event", "held", "app", app,
					    "for_ms", (json_int_t)for_ms));
	return LP_EXIT_OK;
}

int lp_cmd_release(const struct lp_args *args)
{
	const char *app = args->words[0], *held;
	struct lp_err err = {0};
	json_t *answer = NULL;
	json_int_t holds;

	if (lp_control_ask(&answer, app, json_pack("{s:s}", "cmd", "release"), TIMEOUT_MS, &err) <
	    0)
		return lp_out_fail(args->json, "%s", err.msg);
	if (!lp_control_is_ok(answer, app, &err)) {
		json_decref(answer);
		return lp_out_fail(args->json, "%s", err.msg);
	}
	holds = json_integer_value(json_object_get(answer, "holds"));
	held = json_string_value(json_object_get(answer, "held"));
	if (args->json)
		(void)lp_out_json(json_pack("{s:s, s:s, s:I, s:s*}", "event", "released", "app",
					    app, "holds", holds, "held", held));
	else if (held)
		lp_out_say("livepush: %s: still held by %s", app, held);
	else if (holds == 0)
		lp_out_say("livepush: %s: nothing held it; a hold may have been over", app);
	json_decref(answer);
	return LP_EXIT_OK;
}
