/* test_secret.c: what a secret has to be, and reading one from a file. */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char path[64];
static const char *warning;

static int set_up(void **state)
{
	int fd;

	(void)state;
	(void)snprintf(path, sizeof(path), "/tmp/livepush-secret-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return unlink(path);
}

static void write_file(const char *text, size_t len)
{
	LP_AUTO_CLOSE int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_int_equal(lp_write_all(fd, text, len), 0);
}

static void secret_fault__bounds_the_length(void **state)
{
	static const struct {
		size_t len;
		bool ok;
	} cases[] = {{0, false}, {1, false},   {15, false},  {16, true},
		     {17, true}, {1023, true}, {1024, true}, {1025, false}};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		char text[1100] = {0};

		memset(text, 's', cases[i].len);
		assert_int_equal(lp_secret_fault(text) == NULL, cases[i].ok);
	}
}

static void secret_read__takes_the_first_line(void **state)
{
	static const struct {
		const char *text;
		const char *secret;
	} cases[] = {
		{"correct horse battery staple", "correct horse battery staple"},
		{"correct horse battery staple\n", "correct horse battery staple"},
		{"correct horse battery staple\r\n", "correct horse battery staple"},
		{"first\nsecond\n", "first"},
		{"\nsecond\n", ""},
		{"", ""},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		LP_AUTO_FREE char *secret = NULL;

		write_file(cases[i].text, strlen(cases[i].text));
		assert_int_equal(lp_secret_read(&secret, path, &warning, NULL), 0);
		assert_string_equal(secret, cases[i].secret);
	}
}

static void secret_read__takes_the_longest_and_no_more(void **state)
{
	char text[LP_SECRET_MAX_BYTES + 3];
	LP_AUTO_FREE char *secret = NULL;
	struct lp_err err = {0};

	(void)state;
	memset(text, 's', sizeof(text));
	text[LP_SECRET_MAX_BYTES] = '\r';
	text[LP_SECRET_MAX_BYTES + 1] = '\n';
	write_file(text, LP_SECRET_MAX_BYTES + 2);
	assert_int_equal(lp_secret_read(&secret, path, &warning, &err), 0);
	assert_int_equal(strlen(secret), LP_SECRET_MAX_BYTES);
	assert_null(lp_secret_fault(secret));
	write_file(text, sizeof(text));
	assert_int_equal(lp_secret_read(&secret, path, &warning, &err), -EFBIG);
	assert_non_null(strstr(err.msg, path));
}

static void secret_read__names_what_it_cannot_read(void **state)
{
	char *secret = NULL;
	struct lp_err err = {0};

	(void)state;
	assert_int_equal(lp_secret_read(&secret, "/nowhere/secret", &warning, &err), -ENOENT);
	assert_null(secret);
	assert_non_null(strstr(err.msg, "/nowhere/secret"));
	assert_int_equal(lp_secret_read(&secret, "/tmp", &warning, &err), -EISDIR);
	assert_null(secret);
}

static void secret_read__warns_of_a_file_for_all(void **state)
{
	static const struct {
		mode_t mode;
		bool warns;
	} cases[] = {{0600, false}, {0400, false}, {0640, false}, {0660, false},
		     {0644, true},  {0604, true},  {0602, true},  {0666, true}};

	(void)state;
	write_file("correct horse battery staple\n", 29);
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		LP_AUTO_FREE char *secret = NULL;

		assert_int_equal(chmod(path, cases[i].mode), 0);
		/* Root reads it whatever its mode is; who else may not is told so. */
		if (lp_secret_read(&secret, path, &warning, NULL) == 0)
			assert_int_equal(warning != NULL, cases[i].warns);
	}
	assert_int_equal(chmod(path, 0600), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(secret_fault__bounds_the_length),
		cmocka_unit_test(secret_read__takes_the_first_line),
		cmocka_unit_test(secret_read__takes_the_longest_and_no_more),
		cmocka_unit_test(secret_read__warns_of_a_file_for_all),
		cmocka_unit_test(secret_read__names_what_it_cannot_read),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
