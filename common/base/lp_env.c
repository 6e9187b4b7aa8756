/* lp_env.c: see lp_env.h. */
#include "common/base/lp_env.h"

#include "common/base/lp_mem.h"
#include "common/base/lp_util.h"

#include <ctype.h>
#include <stdlib.h>

char *lp_env_name(const char *name)
{
	char *variable = lp_xasprintf("LIVEPUSH_%s", name);

	for (char *p = variable; *p; p++)
		*p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
	return variable;
}

char *lp_env_option(const char *name)
{
	LP_AUTO_FREE char *variable = lp_env_name(name);
	char *value = getenv(variable);

	return value && value[0] ? value : NULL;
}
