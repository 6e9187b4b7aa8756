/* controller/history.c: a list of pieces with a ceiling. */
#include "controller/history.h"

#include "common/base/lp_mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* is: with its data in bytes. */
struct piece {
	struct piece *older;
	struct piece *newer;
	struct lp_output is;
	char bytes[];
};

struct lp_history {
	struct piece *oldest;
	struct piece *newest;
	size_t bytes;
	bool torn; /* the oldest piece goes on with a line whose beginning was dropped */
};

struct lp_history *lp_history_create(void)
{
	return lp_xcalloc(1, sizeof(struct lp_history));
}

static void drop_oldest(struct lp_history *h)
{
	struct piece *p = h->oldest;

	h->torn = p->bytes[p->is.len - 1] != '\n';
	h->oldest = p->newer;
	if (h->oldest)
		h->oldest->older = NULL;
	else
		h->newest = NULL;
	h->bytes -= p->is.len + sizeof(*p);
	free(p);
}

void lp_history_destroy(struct lp_history *h)
{
	if (!h)
		return;
	while (h->oldest)
		drop_oldest(h);
	free(h);
}

void lp_history_add(struct lp_history *h, const struct lp_output *piece)
{
	const char *data = piece->data;
	size_t len = piece->len;
	struct piece *p;

	if (len == 0)
		return;
	if (len > LP_HISTORY_MAX_BYTES / 2) {
		size_t cut = len - LP_HISTORY_MAX_BYTES / 2;

		while (h->oldest)
			drop_oldest(h);
		h->torn = data[cut - 1] != '\n';
		data += cut;
		len -= cut;
	}
	p = lp_xcalloc(1, sizeof(*p) + len);
	p->is = *piece;
	p->is.data = p->bytes;
	p->is.len = len;
	memcpy(p->bytes, data, len);
	p->older = h->newest;
	if (h->newest)
		h->newest->newer = p;
	else
		h->oldest = p;
	h->newest = p;
	h->bytes += len + sizeof(*p);
	while (h->oldest && h->oldest != p && h->bytes > LP_HISTORY_MAX_BYTES)
		drop_oldest(h);
}

/* The piece and the place in it where the last `lines` lines begin. The very last byte is an end of
 * the last line, not of the one before. */
static const struct piece *find_start(const struct lp_history *h, uint64_t lines, size_t *at)
{
	uint64_t ends = 0;

	for (const struct piece *p = h->newest; p; p = p->older) {
		for (size_t i = p->is.len; i-- > 0;) {
			if (p->bytes[i] != '\n' || (p == h->newest && i == p->is.len - 1))
				continue;
			if (++ends == lines) {
				*at = i + 1;
				return p;
			}
		}
	}
	*at = 0;
	return h->oldest;
}

/* Moves the start behind the end of the line that it is in. */
static const struct piece *next_line(const struct piece *p, size_t *at)
{
	for (; p; p = p->newer, *at = 0) {
		const char *end = memchr(p->bytes + *at, '\n', p->is.len - *at);

		if (!end)
			continue;
		*at = (size_t)(end - p->bytes) + 1;
		return p;
	}
	return NULL;
}

void lp_history_last(const struct lp_history *h, uint64_t lines, lp_output_fn *each, void *ctx)
{
	const struct piece *p;
	size_t at;

	if (lines == 0)
		return;
	p = find_start(h, lines, &at);
	if (p == h->oldest && at == 0 && h->torn)
		p = next_line(p, &at);
	for (; p; p = p->newer, at = 0) {
		struct lp_output rest = p->is;

		rest.data += at;
		rest.len -= at;
		if (rest.len > 0)
			each(ctx, &rest);
	}
}
