/* lp_log.h: one line per event on stderr. Only the shells (mains and their loops) log; libraries
 * return errors. Secrets never go in here. */
#ifndef LP_COMMON_BASE_LP_LOG_H
#define LP_COMMON_BASE_LP_LOG_H

#include "common/base/lp_util.h"

#include <stdbool.h>
#include <stdint.h>

enum lp_log_level {
	LP_TRACE,
	LP_DEBUG,
	LP_INFO,
	LP_WARN,
	LP_ERROR,
	LP_LOG_LEVEL_COUNT_,
};

/* Sets the least level that is written; LP_WARN until called. Any thread. */
void lp_log_set_level(enum lp_log_level level);

/* The level of that name ("trace" … "error"), or -1. */
int lp_log_level_by_name(const char *name);

/* Whether a line of that level would be written. */
int lp_log_on(enum lp_log_level level);

/* Writes "LEVEL module: text\n" to stderr, cut at 4 KiB, control characters replaced by '?'. It
 * never waits for a reader: lines wait in a queue (lp_log_out.h), and how many found no room there
 * is told in a line of its own. Any thread. */
void lp_log(enum lp_log_level level, const char *module, const char *fmt, ...) LP_PRINTF(3, 4);

#define LP_LOG_LIMIT_LINES 10        /* of one kind */
#define LP_LOG_LIMIT_US    60000000u /* in that time */

/* Counts lines of a kind that strangers can cause, so that they do not fill a disk. Zeroed: none
 * was written. */
struct lp_log_limit {
	uint64_t since_us;
	unsigned lines;
	unsigned left_out;
};

/* Whether another line of the kind may be written at now_us; when it may, *left_out is how many
 * were not since the last. Pure. */
bool lp_log_may(struct lp_log_limit *limit, uint64_t now_us, unsigned *left_out);

#endif
