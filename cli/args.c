/* cli/args.c: command lines, by the rows of the command table. */
#include "cli/command.h"

#include "cli/output.h"
#include "common/base/lp_env.h"
#include "common/base/lp_util.h"

#include <stdio.h>
#include <string.h>

const char *lp_arg(const struct lp_args *args, const char *name)
{
	const struct lp_option *o = args->command->options;

	for (size_t i = 0; i < LP_OPTIONS_MAX && o[i].name; i++)
		if (strcmp(o[i].name, name) == 0)
			return args->values[i] || !o[i].arg ? args->values[i] : lp_env_option(name);
	return NULL;
}

bool lp_arg_is_given(const struct lp_args *args, const char *name)
{
	const struct lp_option *o = args->command->options;

	for (size_t i = 0; i < LP_OPTIONS_MAX && o[i].name; i++)
		if (strcmp(o[i].name, name) == 0)
			return args->values[i] != NULL;
	return false;
}

static void print_option(char letter, const char *name, const char *arg, const char *help)
{
	char left[64];

	(void)snprintf(left, sizeof(left), "%c%c%s --%s%s%s", letter ? '-' : ' ',
		       letter ? letter : ' ', letter ? "," : " ", name, arg ? " " : "",
		       arg ? arg : "");
	(void)printf("  %-28s %s\n", left, help);
}

void lp_command_help(const struct lp_command *c)
{
	(void)printf("usage: livepush %s%s%s [OPTION…]\n\n%s.\n", c->name, c->args[0] ? " " : "",
		     c->args, c->summary);
	if (c->details)
		(void)printf("%s\n", c->details);
	(void)printf("\n");
	for (size_t i = 0; i < LP_OPTIONS_MAX && c->options[i].name; i++)
		print_option(c->options[i].letter, c->options[i].name, c->options[i].arg,
			     c->options[i].help);
	print_option(0, "json", NULL, "one JSON object a line on stdout");
	print_option('h', "help", NULL, "this text");
}

static int misuse(const struct lp_args *args, const char *what, const char *text)
{
	const char *name = args->command->name;

	(void)lp_out_fail(args->json, "%s: %s%s; try 'livepush %s --help'", name, what, text, name);
	return LP_EXIT_USAGE;
}

bool lp_args_want_json(int argc, char *const *argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

/* Finds the option of `--name[=value]` or `-x`. Returns its row, or -1. */
static int find_option(const struct lp_command *c, const char *word, const char **value)
{
	const char *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);

	*value = NULL;
	for (int i = 0; i < LP_OPTIONS_MAX && c->options[i].name; i++) {
		const struct lp_option *o = &c->options[i];

		if (word[1] == '-'
			    ? len - 2 == strlen(o->name) && strncmp(word + 2, o->name, len - 2) == 0
			    : len == 2 && o->letter && word[1] == o->letter) {
			*value = equals ? equals + 1 : NULL;
			return i;
		}
	}
	return -1;
}

/* Takes argv[*i] and perhaps its value. Returns as lp_args_parse. */
static int take_option(struct lp_args *out, int argc, char **argv, int *i)
{
	const struct lp_command *c = out->command;
	const char *word = argv[*i], *value;
	int at;

	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		lp_command_help(c);
		return LP_EXIT_OK;
	}
	if (strcmp(word, "--json") == 0)
		return -1;
	at = find_option(c, word, &value);
	if (at < 0)
		return misuse(out, word, ": no such option");
	if (!c->options[at].arg) {
		if (value)
			return misuse(out, word, ": takes no value");
		out->values[at] = "";
		return -1;
	}
	if (!value && *i + 1 < argc)
		value = argv[++*i];
	if (!value || !value[0])
		return misuse(out, word, ": needs a value");
	out->values[at] = value;
	return -1;
}

int lp_args_parse(struct lp_args *out, const struct lp_command *command, int argc, char **argv)
{
	bool only_words = false;

	/* What is wrong before it is said in JSON, too. */
	*out = (struct lp_args){.command = command, .json = lp_args_want_json(argc, argv)};
	for (int i = 1; i < argc; i++) {
		if (!only_words && strcmp(argv[i], "--") == 0) {
			only_words = true;
			if (!command->runs)
				continue;
			if (i + 1 == argc)
				return misuse(out, "--", ": needs a command behind it");
			out->child = argv + i + 1;
			break;
		} else if (!only_words && argv[i][0] == '-' && argv[i][1]) {
			int r = take_option(out, argc, argv, &i);

			if (r >= 0)
				return r;
		} else if (out->n_words < command->max) {
			out->words[out->n_words++] = argv[i];
		} else {
			return misuse(out, argv[i], ": one word too many");
		}
	}
	if (out->n_words < command->min)
		return misuse(out, "needs ", command->args);
	return -1;
}
