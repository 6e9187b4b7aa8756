/* cli/watches.h: how many inotify watches are in use. */
#ifndef LP_CLI_WATCHES_H
#define LP_CLI_WATCHES_H

#include <stdint.h>

/* The inotify watches of all processes of this user whose descriptors can be looked at (proc(5),
 * fdinfo). The kernel's limit is for a user, not for a process. */
uint64_t lp_watches_in_use(void);

#endif
