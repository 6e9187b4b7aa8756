/* cli/command.h: a command of livepush as a row: its name, words, options and function. Help,
 * checks and manual pages come from the same rows. */
#ifndef LP_CLI_COMMAND_H
#define LP_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

enum lp_exit {
	LP_EXIT_OK = 0,
	LP_EXIT_FAILED = 1,
	LP_EXIT_USAGE = 2,
	LP_EXIT_INTERRUPTED = 130, /* as shells have it */
};

#define LP_ARGS_MAX    2
#define LP_OPTIONS_MAX 12

/* arg: the name of its value, NULL for a flag. letter: short form, or 0. */
struct lp_option {
	const char *name;
	char letter;
	const char *arg;
	const char *help;
};

struct lp_args;

/* args: what to write behind the name, for help. min, max: how many words. runs: what stands behind
 * "--" is a command of its own. app: which of the words is the app, from 1 on; 0: none. */
struct lp_command {
	const char *name;
	const char *args;
	const char *summary;
	const char *details;
	int min;
	int max;
	int app;
	bool runs;
	struct lp_option options[LP_OPTIONS_MAX];
	int (*run)(const struct lp_args *args);
};

/* A parsed command line. values[i] belongs to command->options[i]: NULL when it was not given, ""
 * for a flag. child: the words behind "--" of a command that runs one, NULL-terminated; NULL
 * without any. All borrowed from argv. */
struct lp_args {
	const struct lp_command *command;
	const char *values[LP_OPTIONS_MAX];
	const char *words[LP_ARGS_MAX];
	int n_words;
	char *const *child;
	bool json;
};

/* Parses argv (the command's name first). Returns -1 to go on, or the exit status to end with (help
 * was printed, or the usage was wrong and was said so). */
int lp_args_parse(struct lp_args *out, const struct lp_command *command, int argc, char **argv);

/* Whether --json is among the words before "--". */
bool lp_args_want_json(int argc, char *const *argv);

/* The value of an option of the command, "" for a flag that was given, or NULL. One that takes a
 * value and was not given has that of its variable: LIVEPUSH_TIMEOUT for --timeout. */
const char *lp_arg(const struct lp_args *args, const char *name);

/* Whether the option stands on the command line itself. */
bool lp_arg_is_given(const struct lp_args *args, const char *name);

/* Prints the help of one command to stdout. */
void lp_command_help(const struct lp_command *command);

/* All commands, ended by one without a name. */
extern const struct lp_command lp_commands[];

int lp_cmd_mount(const struct lp_args *args);
int lp_cmd_watch(const struct lp_args *args);
int lp_cmd_push(const struct lp_args *args);
int lp_cmd_flush(const struct lp_args *args);
int lp_cmd_hold(const struct lp_args *args);
int lp_cmd_release(const struct lp_args *args);
int lp_cmd_verify(const struct lp_args *args);
int lp_cmd_why(const struct lp_args *args);
int lp_cmd_restart(const struct lp_args *args);
int lp_cmd_status(const struct lp_args *args);
int lp_cmd_history(const struct lp_args *args);
int lp_cmd_rollback(const struct lp_args *args);
int lp_cmd_logs(const struct lp_args *args);
int lp_cmd_open(const struct lp_args *args);
int lp_cmd_init(const struct lp_args *args);
int lp_cmd_doctor(const struct lp_args *args);
int lp_cmd_version(const struct lp_args *args);
int lp_cmd_help(const struct lp_args *args);

#endif
