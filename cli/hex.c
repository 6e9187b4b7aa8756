/* cli/hex.c: bytes to digits and back. */
#include "cli/hex.h"

#include "common/base/lp_hex.h"
#include "common/base/lp_mem.h"

#include <stdlib.h>
#include <string.h>

static const char digit_of[] = "0123456789abcdef";

char *lp_hex_encode(const char *text)
{
	size_t len = strlen(text);
	char *out = lp_xcalloc(LP_HEX_BYTES(len), 1);

	lp_hex(out, text, len);
	return out;
}

char *lp_hex_decode(const char *digits)
{
	size_t len = strlen(digits);
	char *out = lp_xcalloc(len / 2 + 1, 1);
	size_t i;

	for (i = 0; i + 1 < len; i += 2) {
		const char *high = strchr(digit_of, digits[i]),
			   *low = strchr(digit_of, digits[i + 1]);

		if (!high || !low)
			break;
		out[i / 2] = (char)((high - digit_of) << 4 | (low - digit_of));
		if (!out[i / 2])
			break;
	}
	if (i == len)
		return out;
	free(out);
	return NULL;
}
