/* fsmount/attach.h: puts a FUSE file system on a directory and takes it off: mount(2) where we may,
 * the set-uid program fusermount3 otherwise. Knows nothing of what is served. */
#ifndef LP_FSMOUNT_ATTACH_H
#define LP_FSMOUNT_ATTACH_H

#include "common/base/lp_err.h"

#include <stdbool.h>
#include <sys/types.h>

/* How the mounts are known in /proc/self/mountinfo. */
#define LP_ATTACH_FSTYPE "fuse.livepush"

/* Whether this process may mount by itself (CAP_SYS_ADMIN). */
bool lp_attach_privileged(void);

/* Absolute path of fusermount3: from PATH, otherwise from the usual places. NULL when there is
 * none. Owned by the caller. */
char *lp_attach_helper(void);

/* What is mounted last exactly at `path` (absolute, real): writes its type and returns 0, -ENOENT
 * when nothing is, or another -errno. */
int lp_attach_type_at(const char *path, char *fstype, size_t fstype_bytes) LP_MUST_USE;

/* Mounts over directory `mountpoint`. Returns an owned descriptor of the device, or -errno. */
int lp_attach_mount(const char *mountpoint, struct lp_err *err) LP_MUST_USE;

/* The device number of what is at mountpoint, found without asking its server; 0 when that is not
 * possible. */
dev_t lp_attach_dev(const char *mountpoint);

/* Unmounts what is at mountpoint; lazy: even if it is in use. Returns 0 or -errno. */
int lp_attach_unmount(const char *mountpoint, bool lazy, struct lp_err *err);

#endif
