/* proxy/frames.c: heads and lengths of frames. */
#include "proxy/frames.h"

/* The length of the head that begins with what is in f->head, as far as that can be told. */
static size_t head_bytes(const struct lp_px_frames *f)
{
	size_t need = 2;

	if (f->framing == LP_PX_FRAMES_HTTP2)
		return 9;
	if (f->head_len < 2)
		return need;
	if ((f->head[1] & 0x7f) == 126)
		need += 2;
	else if ((f->head[1] & 0x7f) == 127)
		need += 8;
	return f->head[1] & 0x80 ? need + 4 : need;
}

static uint64_t number(const uint8_t *p, size_t n)
{
	uint64_t value = 0;

	for (size_t i = 0; i < n; i++)
		value = value << 8 | p[i];
	return value;
}

static uint64_t payload_bytes(const struct lp_px_frames *f)
{
	uint8_t small = f->head[1] & 0x7f;

	if (f->framing == LP_PX_FRAMES_HTTP2)
		return number(f->head, 3);
	if (small == 126)
		return number(f->head + 2, 2);
	return small == 127 ? number(f->head + 2, 8) : small;
}

size_t lp_px_frames_follow(struct lp_px_frames *f, const uint8_t *buf, size_t len, bool stop)
{
	size_t at = 0;

	if (f->framing == LP_PX_FRAMES_UNKNOWN)
		return len;
	while (at < len && !(stop && lp_px_frames_between(f))) {
		if (f->left > 0) {
			size_t n = f->left < len - at ? (size_t)f->left : len - at;

			f->left -= n;
			at += n;
			continue;
		}
		f->head[f->head_len++] = buf[at++];
		if (f->head_len == head_bytes(f)) {
			f->left = payload_bytes(f);
			f->head_len = 0;
		}
	}
	return at;
}
