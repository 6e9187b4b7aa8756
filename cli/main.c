/* cli/main.c: the table of commands and its dispatch. */
#include "cli/command.h"

#include "cli/output.h"
#include "cli/target.h"
#include "common/base/lp_log.h"
#include "common/conf/conf_word.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TARGET_HELP                                                                                \
	"APP is a ws:// or wss:// address, a target of that name in DIR/livepush.yml, or a name "  \
	"of\n"                                                                                     \
	"your choice: then the app runs on this machine, in a copy of DIR, until the command "     \
	"ends."

#define SECRET_OPTION                                                                              \
	{                                                                                          \
		"secret-file", 0, "FILE", "the secret of APP (default: $LIVEPUSH_SECRET)"          \
	}
#define TLS_OPTIONS                                                                                \
	{"ca", 0, "FILE", "authorities to trust for wss:// (default: the system's)"},              \
	{                                                                                          \
		"pin", 0, "sha256//KEY", "the only public key to accept there; several by ';'"     \
	}
#define TAKE_OVER_OPTION                                                                           \
	{                                                                                          \
		"take-over", 0, NULL, "end another mount or watch of APP"                          \
	}

#define MASS_DELETE_OPTION                                                                         \
	{                                                                                          \
		"allow-mass-delete", 0, NULL, "delete more than half of the tree without asking"   \
	}
#define RATE_OPTION                                                                                \
	{                                                                                          \
		"max-rate", 0, "BYTES[k|M]", "send contents at most so fast, a second"             \
	}

