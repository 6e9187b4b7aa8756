/* sync/chunk.c: lists of chunks, and how they follow what was written. */
#include "sync/chunk.h"

#include "common/base/lp_mem.h"
#include "common/base/lp_util.h"
#include "sync/blocks.h"
#include "sync/gear.h"

#include <string.h>

/* What rewriting reads at a time: about what it may read too much. */
#define READ_BYTES ((size_t)32 * 1024)

struct lp_chunks *lp_chunks_create(const struct lp_chunk *c, size_t n, const struct lp_chunk *more)
{
	size_t all = n + (more ? 1 : 0);
	struct lp_chunks *list = lp_xcalloc(1, sizeof(*list) + all * sizeof(*c));

	list->refs = 1;
	list->n = (uint32_t)all;
	if (n > 0)
		memcpy(list->c, c, n * sizeof(*c));
	if (more)
		list->c[n] = *more;
	for (size_t i = 0; i < all; i++)
		list->bytes += list->c[i].len;
	return list;
}

struct lp_chunks *lp_chunks_ref(struct lp_chunks *c)
{
	c->refs++;
	return c;
}

void lp_chunks_unref(struct lp_chunks *c)
{
	if (!c || --c->refs > 0)
		return;
	free(c->blocks);
	free(c);
}

struct lp_digest lp_chunks_digest(const struct lp_chunks *c)
{
	const size_t row_bytes = 4 + sizeof(c->c[0].digest.b);
	LP_AUTO_FREE uint8_t *text = lp_xcalloc(c->n, row_bytes);

	for (size_t i = 0; i < c->n; i++) {
		uint8_t *row = text + i * row_bytes;

		for (int b = 0; b < 4; b++)
			row[b] = (uint8_t)(c->c[i].len >> (24 - 8 * b));
		memcpy(row + 4, c->c[i].digest.b, sizeof(c->c[i].digest.b));
	}
	return lp_digest_of(text, c->n * row_bytes);
}

/* A content being cut again. buf[0..have) is what was read of it at `at`; out is the new list. */
struct rewrite {
	lp_read_at_fn *read;
	void *ctx;
	uint64_t bytes;
	uint64_t at;
	uint8_t *buf;
	size_t have;
	struct lp_chunk *out;
	size_t n_out, cap_out;
};

static void push(struct rewrite *w, const struct lp_chunk *c)
{
	lp_grow(&w->out, &w->cap_out, w->n_out + 1, sizeof(*w->out));
	w->out[w->n_out++] = *c;
	w->at += c->len;
}

/* Reads on behind what there is. Returns 0, also at the end, or what read said. */
static int read_on(struct rewrite *w)
{
	uint64_t rest = w->bytes - w->at - w->have;
	size_t len = rest < READ_BYTES ? (size_t)rest : READ_BYTES;
	int r = len > 0 ? w->read(w->ctx, w->at + w->have, w->buf + w->have, len) : 0;

	if (r == 0)
		w->have += len;
	return r;
}

/* Makes the chunk that begins at w->at by reading it. */
static int cut_one(struct rewrite *w)
{
	struct lp_gear gear = {0};
	struct lp_chunk c;
	size_t seen = 0;
	bool cut = false;

	while (!cut && w->at + seen < w->bytes) {
		int r = seen == w->have ? read_on(w) : 0;

		if (r != 0)
			return r;
		seen += lp_gear_scan(&gear, w->buf + seen, w->have - seen, &cut);
	}
	c = (struct lp_chunk){.len = (uint32_t)seen, .digest = lp_digest_of(w->buf, seen)};
	w->have -= seen;
	memmove(w->buf, w->buf + seen, w->have);
	push(w, &c);
	return 0;
}

/* Whether the chunk of `old` at index i, which begins at `at`, is one of the new content, too. The
 * last one ended with the content and not by its bytes. */
static bool is_kept(const struct lp_chunks *old, size_t i, uint64_t at, uint64_t bytes,
		    const struct lp_ranges *written)
{
	uint64_t end = at + old->c[i].len;

	return old->c[i].len > 0 && (i + 1 < old->n ? end <= bytes : end == bytes) &&
	       !lp_ranges_meet(written, at, old->c[i].len);
}

int lp_chunks_rewrite(const struct lp_chunks *old, uint64_t bytes, const struct lp_ranges *written,
		      lp_read_at_fn *read, void *ctx, struct lp_chunks **out)
{
	LP_AUTO_FREE uint8_t *buf = lp_xcalloc(1, LP_CHUNK_MAX_BYTES + READ_BYTES);
	struct rewrite w = {.read = read, .ctx = ctx, .bytes = bytes, .buf = buf};
	struct lp_chunks *made = NULL;
	uint64_t old_at = 0;
	size_t i = 0;
	int r = 0;

	while (w.at < bytes && r == 0) {
		while (i < old->n && old_at < w.at)
			old_at += old->c[i++].len;
		if (i < old->n && old_at == w.at && is_kept(old, i, old_at, bytes, written)) {
			push(&w, &old->c[i]);
			w.have = 0;
		} else {
			r = cut_one(&w);
		}
	}
	if (r == 0) {
		made = lp_chunks_create(w.out, w.n_out, NULL);
		r = lp_blocks_rewrite(old, written, read, ctx, made);
	}
	free(w.out);
	if (r == 0)
		*out = made;
	else
		lp_chunks_unref(made);
	return r;
}
