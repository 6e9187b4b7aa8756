/* test_ticket.c: tickets are good for what they were made for, until then, and cannot be made
 * without the secret. */
#include "common/base/lp_util.h"
#include "wire/ticket.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SECRET "correct horse battery staple"
#define EXPIRY UINT64_C(2000000000)

/* Computed with Python's hmac from what wire/ticket.h says. */
static const char vector[] =
	"2000000000.admin.0ff02ba8bab30d933d3d1df753a08afc3154ac9d621b4b15f4dfbde8fd69e4f9";

static void ticket_make__is_as_described(void **state)
{
	char ticket[LP_TICKET_MAX_BYTES];

	(void)state;
	lp_ticket_make(ticket, SECRET, LP_TICKET_LINK, LP_TICKET_ADMIN, EXPIRY);
	assert_string_equal(ticket, vector);
}

static void ticket_check__takes_what_it_was_made_for(void **state)
{
	enum lp_ticket_scope scope;
	char ticket[LP_TICKET_MAX_BYTES];

	(void)state;
	for (int use = LP_TICKET_LINK; use <= LP_TICKET_COOKIE; use++) {
		for (int s = LP_TICKET_ADMIN; s < LP_TICKET_SCOPE_COUNT_; s++) {
			enum lp_ticket_use u = (enum lp_ticket_use)use;

			lp_ticket_make(ticket, SECRET, u, (enum lp_ticket_scope)s, EXPIRY);
			assert_int_equal(lp_ticket_check(ticket, SECRET, u, EXPIRY - 1, &scope), 0);
			assert_int_equal(scope, s);
			assert_int_equal(lp_ticket_check(ticket, SECRET, u, EXPIRY, &scope),
					 -ETIME);
			assert_int_equal(lp_ticket_check(ticket, SECRET,
							 use == LP_TICKET_LINK ? LP_TICKET_COOKIE
									       : LP_TICKET_LINK,
							 0, &scope),
					 -EACCES);
			assert_int_equal(lp_ticket_check(ticket, SECRET "x", u, 0, &scope),
					 -EACCES);
		}
	}
	lp_ticket_make(ticket, SECRET, LP_TICKET_LINK, LP_TICKET_ADMIN, UINT64_MAX);
	assert_int_equal(lp_ticket_check(ticket, SECRET, LP_TICKET_LINK, 1, &scope), 0);
}

static void ticket_check__notices_any_change(void **state)
{
	enum lp_ticket_scope scope;
	char ticket[sizeof(vector)];

	(void)state;
	for (size_t i = 0; i < sizeof(vector) - 1; i++) {
		memcpy(ticket, vector, sizeof(vector));
		ticket[i] ^= 1;
		assert_int_equal(lp_ticket_check(ticket, SECRET, LP_TICKET_LINK, 0, &scope),
				 -EACCES);
		memcpy(ticket, vector, sizeof(vector));
		ticket[i] = '\0';
		assert_int_equal(lp_ticket_check(ticket, SECRET, LP_TICKET_LINK, 0, &scope),
				 -EACCES);
	}
}

static void ticket_check__survives_nonsense(void **state)
{
	static const char *const cases[] = {"", ".", "..", "...", "1.admin.", "1.admin", "a.b.c"};
	enum lp_ticket_scope scope;
	char text[4096];

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++)
		assert_int_equal(lp_ticket_check(cases[i], SECRET, LP_TICKET_LINK, 0, &scope),
				 -EACCES);
	memset(text, '.', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(lp_ticket_check(text, SECRET, LP_TICKET_LINK, 0, &scope), -EACCES);
	memset(text, '1', 100);
	assert_int_equal(lp_ticket_check(text, SECRET, LP_TICKET_LINK, 0, &scope), -EACCES);
}

static void ticket_same__compares(void **state)
{
	(void)state;
	assert_true(lp_ticket_same(SECRET, SECRET));
	assert_true(lp_ticket_same("", ""));
	assert_false(lp_ticket_same("", SECRET));
	assert_false(lp_ticket_same(SECRET "x", SECRET));
	assert_false(lp_ticket_same("correct", SECRET));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ticket_make__is_as_described),
		cmocka_unit_test(ticket_check__takes_what_it_was_made_for),
		cmocka_unit_test(ticket_check__notices_any_change),
		cmocka_unit_test(ticket_check__survives_nonsense),
		cmocka_unit_test(ticket_same__compares),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
