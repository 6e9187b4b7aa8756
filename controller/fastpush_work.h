/* controller/fastpush_work.h: what fastpush's calls take time for, as functions for a thread of
 * their own: listing a tree with its digests, and turning an upload into the messages that apply
 * takes. They know nothing of HTTP. */
#ifndef LP_CONTROLLER_FASTPUSH_WORK_H
#define LP_CONTROLLER_FASTPUSH_WORK_H

#include "common/base/lp_buf.h"
#include "common/base/lp_err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define LP_FP_FILES_MAX  100000             /* in one call */
#define LP_FP_BODY_BYTES ((size_t)64 << 20) /* of an upload */

/* Appends {"path": {"Checksum": SHA-256 in hex, "Modification": seconds since 1970,
 * "Content": null}, …} of all regular files below dirs (words: clean relative paths, "./" or "."
 * for the tree itself), crossing no symlink and leaving out our own directory. stop: gives up.
 * Returns 0 or -errno. */
int lp_fastpush_list(int tree_fd, const char *dirs, const atomic_bool *stop, struct lp_buf *out,
		     struct lp_err *err) LP_MUST_USE;

/* Messages of one changeset, encoded (wire/msg.h), in order. Owned. */
struct lp_fastpush_upload {
	struct lp_buf *messages;
	size_t n;
	size_t cap;
	size_t files;
};

/* Turns {"path": {"Content": base64, "Checksum": …}, …} into a changeset that leads to `revision`.
 * Files that are there keep their mode, new ones get 0644. Returns 0; -EBADMSG: it is not that, a
 * path is no clean one or leads over a symlink, a checksum is not the content's; or another -errno.
 * On failure *out is empty. */
int lp_fastpush_read(int tree_fd, const struct lp_buf *body, uint64_t revision,
		     struct lp_fastpush_upload *out, struct lp_err *err) LP_MUST_USE;

void lp_fastpush_upload_finish(struct lp_fastpush_upload *u);

#endif
