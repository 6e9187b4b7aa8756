/* controller/history.c: a list of pieces with a ceiling. */
#include "controller/history.h"

#include "common/base/lp_mem.h"

#include <stdlib.h>
#include <string.h>

struct piece {
	struct piece *older;
	struct piece *newer;
	uint64_t generation;
	uint64_t stream;
	size_t len;
	char data[];
};

struct lp_history {
	struct piece *oldest;
	struct piece *newest;
	size_t bytes;
};

struct lp_history *lp_history_create(void)
{
	return lp_xcalloc(1, sizeof(struct lp_history));
}

static void drop_oldest(struct lp_history *h)
{
	struct piece *p = h->oldest;

	h->oldest = p->newer;
	if (h->oldest)
		h->oldest->older = NULL;
	else
		h->newest = NULL;
	h->bytes -= p->len + sizeof(*p);
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

void lp_history_add(struct lp_history *h, uint64_t generation, uint64_t stream, const char *data,
		    size_t len)
{
	struct piece *p;

	if (len > LP_HISTORY_MAX_BYTES / 2) {
		data += len - LP_HISTORY_MAX_BYTES / 2;
		len = LP_HISTORY_MAX_BYTES / 2;
	}
	p = lp_xcalloc(1, sizeof(*p) + len);
	p->generation = generation;
	p->stream = stream;
	p->len = len;
	memcpy(p->data, data, len);
	p->older = h->newest;
	if (h->newest)
		h->newest->newer = p;
	else
		h->oldest = p;
	h->newest = p;
	h->bytes += len + sizeof(*p);
	while (h->bytes > LP_HISTORY_MAX_BYTES && h->oldest != p)
		drop_oldest(h);
}

void lp_history_last(const struct lp_history *h, uint64_t lines,
		     void (*each)(void *ctx, uint64_t generation, uint64_t stream, const char *data,
				  size_t len),
		     void *ctx)
{
	const struct piece *p = h->newest, *first = NULL;
	size_t cut = 0;
	uint64_t ends = 0;

	if (lines == 0)
		return;
	/* Back to the line end before the first line that is wanted. The very last byte is an end
	 * of the last line, not of the one before. */
	for (; p && !(first && cut > 0); p = p->older) {
		first = p;
		for (size_t i = p->len; i-- > 0;) {
			if (p->data[i] != '\n' || (p == h->newest && i == p->len - 1))
				continue;
			if (++ends == lines) {
				cut = i + 1;
				break;
			}
		}
		if (ends == lines)
			break;
	}
	for (p = first; p; p = p->newer, cut = 0)
		if (p->len > cut)
			each(ctx, p->generation, p->stream, p->data + cut, p->len - cut);
}
