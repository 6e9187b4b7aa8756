/* test_err.c: errors as values. */
#include "common/base/lp_err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void set__adds_the_errno_text(void **state)
{
	struct lp_err err = {0};

	(void)state;
	assert_int_equal(lp_err_set(&err, ENOENT, "open '%s'", "x"), -ENOENT);
	assert_int_equal(err.code, ENOENT);
	assert_string_equal(err.msg, "open 'x': No such file or directory");
	assert_int_equal(lp_err_set(NULL, EIO, "nobody asks"), -EIO);
}

static void say__adds_nothing(void **state)
{
	struct lp_err err = {0};

	(void)state;
	assert_int_equal(lp_err_say(&err, EINVAL, "%d is odd", 3), -EINVAL);
	assert_int_equal(err.code, EINVAL);
	assert_string_equal(err.msg, "3 is odd");
	assert_int_equal(lp_err_say(NULL, EIO, "nobody asks"), -EIO);
}

static void wrap__puts_the_context_first(void **state)
{
	struct lp_err err = {0};

	(void)state;
	(void)lp_err_say(&err, EINVAL, "cause");
	assert_int_equal(lp_err_wrap(&err, -EINVAL, "%s", "inner"), -EINVAL);
	assert_int_equal(lp_err_wrap(&err, -7, "outer %d", 1), -7);
	assert_string_equal(err.msg, "outer 1: inner: cause");
	assert_int_equal(err.code, EINVAL);
	assert_int_equal(lp_err_wrap(NULL, -EIO, "nobody asks"), -EIO);
}

/* Texts longer than the room are cut, never unterminated. */
static void long_texts__are_cut(void **state)
{
	static const size_t lens[] = {400, 480, 509, 510, 511, 512, 513, 2000};
	char text[2001];

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(lens); i++) {
		struct lp_err err;

		memset(&err, 'z', sizeof(err));
		memset(text, 't', sizeof(text));
		text[lens[i]] = '\0';
		(void)lp_err_set(&err, EIO, "%s", text);
		assert_non_null(memchr(err.msg, '\0', sizeof(err.msg)));
		assert_true(strlen(err.msg) >= (lens[i] < 511 ? lens[i] : 511));
		memset(&err, 'z', sizeof(err));
		(void)lp_err_say(&err, EIO, "%s", text);
		assert_int_equal(strlen(err.msg), lens[i] < 511 ? lens[i] : 511);
		for (unsigned k = 0; k < 3; k++) {
			(void)lp_err_wrap(&err, -EIO, "%s", text);
			assert_non_null(memchr(err.msg, '\0', sizeof(err.msg)));
			assert_memory_equal(err.msg, text, lens[i] < 511 ? lens[i] : 511);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set__adds_the_errno_text),
		cmocka_unit_test(say__adds_nothing),
		cmocka_unit_test(wrap__puts_the_context_first),
		cmocka_unit_test(long_texts__are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
