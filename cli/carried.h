/* cli/carried.h: which revision carried a path last: a bounded memory of what a session has sent.
 * Pure. */
#ifndef LP_CLI_CARRIED_H
#define LP_CLI_CARRIED_H

#include "sync/changeset.h"

struct lp_carried; /* opaque */

struct lp_carried *lp_carried_create(void);
void lp_carried_destroy(struct lp_carried *c); /* NULL is allowed */

/* Remembers the paths of a changeset; cheap, a few dozen bytes a path. When there are very many the
 * ones that changed longest ago are forgotten. */
void lp_carried_add(struct lp_carried *c, const struct lp_changeset *cs);

/* The newest revision that had this path (or moved a directory above it); 0: none is remembered. */
uint64_t lp_carried_find(const struct lp_carried *c, const char *path);

#endif
