/* cli/number.c: reads numbers strictly. */
#include "cli/number.h"

#include <ctype.h>
#include <stdlib.h>

#define RATE_LEAST 1024.0
#define RATE_MOST  (1024.0 * 1024 * 1024 * 1024)

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

int lp_parse_rate(const char *text, uint64_t *out)
{
	static const struct {
		char letter;
		double factor;
	} units[] = {
		{'\0', 1}, {'k', 1024}, {'K', 1024}, {'m', 1024 * 1024}, {'M', 1024 * 1024},
	};
	double number, rate;
	char *end;

	/* strtod takes signs, hexadecimal, "inf" and more. */
	if (!isdigit((unsigned char)text[0]) || text[1] == 'x' || text[1] == 'X')
		return -EINVAL;
	number = strtod(text, &end);
	for (size_t i = 0; i < LP_COUNT_OF(units); i++) {
		if (end[0] != units[i].letter || (end[0] && end[1]))
			continue;
		rate = number * units[i].factor;
		if (!(rate >= RATE_LEAST && rate <= RATE_MOST))
			return -EINVAL;
		*out = (uint64_t)rate;
		return 0;
	}
	return -EINVAL;
}
