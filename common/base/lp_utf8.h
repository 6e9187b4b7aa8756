/* lp_utf8.h: text of any bytes: what of it is UTF-8 (RFC 3629), and what may be shown on a
 * terminal. Does no I/O. */
#ifndef LP_COMMON_BASE_LP_UTF8_H
#define LP_COMMON_BASE_LP_UTF8_H

#include "common/base/lp_buf.h"

#include <stdbool.h>

/* Length of the valid character at bytes, 0 when there is none in bytes[0..left). */
size_t lp_utf8_len(const void *bytes, size_t left);

/* Whether all of it is UTF-8. */
bool lp_utf8_is_text(const void *bytes, size_t len);

/* How many of the bytes are left without a character at the end that is begun and not complete, so
 * that a text which is cut somewhere ends with a character. Other bytes that are no UTF-8 count. */
size_t lp_utf8_whole(const void *bytes, size_t len);

/* Appends the bytes; each that is no UTF-8 becomes U+FFFD. Returns 0, -EMSGSIZE or -ENOMEM. */
int lp_utf8_add(struct lp_buf *out, const void *bytes, size_t len) LP_MUST_USE;

/* Length of the control character at bytes, 0 when there is none: C0 (U+0000-001F), DEL, C1
 * (U+0080-009F) in UTF-8, or a lone byte 0x80-0x9F, which terminals of 8-bit sets take for one. */
size_t lp_utf8_control(const void *bytes, size_t left);

/* Replaces every byte of control characters in a text by '?', in place. */
void lp_utf8_plain(char *text);

#endif
