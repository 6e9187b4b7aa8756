/* link/source.h: where contents come from, as a port: the network knows nothing of files. */
#ifndef LP_LINK_SOURCE_H
#define LP_LINK_SOURCE_H

#include "sync/changeset.h"

/* index: what the workspace holds now; borrowed until the loop's next callback. sketch: the same
 * while there are files in it that have no digest yet (lp_entry_is_blank); NULL when there are none
 * (any more). fill: has some of these read, and says whether that was all. follow: a changeset was
 * made of the sketch; it gets its root and the digests that are missing when all is read.
 * read_blank: reads such a file into `to` (e->size bytes and one more) and gives e its digest; 1:
 * it has got it already, and is read like others; or -errno as open. These four may be NULL: index
 * has them all. open: an owned descriptor of a regular file to read it from, or -errno (-EBUSY:
 * somebody is writing it; -ESTALE: it is no regular file any more). read_link: the target into out,
 * its length or -errno. stale: the path was not as the index says (cause 0) or could not be read
 * (-errno) and was not sent; look at it again and send it whatever comes of that. revision/raise:
 * the revision counter of the workspace; whoever raises it pushes an empty changeset to the other
 * links, so that they reach it as well. All in the loop's thread. */
struct lp_source {
	struct lp_index *(*index)(void *ctx);
	int (*open)(void *ctx, const char *path);
	long (*read_link)(void *ctx, const char *path, char *out, size_t out_bytes);
	void (*stale)(void *ctx, const char *path, int cause);
	uint64_t (*revision)(void *ctx);
	void (*raise_revision)(void *ctx, uint64_t floor);
	struct lp_index *(*sketch)(void *ctx);
	bool (*fill)(void *ctx);
	void (*follow)(void *ctx, struct lp_changeset *cs);
	int (*read_blank)(void *ctx, const char *path, struct lp_entry *e, void *to);
	void *ctx;
};

#endif
