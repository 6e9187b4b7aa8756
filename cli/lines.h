/* cli/lines.h: lines out of a stream that comes in pieces cut anywhere. Any bytes. Does no I/O. */
#ifndef LP_CLI_LINES_H
#define LP_CLI_LINES_H

#include "common/base/lp_buf.h"

#include <stdbool.h>

#define LP_LINE_MAX_BYTES ((size_t)1024 * 1024) /* of a line that is kept; it goes on in parts */

/* Takes a line without its end, or a part of one: more says that the rest follows. Borrowed. */
typedef void lp_line_fn(void *ctx, const void *line, size_t len, bool more);

/* Takes a piece of the stream. begun: what the stream has begun of a line; zeroed at first. */
void lp_lines_take(struct lp_buf *begun, const void *data, size_t len, lp_line_fn *each, void *ctx);

/* The stream ends here: gives what is begun as a line. */
void lp_lines_end(struct lp_buf *begun, lp_line_fn *each, void *ctx);

#endif
