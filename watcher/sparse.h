/* watcher/sparse.h: the chunks of a file with holes, at the cost of what it holds. */
#ifndef LP_WATCHER_SPARSE_H
#define LP_WATCHER_SPARSE_H

#include "common/base/lp_util.h"
#include "sync/chunk.h"

#include <stdatomic.h>

/* The chunks of the first `bytes` of the open file fd, more than LP_INLINE_MAX_BYTES; large holes
 * are not read. stop: as in struct lp_look_opts. Moves the file's position. *out: one reference.
 * Returns 0, -ESTALE (it became shorter), -ECANCELED, -EOPNOTSUPP (the file system does not tell
 * holes from data) or another -errno. */
int lp_sparse_chunks(int fd, uint64_t bytes, const atomic_bool *stop,
		     struct lp_chunks **out) LP_MUST_USE;

#endif
