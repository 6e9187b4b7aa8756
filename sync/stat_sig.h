/* sync/stat_sig.h: how a file looks to stat(2), as a signature (sync/index.h). */
#ifndef LP_SYNC_STAT_SIG_H
#define LP_SYNC_STAT_SIG_H

#include "sync/index.h"

struct stat;

/* What stat(2) said, as a signature. */
void lp_stat_sig_of(const struct stat *st, struct lp_stat_sig *sig);

/* Whether two signatures are the same, and known. */
bool lp_sig_equal(const struct lp_stat_sig *a, const struct lp_stat_sig *b);

/* Whether a signature is known, and stat(2) says the same. */
bool lp_sig_is(const struct lp_stat_sig *sig, const struct stat *st);

#endif
