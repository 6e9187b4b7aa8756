/* test_privilege.c: giving up capabilities where the call for it is forbidden. */
#include "controller/privilege.h"

#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

static struct __user_cap_data_struct had[2], left[2];
static bool is_forbidden;
static unsigned calls;

long __wrap_syscall(long number, ...);

long __wrap_syscall(long number, ...)
{
	struct __user_cap_data_struct *set;
	va_list ap;

	va_start(ap, number);
	(void)va_arg(ap, void *);
	set = va_arg(ap, struct __user_cap_data_struct *);
	va_end(ap);
	if (number == SYS_capget) {
		memcpy(set, had, sizeof(had));
		return 0;
	}
	assert_int_equal(number, SYS_capset);
	calls++;
	if (is_forbidden) {
		errno = EPERM;
		return -1;
	}
	memcpy(left, set, sizeof(left));
	return 0;
}

static int setup(void **state)
{
	(void)state;
	memset(had, 0, sizeof(had));
	memset(left, 0xff, sizeof(left));
	is_forbidden = false;
	calls = 0;
	return 0;
}

static void drop__does_not_ask_for_what_is_so(void **state)
{
	(void)state;
	is_forbidden = true;
	assert_int_equal(lp_privilege_drop(NULL), 0);
	had[0].permitted = had[0].effective = 1u << CAP_KILL | 1u << CAP_CHOWN;
	assert_int_equal(lp_privilege_drop(NULL), 0);
	assert_int_equal(calls, 0);
}

static void drop__says_it_when_it_may_not(void **state)
{
	struct lp_err err = {0};

	(void)state;
	is_forbidden = true;
	had[0].permitted = 1u << CAP_SYS_ADMIN;
	assert_int_equal(lp_privilege_drop(&err), -EPERM);
	assert_non_null(strstr(err.msg, "capabilities"));
}

static void drop__leaves_what_is_needed(void **state)
{
	(void)state;
	had[0].permitted = 1u << CAP_SYS_ADMIN | 1u << CAP_KILL | 1u << CAP_FOWNER;
	had[0].effective = 1u << CAP_SYS_ADMIN | 1u << CAP_KILL;
	had[0].inheritable = 1u << CAP_KILL;
	had[1].permitted = 1u << (CAP_BPF - 32);
	assert_int_equal(lp_privilege_drop(NULL), 0);
	assert_int_equal(left[0].permitted, 1u << CAP_KILL | 1u << CAP_FOWNER);
	assert_int_equal(left[0].effective, 1u << CAP_KILL);
	assert_int_equal(left[0].inheritable, 0);
	assert_int_equal(left[1].permitted, 0);
	/* An inheritable one alone is enough of a reason. */
	had[0].permitted = had[1].permitted = 0;
	assert_int_equal(lp_privilege_drop(NULL), 0);
	assert_int_equal(calls, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(drop__does_not_ask_for_what_is_so, setup),
		cmocka_unit_test_setup(drop__says_it_when_it_may_not, setup),
		cmocka_unit_test_setup(drop__leaves_what_is_needed, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
