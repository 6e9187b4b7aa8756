/* tests/fuzz/fuzz_proxy_inject.c: pages of the app on their way through, in pieces cut anywhere:
 * the text is put in once, at the same place however the page comes, and nothing else changes. */
#include "proxy/inject.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define TAG       "\001TAG\002"
#define TAG_BYTES (sizeof(TAG) - 1)

/* Sends the page through in pieces; what comes out is appended to *content. chunked: it goes out in
 * chunks, which are taken off again. */
static void through(const char *page, size_t len, size_t piece, bool chunked,
		    struct lp_px_buf *content)
{
	struct lp_px_inject j = {.tag = lp_px_tag_create(TAG), .active = true};
	struct lp_px_buf in = {0}, out = {0};
	struct lp_px_flow f, back;
	size_t at = 0;

	lp_px_flow_init(&f, LP_PX_BODY_CLOSE, chunked ? LP_PX_ENCHUNK : LP_PX_RAW, 0);
	lp_px_flow_init(&back, LP_PX_BODY_CHUNKED, LP_PX_DECHUNK, 0);
	while (!f.done) {
		size_t n = len - at < piece ? len - at : piece;
		enum lp_px_input state = n ? LP_PX_IN_OPEN : LP_PX_IN_EOF;

		if (lp_px_buf_reserve(&in, n, LP_PX_BULK_BYTES) < 0)
			abort();
		lp_px_buf_put(&in, page + at, n);
		at += n;
		if ((j.active ? lp_px_inject_scan(&j, &f, &in, state, &out)
			      : lp_px_flow_scan(&f, &in, state, &out)) < 0)
			abort();
		if (lp_px_buf_reserve(&out, f.cleared, 2 * LP_PX_BULK_BYTES) < 0)
			abort();
		lp_px_buf_put(&out, lp_px_buf_at(&in), f.cleared);
		lp_px_buf_drop(&in, f.cleared);
		f.cleared = 0;
	}
	if (chunked) {
		if (lp_px_flow_scan(&back, &out, LP_PX_IN_OPEN, content) < 0 || !back.done ||
		    lp_px_buf_len(&out))
			abort();
	} else if (lp_px_buf_len(&out)) {
		if (lp_px_buf_reserve(content, lp_px_buf_len(&out), 2 * LP_PX_BULK_BYTES) < 0)
			abort();
		lp_px_buf_put(content, lp_px_buf_at(&out), lp_px_buf_len(&out));
	}
	lp_px_buf_finish(&in);
	lp_px_buf_finish(&out);
	lp_px_inject_finish(&j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_px_buf whole = {0}, parts = {0};
	const char *page = (const char *)data + 1, *tag;
	size_t len = size - 1, before;

	if (size < 2 || len > LP_PX_BULK_BYTES / 2 || memmem(page, len, TAG, TAG_BYTES))
		return 0;
	through(page, len, len, false, &whole);
	through(page, len, 1 + data[0] % 7, data[0] & 0x80, &parts);
	if (lp_px_buf_len(&whole) != len + TAG_BYTES || lp_px_buf_len(&parts) != len + TAG_BYTES ||
	    memcmp(lp_px_buf_at(&whole), lp_px_buf_at(&parts), len + TAG_BYTES) != 0)
		abort();
	tag = memmem(lp_px_buf_at(&whole), len + TAG_BYTES, TAG, TAG_BYTES);
	if (!tag)
		abort();
	before = (size_t)(tag - lp_px_buf_at(&whole));
	if (memcmp(page, lp_px_buf_at(&whole), before) != 0 ||
	    memcmp(page + before, tag + TAG_BYTES, len - before) != 0)
		abort();
	lp_px_buf_finish(&whole);
	lp_px_buf_finish(&parts);
	return 0;
}
