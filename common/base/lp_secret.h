/* lp_secret.h: the secret that a client and an instance share: reading it from a file, and what it
 * has to be. What is proved with it is in wire/auth.h. */
#ifndef LP_COMMON_BASE_LP_SECRET_H
#define LP_COMMON_BASE_LP_SECRET_H

#include "common/base/lp_err.h"

#define LP_SECRET_MIN_BYTES 16
#define LP_SECRET_MAX_BYTES 1024

/* Why a secret may not be used ("it is shorter than 16 bytes"), or NULL when it may. */
const char *lp_secret_fault(const char *secret);

/* The first line of a file: an owned string that lp_secret_fault may still object to. *warning:
 * what is to be said of the file ("others may read it: chmod o= it"), or NULL. Returns 0, or -errno
 * (-EFBIG: the file is longer than a secret may be). */
int lp_secret_read(char **out, const char *path, const char **warning,
		   struct lp_err *err) LP_MUST_USE;

#endif
