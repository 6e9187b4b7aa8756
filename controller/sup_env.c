/* controller/sup_env.c: environment blocks in memory of their own. */
#include "controller/sup_env.h"

#include "common/base/lp_mem.h"

#include <stdlib.h>
#include <string.h>

static void append(struct lp_env *env, char *entry)
{
	lp_grow(&env->list, &env->cap, env->n + 2, sizeof(*env->list));
	env->list[env->n++] = entry;
	env->list[env->n] = NULL;
}

/* The index of a name, or env->n. */
static size_t find(const struct lp_env *env, const char *name)
{
	size_t len = strlen(name);
	size_t i;

	for (i = 0; i < env->n; i++) {
		if (strncmp(env->list[i], name, len) == 0 && env->list[i][len] == '=')
			break;
	}
	return i;
}

void lp_env_init(struct lp_env *env, const char *const *base)
{
	*env = (struct lp_env){0};
	lp_grow(&env->list, &env->cap, 1, sizeof(*env->list));
	env->list[0] = NULL;
	for (; base && *base; base++)
		append(env, lp_xstrdup(*base));
}

void lp_env_finish(struct lp_env *env)
{
	for (size_t i = 0; i < env->n; i++)
		free(env->list[i]);
	free(env->list);
	*env = (struct lp_env){0};
}

void lp_env_set(struct lp_env *env, const char *name, const char *value)
{
	char *entry = lp_xasprintf("%s=%s", name, value);
	size_t i = find(env, name);

	if (i == env->n) {
		append(env, entry);
		return;
	}
	free(env->list[i]);
	env->list[i] = entry;
}

void lp_env_unset(struct lp_env *env, const char *name)
{
	size_t i = find(env, name);

	if (i == env->n)
		return;
	free(env->list[i]);
	memmove(env->list + i, env->list + i + 1, (env->n - i) * sizeof(*env->list));
	env->n--;
}

const char *lp_env_get(const struct lp_env *env, const char *name)
{
	size_t i = find(env, name);

	return i == env->n ? NULL : env->list[i] + strlen(name) + 1;
}

const char *const *lp_env_block(const struct lp_env *env)
{
	return (const char *const *)env->list;
}
