/* cli/lines.c: pieces into lines. */
#include "cli/lines.h"

#include "common/base/lp_utf8.h"

#include <string.h>

/* Adds to what is begun, giving parts away as it fills. */
static void begin(struct lp_buf *begun, const uint8_t *p, size_t len, lp_line_fn *each, void *ctx)
{
	while (len > 0) {
		size_t room = LP_LINE_MAX_BYTES - begun->len, n = len < room ? len : room;

		/* Without memory for it the part goes out as it is. */
		if (lp_buf_add(begun, p, n) < 0) {
			if (begun->len > 0)
				each(ctx, begun->data, begun->len, true);
			begun->len = 0;
			each(ctx, p, n, true);
		}
		p += n;
		len -= n;
		if (begun->len == LP_LINE_MAX_BYTES) {
			size_t whole = lp_utf8_whole(begun->data, begun->len);

			/* A character that is cut goes with the rest. */
			each(ctx, begun->data, whole, true);
			memmove(begun->data, begun->data + whole, begun->len - whole);
			begun->len -= whole;
		}
	}
}

void lp_lines_take(struct lp_buf *begun, const void *data, size_t len, lp_line_fn *each, void *ctx)
{
	const uint8_t *p = data, *end;

	while (len > 0 && (end = memchr(p, '\n', len))) {
		size_t n = (size_t)(end - p);

		if (begun->len == 0 && n <= LP_LINE_MAX_BYTES) {
			each(ctx, p, n, false);
		} else {
			begin(begun, p, n, each, ctx);
			each(ctx, begun->data, begun->len, false);
			begun->len = 0;
		}
		p += n + 1;
		len -= n + 1;
	}
	begin(begun, p, len, each, ctx);
}

void lp_lines_end(struct lp_buf *begun, lp_line_fn *each, void *ctx)
{
	if (begun->len > 0)
		each(ctx, begun->data, begun->len, false);
	lp_buf_finish(begun);
}
