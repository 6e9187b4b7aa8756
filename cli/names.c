/* cli/names.c: a list of names. */
#include "cli/names.h"

#include "common/base/lp_mem.h"

#include <stdio.h>
#include <stdlib.h>

void lp_names_init(struct lp_names *names, size_t n)
{
	names->list = lp_xcalloc(n, sizeof(*names->list));
	names->n = n;
}

void lp_names_finish(struct lp_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->list[i]);
	free(names->list);
	*names = (struct lp_names){0};
}

void lp_names_set(struct lp_names *names, const struct lp_link *link, const char *name)
{
	char **at = &names->list[lp_link_index(link)];

	free(*at);
	*at = lp_xstrdup(name);
}

const char *lp_names_of(const struct lp_names *names, const struct lp_link *link)
{
	const char *name = names->list[lp_link_index(link)];

	return name ? name : lp_link_url(link);
}

const char *lp_names_suffix(const struct lp_names *names, const struct lp_link *link,
			    char out[LP_NAMES_SUFFIX_BYTES])
{
	out[0] = '\0';
	if (names->n > 1)
		(void)snprintf(out, LP_NAMES_SUFFIX_BYTES, " (%.250s)", lp_names_of(names, link));
	return out;
}
