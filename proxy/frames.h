/* proxy/frames.h: where frames begin in a stream of WebSocket (RFC 6455 section 5.2) or HTTP/2
 * (RFC 9113 section 4.1) frames, so that one of our own can be put between two of them. Lengths are
 * followed, contents are not looked at. Pure. */
#ifndef LP_PROXY_FRAMES_H
#define LP_PROXY_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lp_px_framing {
	LP_PX_FRAMES_UNKNOWN, /* no frames that we know */
	LP_PX_FRAMES_WEBSOCKET,
	LP_PX_FRAMES_HTTP2,
};

/* Zeroed but for `framing`: before the first frame. */
struct lp_px_frames {
	enum lp_px_framing framing;
	uint8_t head[14];
	uint8_t head_len; /* bytes of the head that came */
	uint64_t left;    /* bytes of the frame still to come behind its head */
};

/* Whether the next byte begins a frame. */
static inline bool lp_px_frames_between(const struct lp_px_frames *f)
{
	return f->head_len == 0 && f->left == 0;
}

/* Follows buf[0..len). stop: not further than the next boundary. Returns how many bytes were
 * followed. */
size_t lp_px_frames_follow(struct lp_px_frames *f, const uint8_t *buf, size_t len, bool stop);

#endif
