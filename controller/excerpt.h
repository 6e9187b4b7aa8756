/* controller/excerpt.h: the last lines of an output, for the message that says why something
 * failed. */
#ifndef LP_CONTROLLER_EXCERPT_H
#define LP_CONTROLLER_EXCERPT_H

#include <stddef.h>

#define LP_EXCERPT_BYTES 8192
#define LP_EXCERPT_LINES 50

/* A zeroed struct is an empty one. data is twice the size so that old bytes are dropped seldom. */
struct lp_excerpt {
	size_t len;
	char data[2 * LP_EXCERPT_BYTES];
	char text[LP_EXCERPT_BYTES + 1];
};

/* Appends output; keeps the newest LP_EXCERPT_BYTES at least. Lines may have any length. */
void lp_excerpt_add(struct lp_excerpt *ex, const char *data, size_t len);

/* The last LP_EXCERPT_LINES lines, at most LP_EXCERPT_BYTES, without the final newline; "" when
 * there was no output. Begins at the start of a line unless one line alone is longer than all the
 * room. NUL bytes read as '?'. Borrowed until the next call. */
const char *lp_excerpt_text(struct lp_excerpt *ex);

#endif
