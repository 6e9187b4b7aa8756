/* faults.h: makes the Nth changing system call of a tree fail, or the process end before it. The
 * calls are wrapped when the test is linked. */
#ifndef LP_TESTS_FAULTS_H
#define LP_TESTS_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

/* From now on the call number `at` (from 1) fails with `error`, or, with error 0, ends the process
 * as kill -9 does. at 0: none does. Counting begins anew. */
void faults_arm(size_t at, int error);

/* How many calls came since, and the name of the one that failed; NULL: none. */
size_t faults_count(void);
const char *faults_hit(void);

#endif
