/* proxy/text.h: the smallest pieces of HTTP text: characters, spans of bytes, lists (RFC 9110
 * section 5.6). Pure. */
#ifndef LP_PROXY_TEXT_H
#define LP_PROXY_TEXT_H

#include "common/base/lp_util.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes inside a buffer; borrowed from it. */
struct lp_px_span {
	const char *at;
	size_t len;
};

/* Whether the byte may stand in a field name or method (RFC 9110 token). */
bool lp_px_is_token(char c);

/* Whether the byte may stand in a field value or reason: no control character but tab. */
bool lp_px_is_text(char c);

/* Whether it is a space or a tab. */
bool lp_px_is_blank(char c);

/* The span without blanks around it. */
struct lp_px_span lp_px_span_trim(struct lp_px_span s);

/* Whether span holds exactly the text, upper and lower case being the same. */
bool lp_px_span_is(struct lp_px_span span, const char *text);

/* Takes the next element of a comma-separated list off *list, white space cut away. Returns false
 * at its end. */
bool lp_px_list_next(struct lp_px_span *list, struct lp_px_span *element);

#endif
