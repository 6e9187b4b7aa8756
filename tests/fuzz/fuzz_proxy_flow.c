/* tests/fuzz/fuzz_proxy_flow.c: bodies of responses and requests on their way through: by length,
 * in chunks, until the end; passed on as they are or framed anew. However the bytes come in, the
 * same content has to go out, framed so that it can be read again, and no byte of the next message.
 */
#include "proxy/flow.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

static const struct {
	enum lp_px_body kind;
	enum lp_px_form form;
} ways[] = {
	{LP_PX_BODY_NONE, LP_PX_RAW},        {LP_PX_BODY_LENGTH, LP_PX_RAW},
	{LP_PX_BODY_CHUNKED, LP_PX_RAW},     {LP_PX_BODY_CLOSE, LP_PX_RAW},
	{LP_PX_BODY_CHUNKED, LP_PX_DECHUNK}, {LP_PX_BODY_CLOSE, LP_PX_ENCHUNK},
};

/* What went through. */
struct result {
	int r;
	bool done;
	size_t taken;   /* bytes of the input */
	size_t content; /* bytes that went out, without chunk framing of our own */
	uint32_t sum;
	struct lp_px_chunk chunk; /* reads our own chunks */
	bool chunks_end;
};

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void count(struct result *res, const char *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		res->sum = res->sum * 31 + (unsigned char)at[i];
	res->content += len;
}

/* Takes what stands in `out`. */
static void read_out(struct result *res, struct lp_px_buf *out, enum lp_px_form form)
{
	while (lp_px_buf_len(out)) {
		struct lp_px_chunk_step step = {.len = lp_px_buf_len(out), .is_data = true};

		must(!res->chunks_end);
		if (form == LP_PX_ENCHUNK)
			must(lp_px_chunk_next(&res->chunk, lp_px_buf_at(out), lp_px_buf_len(out),
					      &step) == 0);
		must(step.len > 0);
		if (step.is_data)
			count(res, lp_px_buf_at(out), step.len);
		res->chunks_end = step.done;
		lp_px_buf_drop(out, step.len);
	}
}

static struct result run(size_t way, uint64_t length, const char *text, size_t len, size_t piece)
{
	struct result res = {0};
	struct lp_px_buf in = {0};
	struct lp_px_buf out = {0};
	struct lp_px_flow f;
	size_t fed = 0;
	bool moved = true;

	lp_px_flow_init(&f, ways[way].kind, ways[way].form, length);
	while (res.r == 0 && !f.done && moved) {
		size_t n = len - fed < piece ? len - fed : piece;
		size_t before;

		must(lp_px_buf_reserve(&in, n + 1, SIZE_MAX / 2) == 0);
		lp_px_buf_put(&in, text + fed, n);
		fed += n;
		before = lp_px_buf_len(&in);
		res.r = lp_px_flow_scan(&f, &in, fed == len ? LP_PX_IN_EOF : LP_PX_IN_OPEN, &out);
		must(f.cleared <= lp_px_buf_len(&in));
		if (f.cleared)
			count(&res, lp_px_buf_at(&in), f.cleared);
		lp_px_buf_drop(&in, f.cleared);
		f.cleared = 0;
		moved = n > 0 || lp_px_buf_len(&in) < before || lp_px_buf_len(&out);
		read_out(&res, &out, ways[way].form);
	}
	must(res.r < 0 || f.done); /* there is no more to come */
	res.done = f.done;
	res.taken = fed - lp_px_buf_len(&in);
	must(res.r < 0 || (ways[way].form == LP_PX_ENCHUNK) == res.chunks_end);
	lp_px_buf_finish(&in);
	lp_px_buf_finish(&out);
	return res;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 3;
	struct result whole;
	struct result parts;
	size_t way;

	if (size < 3)
		return 0;
	way = data[0] % LP_COUNT_OF(ways);
	whole = run(way, 1 + (uint64_t)data[1], text, size - 3, size);
	parts = run(way, 1 + (uint64_t)data[1], text, size - 3, 1 + data[2] % 16);
	must(whole.r == parts.r && whole.done == parts.done);
	/* How much of a broken body went out depends on the pieces. */
	if (whole.r == 0)
		must(whole.taken == parts.taken && whole.content == parts.content &&
		     whole.sum == parts.sum);
	return 0;
}
