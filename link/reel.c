/* link/reel.c: see reel.h. Messages are numbered from 0; a window of them is kept. */
#include "link/reel.h"

#include "common/base/lp_mem.h"

#include <string.h>

struct message {
	struct lp_buf raw;
	struct lp_buf packed; /* empty until a link that packs asks */
	bool was_packed;
	struct lp_feed_mark after;
	size_t readers; /* that are past it */
	bool last;
};

struct lp_reel {
	unsigned refs;
	struct lp_feed *feed;
	size_t n_readers;
	struct message *messages; /* kept ones */
	size_t first;             /* number of messages[0] */
	size_t n;
	size_t cap;
	size_t bytes;
	struct lp_buf spare; /* of a message that was dropped, for the next one */
};

struct lp_reel *lp_reel_create(struct lp_changeset *cs, const struct lp_source *source)
{
	static const struct lp_feed_have have = {.bases = true};
	struct lp_reel *reel = lp_xcalloc(1, sizeof(*reel));

	reel->refs = 1;
	reel->feed = lp_feed_create(cs, source, &have, NULL);
	return reel;
}

void lp_reel_unref(struct lp_reel *reel)
{
	if (!reel || --reel->refs > 0)
		return;
	for (size_t i = 0; i < reel->n; i++) {
		lp_buf_finish(&reel->messages[i].raw);
		lp_buf_finish(&reel->messages[i].packed);
	}
	free(reel->messages);
	lp_buf_finish(&reel->spare);
	lp_feed_destroy(reel->feed);
	free(reel);
}

/* Forgets the first `count` messages. */
static void drop(struct lp_reel *reel, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct message *m = &reel->messages[i];

		reel->bytes -= m->raw.len + m->packed.len;
		lp_buf_finish(&m->packed);
		lp_buf_finish(&reel->spare);
		reel->spare = m->raw;
	}
	reel->first += count;
	reel->n -= count;
	memmove(reel->messages, reel->messages + count, reel->n * sizeof(*reel->messages));
}

/* Drops what all readers are past, and more while too much is kept. */
static void trim(struct lp_reel *reel)
{
	size_t bytes = reel->bytes, count = 0;

	while (count + 1 < reel->n &&
	       (reel->messages[count].readers >= reel->n_readers || bytes > LP_REEL_MAX_BYTES)) {
		bytes -= reel->messages[count].raw.len + reel->messages[count].packed.len;
		count++;
	}
	if (count > 0)
		drop(reel, count);
}

/* Encodes one more message. */
static int produce(struct lp_reel *reel)
{
	struct message *m;
	int r;

	lp_grow(&reel->messages, &reel->cap, reel->n + 1, sizeof(*reel->messages));
	m = &reel->messages[reel->n];
	*m = (struct message){.raw = reel->spare};
	reel->spare = (struct lp_buf){0};
	m->raw.len = 0;
	r = lp_feed_next(reel->feed, &m->raw);
	if (r != 1) {
		lp_buf_finish(&m->raw);
		return -ENOMEM;
	}
	m->after = lp_feed_where(reel->feed);
	m->last = lp_feed_done(reel->feed);
	reel->bytes += m->raw.len;
	reel->n++;
	return 0;
}

void lp_reader_open(struct lp_reader *r, struct lp_reel *reel)
{
	*r = (struct lp_reader){.reel = reel};
	reel->refs++;
	reel->n_readers++;
}

int lp_reader_next(struct lp_reader *r, struct lp_reel_message *out)
{
	struct lp_reel *reel = r->reel;
	struct message *m;

	trim(reel);
	if (r->next < reel->first)
		return 0;
	if (r->next == reel->first + reel->n && produce(reel) < 0)
		return -ENOMEM;
	m = &reel->messages[r->next - reel->first];
	m->readers++;
	r->next++;
	r->where = m->after;
	*out = (struct lp_reel_message){
		.raw = &m->raw, .last = m->last, .left_out = m->after.left_out};
	return 1;
}

const struct lp_buf *lp_reader_packed(const struct lp_reader *r, struct lp_packer *packer)
{
	struct lp_reel *reel = r->reel;
	struct message *m = &reel->messages[r->next - 1 - reel->first];

	if (!m->was_packed) {
		m->was_packed = true;
		/* Without memory for it the message goes out as it is. */
		if (lp_buf_add(&m->packed, m->raw.data, m->raw.len) < 0 ||
		    lp_packer_pack(packer, &m->packed) < 0)
			lp_buf_finish(&m->packed);
		reel->bytes += m->packed.len;
	}
	return m->packed.len > 0 ? &m->packed : &m->raw;
}

void lp_reader_close(struct lp_reader *r)
{
	struct lp_reel *reel = r->reel;

	if (!reel)
		return;
	for (size_t i = 0; i < reel->n && reel->first + i < r->next; i++)
		reel->messages[i].readers--;
	reel->n_readers--;
	*r = (struct lp_reader){0};
	lp_reel_unref(reel);
}

size_t lp_reel_encoded(const struct lp_reel *reel)
{
	return reel->first + reel->n;
}

size_t lp_reel_kept_bytes(const struct lp_reel *reel)
{
	return reel->bytes;
}
