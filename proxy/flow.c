/* proxy/flow.c: bodies by length, by chunks, until close. */
#include "proxy/flow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PIECE_BYTES ((size_t)16 * 1024) /* moved at once by the forms that copy */

void lp_px_flow_init(struct lp_px_flow *f, enum lp_px_body kind, enum lp_px_form form,
		     uint64_t length)
{
	*f = (struct lp_px_flow){.kind = kind, .form = form, .left = length};
	f->done = kind == LP_PX_BODY_NONE;
}

/* The length of the line of the trailers at line[0..len); 0: its end has not come. */
static size_t line_len(const char *line, size_t len)
{
	const char *end = memchr(line, '\n', len);

	return end ? (size_t)(end + 1 - line) : 0;
}

/* Whether a whole line of the trailers is a field that stays behind. */
static bool is_barred(const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);

	return colon && !lp_px_field_may_trail((struct lp_px_span){line, (size_t)(colon - line)});
}

/* Chunks that go out as they came, but for trailers that may not. */
static int clear_chunks(struct lp_px_flow *f, struct lp_px_buf *in)
{
	size_t gap = 0; /* of what stays behind, at the end of what is cleared */
	int r = 0;

	while (r == 0 && !f->done && f->cleared + gap < lp_px_buf_len(in)) {
		char *to = lp_px_buf_at(in) + f->cleared, *at = to + gap;
		size_t fresh = lp_px_buf_len(in) - f->cleared - gap, line = 0;
		struct lp_px_chunk_step step = {0};

		if (lp_px_chunk_at_trailer(&f->chunk)) {
			line = line_len(at, fresh);
			/* One that is too long is for the scanner to refuse. */
			if (!line && fresh <= LP_PX_CHUNK_TRAILER_MAX)
				break;
		}
		r = lp_px_chunk_next(&f->chunk, at, fresh, &step);
		if (r == 0 && is_barred(at, line)) {
			gap += step.len;
		} else if (r == 0) {
			if (gap)
				memmove(to, at, step.len);
			f->cleared += step.len;
			f->done = step.done;
		}
	}
	if (gap) {
		char *to = lp_px_buf_at(in) + f->cleared;

		memmove(to, to + gap, lp_px_buf_len(in) - f->cleared - gap);
		in->end -= gap;
	}
	return r;
}

static int scan_raw(struct lp_px_flow *f, struct lp_px_buf *in)
{
	size_t fresh = lp_px_buf_len(in) - f->cleared;

	switch (f->kind) {
	case LP_PX_BODY_NONE:
		break;
	case LP_PX_BODY_LENGTH:
		if (fresh > f->left)
			fresh = (size_t)f->left;
		f->cleared += fresh;
		f->left -= fresh;
		f->done = f->left == 0;
		break;
	case LP_PX_BODY_CHUNKED:
		return clear_chunks(f, in);
	case LP_PX_BODY_CLOSE:
		f->cleared += fresh;
		break;
	}
	return 0;
}

static int dechunk(struct lp_px_flow *f, struct lp_px_buf *in, struct lp_px_buf *out)
{
	while (!f->done && lp_px_buf_len(in) && lp_px_buf_len(out) < LP_PX_BULK_BYTES) {
		size_t len = lp_px_buf_len(in) < PIECE_BYTES ? lp_px_buf_len(in) : PIECE_BYTES;
		struct lp_px_chunk_step step = {0};
		int r = lp_px_buf_reserve(out, len, 2 * LP_PX_BULK_BYTES);

		if (r == 0)
			r = lp_px_chunk_next(&f->chunk, lp_px_buf_at(in), len, &step);
		if (r < 0)
			return r;
		if (step.is_data)
			lp_px_buf_put(out, lp_px_buf_at(in), step.len);
		lp_px_buf_drop(in, step.len);
		f->done = step.done;
	}
	return 0;
}

static int enchunk(struct lp_px_buf *in, struct lp_px_buf *out)
{
	while (lp_px_buf_len(in) && lp_px_buf_len(out) < LP_PX_BULK_BYTES) {
		size_t len = lp_px_buf_len(in) < PIECE_BYTES ? lp_px_buf_len(in) : PIECE_BYTES;
		char size[16];
		int digits = snprintf(size, sizeof(size), "%zx\r\n", len);
		int r = lp_px_buf_reserve(out, len + 16, 2 * LP_PX_BULK_BYTES);

		if (r < 0)
			return r;
		lp_px_buf_put(out, size, (size_t)digits);
		lp_px_buf_put(out, lp_px_buf_at(in), len);
		lp_px_buf_put(out, "\r\n", 2);
		lp_px_buf_drop(in, len);
	}
	return 0;
}

static int scan(struct lp_px_flow *f, struct lp_px_buf *in, struct lp_px_buf *out)
{
	switch (f->form) {
	case LP_PX_RAW:
		return scan_raw(f, in);
	case LP_PX_DECHUNK:
		return dechunk(f, in, out);
	case LP_PX_ENCHUNK:
		return enchunk(in, out);
	}
	return 0;
}

int lp_px_flow_scan(struct lp_px_flow *f, struct lp_px_buf *in, enum lp_px_input state,
		    struct lp_px_buf *out)
{
	int r;

	if (f->done)
		return 0;
	r = scan(f, in, out);
	if (r < 0 || f->done || state == LP_PX_IN_OPEN)
		return r;
	if (f->form != LP_PX_RAW && lp_px_buf_len(in))
		return 0; /* the rest follows when there is room */
	if (f->kind != LP_PX_BODY_CLOSE || state == LP_PX_IN_RESET)
		return -EPIPE;
	if (f->form == LP_PX_ENCHUNK) {
		r = lp_px_buf_reserve(out, 5, 2 * LP_PX_BULK_BYTES);
		if (r < 0)
			return r;
		lp_px_buf_put(out, "0\r\n\r\n", 5);
	}
	f->done = true;
	return 0;
}
