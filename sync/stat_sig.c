/* sync/stat_sig.c: see stat_sig.h. */
#include "sync/stat_sig.h"

#include <sys/stat.h>

static int64_t ns_of(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

void lp_stat_sig_of(const struct stat *st, struct lp_stat_sig *sig)
{
	*sig = (struct lp_stat_sig){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.mtime_ns = ns_of(&st->st_mtim),
		.ctime_ns = ns_of(&st->st_ctim),
	};
}

bool lp_sig_equal(const struct lp_stat_sig *a, const struct lp_stat_sig *b)
{
	return a->ino != 0 && a->ino == b->ino && a->size == b->size &&
	       a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

bool lp_sig_is(const struct lp_stat_sig *sig, const struct stat *st)
{
	struct lp_stat_sig now;

	lp_stat_sig_of(st, &now);
	return lp_sig_equal(sig, &now);
}
