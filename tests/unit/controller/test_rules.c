/* test_rules.c: what changed paths ask for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/rules.h"

#include "common/base/lp_util.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static char *css[] = {(char[]){"*.css"}, (char[]){"/static/"}};
static char *c_files[] = {(char[]){"*.c"}, (char[]){"*.h"}};
static char *conf_files[] = {(char[]){"conf/*.ini"}};
static char *docs[] = {(char[]){"docs/"}};
static char *npm[] = {(char[]){"package.json"}};
static char *more_ini[] = {(char[]){"*.ini"}};
static char *usr[] = {(char[]){"*.usr"}};
static char *all[] = {(char[]){"*"}};
static char *argv[] = {(char[]){"make"}, NULL};

static struct lp_conf_rule rules[] = {
	{.match = css, .n_match = 2, .action = LP_ACTION_NONE},
	{.match = c_files, .n_match = 2, .action = LP_ACTION_RUN, .run = {argv, 1}},
	{.match = conf_files, .n_match = 1, .action = LP_ACTION_SIGNAL, .signo = SIGHUP},
	{.match = docs, .n_match = 1, .action = LP_ACTION_BROWSER_RELOAD},
	{.match = npm, .n_match = 1, .action = LP_ACTION_RUN, .run = {argv, 1}},
	{.match = more_ini, .n_match = 1, .action = LP_ACTION_SIGNAL, .signo = SIGHUP},
	{.match = usr, .n_match = 1, .action = LP_ACTION_SIGNAL, .signo = SIGUSR1},
};

static const struct lp_conf conf = {.rules = rules, .n_rules = LP_COUNT_OF(rules)};

static void find__first_match_decides(void **state)
{
	static const struct {
		const char *path;
		int rule;
	} cases[] = {
		{"a.css", 0},          {"deep/er/a.css", 0},  {"static/app.c", 0},
		{"src/static/x.c", 1}, {"main.c", 1},         {"inc/a.h", 1},
		{"conf/a.ini", 2},     {"sub/conf/a.ini", 5}, {"docs/main", 3},
		{"docs/a.c", 1},       {"package.json", 4},   {"web/package.json", 4},
		{"x.usr", 6},          {"app.py", -1},        {"static", -1},
		{"css", -1},
	};
	struct lp_ruleset *set = lp_ruleset_create(&conf);

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		int rule = lp_ruleset_find(set, cases[i].path);

		if (rule != cases[i].rule)
			fail_msg("%s: rule %d, wanted %d", cases[i].path, rule, cases[i].rule);
	}
	lp_ruleset_destroy(set);
}

/* Carries the work out on paper: "run I a b;", "signal N;", "restart;". */
static void describe(struct lp_work *work, const struct lp_ruleset *set, char *out, size_t room)
{
	size_t len = 0;
	int i;

	out[0] = '\0';
	while ((i = lp_work_next_run(work, set)) >= 0) {
		struct lp_path_set paths = lp_work_take_run(work, (size_t)i);

		len += (size_t)snprintf(out + len, room - len, "run %d", i);
		for (size_t p = 0; p < paths.n; p++)
			len += (size_t)snprintf(out + len, room - len, " %s", paths.list[p]);
		len += (size_t)snprintf(out + len, room - len, ";");
		lp_path_set_finish(&paths);
	}
	while ((i = lp_work_take_signal(work, set)) != 0)
		len += (size_t)snprintf(out + len, room - len, "signal %d;", i);
	if (work->restart)
		(void)snprintf(out + len, room - len, "restart;");
	work->restart = false;
	assert_false(lp_work_pending(work));
}

static void add__decides(void **state)
{
	static const struct {
		const char *name;
		const char *paths[6];
		const char *want;
	} cases[] = {
		{"nothing changed", {NULL}, ""},
		{"none", {"a.css", "docs/x"}, ""},
		{"default", {"app.py"}, "restart;"},
		{"none does not hold up others", {"a.css", "app.py"}, "restart;"},
		{"run brings a restart", {"a.c"}, "run 1 a.c;restart;"},
		{"paths sorted, once", {"b.c", "a.h", "b.c"}, "run 1 a.h b.c;restart;"},
		{"rule order", {"package.json", "a.c"}, "run 1 a.c;run 4 package.json;restart;"},
		{"signal alone", {"conf/a.ini"}, "signal 1;"},
		{"the same signal once", {"conf/a.ini", "b.ini"}, "signal 1;"},
		{"signals in rule order", {"x.usr", "b.ini"}, "signal 1;signal 10;"},
		{"everything",
		 {"x.usr", "app.py", "a.css", "a.c", "conf/a.ini"},
		 "run 1 a.c;signal 1;signal 10;restart;"},
	};
	struct lp_ruleset *set = lp_ruleset_create(&conf);

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_work work;
		char text[256];
		size_t n = 0;

		while (n < LP_COUNT_OF(cases[i].paths) && cases[i].paths[n])
			n++;
		lp_work_init(&work, set);
		lp_work_add(&work, set, cases[i].paths, n);
		describe(&work, set, text, sizeof(text));
		if (strcmp(text, cases[i].want) != 0)
			fail_msg("%s: '%s', wanted '%s'", cases[i].name, text, cases[i].want);
		lp_work_finish(&work);
	}
	lp_ruleset_destroy(set);
}

static void rebase__decides_owed_paths_anew(void **state)
{
	struct lp_conf_rule other[] = {
		{.match = all, .n_match = 1, .action = LP_ACTION_RUN, .run = {argv, 1}},
	};
	const struct lp_conf after_conf = {.rules = other, .n_rules = 1};
	const struct lp_conf empty = {0};
	const char *paths[] = {"a.c", "package.json", "b.ini"};
	struct lp_ruleset *before = lp_ruleset_create(&conf);
	struct lp_ruleset *after = lp_ruleset_create(&after_conf);
	struct lp_ruleset *none = lp_ruleset_create(&empty);
	struct lp_work work;
	char text[256];

	(void)state;
	lp_work_init(&work, before);
	lp_work_add(&work, before, paths, 3);
	lp_work_rebase(&work, before, after);
	lp_work_rebase(&work, after, after);
	describe(&work, after, text, sizeof(text));
	assert_string_equal(text, "run 0 a.c package.json;restart;");
	lp_work_add(&work, after, paths, 1);
	lp_work_rebase(&work, after, none);
	describe(&work, none, text, sizeof(text));
	assert_string_equal(text, "restart;");
	lp_work_rebase(&work, none, before);
	lp_work_add(&work, before, paths + 2, 1);
	lp_work_rebase(&work, before, none);
	describe(&work, none, text, sizeof(text));
	assert_string_equal(text, "restart;"); /* a signal that nobody got */
	lp_work_finish(&work);
	lp_ruleset_destroy(before);
	lp_ruleset_destroy(after);
	lp_ruleset_destroy(none);
}

static void path_set__stays_as_small_as_its_paths(void **state)
{
	struct lp_path_set set = {0};
	char name[16];

	(void)state;
	for (int i = 0; i < 100000; i++) {
		(void)snprintf(name, sizeof(name), "f%d", i % 100);
		lp_path_set_add(&set, name);
		assert_true(set.n <= 256);
	}
	lp_path_set_tidy(&set);
	assert_int_equal(set.n, 100);
	assert_string_equal(set.list[0], "f0");
	assert_string_equal(set.list[99], "f99");
	lp_path_set_finish(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(find__first_match_decides),
		cmocka_unit_test(add__decides),
		cmocka_unit_test(rebase__decides_owed_paths_anew),
		cmocka_unit_test(path_set__stays_as_small_as_its_paths),
	};

	return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
