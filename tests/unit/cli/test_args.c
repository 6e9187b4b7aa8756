/* test_args.c: command lines against a row of the command table. */
#include "cli/command.h"
#include "common/base/lp_util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct lp_command command = {
	.name = "try",
	.args = "ONE [TWO] [-- COMMAND…]",
	.summary = "Try",
	.min = 1,
	.max = 2,
	.runs = true,
	.options = {{"flag", 'f', NULL, "a flag"}, {"some-value", 's', "VALUE", "a value"}},
};

static const struct lp_command plain = {.name = "plain", .args = "A", .summary = "P", .max = 2};

static int parse(struct lp_args *out, const struct lp_command *c, const char *const *words)
{
	int argc = 0;

	while (words[argc])
		argc++;
	return lp_args_parse(out, c, argc, (char **)(uintptr_t)words);
}

static void lp_args_parse__tells_words_options_and_values_apart(void **state)
{
	static const char *const words[] = {"try",    "one",    "-s",  "v1",
					    "--flag", "--json", "two", NULL};
	struct lp_args args;

	(void)state;
	assert_int_equal(parse(&args, &command, words), -1);
	assert_int_equal(args.n_words, 2);
	assert_string_equal(args.words[0], "one");
	assert_string_equal(args.words[1], "two");
	assert_string_equal(lp_arg(&args, "some-value"), "v1");
	assert_string_equal(lp_arg(&args, "flag"), "");
	assert_true(args.json);
	assert_null(args.child);
}

static void lp_args_parse__leaves_what_stands_behind_two_dashes_alone(void **state)
{
	static const char *const words[] = {"try", "one", "--", "cmd", "--flag", "--", "-x", NULL};
	static const char *const names[] = {"plain", "--", "--flag", "-x", NULL};
	struct lp_args args;

	(void)state;
	assert_int_equal(parse(&args, &command, words), -1);
	assert_int_equal(args.n_words, 1);
	assert_null(lp_arg(&args, "flag"));
	assert_ptr_equal(args.child, words + 3);
	/* A command that runs none takes them for words. */
	assert_int_equal(parse(&args, &plain, names), -1);
	assert_string_equal(args.words[0], "--flag");
	assert_string_equal(args.words[1], "-x");
	assert_null(args.child);
}

static void lp_args_parse__refuses_what_is_wrong(void **state)
{
	static const char *const rows[][6] = {
		{"try", NULL},
		{"try", "a", "b", "c", NULL},
		{"try", "a", "--nothing", NULL},
		{"try", "a", "-x", NULL},
		{"try", "a", "--flag=1", NULL},
		{"try", "a", "--some-value", NULL},
		{"try", "a", "--", NULL},
	};
	struct lp_args args;

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(rows); i++)
		assert_int_equal(parse(&args, &command, rows[i]), LP_EXIT_USAGE);
}

static void lp_arg__takes_the_variable_of_an_option_with_a_value(void **state)
{
	static const char *const words[] = {"try", "one", NULL};
	static const char *const given[] = {"try", "one", "--some-value=flag wins", NULL};
	struct lp_args args;

	(void)state;
	assert_int_equal(setenv("LIVEPUSH_SOME_VALUE", "by variable", 1), 0);
	assert_int_equal(setenv("LIVEPUSH_FLAG", "1", 1), 0);
	assert_int_equal(parse(&args, &command, words), -1);
	assert_string_equal(lp_arg(&args, "some-value"), "by variable");
	assert_null(lp_arg(&args, "flag"));
	assert_int_equal(parse(&args, &command, given), -1);
	assert_string_equal(lp_arg(&args, "some-value"), "flag wins");
	assert_int_equal(unsetenv("LIVEPUSH_SOME_VALUE"), 0);
	assert_int_equal(unsetenv("LIVEPUSH_FLAG"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lp_args_parse__tells_words_options_and_values_apart),
		cmocka_unit_test(lp_args_parse__leaves_what_stands_behind_two_dashes_alone),
		cmocka_unit_test(lp_args_parse__refuses_what_is_wrong),
		cmocka_unit_test(lp_arg__takes_the_variable_of_an_option_with_a_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
