/* link/feed.c: a cursor over a changeset. */
#include "link/feed.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "link/content.h"

#include <string.h>
#include <sys/stat.h>

#define OPS_PER_MESSAGE 2000
/* A message is closed when its operations reach this; one more small file still fits below
 * LP_WIRE_MSG_MAX_BYTES. */
#define FULL_BYTES  ((size_t)192 * 1024)
#define OP_OVERHEAD 64

struct lp_feed {
	struct lp_changeset *cs;
	struct lp_source source;
	struct lp_feed_have have;
	size_t next_op;
	bool first_sent;
	bool last_sent;
	bool left_out;
	struct lp_content large; /* of the operation before next_op, when it is open */
	uint64_t sent;
	struct lp_buf
		content; /* contents that are read now; kept, so that it need not grow again */
};

/* The operations of one message while it is put together. content: the feed's; offsets in ops until
 * the batch is complete. failed: there is no memory for more. */
struct batch {
	struct lp_wire_op *ops;
	size_t n;
	size_t cap;
	size_t bytes;
	struct lp_buf *content;
	bool full;
	bool failed;
};

/* Goes on in the middle of a large file. What cannot be opened any more turns into a SKIP. */
static void reopen(struct lp_feed *f, uint64_t at)
{
	struct lp_op *op = &f->cs->ops[f->next_op - 1];
	int fd = f->source.open(f->source.ctx, op->path);

	lp_content_open(&f->large, op, fd, at, f->have.bases && lp_content_has_recipe(op));
}

struct lp_feed *lp_feed_create(struct lp_changeset *cs, const struct lp_source *source,
			       const struct lp_feed_have *have, const struct lp_feed_mark *mark)
{
	struct lp_feed *f = lp_xcalloc(1, sizeof(*f));

	f->cs = lp_changeset_ref(cs);
	f->source = *source;
	if (have)
		f->have = *have;
	if (mark) {
		f->next_op = mark->next_op;
		f->first_sent = mark->first_sent;
		f->last_sent = mark->last_sent;
		f->left_out = mark->left_out;
		if (mark->large)
			reopen(f, mark->at);
	}
	return f;
}

void lp_feed_destroy(struct lp_feed *f)
{
	if (!f)
		return;
	lp_content_finish(&f->large);
	lp_changeset_unref(f->cs);
	lp_buf_finish(&f->content);
	free(f);
}

bool lp_feed_done(const struct lp_feed *f)
{
	return f->last_sent;
}

struct lp_feed_mark lp_feed_where(const struct lp_feed *f)
{
	return (struct lp_feed_mark){
		.next_op = f->next_op,
		.large = f->large.open,
		.at = f->large.open ? f->large.at : 0,
		.first_sent = f->first_sent,
		.last_sent = f->last_sent,
		.left_out = f->left_out,
	};
}

bool lp_feed_left_out(const struct lp_feed *f)
{
	return f->left_out;
}

uint64_t lp_feed_sent(const struct lp_feed *f)
{
	return f->sent;
}

static struct lp_wire_op *add_op(struct batch *b, const struct lp_op *op)
{
	struct lp_wire_op *w;

	lp_grow(&b->ops, &b->cap, b->n + 1, sizeof(*b->ops));
	w = &b->ops[b->n++];
	*w = (struct lp_wire_op){
		.op = op->kind,
		.kind = op->e.kind,
		.path = lp_bytes_of(op->path),
		.mode = op->e.mode,
		.size = op->e.size,
	};
	memcpy(w->digest, op->e.digest.b, sizeof(w->digest));
	b->bytes += w->path.len + OP_OVERHEAD;
	return w;
}

/* Room for content that is read now, behind that of the batch; NULL when there is no memory. */
static uint8_t *room_for(struct batch *b, size_t len)
{
	b->failed |= lp_buf_reserve(b->content, len) < 0;
	return b->failed ? NULL : b->content->data + b->content->len;
}

/* That content is complete. Its pointer is fixed when the batch is, because the buffer may move
 * until then. */
