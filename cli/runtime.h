/* cli/runtime.h: who mirrors what on this machine: one lock and one control socket per app, in a
 * directory that only this user can enter. */
#ifndef LP_CLI_RUNTIME_H
#define LP_CLI_RUNTIME_H

#include "common/base/lp_err.h"

#include <sys/types.h>

/* $XDG_RUNTIME_DIR/livepush, or /tmp/livepush-UID; made with mode 0700 and checked to be ours.
 * Returns 0 and the path in out, or -errno. */
int lp_runtime_dir(char *out, size_t out_bytes, struct lp_err *err) LP_MUST_USE;

/* Path of the app's file with that ending ("lock", "sock"). App names with characters other than
 * letters, digits, '.', '_' and '-' (URLs) are named by a digest. */
int lp_runtime_path(char *out, size_t out_bytes, const char *app, const char *ending,
		    struct lp_err *err) LP_MUST_USE;

/* Takes the app's lock. Returns an owned descriptor, held until it is closed, or -EBUSY with who
 * holds it (pid and workspace), or -errno. dir is written into it for others to read. */
int lp_runtime_lock(const char *app, const char *dir, struct lp_err *err) LP_MUST_USE;

#endif
