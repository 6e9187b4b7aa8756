/* cli/number.c: reads numbers strictly. */
#include "cli/number.h"

#include <ctype.h>
#include <stdlib.h>

int lp_parse_seconds(const char *text, uint32_t *out_ms)
{
	char *end;
	double seconds;

	if (!isdigit((unsigned char)text[0]) && text[0] != '.')
		return -EINVAL;
	seconds = strtod(text, &end);
	if (*end || end == text || !(seconds >= 0 && seconds <= 86400))
		return -EINVAL;
	*out_ms = (uint32_t)(seconds * 1000);
	return 0;
}

int lp_parse_count(const char *text, uint64_t max, uint64_t *out)
{
	char *end;
	unsigned long long n;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (*end || errno || n > max)
		return -EINVAL;
	*out = n;
	return 0;
}
