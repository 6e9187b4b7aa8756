/* changes_last.c: see changes.h: what needs faults.c. */
#include "tests/unit/controller/changes.h"
#include "tests/unit/controller/faults.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

size_t changes_last_call(void)
{
	struct rig r;
	size_t at, n;

	changes_set_up(&r);
	faults_arm(0, 0);
	assert_int_equal(changes_apply(&r), 0);
	n = faults_count();
	rig_close(&r);
	for (at = n; at > 0; at--) {
		int e;

		changes_set_up(&r);
		faults_arm(at, EIO);
		e = changes_apply(&r);
		faults_arm(0, 0);
		rig_close(&r);
		if (e < 0)
			break;
	}
	assert_true(at > n / 2);
	return at;
}
