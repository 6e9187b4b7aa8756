/* link/content.c: see content.h. With chunks known, whole chunks are read and compared, also where
 * only some bytes of one are sent; without, the whole content is hashed on its way. */
#include "link/content.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <string.h>

/* A PATCH is closed when its new bytes or its segments reach this; one more chunk still fits below
 * LP_WIRE_MSG_MAX_BYTES. */
#define PATCH_FULL_BYTES ((size_t)128 * 1024)
#define PATCH_SEGMENTS   2048
/* A recipe that spares less than this is not worth that the receiver looks at what it has. */
#define RECIPE_SPARES_BYTES ((uint64_t)64 * 1024)

static bool has_chunks(const struct lp_op *op)
{
	return op->chunks && op->chunks->bytes == op->e.size;
}

bool lp_content_has_recipe(struct lp_op *op)
{
	const struct lp_segment *segments;
	uint64_t spared = 0;
	size_t n;

	if (op->kind != LP_OP_PUT || op->e.kind != LP_KIND_FILE || !op->base.chunks ||
	    !has_chunks(op))
		return false;
	n = lp_op_recipe(op, &segments);
	for (size_t i = 0; i < n; i++)
		spared += segments[i].is_new ? 0 : segments[i].len;
	return spared >= RECIPE_SPARES_BYTES;
}

void lp_content_open(struct lp_content *c, struct lp_op *op, int fd, uint64_t at, bool recipe)
{
	c->op = op;
	c->fd = fd;
	c->open = true;
	c->at = at;
	c->chunk = 0;
	c->chunk_at = 0;
	c->segment = 0;
	c->has_chunk = UINT32_MAX;
	if (!c->piece)
		c->piece = lp_xcalloc(1, LP_WIRE_PIECE_BYTES);
	if (recipe) {
		c->n_segments = lp_op_recipe(op, &c->segments);
		while (c->segment + 1 < c->n_segments &&
		       c->segments[c->segment].at + c->segments[c->segment].len <= at)
			c->segment++;
	} else {
		(void)posix_fadvise(fd, (off_t)at, 0, POSIX_FADV_SEQUENTIAL);
	}
	if (!has_chunks(op) && at == 0)
		c->hasher = lp_hasher_create();
}

void lp_content_close(struct lp_content *c)
{
	if (!c->open)
		return;
	lp_auto_close(&c->fd);
	c->open = false;
	c->op = NULL;
	c->segments = NULL;
	lp_hasher_destroy(c->hasher);
	c->hasher = NULL;
}

void lp_content_finish(struct lp_content *c)
{
	lp_content_close(c);
	free(c->piece);
	c->piece = NULL;
	lp_buf_finish(&c->body);
}

static bool is_chunk(const struct lp_chunk *chunk, const uint8_t *data)
{
	struct lp_digest d = lp_digest_of(data, chunk->len);

	return lp_digest_equal(&d, &chunk->digest);
}

/* Makes `chunk` the one that `at` lies in. */
static void seek_chunk(struct lp_content *c)
{
	const struct lp_chunks *chunks = c->op->chunks;

	while (c->chunk_at + chunks->c[c->chunk].len <= c->at)
		c->chunk_at += chunks->c[c->chunk++].len;
}

/* Reads from the beginning of the present chunk as many whole chunks as fit into the piece, in one
 * go, and compares them. *len: bytes of them. */
static int read_chunks(const struct lp_content *c, size_t *len)
{
	const struct lp_chunks *chunks = c->op->chunks;
	uint32_t end = c->chunk;
	size_t at = 0;
	int r;

	*len = 0;
	while (end < chunks->n && chunks->c[end].len <= LP_WIRE_PIECE_BYTES - *len)
		*len += chunks->c[end++].len;
	r = *len > 0 ? lp_read_at(c->fd, c->chunk_at, c->piece, *len) : -ESTALE;
	if (r < 0)
		return r;
	for (uint32_t i = c->chunk; i < end; i++) {
		if (!is_chunk(&chunks->c[i], c->piece + at))
			return -ESTALE;
		at += chunks->c[i].len;
	}
	return 0;
}

/* The next piece without a list of chunks: what it was is known at its end. */
static int read_unlisted(struct lp_content *c, size_t *len)
{
	uint64_t left = c->op->e.size - c->at;
	struct lp_digest d;
	int r;

	*len = left < LP_WIRE_PIECE_BYTES ? (size_t)left : LP_WIRE_PIECE_BYTES;
	r = lp_read_at(c->fd, c->at, c->piece, *len);
	if (r < 0)
		return r;
	if (!c->hasher)
		return 0;
	lp_hasher_add(c->hasher, c->piece, *len);
	if (*len < left)
		return 0;
	d = lp_hasher_get(c->hasher);
	return lp_digest_equal(&d, &c->op->e.digest) ? 0 : -ESTALE;
}

