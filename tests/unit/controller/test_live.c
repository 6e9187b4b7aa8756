/* test_live.c: what pages are told of a failure, whatever bytes its texts are of. */
#include "controller/live.h"

#include "common/base/lp_mem.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct lp_conf conf;

static int setup(void **state)
{
	const struct lp_live_opts opts = {.conf = &conf};

	lp_conf_init(&conf);
	*state = lp_live_create(&opts);
	return 0;
}

static int teardown(void **state)
{
	lp_live_destroy(*state);
	lp_conf_finish(&conf);
	return 0;
}

/* The failure as pages get it. */
static json_t *told(struct lp_live *live, const char *error, const char *excerpt, const char *path)
{
	const struct lp_sup_failure f = {.revision = 7,
					 .stage = LP_STAGE_START,
					 .error = error,
					 .excerpt = excerpt,
					 .path = path};
	json_t *all = json_object(), *failure;

	lp_live_failed(live, &f);
	assert_int_equal(lp_live_describe(live, all), 0);
	failure = json_incref(json_object_get(all, "failure"));
	json_decref(all);
	assert_true(json_is_object(failure));
	return failure;
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	assert_non_null(s);
	return s;
}

static void failed__keeps_what_is_text(void **state)
{
	json_t *o =
		told(*state, "caf\xc3\xa9 \xff", "\x1b[1m\xe2\x9c\x93 \x80", "\xe9t\xe9/a\xc3\xa9");

	assert_string_equal(text(o, "error"), "caf\xc3\xa9 \xef\xbf\xbd");
	assert_string_equal(text(o, "excerpt"), "\x1b[1m\xe2\x9c\x93 \xef\xbf\xbd");
	assert_string_equal(text(o, "path"), "\xef\xbf\xbdt\xef\xbf\xbd/a\xc3\xa9");
	json_decref(o);
}

/* Texts that do not fit lose their end, and no part of a character is left there. */
static void failed__cuts_between_characters(void **state)
{
	static const char face[] = {'\xf0', '\x9f', '\x98', '\x80'};
	const size_t len = 40000;

	for (size_t shift = 0; shift < 4; shift++) {
		LP_AUTO_FREE char *long_text = lp_xcalloc(1, len + 8);
		json_t *o;

		memset(long_text, 'x', shift);
		for (size_t i = shift; i + 4 <= len; i += 4)
			memcpy(long_text + i, face, sizeof(face));
		o = told(*state, long_text, long_text, long_text);
		for (const char *const *key =
			     (const char *const[]){"error", "excerpt", "path", NULL};
		     *key; key++) {
			const char *s = text(o, *key);

			assert_true(strlen(s) > 900);
			assert_memory_equal(s, long_text, strlen(s));
			assert_int_equal((strlen(s) - shift) % 4, 0);
		}
		json_decref(o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(failed__keeps_what_is_text, setup, teardown),
		cmocka_unit_test_setup_teardown(failed__cuts_between_characters, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
