/* test_live_changes.c: what browsers have to be told of changesets. */
#include "controller/live_changes.h"

#include "common/base/lp_mem.h"
#include "common/base/lp_util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char conf_text[] = "rules:\n"
				"  - {match: [notes.txt, \"quiet.css\"], action: none}\n"
				"  - {match: [\"*.html\"], action: browser-reload}\n"
				"  - {match: [\"*.ts\"], run: \"true\"}\n";
static struct lp_conf conf;
static struct lp_ruleset *rules;
static struct lp_changes changes;

static int set_up(void **state)
{
	struct lp_err err = {0};

	(void)state;
	changes = (struct lp_changes){0};
	if (lp_conf_parse(&conf, conf_text, sizeof(conf_text) - 1, "livepush.yml", &err) < 0)
		fail_msg("%s", err.msg);
	rules = lp_ruleset_create(&conf);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	lp_changes_finish(&changes);
	lp_ruleset_destroy(rules);
	lp_conf_finish(&conf);
	return 0;
}

static void add(uint64_t revision, const char *path)
{
	lp_changes_add(&changes, rules, revision, 5, &path, 1);
}

static void add_none(uint64_t revision)
{
	lp_changes_add(&changes, rules, revision, 5, NULL, 0);
}

/* What is told up to a revision: "-" nothing, "all" a reload, or the stylesheets. */
static void assert_told(uint64_t revision, const char *expected)
{
	struct lp_reload what;
	char text[256] = "-";

	if (lp_changes_take(&changes, revision, &what)) {
		text[0] = '\0';
		for (size_t i = 0; i < what.n_css && !what.whole; i++)
			(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s",
				       i ? " " : "", what.css[i]);
		if (what.whole)
			(void)snprintf(text, sizeof(text), "all");
	}
	lp_reload_finish(&what);
	assert_string_equal(text, expected);
}

static void take__gathers_until_it_is_served(void **state)
{
	(void)state;
	add(1, "a.css");
	add(2, "b/B.CSS");
	add(3, "a.css");
	add(4, "app.py");
	assert_told(0, "-");
	assert_told(3, "a.css b/B.CSS");
	assert_told(3, "-");
	assert_told(9, "all");
	assert_told(9, "-");
}

static void take__one_other_file_makes_it_a_reload(void **state)
{
	(void)state;
	add(1, "a.css");
	add(2, "index.html");
	add(3, "b.css");
	assert_told(3, "all");
}

static void take__says_nothing_of_what_rules_keep_quiet(void **state)
{
	(void)state;
	add(1, "notes.txt");
	add(2, "quiet.css");
	add_none(3);
	assert_told(3, "-");
	add(4, "main.ts");
	assert_told(4, "all");
	assert_non_null(lp_changes_at(&changes, 0));
	assert_int_equal(lp_changes_at(&changes, 0)->revision, 4);
	assert_int_equal(lp_changes_at(&changes, 2)->revision, 1);
	assert_null(lp_changes_at(&changes, 3)); /* an empty changeset is none */
}

static void take__many_stylesheets_are_a_reload(void **state)
{
	char path[32];

	(void)state;
	for (unsigned i = 0; i <= LP_RELOAD_CSS_MAX; i++) {
		(void)snprintf(path, sizeof(path), "%u.css", i);
		add(1 + i, path);
	}
	assert_told(1000, "all");
}

/* Nobody says for long that anything is served. */
static void add__is_bounded_and_forgets_nothing(void **state)
{
	(void)state;
	add(1, "app.py");
	for (uint64_t i = 2; i < 5000; i++)
		add(i, "a.css");
	assert_true(changes.n_due <= 300);
	assert_told(4998, "all");
	assert_told(4999, "a.css");
}

static void changes__have_a_state(void **state)
{
	(void)state;
	add(1, "a");
	add(2, "b");
	add(3, "c");
	lp_changes_fail(&changes, 2);
	lp_changes_settle(&changes, 2);
	assert_int_equal(lp_changes_at(&changes, 0)->state, LP_CHANGE_APPLIED);
	assert_int_equal(lp_changes_at(&changes, 1)->state, LP_CHANGE_FAILED);
	assert_int_equal(lp_changes_at(&changes, 2)->state, LP_CHANGE_SETTLED);
}

static void changes__keep_the_newest(void **state)
{
	const char *many[LP_CHANGE_PATHS + 5];

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(many); i++)
		many[i] = "x";
	for (uint64_t i = 1; i <= LP_CHANGES_MAX + 3; i++)
		lp_changes_add(&changes, rules, i, i, many, LP_COUNT_OF(many));
	assert_int_equal(lp_changes_at(&changes, 0)->revision, LP_CHANGES_MAX + 3);
	assert_int_equal(lp_changes_at(&changes, 0)->n_paths, LP_COUNT_OF(many));
	assert_string_equal(lp_changes_at(&changes, 0)->paths[LP_CHANGE_PATHS - 1], "x");
	assert_int_equal(lp_changes_at(&changes, LP_CHANGES_MAX - 1)->revision, 4);
	assert_null(lp_changes_at(&changes, LP_CHANGES_MAX));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(take__gathers_until_it_is_served),
		TEST(take__one_other_file_makes_it_a_reload),
		TEST(take__says_nothing_of_what_rules_keep_quiet),
		TEST(take__many_stylesheets_are_a_reload),
		TEST(add__is_bounded_and_forgets_nothing),
		TEST(changes__have_a_state),
		TEST(changes__keep_the_newest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
