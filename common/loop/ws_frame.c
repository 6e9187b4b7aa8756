/* common/loop/ws_frame.c: sending one message: frame, mask, and out through libwebsockets. */
#include "common/base/lp_fs.h"
#include "common/loop/loop_internal.h"
#include "common/loop/ws_internal.h"

#include <string.h>

/* Puts the header of a whole binary frame (RFC 6455, 5.2) in front of the payload. Returns its
 * length. */
static size_t put_frame_head(uint8_t *payload, size_t len, uint8_t mask_bit, const uint8_t *mask)
{
	size_t mask_len = mask_bit ? 4 : 0, extended = len < 126 ? 0 : len < 65536 ? 2 : 8;
	uint8_t *head = payload - mask_len - extended - 2;

	head[0] = 0x82;
	head[1] = (uint8_t)(mask_bit | (extended == 0 ? len : extended == 2 ? 126 : 127));
	for (size_t i = 0; i < extended; i++)
		head[2 + i] = (uint8_t)(len >> (8 * (extended - 1 - i)));
	memcpy(payload - mask_len, mask, mask_len);
	return mask_len + extended + 2;
}

/* Copies len bytes masked with the key (RFC 6455, 5.3), eight at a time. */
static void copy_masked(uint8_t *out, const uint8_t *in, size_t len, const uint8_t mask[4])
{
	uint64_t key, word;
	size_t i = 0;

	memcpy(&key, mask, 4);
	memcpy((uint8_t *)&key + 4, mask, 4);
	for (; i + 8 <= len; i += 8) {
		memcpy(&word, in + i, 8);
		word ^= key;
		memcpy(out + i, &word, 8);
	}
	for (; i < len; i++)
		out[i] = in[i] ^ mask[i & 3];
}

int lp_ws_send(struct lp_ws *ws, const void *data, size_t len)
{
	uint8_t *payload = ws->loop->ws->scratch + LWS_PRE, mask[4] = {0};
	size_t head;

	if (!ws->wsi || ws->closing || len > LP_WS_MESSAGE_MAX_BYTES)
		return -EPIPE;
	/* libwebsockets masks byte by byte, which took half of the client's time in a first sync.
	 * So the frame is made here and goes out as it is: LWS_WRITE_HTTP is its way to say "raw"
	 * on a WebSocket; buffering and order stay its own. */
	if (ws->is_client) {
		lp_random(mask, sizeof(mask));
		copy_masked(payload, data, len, mask);
	} else {
		memcpy(payload, data, len);
	}
	head = put_frame_head(payload, len, ws->is_client ? 0x80 : 0, mask);
	if (lws_write(ws->wsi, payload - head, len + head, LWS_WRITE_HTTP) < (int)(len + head))
		return -EPIPE;
	ws->written += len + head;
	return 0;
}
