/* test_mem.c: allocation that aborts instead of failing. */
#include "common/base/lp_mem.h"

#include "common/base/lp_util.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static void xcalloc__gives_zeroed_memory_also_for_nothing(void **state)
{
	static const struct {
		size_t n, size;
	} cases[] = {{0, 0}, {0, 8}, {8, 0}, {1, 1}, {100, 7}};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		unsigned char *p = lp_xcalloc(cases[i].n, cases[i].size);

		assert_non_null(p);
		for (size_t k = 0; k < cases[i].n * cases[i].size; k++)
			assert_int_equal(p[k], 0);
		free(p);
	}
}

static void xrealloc__keeps_what_was_there(void **state)
{
	int *p = lp_xrealloc(NULL, 2, sizeof(int));

	(void)state;
	p[0] = 1;
	p[1] = 2;
	p = lp_xrealloc(p, 1000, sizeof(int));
	assert_int_equal(p[0], 1);
	assert_int_equal(p[1], 2);
	p = lp_xrealloc(p, 0, sizeof(int));
	assert_non_null(p);
	free(p);
}

static void xstrndup__terminates(void **state)
{
	char *a = lp_xstrndup("abcdef", 3), *b = lp_xstrdup(""), *c = lp_xstrndup(NULL, 0);
	char *d = lp_xasprintf("%d-%s", 5, "x");

	(void)state;
	assert_string_equal(a, "abc");
	assert_string_equal(b, "");
	assert_string_equal(c, "");
	assert_string_equal(d, "5-x");
	free(a);
	free(b);
	free(c);
	free(d);
}

static void grow__makes_room_and_doubles(void **state)
{
	size_t cap = 0, grown = 0;
	int *array = NULL;

	(void)state;
	lp_grow(&array, &cap, 0, sizeof(int));
	assert_null(array);
	for (size_t n = 0; n < 10000; n++) {
		size_t before = cap;

		lp_grow(&array, &cap, n + 1, sizeof(int));
		assert_true(cap > n);
		array[n] = (int)n;
		grown += cap != before;
	}
	assert_true(grown < 20);
	for (size_t n = 0; n < 10000; n++)
		assert_int_equal(array[n], n);
	lp_grow(&array, &cap, 5, sizeof(int));
	assert_true(cap >= 10000);
	free(array);
}

static void take__empties_the_variable(void **state)
{
	LP_AUTO_FREE char *p = lp_xstrdup("x");
	LP_AUTO_CLOSE int fd = fcntl(0, F_DUPFD_CLOEXEC, 0);
	int taken_fd = fd;
	char *taken = lp_take_ptr(&p);

	(void)state;
	assert_null(p);
	assert_string_equal(taken, "x");
	free(taken);
	assert_int_equal(lp_take_fd(&fd), taken_fd);
	assert_int_equal(fd, -1);
	lp_auto_close(&taken_fd);
}

/* A size that overflows must not become a small allocation. */
static void xrealloc__aborts_on_overflow(void **state)
{
	pid_t pid = fork();
	int status = 0;

	(void)state;
	if (pid == 0) {
		free(lp_xrealloc(NULL, SIZE_MAX / 2, 4));
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(xcalloc__gives_zeroed_memory_also_for_nothing),
		cmocka_unit_test(xrealloc__keeps_what_was_there),
		cmocka_unit_test(xstrndup__terminates),
		cmocka_unit_test(grow__makes_room_and_doubles),
		cmocka_unit_test(take__empties_the_variable),
		cmocka_unit_test(xrealloc__aborts_on_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
