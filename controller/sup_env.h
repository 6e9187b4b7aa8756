/* controller/sup_env.h: an environment block for a child, built by setting names one by one. */
#ifndef LP_CONTROLLER_SUP_ENV_H
#define LP_CONTROLLER_SUP_ENV_H

#include <stddef.h>

/* list: NULL-terminated "NAME=value" strings, owned. A zeroed struct is not valid: init it. */
struct lp_env {
	char **list;
	size_t n;
	size_t cap;
};

/* Copies base (NULL-terminated, NULL allowed for none). */
void lp_env_init(struct lp_env *env, const char *const *base);
void lp_env_finish(struct lp_env *env);

/* Sets or replaces a name. */
void lp_env_set(struct lp_env *env, const char *name, const char *value);

/* Removes a name; harmless when it is not there. */
void lp_env_unset(struct lp_env *env, const char *name);

/* Its value, borrowed until the block changes; NULL when it is not set. */
const char *lp_env_get(const struct lp_env *env, const char *name);

/* The block as lp_child_spawn takes it; borrowed until it changes. */
const char *const *lp_env_block(const struct lp_env *env);

#endif
