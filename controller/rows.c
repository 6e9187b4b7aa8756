/* controller/rows.c: see rows.h. */
#include "controller/rows.h"

#include <string.h>

#define MAGIC 0x3157524cu /* "LRW1" */

struct head {
	uint32_t magic;
	uint32_t unused;
	uint64_t len; /* of the rows in bytes */
	struct lp_batch batch;
	struct lp_digest digest; /* of all of the above, then of the rows */
};

/* Followed by both texts with their NULs. */
struct fixed {
	uint64_t size;
	uint64_t sig;
	uint64_t ino;
	struct lp_digest digest;
	uint32_t flags;
	uint16_t mode;
	uint16_t was_mode;
	uint16_t path_bytes; /* with NUL */
	uint16_t from_bytes;
	uint8_t kind;
	uint8_t what;
	uint8_t op;
	uint8_t unused;
};

ssize_t lp_rows_begin(struct lp_buf *out)
{
	const struct head head = {0};
	size_t begin = out->len;
	int r = lp_buf_add(out, &head, sizeof(head));

	return r < 0 ? r : (ssize_t)begin;
}

int lp_rows_add(struct lp_buf *out, const struct lp_row *row)
{
	const char *from = row->from ? row->from : "";
	const struct fixed f = {
		.size = row->e.size,
		.sig = row->sig,
		.ino = row->ino,
		.digest = row->e.digest,
		.flags = row->flags,
		.mode = (uint16_t)row->e.mode,
		.was_mode = (uint16_t)row->was_mode,
		.path_bytes = (uint16_t)(strlen(row->path) + 1),
		.from_bytes = (uint16_t)(strlen(from) + 1),
		.kind = (uint8_t)row->e.kind,
		.what = (uint8_t)row->kind,
		.op = (uint8_t)row->op,
	};
	size_t before = out->len;
	int r = lp_buf_add(out, &f, sizeof(f));

	if (r == 0)
		r = lp_buf_add(out, row->path, f.path_bytes);
	if (r == 0)
		r = lp_buf_add(out, from, f.from_bytes);
	if (r < 0)
		out->len = before;
	return r;
}

/* The digest of the rows stands for them in that of the head. */
static struct lp_digest digest_of(const struct head *head, const uint8_t *rows)
{
	struct head h = *head;

	h.digest = lp_digest_of(rows, head->len);
	return lp_digest_of(&h, sizeof(h));
}

void lp_rows_end(struct lp_buf *out, size_t begin, const struct lp_batch *batch)
{
	struct head head = {
		.magic = MAGIC, .len = out->len - begin - sizeof(head), .batch = *batch};

	head.digest = digest_of(&head, out->data + begin + sizeof(head));
	memcpy(out->data + begin, &head, sizeof(head));
}

bool lp_rows_batch(struct lp_rows *rows, struct lp_batch *out)
{
	struct head head;
	struct lp_digest d;

	rows->p += rows->batch_left;
	rows->len -= rows->batch_left;
	rows->batch_left = 0;
	rows->left = 0;
	if (rows->len < sizeof(head))
		return false;
	memcpy(&head, rows->p, sizeof(head));
	if (head.magic != MAGIC || head.len > rows->len - sizeof(head))
		return false;
	d = digest_of(&head, rows->p + sizeof(head));
	if (!lp_digest_equal(&d, &head.digest))
		return false;
	rows->p += sizeof(head);
	rows->len -= sizeof(head);
	rows->batch_left = head.len;
	rows->left = head.batch.n_rows;
	*out = head.batch;
	return true;
}

/* The text at p[0..bytes), or NULL when it is not terminated there or has a NUL before. */
static const char *text_at(const uint8_t *p, size_t bytes)
{
	return bytes > 0 && memchr(p, '\0', bytes) == p + bytes - 1 ? (const char *)p : NULL;
}

bool lp_rows_next(struct lp_rows *rows, struct lp_row *out)
{
	struct fixed f;
	size_t texts;

	if (rows->left == 0 || rows->batch_left < sizeof(f))
		return false;
	memcpy(&f, rows->p, sizeof(f));
	texts = (size_t)f.path_bytes + f.from_bytes;
	if (texts > rows->batch_left - sizeof(f) || f.what == 0 || f.what >= LP_ROW_COUNT_ ||
	    f.kind >= LP_KIND_COUNT_)
		return false;
	*out = (struct lp_row){
		.kind = (enum lp_row_kind)f.what,
		.e = {.kind = (enum lp_kind)f.kind,
		      .mode = f.mode & 0777u,
		      .size = f.size,
		      .digest = f.digest},
		.sig = f.sig,
		.ino = f.ino,
		.op = f.op,
		.flags = f.flags,
		.was_mode = f.was_mode,
		.path = text_at(rows->p + sizeof(f), f.path_bytes),
		.from = text_at(rows->p + sizeof(f) + f.path_bytes, f.from_bytes),
	};
	if (!out->path || !out->from || !lp_path_is_clean(out->path, strlen(out->path)) ||
	    (out->from[0] && !lp_path_is_clean(out->from, strlen(out->from))))
		return false;
	rows->p += sizeof(f) + texts;
	rows->len -= sizeof(f) + texts;
	rows->batch_left -= sizeof(f) + texts;
	rows->left--;
	return true;
}
