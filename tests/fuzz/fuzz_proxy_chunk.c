/* tests/fuzz/fuzz_proxy_chunk.c: chunked bodies from the network, read in one piece and in small
 * ones: both must find the same content and the same end. */
#include "proxy/chunk.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

struct result {
	int r;
	bool done;
	size_t end;
	size_t content;
	uint32_t sum;
};

static struct result scan(const char *text, size_t len, size_t piece)
{
	struct result res = {0};
	struct lp_px_chunk c = {0};

	while (res.end < len && !res.done) {
		size_t have = len - res.end < piece ? len - res.end : piece;
		struct lp_px_chunk_step step = {0};

		res.r = lp_px_chunk_next(&c, text + res.end, have, &step);
		if (res.r < 0)
			break;
		if (step.len > have || !step.len)
			abort();
		for (size_t i = 0; step.is_data && i < step.len; i++)
			res.sum = res.sum * 31 + (unsigned char)text[res.end + i];
		res.content += step.is_data ? step.len : 0;
		res.end += step.len;
		res.done = step.done;
	}
	return res;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct result whole;
	struct result parts;

	if (!size)
		return 0;
	whole = scan((const char *)data + 1, size - 1, size);
	parts = scan((const char *)data + 1, size - 1, 1 + data[0] % 16);
	/* Where a broken body is refused depends on the pieces; that it is does not. */
	if (whole.r != parts.r || whole.done != parts.done || whole.sum != parts.sum)
		abort();
	if (whole.r == 0 && (whole.end != parts.end || whole.content != parts.content))
		abort();
	return 0;
}
