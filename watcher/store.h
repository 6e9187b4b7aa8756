/* watcher/store.h: an index as bytes, to be kept on disk: of each file what it looked like to
 * stat(2) and the digest that it had then, so that it need not be read again while it looks the
 * same. Memory only.
 *
 * The bytes, all numbers little-endian: the magic "lpindex1", the length (u32) and bytes of the
 * workspace's path, then one record for each entry, parents before children, siblings by name:
 *   kind u8 (enum lp_kind), length of the name u8, depth u16 (0: directly in the root), mode u16,
 *   the name;
 *   of a file: size u64, digest, inode u64, mtime i64, ctime i64 (both in ns), number of chunks
 *   u32, and for each its length u32 and its digest;
 *   of a link: length of its target u64, digest of it.
 * A zero byte ends the records; the digest of all bytes up to there ends it all. Files whose times
 * do not tell whether they changed, or that were not read yet, are left out. */
#ifndef LP_WATCHER_STORE_H
#define LP_WATCHER_STORE_H

#include "common/base/lp_buf.h"
#include "sync/index.h"

/* More than a million files; what does not fit is not kept. */
#define LP_STORE_MAX_BYTES ((size_t)512 * 1024 * 1024)

/* An index on its way into bytes, in steps, between which the index may change: each record is true
 * of the moment when it was written. `last`: the path of the last record. */
struct lp_store_writer {
	struct lp_buf out;
	char last[LP_PATH_MAX_BYTES + 1];
};

/* Begins. Returns 0, -ENOMEM or -EMSGSIZE. */
int lp_store_begin(struct lp_store_writer *w, const char *root_path) LP_MUST_USE;

/* Writes at most max more records. Returns 1 when there is more to write, 0 at the end, -ENOMEM or
 * -EMSGSIZE. */
int lp_store_add(struct lp_store_writer *w, const struct lp_index *ix, size_t max) LP_MUST_USE;

/* Puts the digest behind the records. Any thread. Returns 0, -ENOMEM or -EMSGSIZE. */
int lp_store_end(struct lp_store_writer *w) LP_MUST_USE;

/* Releases the bytes. */
void lp_store_finish(struct lp_store_writer *w);

/* Makes an index of the bytes; *out is the caller's. Returns 0, or -EINVAL with the reason when
 * they are damaged, of another version or of another workspace. */
int lp_store_read(struct lp_index **out, const void *data, size_t len, const char *root_path,
		  struct lp_err *err) LP_MUST_USE;

#endif
