/* link/source.h: where contents come from, as a port: the network knows nothing of files. */
#ifndef LP_LINK_SOURCE_H
#define LP_LINK_SOURCE_H

#include "sync/changeset.h"

/* index: what the workspace holds now; borrowed until the loop's next callback. open: an owned
 * descriptor of a regular file to read it from, or -errno (-EBUSY: somebody is writing it; -ESTALE:
 * it is no regular file any more). read_link: the target into out, its length or -errno. stale: the
 * path was not as the index says (cause 0) or could not be read (-errno) and was not sent; look at
 * it again and send it whatever comes of that. revision/raise: the revision counter
 * of the workspace; whoever raises it pushes an empty changeset to the other links, so that they
 * reach it as well. All in the loop's thread. */
struct lp_source {
	struct lp_index *(*index)(void *ctx);
	int (*open)(void *ctx, const char *path);
	long (*read_link)(void *ctx, const char *path, char *out, size_t out_bytes);
	void (*stale)(void *ctx, const char *path, int cause);
	uint64_t (*revision)(void *ctx);
	void (*raise_revision)(void *ctx, uint64_t floor);
	void *ctx;
};

#endif
