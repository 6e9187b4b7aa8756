/* lp_hex.h: bytes as hexadecimal digits. */
#ifndef LP_COMMON_BASE_LP_HEX_H
#define LP_COMMON_BASE_LP_HEX_H

#include <stddef.h>

/* Room for so many bytes as text, with its NUL. */
#define LP_HEX_BYTES(len) (2 * (len) + 1)

/* Writes bytes[0..len) as lower-case digits and a NUL into out, which has LP_HEX_BYTES(len). */
void lp_hex(char *out, const void *bytes, size_t len);

#endif
