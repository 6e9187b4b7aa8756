/* wire/pack.c: PACKED messages with zstd. Every frame stands alone, so that one packed message can
 * be sent to any number of instances; the contexts are kept because making one costs more than
 * using it. */
#include "wire/msg.h"

#include "common/base/lp_mem.h"

#include <string.h>
#include <zstd.h>

#define LEVEL           1
#define WORTH_MIN_BYTES 256 /* below, the frame eats what it saves */

struct lp_packer {
	ZSTD_CCtx *c;
	ZSTD_DCtx *d;
	struct lp_buf frame;
};

struct lp_packer *lp_packer_create(void)
{
	struct lp_packer *p = lp_xcalloc(1, sizeof(*p));

	p->c = ZSTD_createCCtx();
	p->d = ZSTD_createDCtx();
	if (!p->c || !p->d)
		abort();
	return p;
}

void lp_packer_destroy(struct lp_packer *p)
{
	if (!p)
		return;
	(void)ZSTD_freeCCtx(p->c);
	(void)ZSTD_freeDCtx(p->d);
	lp_buf_finish(&p->frame);
	free(p);
}

int lp_packer_pack(struct lp_packer *p, struct lp_buf *raw)
{
	struct lp_msg msg = {.kind = LP_MSG_PACKED};
	struct lp_buf out = {0};
	size_t n;
	int r;

	if (raw->len < WORTH_MIN_BYTES)
		return 0;
	p->frame.len = 0;
	r = lp_buf_reserve(&p->frame, ZSTD_compressBound(raw->len));
	if (r < 0)
		return r;
	n = ZSTD_compressCCtx(p->c, p->frame.data, p->frame.cap, raw->data, raw->len, LEVEL);
	if (ZSTD_isError(n) || n > raw->len - raw->len / 10)
		return 0;
	msg.u.packed.raw_len = raw->len;
	msg.u.packed.content = (struct lp_bytes){p->frame.data, n};
	r = lp_msg_encode(&msg, &out);
	if (r < 0) {
		lp_buf_finish(&out);
		return r == -EMSGSIZE ? 0 : r;
	}
	lp_buf_finish(raw);
	out.max = raw->max;
	*raw = out;
	return 0;
}

int lp_packer_unpack(struct lp_packer *p, const struct lp_msg_packed *packed, struct lp_buf *out,
		     struct lp_err *err)
{
	size_t n;

	out->len = 0;
	if (packed->raw_len == 0 || packed->raw_len > LP_WIRE_MSG_MAX_BYTES)
		return lp_err_say(err, EBADMSG, "PACKED: size %llu is out of bounds",
				  (unsigned long long)packed->raw_len);
	if (lp_buf_reserve(out, packed->raw_len) < 0)
		return lp_err_say(err, EBADMSG, "PACKED: no memory for %llu bytes",
				  (unsigned long long)packed->raw_len);
	n = ZSTD_decompressDCtx(p->d, out->data, packed->raw_len, packed->content.p,
				packed->content.len);
	if (ZSTD_isError(n) || n != packed->raw_len)
		return lp_err_say(err, EBADMSG, "PACKED: not the zstd frame that it says");
	out->len = n;
	return 0;
}
