/* fsmount/held.h: reports that wait to be given to the owner together, who is woken up once for
 * them; see lp_report_hold. */
#ifndef LP_FSMOUNT_HELD_H
#define LP_FSMOUNT_HELD_H

#include <stddef.h>

#define LP_HELD_MAX 64

/* Files that were closed. A zeroed one is empty. Not thread-safe. */
struct lp_held {
	char *paths[LP_HELD_MAX]; /* owned */
	size_t n;
};

#endif