static int next_data(struct lp_content *c, struct lp_buf *out, uint64_t *sent)
{
	struct lp_msg msg = {.kind = LP_MSG_DATA};
	size_t len, before = 0;
	int r;

	if (has_chunks(c->op)) {
		seek_chunk(c);
		before = (size_t)(c->at - c->chunk_at);
		r = read_chunks(c, &len);
	} else {
		r = read_unlisted(c, &len);
	}
	if (r < 0)
		return r;
	len -= before;
	msg.u.data.at = c->at;
	msg.u.data.content = (struct lp_bytes){c->piece + before, len};
	if (lp_msg_encode(&msg, out) < 0)
		return -ENOMEM;
	c->at += len;
	*sent += len;
	return c->at < c->op->e.size;
}

/* Reads the present chunk into the piece, unless it is there, and compares it. */
static int read_chunk(struct lp_content *c)
{
	const struct lp_chunk *chunk = &c->op->chunks->c[c->chunk];
	int r;

	if (c->has_chunk == c->chunk)
		return 0;
	c->has_chunk = UINT32_MAX;
	if (chunk->len > LP_WIRE_PIECE_BYTES)
		return -ESTALE;
	r = lp_read_at(c->fd, c->chunk_at, c->piece, chunk->len);
	if (r < 0)
		return r;
	if (!is_chunk(chunk, c->piece))
		return -ESTALE;
	c->has_chunk = c->chunk;
	return 0;
}

/* Adds new bytes from `at` on, up to the end of their chunk or segment. */
static int add_new(struct lp_content *c, struct lp_msg_patch *patch)
{
	const struct lp_segment *s = &c->segments[c->segment];
	const struct lp_chunk *chunk;
	struct lp_wire_segment *last = NULL;
	uint64_t end = s->at + s->len;
	size_t len;
	int r;

	seek_chunk(c);
	chunk = &c->op->chunks->c[c->chunk];
	r = read_chunk(c);
	if (r < 0)
		return r;
	if (end > c->chunk_at + chunk->len)
		end = c->chunk_at + chunk->len;
	len = (size_t)(end - c->at);
	if (lp_buf_add(&c->body, c->piece + (c->at - c->chunk_at), len) < 0)
		return -ENOMEM;
	if (patch->n_segments > 0)
		last = &patch->segments[patch->n_segments - 1];
	/* Where the bytes are is filled in when the buffer does not move any more. */
	if (last && last->has_content && last->len + len <= LP_WIRE_PIECE_BYTES)
		last->len += len;
	else
		patch->segments[patch->n_segments++] =
			(struct lp_wire_segment){.has_content = true, .len = len};
	c->at = end;
	return 0;
}

static int collect(struct lp_content *c, struct lp_msg_patch *patch)
{
	while (c->segment < c->n_segments && patch->n_segments < PATCH_SEGMENTS &&
	       c->body.len < PATCH_FULL_BYTES) {
		const struct lp_segment *s = &c->segments[c->segment];
		uint64_t end = s->at + s->len;

		if (s->is_new) {
			int r = add_new(c, patch);

			if (r < 0)
				return r;
		} else {
			patch->segments[patch->n_segments++] = (struct lp_wire_segment){
				.from = s->from + (c->at - s->at), .len = end - c->at};
			c->at = end;
		}
		c->segment += c->at == end;
	}
	return 0;
}

static int next_patch(struct lp_content *c, struct lp_buf *out, uint64_t *sent)
{
	LP_AUTO_FREE struct lp_wire_segment *segments =
		lp_xcalloc(PATCH_SEGMENTS, sizeof(*segments));
	struct lp_msg msg = {.kind = LP_MSG_PATCH};
	struct lp_msg_patch *patch = &msg.u.patch;
	size_t at = 0;
	int r;

	memcpy(patch->base, c->op->base.digest.b, sizeof(patch->base));
	patch->in_place = c->op->base.in_place;
	patch->segments = segments;
	c->body.len = 0;
	r = collect(c, patch);
	if (r < 0)
		return r;
	for (size_t i = 0; i < patch->n_segments; i++) {
		struct lp_wire_segment *s = &segments[i];

		if (!s->has_content)
			continue;
		s->content = (struct lp_bytes){c->body.data + at, (size_t)s->len};
		at += (size_t)s->len;
	}
	if (lp_msg_encode(&msg, out) < 0)
		return -ENOMEM;
	*sent += c->body.len;
	return c->segment < c->n_segments;
}

int lp_content_next(struct lp_content *c, struct lp_buf *out, uint64_t *sent)
{
	return c->segments ? next_patch(c, out, sent) : next_data(c, out, sent);
}
