/* feed_rig.c: see feed_rig.h. */
#include "tests/unit/link/feed_rig.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

char feed_files[64];
struct lp_changeset *feed_cs;
struct lp_buf feed_stale;
int feed_open_error;
const char *feed_unreadable;

static int source_open(void *ctx, const char *path)
{
	LP_AUTO_CLOSE int dir = open(feed_files, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	bool unreadable = feed_unreadable && strcmp(path, feed_unreadable) == 0;

	(void)ctx;
	if (feed_open_error)
		return feed_open_error;
	return lp_open_beneath(dir, path, (unreadable ? O_WRONLY : O_RDONLY) | O_NONBLOCK, 0);
}

static long source_read_link(void *ctx, const char *path, char *out, size_t out_bytes)
{
	char full[256];
	ssize_t n;

	(void)ctx;
	(void)snprintf(full, sizeof(full), "%s/%s", feed_files, path);
	n = readlink(full, out, out_bytes);
	return n < 0 ? -errno : n;
}

static void source_stale(void *ctx, const char *path, int cause)
{
	(void)ctx;
	assert_int_equal(lp_buf_addf(&feed_stale, "%s%s%s\n", path, cause ? ": " : "",
				     cause ? strerrorname_np(-cause) : ""),
			 0);
}

const struct lp_source feed_source = {
	.open = source_open, .read_link = source_read_link, .stale = source_stale};

void feed_start_over(void)
{
	lp_changeset_unref(feed_cs);
	feed_cs = lp_changeset_create();
	feed_cs->revision = 7;
	memset(&feed_cs->root, 0x77, sizeof(feed_cs->root));
}

void feed_set_up(void)
{
	(void)snprintf(feed_files, sizeof(feed_files), "/tmp/livepush-feed-XXXXXX");
	assert_non_null(mkdtemp(feed_files));
	feed_start_over();
	feed_open_error = 0;
	feed_stale.len = 0;
	receiver_reset(true);
}

void feed_tear_down(void)
{
	lp_changeset_unref(feed_cs);
	feed_cs = NULL;
	lp_buf_finish(&feed_stale);
	receiver_reset(true);
	assert_int_equal(lp_remove_tree(AT_FDCWD, feed_files), 0);
}

static struct lp_hasher *hash(const void *content, size_t len)
{
	struct lp_hasher *h = lp_hasher_create();

	lp_hasher_add(h, content, len);
	return h;
}

struct lp_chunks *chunks_of(const void *content, size_t len)
{
	struct lp_hasher *h = hash(content, len);
	struct lp_chunks *chunks = lp_hasher_chunks(h);

	lp_hasher_destroy(h);
	return chunks;
}

struct lp_digest digest_of(const void *content, size_t len)
{
	struct lp_hasher *h = hash(content, len);
	struct lp_digest d = lp_hasher_get(h);

	lp_hasher_destroy(h);
	return d;
}

void rewrite(const char *path, const void *content, size_t len)
{
	char full[256];
	int fd;

	(void)snprintf(full, sizeof(full), "%s/%s", feed_files, path);
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_int_equal(lp_write_all(fd, content, len), 0);
	assert_int_equal(close(fd), 0);
}

struct lp_op *announce(const char *path, const void *content, size_t len, bool with_blob)
{
	struct lp_entry e = {.kind = LP_KIND_FILE, .mode = 0644, .size = len};
	struct lp_blob *blob = NULL;

	rewrite(path, content, len);
	e.digest = digest_of(content, len);
	if (with_blob) {
		blob = lp_blob_create(len);
		memcpy(blob->data, content, len);
	}
	return lp_changeset_add(feed_cs, LP_OP_PUT, path, &e, blob);
}

struct lp_op *announce_chunks(const char *path, const void *content, size_t len)
{
	struct lp_op *op = announce(path, content, len, false);

	op->chunks = chunks_of(content, len);
	return op;
}

struct lp_op *announce_base(const char *path, const void *base, size_t base_len,
			    const void *content, size_t len, const struct lp_ranges *written)
{
	struct lp_op *op;

	/* First the base, to the receiver. */
	feed_start_over();
	announce(path, base, base_len, false);
	feed_to_receiver(NULL, 0, NULL);
	feed_start_over();
	op = announce_chunks(path, content, len);
	op->base.digest = digest_of(base, base_len);
	op->base.chunks = chunks_of(base, base_len);
	if (written) {
		op->base.written = lp_xcalloc(1, sizeof(*written));
		*op->base.written = *written;
	}
	return op;
}

void feed_to_receiver(const struct lp_feed_have *have, unsigned at, void (*meanwhile)(void))
{
	struct lp_feed *f = lp_feed_create(feed_cs, &feed_source, have, NULL);
	struct lp_buf out = {0};
	unsigned n = 0;

	receiver_reset(false);
	while (lp_feed_next(f, &out) == 1) {
		receiver_take(out.data, out.len);
		out.len = 0;
		if (++n == at)
			meanwhile();
	}
	assert_true(lp_feed_done(f));
	assert_true(received.is_last);
	assert_int_equal(lp_feed_next(f, &out), 0);
	assert_int_equal(out.len, 0);
	assert_true(received.largest <= LP_WIRE_MSG_MAX_BYTES);
	assert_int_equal(lp_feed_left_out(f), !received.has_root);
	lp_buf_finish(&out);
	lp_feed_destroy(f);
}

bool has_content(const char *path, const void *content, size_t len)
{
	const struct lp_buf *b = receiver_has(path);

	return b && b->len == len && memcmp(b->data, content, len) == 0;
}

bool has_text(const char *path, const char *text)
{
	return has_content(path, text, strlen(text));
}
