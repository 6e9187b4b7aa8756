/* controller/page_internal.h: the page's files as the build embeds them. Private to page.c. */
#ifndef LP_CONTROLLER_PAGE_INTERNAL_H
#define LP_CONTROLLER_PAGE_INTERNAL_H

#include <stddef.h>

struct lp_page_file {
	const char *name;
	const char *type;
	const unsigned char *data;
	size_t len;
};

/* Ended by one without a name. */
extern const struct lp_page_file lp_page_files[];

#endif
