/* watcher/memory.h: the index on disk: what a session knew of the files of its workspace, so that
 * the next one reads only what changed. It is written when the session ends, soon after a first
 * scan, and at most every minute while something changes; each time as a whole, beside the old one,
 * and renamed. It can always be lost: then everything is read. What was not used for three months
 * is removed. */
#ifndef LP_WATCHER_MEMORY_H
#define LP_WATCHER_MEMORY_H

#include "watcher/workspace_internal.h"

/* Something changed that is worth remembering. */
void lp_memory_touch(struct lp_workspace *ws);

/* Writes what is not written yet, and ends. */
void lp_memory_finish(struct lp_workspace *ws);

#endif
