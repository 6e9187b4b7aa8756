/* common/conf/conf_flat.h: a YAML file that is a plain mapping of keys to texts, as other programs
 * have. Knows no keys. */
#ifndef LP_COMMON_CONF_CONF_FLAT_H
#define LP_COMMON_CONF_CONF_FLAT_H

#include "common/base/lp_err.h"

/* Calls take for each key with its value: a scalar's text, the texts of a list with a space
 * between, or NULL for anything else; borrowed. take returns 0, or -errno with err set, which ends
 * it. name is for messages. An empty document has no keys. Returns 0, -EINVAL (not such a mapping)
 * or what take returned. */
int lp_conf_flat_parse(const char *text, size_t len, const char *name,
		       int (*take)(void *ctx, const char *key, const char *value,
				   struct lp_err *err),
		       void *ctx, struct lp_err *err) LP_MUST_USE;

#endif
