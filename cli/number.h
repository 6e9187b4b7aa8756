/* cli/number.h: numbers on the command line. */
#ifndef LP_CLI_NUMBER_H
#define LP_CLI_NUMBER_H

#include "common/base/lp_util.h"

#include <stdint.h>

/* What the words of a usage error call such a number. */
#define LP_SECONDS       "number of seconds (0 to 86400)"
#define LP_SECONDS_NOT_0 "number of seconds (more than 0, at most 86400)"

/* "30" or "0.5" seconds, at most a day, into milliseconds. Returns 0 or -EINVAL. */
int lp_parse_seconds(const char *text, uint32_t *out_ms) LP_MUST_USE;

/* A whole number from 0 to max. Returns 0 or -EINVAL. */
int lp_parse_count(const char *text, uint64_t max, uint64_t *out) LP_MUST_USE;

/* A rate in bytes per second: "500000", "500k" or "2.5M" (of 1024 and 1024 * 1024), at least 1024 a
 * second and at most 1 TiB. Returns 0 or -EINVAL. */
int lp_parse_rate(const char *text, uint64_t *out) LP_MUST_USE;

#endif
