/* proxy/chunk.c: the chunked coding, byte by byte for the framing and in one step for content. */
#include "proxy/chunk.h"

#include "proxy/text.h"

#include <errno.h>

enum {
	AT_SIZE,    /* hex digits */
	AT_EXT,     /* behind the digits, to the CR */
	AT_SIZE_LF, /* the LF of the size line */
	AT_DATA,    /* content */
	AT_DATA_CR, /* the CR behind the content */
	AT_DATA_LF, /* and its LF */
	AT_TRAILER, /* first byte of a trailer line or the CR of the end */
	AT_TRAILER_NAME,
	AT_TRAILER_TEXT,
	AT_TRAILER_LF, /* the LF of a trailer line */
	AT_END_LF,     /* the last LF */
	AT_END,
};

#define MAX_SIZE_DIGITS 15 /* 2^60 bytes: no overflow, and more than anybody sends */

static int hex_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int at_size(struct lp_px_chunk *c, char byte)
{
	int hex = hex_of(byte);

	if (hex >= 0) {
		if (++c->digits > MAX_SIZE_DIGITS)
			return -EBADMSG;
		c->left = c->left * 16 + (uint64_t)hex;
		return AT_SIZE;
	}
	if (!c->digits)
		return -EBADMSG;
	if (byte == '\r')
		return AT_SIZE_LF;
	return byte == ';' || byte == ' ' || byte == '\t' ? AT_EXT : -EBADMSG;
}

static int at_size_lf(struct lp_px_chunk *c, char byte)
{
	if (byte != '\n')
		return -EBADMSG;
	c->digits = 0;
	c->line_len = 0;
	return c->left ? AT_DATA : AT_TRAILER;
}

static int at_text(char byte, int stay, int after_cr)
{
	if (byte == '\r')
		return after_cr;
	return lp_px_is_text(byte) ? stay : -EBADMSG;
}

static int at_trailer_name(char byte)
{
	if (byte == ':')
		return AT_TRAILER_TEXT;
	return lp_px_is_token(byte) ? AT_TRAILER_NAME : -EBADMSG;
}

/* The state after one byte of framing, or -EBADMSG. */
static int advance(struct lp_px_chunk *c, char byte)
{
	switch (c->state) {
	case AT_SIZE:
		return at_size(c, byte);
	case AT_EXT:
		return at_text(byte, AT_EXT, AT_SIZE_LF);
	case AT_SIZE_LF:
		return at_size_lf(c, byte);
	case AT_DATA_CR:
		return byte == '\r' ? AT_DATA_LF : -EBADMSG;
	case AT_DATA_LF:
		return byte == '\n' ? AT_SIZE : -EBADMSG;
	case AT_TRAILER:
		if (byte == '\r')
			return AT_END_LF;
		return lp_px_is_token(byte) ? AT_TRAILER_NAME : -EBADMSG;
	case AT_TRAILER_NAME:
		return at_trailer_name(byte);
	case AT_TRAILER_TEXT:
		return at_text(byte, AT_TRAILER_TEXT, AT_TRAILER_LF);
	case AT_TRAILER_LF:
		return byte == '\n' ? AT_TRAILER : -EBADMSG;
	case AT_END_LF:
		return byte == '\n' ? AT_END : -EBADMSG;
	default:
		return -EBADMSG;
	}
}

static bool too_long(const struct lp_px_chunk *c)
{
	return c->line_len >
	       (c->state >= AT_TRAILER ? LP_PX_CHUNK_TRAILER_MAX : LP_PX_CHUNK_LINE_MAX);
}

bool lp_px_chunk_at_trailer(const struct lp_px_chunk *c)
{
	return c->state == AT_TRAILER;
}

int lp_px_chunk_next(struct lp_px_chunk *c, const char *buf, size_t len,
		     struct lp_px_chunk_step *step)
{
	*step = (struct lp_px_chunk_step){0};
	if (c->state == AT_DATA && len) {
		step->len = len < c->left ? len : (size_t)c->left;
		step->is_data = true;
		c->left -= step->len;
		if (!c->left)
			c->state = AT_DATA_CR;
		return 0;
	}
	while (step->len < len && c->state != AT_DATA && c->state != AT_END) {
		int state = advance(c, buf[step->len]);

		if (state < 0)
			return state;
		c->state = (uint8_t)state;
		c->line_len++;
		if (too_long(c))
			return -EBADMSG;
		step->len++;
		if (c->state == AT_TRAILER)
			break;
	}
	step->done = c->state == AT_END;
	return 0;
}