static void set_content(struct batch *b, struct lp_wire_op *w, size_t len)
{
	w->has_content = true;
	w->content.p = NULL;
	w->content.len = len;
	b->content->len += len;
	b->bytes += len;
}

static bool is_gone(int cause)
{
	return cause == -ENOENT || cause == -ENOTDIR || cause == -ELOOP;
}

/* The path is not sent, so that the changeset does not lead to its root. cause: why it could not be
 * read; what says only that it changed since the changeset was made is no error. */
static void leave_out(struct lp_feed *f, const struct lp_op *op, int cause)
{
	bool changed = is_gone(cause) || cause == -EBUSY || cause == -ESTALE;

	f->left_out = true;
	f->source.stale(f->source.ctx, op->path, changed ? 0 : cause);
}

/* It could not be opened: it is gone, or nothing is known of it for now. */
static void add_missing(struct lp_feed *f, struct batch *b, const struct lp_op *op, int cause)
{
	struct lp_op gone = {.kind = LP_OP_DELETE, .path = op->path};

	leave_out(f, op, cause);
	if (is_gone(cause))
		(void)add_op(b, &gone);
}

static void add_link(struct lp_feed *f, struct batch *b, const struct lp_op *op)
{
	uint8_t *target = room_for(b, LP_PATH_MAX_BYTES);
	struct lp_digest d;
	long n;

	if (!target)
		return;
	n = f->source.read_link(f->source.ctx, op->path, (char *)target, LP_PATH_MAX_BYTES);
	if (n < 0) {
		add_missing(f, b, op, (int)n);
		return;
	}
	d = lp_digest_of(target, (size_t)n);
	if (lp_digest_equal(&d, &op->e.digest))
		set_content(b, add_op(b, op), (size_t)n);
	else
		leave_out(f, op, -ESTALE);
}

static void begin_large(struct lp_feed *f, struct batch *b, struct lp_op *op, int *fd)
{
	uint64_t at = 0;

	if (f->have.partial_have > 0 && f->have.partial_have < op->e.size && op->chunks &&
	    lp_digest_equal(&f->have.partial, &op->e.digest)) {
		at = f->have.partial_have;
		f->have.partial_have = 0;
	}
	lp_content_open(&f->large, op, lp_take_fd(fd), at,
			at == 0 && f->have.bases && lp_content_has_recipe(op));
	(void)add_op(b, op);
	b->full = true;
}

/* A file whose content goes with its operation. */
static void add_small(struct lp_feed *f, struct batch *b, const struct lp_op *op, int fd)
{
	size_t size = (size_t)op->e.size, len;
	uint8_t *to = room_for(b, size + 1);
	struct lp_digest d;
	int r;

	if (!to)
		return;
	/* One byte more than it has, to notice that it grows. */
	r = lp_read_up_to(fd, to, size + 1, &len);
	if (r == 0 && len == size) {
		d = lp_digest_of(to, len);
		if (lp_digest_equal(&d, &op->e.digest)) {
			set_content(b, add_op(b, op), len);
			f->sent += len;
			return;
		}
	}
	leave_out(f, op, r < 0 ? r : -ESTALE);
}

/* A small file that nobody has read before: what it holds, it is. Returns whether that is done. */
static bool add_blank(struct lp_feed *f, struct batch *b, struct lp_op *op)
{
	size_t size = (size_t)op->e.size;
	uint8_t *to = room_for(b, size + 1);
	int r;

	if (!to)
		return true;
	r = f->source.read_blank ? f->source.read_blank(f->source.ctx, op->path, &op->e, to)
				 : -ESTALE;
	if (r == 1)
		return false;
	if (r < 0) {
		add_missing(f, b, op, r);
		return true;
	}
	set_content(b, add_op(b, op), size);
	f->sent += size;
	return true;
}

/* Whether a large file of that size may be what was announced: what it began with, which its chunks
 * tell, is there as well when it has grown since. */
static bool may_be(const struct lp_op *op, uint64_t size)
{
	return size == op->e.size ||
	       (size > op->e.size && op->chunks && op->chunks->bytes == op->e.size);
}

