/* watcher/aside.h: large files that changed are read beside the event loop, so that they never
 * delay a small one. Such a file is taken when its reading is finished; when it changes meanwhile,
 * the reading begins again. */
#ifndef LP_WATCHER_ASIDE_H
#define LP_WATCHER_ASIDE_H

#include "watcher/workspace_internal.h"

/* Larger files are read aside. Reading as much takes less than a millisecond. */
#define LP_ASIDE_MIN_BYTES ((uint64_t)1024 * 1024)

/* Begins to read the file at path, which looks like sig now; when that is being done already, it
 * goes on, or begins again when the file looked otherwise then. When it has been read the path is
 * noted. hint: as for lp_workspace_update. */
void lp_aside_start(struct lp_workspace *ws, const char *path, const struct lp_dirty *hint,
		    const struct lp_stat_sig *sig);

/* Puts what was read of path in the place of a look that says LP_LOOK_LARGE, if it was read and has
 * not changed between. */
bool lp_aside_take(struct lp_workspace *ws, const char *path, struct lp_look *look);

/* Whatever was begun for path is not wanted any more. */
void lp_aside_drop(struct lp_workspace *ws, const char *path);

/* Whether something is being read, which will be noted. */
bool lp_aside_is_reading(const struct lp_workspace *ws);

/* Gives up everything; waits for a reading to notice. */
void lp_aside_finish(struct lp_workspace *ws);

#endif