const struct lp_command lp_commands[] = {
	{.name = "mount",
	 .args = "DIR APP",
	 .summary = "Mount DIR over itself and mirror every save into APP",
	 .details = TARGET_HELP,
	 .min = 2,
	 .max = 2,
	 .app = 2,
	 .options = {{"at", 0, "MOUNTPOINT", "mount there instead of over DIR"},
		     {"sync", 0, NULL, "fsync and close return when every instance has it"},
		     {"sync-timeout", 0, "SECONDS", "but after so long at the latest (default: 5)"},
		     {"sync-errors", 0, NULL, "and then with EIO instead of success"},
		     MASS_DELETE_OPTION,
		     RATE_OPTION,
		     TAKE_OVER_OPTION,
		     SECRET_OPTION,
		     TLS_OPTIONS},
	 .run = lp_cmd_mount},
	{.name = "watch",
	 .args = "DIR APP",
	 .summary = "Watch DIR with inotify and mirror every save into APP",
	 .details = TARGET_HELP,
	 .min = 2,
	 .max = 2,
	 .app = 2,
	 .options = {MASS_DELETE_OPTION, RATE_OPTION, TAKE_OVER_OPTION, SECRET_OPTION, TLS_OPTIONS},
	 .run = lp_cmd_watch},
	{.name = "push",
	 .args = "DIR APP",
	 .summary = "Make APP equal to DIR once, and print what changed (NEW, MOD, DEL)",
	 .details = TARGET_HELP,
	 .min = 2,
	 .max = 2,
	 .app = 2,
	 .options = {{"dry-run", 'n', NULL, "only print; change nothing"},
		     MASS_DELETE_OPTION,
		     RATE_OPTION,
		     TAKE_OVER_OPTION,
		     SECRET_OPTION,
		     TLS_OPTIONS},
	 .run = lp_cmd_push},
	{.name = "flush",
	 .args = "APP",
	 .summary = "Wait until all that was saved so far runs healthily on every instance",
	 .min = 1,
	 .max = 1,
	 .app = 1,
	 .options = {{"timeout", 't', "SECONDS", "give up after that long (default: 30)"}},
	 .run = lp_cmd_flush},
	{.name = "hold",
	 .args = "APP [-- COMMAND…]",
	 .summary = "Hold changes back until release, or while COMMAND runs; then send them as one",
	 .min = 1,
	 .max = 1,
	 .app = 1,
	 .runs = true,
	 .options = {{"for", 0, "SECONDS",
		      "release by itself after that long (default: 60; COMMAND: at its end)"}},
	 .run = lp_cmd_hold},
	{.name = "release",
	 .args = "APP",
	 .summary = "End every hold of APP",
	 .min = 1,
	 .max = 1,
	 .app = 1,
	 .run = lp_cmd_release},
	{.name = "why",
	 .args = "PATH [APP]",
	 .summary = "Say which rule ignores PATH, or what saving it does and who has it",
	 .min = 1,
	 .max = 2,
	 .app = 2,
	 .run = lp_cmd_why},
	{.name = "verify",
	 .args = "APP [DIR]",
	 .summary = "Compare every file of every instance, show what drifted, and mend it",
	 .details = "DIR is needed when no mount or watch of APP runs here: it is pushed first.",
	 .min = 1,
	 .max = 2,
	 .app = 1,
	 .options = {{"timeout", 't', "SECONDS", "give up after that long (default: 300)"},
		     MASS_DELETE_OPTION,
		     TAKE_OVER_OPTION,
		     SECRET_OPTION,
		     TLS_OPTIONS},
	 .run = lp_cmd_verify},
	{.name = "restart",
	 .args = "APP",
	 .summary = "Restart APP on every instance and wait until it serves",
	 .min = 1,
	 .max = 1,
	 .app = 1,
	 .options = {{"timeout", 't', "SECONDS", "give up after that long (default: 60)"},
		     SECRET_OPTION,
		     TLS_OPTIONS},
	 .run = lp_cmd_restart},
	{.name = "history",
	 .args = "APP",
	 .summary = "List what APP was given, revision by revision, and whether it was healthy",
	 .min = 1,
	 .max = 1,
	 .app = 1,
	 .options = {{"lines", 'n', "N", "revisions at most (default: 20, at most 128)"},
		     SECRET_OPTION,
		     TLS_OPTIONS},
	 .run = lp_cmd_history},
	{.name = "rollback",
	 .args = "APP [REVISION]",
	 .summary = "Put APP back to REVISION, or to the last healthy one before, and restart it",
	 .details = "The workspace stays as it is. A mount or watch of APP leaves APP there until\n"
		    "the next save, which brings everything again.",
	 .min = 1,
	 .max = 2,
	 .app = 1,
	 .options = {{"timeout", 't', "SECONDS", "give up after that long (default: 60)"},
		     SECRET_OPTION,
		     TLS_OPTIONS},
	 .run = lp_cmd_rollback},
	{.name = "status",
	 .args = "[APP]",
	 .summary = "Show what runs: one app's instances, or all apps mirrored from this machine",
	 .min = 0,
	 .max = 1,
	 .app = 1,
	 .options = {{"timeline", 0, NULL, "show how long each step of the last saves took"},
		     SECRET_OPTION,
		     TLS_OPTIONS},
	 .run = lp_cmd_status},
	{.name = "logs",
	 .args = "APP",
	 .summary = "Print the output of APP",
	 .min = 1,
	 .max = 1,
	 .app = 1,
	 .options = {{"follow", 'f', NULL, "go on until interrupted"},
		     {"lines", 'n', "N", "lines of the past (default: 100, at most 1000)"},
		     {"timestamps", 't', NULL, "begin each line with when it was printed (UTC)"},
		     SECRET_OPTION,
		     TLS_OPTIONS},
	 .run = lp_cmd_logs},
	{.name = "open",
	 .args = "APP",
	 .summary = "Print a link to the page of each instance of APP, for a browser",
	 .details = "Whoever has the link gets in until it expires, without knowing the secret.",
	 .min = 1,
	 .max = 1,
	 .app = 1,
	 .options = {{"for", 0, "SECONDS", "good for that long (default: 600)"}, SECRET_OPTION},
	 .run = lp_cmd_open},
	{.name = "init",
	 .args = "[DIR]",
	 .summary = "Write a livepush.yml that fits the project in DIR (default: here)",
	 .min = 0,
	 .max = 1,
	 .options = {{"force", 0, NULL, "replace a livepush.yml that is there"}},
	 .run = lp_cmd_init},
	{.name = "doctor",
	 .args = "[DIR] [APP]",
	 .summary = "Check what a mount or watch of DIR needs, line by line",
	 .min = 0,
	 .max = 2,
	 .app = 2,
	 .options = {SECRET_OPTION, TLS_OPTIONS},
	 .run = lp_cmd_doctor},
	{.name = "version", .args = "", .summary = "Print the version", .run = lp_cmd_version},
	{.name = "help",
	 .args = "[COMMAND]",
	 .summary = "Explain a command, or list all",
	 .max = 1,
	 .run = lp_cmd_help},
	{.name = NULL},
};