static void add_file(struct lp_feed *f, struct batch *b, struct lp_op *op)
{
	LP_AUTO_CLOSE int fd = f->source.open(f->source.ctx, op->path);
	struct stat st;

	if (fd < 0)
		add_missing(f, b, op, fd);
	else if (op->e.size <= LP_INLINE_MAX_BYTES)
		add_small(f, b, op, fd);
	else if (fstat(fd, &st) < 0)
		leave_out(f, op, -errno);
	else if (!may_be(op, (uint64_t)st.st_size))
		leave_out(f, op, -ESTALE);
	else
		begin_large(f, b, op, &fd);
}

/* Content that stays where it is until the message is encoded. */
static void lend_content(struct batch *b, struct lp_wire_op *w, const void *data, size_t len)
{
	w->has_content = true;
	w->content = (struct lp_bytes){data, len};
	b->bytes += len;
}

static void add_next(struct lp_feed *f, struct batch *b)
{
	struct lp_op *op = &f->cs->ops[f->next_op++];

	if (op->kind == LP_OP_MOVE) {
		lend_content(b, add_op(b, op), op->from, strlen(op->from));
	} else if (op->kind != LP_OP_PUT || op->e.kind == LP_KIND_DIR) {
		(void)add_op(b, op);
	} else if (op->blob) {
		lend_content(b, add_op(b, op), op->blob->data, op->blob->len);
		f->sent += op->blob->len;
	} else if (op->e.kind == LP_KIND_LINK) {
		add_link(f, b, op);
	} else if (!lp_entry_is_blank(&op->e) || !add_blank(f, b, op)) {
		add_file(f, b, op);
	}
}

static int next_change(struct lp_feed *f, struct lp_buf *out)
{
	struct lp_msg msg = {.kind = LP_MSG_CHANGE};
	struct batch b = {.content = &f->content};
	size_t at = 0;
	int r;

	f->content.len = 0;
	while (f->next_op < f->cs->n_ops && !b.full && !b.failed && b.n < OPS_PER_MESSAGE &&
	       b.bytes < FULL_BYTES)
		add_next(f, &b);
	if (b.failed) {
		free(b.ops);
		return -ENOMEM;
	}
	for (size_t i = 0; i < b.n; i++) {
		if (!b.ops[i].has_content || b.ops[i].content.p)
			continue;
		b.ops[i].content.p = f->content.data + at;
		at += b.ops[i].content.len;
	}
	f->last_sent = f->next_op == f->cs->n_ops && !f->large.open;
	msg.u.change.revision = f->cs->revision;
	msg.u.change.flags =
		(f->first_sent ? 0 : LP_CHANGE_FIRST) | (f->last_sent ? LP_CHANGE_LAST : 0);
	if (f->last_sent && !f->left_out && !f->have.unsure)
		memcpy(msg.u.change.root, f->cs->root.b, sizeof(msg.u.change.root));
	msg.u.change.ops = b.ops;
	msg.u.change.n_ops = b.n;
	f->first_sent = true;
	r = lp_msg_encode(&msg, out);
	free(b.ops);
	return r < 0 ? r : 1;
}

/* The next piece of a large file. When it turns out not to be what was announced (shorter, other
 * content, or unreadable), SKIP takes its place. */
static int next_large(struct lp_feed *f, struct lp_buf *out)
{
	int r = f->large.fd < 0 ? f->large.fd : lp_content_next(&f->large, out, &f->sent);

	if (r < 0 && r != -ENOMEM) {
		struct lp_msg skip = {.kind = LP_MSG_SKIP};

		leave_out(f, f->large.op, r);
		skip.u.skip.revision = f->cs->revision;
		r = lp_msg_encode(&skip, out) < 0 ? -ENOMEM : 0;
	}
	if (r == 0)
		lp_content_close(&f->large);
	return r < 0 ? r : 1;
}

int lp_feed_next(struct lp_feed *f, struct lp_buf *out)
{
	if (f->last_sent)
		return 0;
	return f->large.open ? next_large(f, out) : next_change(f, out);
}
