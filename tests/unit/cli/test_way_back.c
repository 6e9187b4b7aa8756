/* test_way_back.c: which revision of each instance a rollback means. */
#include "cli/way_back.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MOST 8

/* "4Ah 7Bf 9Cu": numbers, trees, and the first letters of their states. All are kept but for those
 * with a '-'. */
static void fill(struct lp_way_place *place, const char *text)
{
	struct lp_wire_revision list[MOST] = {0};
	const struct lp_msg_revisions m = {.revisions = list, .n_revisions = 0};
	struct lp_msg_revisions all = m;

	while (*text) {
		struct lp_wire_revision *w = &list[all.n_revisions++];

		w->revision = (uint64_t)(*text++ - '0');
		memset(w->root, *text++, sizeof(w->root));
		w->state = *text == 'h'   ? LP_REVISION_HEALTHY
			   : *text == 'f' ? LP_REVISION_FAILED
					  : LP_REVISION_UNDONE;
		w->kept = text[1] != '-';
		text += 1 + !w->kept;
		text += *text == ' ';
	}
	lp_way_take(place, &all);
}

struct row {
	const char *asked;     /* "" for nothing */
	const char *places[3]; /* histories */
	uint64_t goals[3];
	const char *error; /* part of it; NULL: none */
};

static void check(const struct row *row)
{
	struct lp_way_place places[3] = {0};
	struct lp_way_wanted wanted = {0};
	struct lp_err err = {0};
	size_t n = 0;
	int r;

	if (row->asked[0])
		assert_int_equal(lp_way_parse(&wanted, row->asked), 0);
	while (n < 3 && row->places[n]) {
		fill(&places[n], row->places[n]);
		n++;
	}
	r = lp_way_choose(places, n, &wanted, &err);
	if (row->error) {
		assert_int_equal(r, -ENOENT);
		if (!strstr(err.msg, row->error))
			fail_msg("'%s' is not in '%s'", row->error, err.msg);
	} else {
		assert_int_equal(r, 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(places[i].goal, row->goals[i]);
	}
	for (size_t i = 0; i < n; i++)
		lp_way_finish(&places[i]);
}

static void all_go_to_the_same_tree(void **state)
{
	/* The letters are the bytes of the digests: A is 41. */
	static const struct row rows[] = {
		{"", {"4Ah 7Bh", "4Ah 9Bh"}, {4, 4}, NULL},
		{"", {"1Ah 2Bh 3Ch", "5Ah 6Ch"}, {1, 5}, NULL},
		{"", {"4Ah 7Bf", "4Ah 5Bu"}, {4, 0}, NULL},
		{"", {"4Ah 7Bh", "7Bh"}, {0}, "healthy on every"},
		{"", {"4Ah- 7Bh", "4Ah 7Bh"}, {0}, "healthy on every"},
		{"", {"4Af 7Bh"}, {0}, "healthy on every"},
		{"", {"", "4Ah 7Bh"}, {0}, "healthy on every"},
		{"", {"2Ah 3Bh 4Ah", "2Ah 3Bh 4Ah"}, {3, 3}, NULL},
		{"4", {"4Ah 7Bh", "4Ah 9Bh"}, {4, 4}, NULL},
		{"4", {"4Ah 7Bh", "4Ah"}, {4, 0}, NULL},
		{"4", {"4Ah 7Bh", "4Ch 7Bh"}, {0}, "not the same on all"},
		{"4", {"4Ah 7Bh", "3Ah 7Bh"}, {0}, "not known on every"},
		{"4", {"4Ah"}, {0}, "what the tree holds"},
		{"4", {"4Ah 7Bh", "4Ah- 7Bh"}, {0}, "not kept"},
		{"4", {"4Ah-", "4Ah 7Bh"}, {0, 4}, NULL},
		{"7", {"4Ah 7Bu"}, {0}, "not known here"},
		{"@4141", {"4Ah 7Bh", "5Ah 6Bf 7Bh"}, {4, 5}, NULL},
		{"@41414141", {"4Ah 7Bh", "5Ah"}, {4, 0}, NULL},
		{"@4343", {"4Ah 7Bh", "5Ah 6Bf"}, {0}, "@4343 is not known"},
		{"@4242", {"4Ah 7Bh", "5Ah 6Bf"}, {0}, "what the trees hold"},
		{"@4141", {"4Ah- 7Bh"}, {0}, "not kept"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(rows); i++)
		check(&rows[i]);
}

/* Two trees whose names begin alike, and the older one once more. */
static void a_name_of_two_trees_is_none(void **state)
{
	struct lp_way_place place = {0};
	struct lp_way_wanted wanted;
	struct lp_err err = {0};

	(void)state;
	fill(&place, "4Ah 7Ah 9Bh");
	place.steps[1].root[15] = 'B';
	assert_int_equal(lp_way_parse(&wanted, "@41414141"), 0);
	assert_int_equal(lp_way_choose(&place, 1, &wanted, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "more than one tree"));
	assert_int_equal(lp_way_parse(&wanted, "@41414141414141414141414141414141"), 0);
	assert_int_equal(lp_way_choose(&place, 1, &wanted, &err), 0);
	assert_int_equal(place.goal, 4);
	lp_way_finish(&place);
}

static void what_is_written_is_a_number_or_a_tree(void **state)
{
	static const char *const bad[] = {"",
					  "0",
					  "x",
					  "-1",
					  "@",
					  "@123",
					  "@12g4",
					  "@ABCD",
					  "4 ",
					  "99999999999999999999",
					  "@0123456789abcdef0123456789abcdef0"};
	struct lp_way_wanted wanted;

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(bad); i++)
		assert_int_equal(lp_way_parse(&wanted, bad[i]), -EINVAL);
	assert_int_equal(lp_way_parse(&wanted, "12"), 0);
	assert_int_equal(wanted.revision, 12);
	assert_int_equal(lp_way_parse(&wanted, "@1a2b3c4d"), 0);
	assert_string_equal(wanted.digits, "1a2b3c4d");
	assert_int_equal(lp_way_parse(&wanted, "@0123456789abcdef0123456789abcdef"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_go_to_the_same_tree),
		cmocka_unit_test(a_name_of_two_trees_is_none),
		cmocka_unit_test(what_is_written_is_a_number_or_a_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
