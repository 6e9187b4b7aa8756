/* cli/hex.h: bytes as hexadecimal text: for paths in JSON, which need not be UTF-8. */
#ifndef LP_CLI_HEX_H
#define LP_CLI_HEX_H

/* The bytes of the text up to its NUL as lower-case digits; the caller's. */
char *lp_hex_encode(const char *text);

/* The text that such digits stand for, the caller's; NULL when they are none, or hold a NUL. */
char *lp_hex_decode(const char *digits);

#endif
