/* cli/names.h: what the instances that a command asks are called, link by link. */
#ifndef LP_CLI_NAMES_H
#define LP_CLI_NAMES_H

#include "link/link.h"

#define LP_NAMES_SUFFIX_BYTES 256

/* list: n names, owned; NULL: not known yet. */
struct lp_names {
	char **list;
	size_t n;
};

/* For n links. */
void lp_names_init(struct lp_names *names, size_t n);
void lp_names_finish(struct lp_names *names);

/* The instance says what it is called; again after a connection was lost. */
void lp_names_set(struct lp_names *names, const struct lp_link *link, const char *name);

/* Its name; its URL as long as it has not said it. Borrowed. */
const char *lp_names_of(const struct lp_names *names, const struct lp_link *link);

/* " (name)" for a line about one of several, "" when there is only one. Returns out. */
const char *lp_names_suffix(const struct lp_names *names, const struct lp_link *link,
			    char out[LP_NAMES_SUFFIX_BYTES]);

#endif
