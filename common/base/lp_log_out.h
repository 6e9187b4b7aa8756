/* lp_log_out.h: how lines get to stderr without waiting for whoever reads it. For lp_log.c. */
#ifndef LP_COMMON_BASE_LP_LOG_OUT_H
#define LP_COMMON_BASE_LP_LOG_OUT_H

#include <stddef.h>

/* What waits for a slow reader, at most. */
#define LP_LOG_QUEUE_BYTES 65536u

/* Writes a line with its end to stderr, or keeps it until stderr takes it, or counts it as lost
 * when too much waits. A pipe or terminal that nobody reads makes nobody wait; the mode of its
 * descriptor is left as it is, because others have it, too. Lines keep their order. What still
 * waits at exit(3) has 250 ms. Any thread. */
void lp_log_out(const char *line, size_t len);

#endif
