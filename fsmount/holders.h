/* fsmount/holders.h: who keeps a mount busy: processes that work in it, or have a file of it open
 * or mapped. Found in /proc, without asking the file system itself. */
#ifndef LP_FSMOUNT_HOLDERS_H
#define LP_FSMOUNT_HOLDERS_H

#include "common/base/lp_err.h"

#include <sys/types.h>

/* Names up to three of those who use the file system with device number `dev`, in who->msg: "pid
 * 412 (vim) works in it at 'src'". Paths are relative to mountpoint. Looks at this process too, but
 * leaves it out; at most for a second. Returns how many processes it found; with 0 the text says
 * that they cannot be seen. */
size_t lp_holders_name(dev_t dev, const char *mountpoint, struct lp_err *who);

#endif
