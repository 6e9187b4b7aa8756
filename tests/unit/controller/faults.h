/* faults.h: makes the Nth changing system call of a tree fail, or the process end before it. The
 * calls are wrapped when the test is linked. */
#ifndef LP_TESTS_FAULTS_H
#define LP_TESTS_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

/* From now on the call number `at` (from 1) fails with `error`, or, with error 0, ends the process
 * as kill -9 does. at 0: none does. Counting begins anew. */
void faults_arm(size_t at, int error);

/* And of those behind that one, the calls number `after` (from 1) and following, so many `times`,
 * too; to be said after faults_arm. struck: how many did. */
void faults_also(size_t after, size_t times, int error);
size_t faults_also_struck(void);

/* What the file system cannot do, from now on: hard links, and then changing places either. */
enum faults_missing {
	FAULTS_NOTHING,
	FAULTS_NO_LINKS,
	FAULTS_NO_EXCHANGE,
};
void faults_without(enum faults_missing what);

/* Whether the call that is about to be made shall fail; errno says how. For further wrappers. */
bool faults_strike(const char *name);

/* How many calls came since, and the name of the one that failed; NULL: none. */
size_t faults_count(void);
const char *faults_hit(void);

#endif
