/* watcher/sparse.c: cuts data by reading it, and holes by knowing how zeros are cut: nothing in
 * them ends a chunk before its largest size. Where a chunk ends is decided by what is in it alone
 * (sync/gear.h), so a content can be cut in parts that begin where a chunk does. */
#include "watcher/sparse.h"

#include "common/base/lp_mem.h"
#include "common/base/lp_util.h"
#include "sync/digest.h"
#include "watcher/content.h"

#include <unistd.h>

/* A smaller hole is read like data. */
#define HOLE_MIN_BYTES ((uint64_t)1024 * 1024)

/* So many zeros behind data hold the beginning of a chunk of zeros alone. */
#define ZEROS_BYTES ((uint64_t)2 * LP_CHUNK_MAX_BYTES)

/* Cut so far: chunks c of the content up to `at`. */
struct cutter {
	int fd;
	uint64_t bytes;
	const atomic_bool *stop;
	uint64_t at;
	struct lp_chunk *c;
	size_t n, cap;
};

static void push(struct cutter *k, const struct lp_chunk *c)
{
	lp_grow(&k->c, &k->cap, k->n + 1, sizeof(*k->c));
	k->c[k->n++] = *c;
	k->at += c->len;
}

/* lp_read_at_fn of what begins at k->at. */
static int read_part(void *ctx, uint64_t at, void *out, size_t len)
{
	struct cutter *k = ctx;

	if (k->stop && atomic_load_explicit(k->stop, memory_order_relaxed))
		return -ECANCELED;
	return lp_look_read_at(&k->fd, k->at + at, out, len);
}

/* The next place of that kind (SEEK_DATA, SEEK_HOLE) from `at` on, or the end. Returns 0 or -errno.
 */
static int seek(const struct cutter *k, uint64_t at, int whence, uint64_t *out)
{
	off_t next = at < k->bytes ? lseek(k->fd, (off_t)at, whence) : (off_t)k->bytes;

	if (next < 0 && errno != ENXIO) /* which means: up to the end */
		return errno == EINVAL ? -EOPNOTSUPP : -errno;
	*out = next < 0 || (uint64_t)next > k->bytes ? k->bytes : (uint64_t)next;
	return 0;
}

/* Where the data from `data` on ends: at the end of the content, or in a large hole, far enough to
 * leave its beginning behind. */
static int end_of_part(const struct cutter *k, uint64_t data, uint64_t *end)
{
	uint64_t hole = data;
	int r;

	do {
		r = seek(k, data, SEEK_HOLE, &hole);
		if (r == 0)
			r = seek(k, hole, SEEK_DATA, &data);
	} while (r == 0 && data - hole < HOLE_MIN_BYTES && data < k->bytes);
	*end = data - hole < HOLE_MIN_BYTES ? k->bytes : hole + ZEROS_BYTES;
	return r;
}

/* Cuts what begins at k->at and ends at `end`. The last chunk of a part ends with the part and not
 * by its bytes: it is cut again, unless the content ends there. */
static int cut_part(struct cutter *k, uint64_t end)
{
	struct lp_chunks *none = lp_chunks_create(NULL, 0, NULL), *part = NULL;
	const struct lp_ranges nothing = {0};
	int r = lp_chunks_rewrite(none, end - k->at, &nothing, read_part, k, &part);

	lp_chunks_unref(none);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i + (end < k->bytes ? 1 : 0) < part->n; i++)
		push(k, &part->c[i]);
	lp_chunks_unref(part);
	return 0;
}

static struct lp_chunk zero_chunk(void)
{
	LP_AUTO_FREE uint8_t *zeros = lp_xcalloc(1, LP_CHUNK_MAX_BYTES);

	return (struct lp_chunk){.len = LP_CHUNK_MAX_BYTES,
				 .digest = lp_digest_of(zeros, LP_CHUNK_MAX_BYTES)};
}

int lp_sparse_chunks(int fd, uint64_t bytes, const atomic_bool *stop, struct lp_chunks **out)
{
	struct cutter k = {.fd = fd, .bytes = bytes, .stop = stop};
	const struct lp_chunk zeros = zero_chunk();
	int r = 0;

	while (r == 0 && k.at < bytes) {
		uint64_t data = k.at, end = bytes;

		r = seek(&k, k.at, SEEK_DATA, &data);
		while (r == 0 && data - k.at >= zeros.len)
			push(&k, &zeros);
		if (r == 0 && k.at < bytes)
			r = end_of_part(&k, data, &end);
		if (r == 0 && k.at < bytes)
			r = cut_part(&k, end);
	}
	if (r == 0)
		*out = lp_chunks_create(k.c, k.n, NULL);
	free(k.c);
	return r;
}
