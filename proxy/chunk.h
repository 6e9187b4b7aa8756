/* proxy/chunk.h: a strict scanner of chunked bodies (RFC 9112 section 7.1). http_parser as Debian
 * builds it takes any two bytes for the CRLF after a chunk and a bare LF within extensions, which
 * lets two servers disagree about where a message ends; this one refuses both. No I/O. */
#ifndef LP_PROXY_CHUNK_H
#define LP_PROXY_CHUNK_H

#include "common/base/lp_util.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LP_PX_CHUNK_LINE_MAX    4096 /* a size line with its extensions, without CRLF */
#define LP_PX_CHUNK_TRAILER_MAX 8192 /* all trailers; half of a block, so that a line fits */

/* Where the scanner stands. A zeroed struct stands before the first chunk. */
struct lp_px_chunk {
	uint8_t state;
	uint8_t digits;    /* hex digits of the size so far */
	uint32_t line_len; /* bytes of the size line, or of all trailers */
	uint64_t left;     /* bytes of the current chunk */
};

/* Whether a chunk may begin with the next byte. */
static inline bool lp_px_chunk_between(const struct lp_px_chunk *c)
{
	return c->state == 0 && c->digits == 0;
}

/* Whether a line of the trailers, or the empty one behind them, begins with the next byte. */
bool lp_px_chunk_at_trailer(const struct lp_px_chunk *c);

/* What one step found: len bytes that are framing, or content when is_data. A step of framing ends
 * where a line of the trailers begins. */
struct lp_px_chunk_step {
	size_t len;
	bool is_data;
	bool done; /* the body has ended with these bytes */
};

/* Takes the next piece off buf[0..len): *step says how much and what. len 0 in the step means that
 * more input is needed. Returns 0 or -EBADMSG. */
int lp_px_chunk_next(struct lp_px_chunk *c, const char *buf, size_t len,
		     struct lp_px_chunk_step *step) LP_MUST_USE;

#endif