static const struct lp_command *find(const char *name)
{
	for (const struct lp_command *c = lp_commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

int lp_cmd_version(const struct lp_args *args)
{
	if (args->json)
		(void)printf("{\"version\":\"%s\",\"protocol\":\"livepush.v1\"}\n", LP_VERSION);
	else
		(void)printf("livepush %s\n", LP_VERSION);
	return LP_EXIT_OK;
}

static int unknown(const char *name, bool json)
{
	static const size_t stride = sizeof(struct lp_command);
	const char *meant =
		conf_nearest(name, &lp_commands[0].name, LP_COUNT_OF(lp_commands) - 1, stride);

	(void)lp_out_fail(json, "%s: no such command; %s%s%stry 'livepush help'", name,
			  meant ? "did you mean '" : "", meant ? meant : "", meant ? "'? " : "");
	return LP_EXIT_USAGE;
}

static void print_json(const struct lp_command *c)
{
	json_t *options = json_array();

	for (size_t i = 0; i < LP_OPTIONS_MAX && c->options[i].name; i++)
		(void)json_array_append_new(
			options, json_pack("{s:s, s:s?, s:s}", "name", c->options[i].name, "value",
					   c->options[i].arg, "help", c->options[i].help));
	(void)lp_out_json(json_pack("{s:s, s:s, s:s, s:o}", "command", c->name, "args", c->args,
				    "summary", c->summary, "options", options));
}

static void print_list(void)
{
	(void)printf("usage: livepush COMMAND [ARGUMENT…]\n"
		     "Save a file and the running app runs it.\n\n");
	for (const struct lp_command *c = lp_commands; c->name; c++)
		(void)printf("  %-9s %s\n", c->name, c->summary);
	(void)printf("\n'livepush COMMAND --help' explains one.\n");
}

int lp_cmd_help(const struct lp_args *args)
{
	const struct lp_command *c = args->n_words > 0 ? find(args->words[0]) : NULL;

	if (!c && args->n_words > 0)
		return unknown(args->words[0], args->json);
	if (c && args->json)
		print_json(c);
	else if (c)
		lp_command_help(c);
	else if (!args->json)
		print_list();
	for (c = lp_commands; args->json && args->n_words == 0 && c->name; c++)
		print_json(c);
	return LP_EXIT_OK;
}

/* A level that is none would leave somebody without what they look for. */
static int take_log_level(bool json)
{
	const char *name = getenv("LIVEPUSH_LOG");
	int level = name && name[0] ? lp_log_level_by_name(name) : LP_WARN;

	if (level < 0) {
		(void)lp_out_fail(json,
				  "'%s' in LIVEPUSH_LOG is no log level: trace, debug, info, warn "
				  "or error",
				  name);
		return -1;
	}
	lp_log_set_level((enum lp_log_level)level);
	return 0;
}

/* What many commands have in common. Returns false when it is wrong, which has been said. */
static bool settle_common(const struct lp_args *args)
{
	const char *pins = lp_arg(args, "pin");
	int app = args->command->app;
	struct lp_err err = {0};

	if (app == 2 && args->n_words > 0 && lp_target_is_url(args->words[0])) {
		(void)lp_out_fail(args->json, "%s: %s is in the wrong place: livepush %s %s",
				  args->command->name, args->words[0], args->command->name,
				  args->command->args);
		return false;
	}
	if (app > 0 && app <= args->n_words &&
	    lp_target_check_name(args->words[app - 1], &err) < 0) {
		(void)lp_out_err(args->json, &err);
		return false;
	}
	if (pins && !lp_target_are_pins(pins)) {
		(void)lp_out_misuse(args, "pin",
				    "pin: \"sha256//\" and the digest of a public key in base64; "
				    "several with ';' between them");
		return false;
	}
	lp_target_trust(lp_arg(args, "ca"), pins,
			lp_arg_is_given(args, "ca") || lp_arg_is_given(args, "pin"));
	return true;
}

int main(int argc, char **argv)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	const char *name = argc > 1 ? argv[1] : "help";
	bool json = lp_args_want_json(argc, argv);
	const struct lp_command *c;
	struct lp_args args;
	int r;

	/* A reader of our output that goes away is seen by write's error. */
	(void)sigaction(SIGPIPE, &ignore, NULL);
	if (take_log_level(json) < 0)
		return LP_EXIT_USAGE;
	if (strcmp(name, "--version") == 0)
		name = "version";
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		name = "help";
	c = find(name);
	if (!c)
		return unknown(name, json);
	r = lp_args_parse(&args, c, argc > 1 ? argc - 1 : 1, argc > 1 ? argv + 1 : argv);
	if (r >= 0)
		return r;
	if (!settle_common(&args))
		return LP_EXIT_USAGE;
	r = c->run(&args);
	if (fflush(stdout) != 0 && r == LP_EXIT_OK)
		r = LP_EXIT_FAILED;
	return r;
}
