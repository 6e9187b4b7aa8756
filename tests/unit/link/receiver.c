/* receiver.c: see receiver.h. */
#include "tests/unit/link/receiver.h"

#include "common/base/lp_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct file {
	char *path;
	struct lp_digest digest;
	struct lp_buf content;
};

struct received received;
static struct file files[8192];
static size_t n_files;
/* The file that is on its way. */
static struct lp_wire_op under_way;
static char under_way_path[256];
static struct lp_buf fresh, partial;
static struct lp_digest partial_digest;
static bool is_under_way;

static void text_of(const struct lp_bytes *b, char *out, size_t out_bytes)
{
	assert_true(b->len < out_bytes);
	memcpy(out, b->p, b->len);
	out[b->len] = '\0';
}

static struct file *find(const char *path)
{
	for (size_t i = 0; i < n_files; i++)
		if (strcmp(files[i].path, path) == 0)
			return &files[i];
	return NULL;
}

static void forget(struct file *f)
{
	free(f->path);
	lp_buf_finish(&f->content);
	*f = files[--n_files];
}

static struct lp_digest digest_of(const void *data, size_t len)
{
	struct lp_hasher *h = lp_hasher_create();
	struct lp_digest d;

	lp_hasher_add(h, data, len);
	d = lp_hasher_get(h);
	lp_hasher_destroy(h);
	return d;
}

static void keep(const char *path, const uint8_t *digest, const void *data, size_t len)
{
	struct lp_digest d = digest_of(data, len);
	struct file *f = find(path);

	assert_memory_equal(d.b, digest, sizeof(d.b));
	if (!f) {
		assert_true(n_files < LP_COUNT_OF(files));
		f = &files[n_files++];
		*f = (struct file){.path = lp_xstrdup(path)};
	}
	f->digest = d;
	f->content.len = 0;
	assert_int_equal(lp_buf_add(&f->content, data, len), 0);
}

static void end_if_whole(void)
{
	assert_true(fresh.len <= under_way.size);
	if (fresh.len < under_way.size)
		return;
	keep(under_way_path, under_way.digest, fresh.data, fresh.len);
	is_under_way = false;
}

static void move(const char *from, const char *to)
{
	size_t len = strlen(from);

	for (size_t i = 0; i < n_files; i++) {
		char *old = files[i].path;

		if (strncmp(old, from, len) != 0 || (old[len] && old[len] != '/'))
			continue;
		files[i].path = lp_xasprintf("%s%s", to, old + len);
		free(old);
	}
}

static void take_op(const struct lp_wire_op *op, bool is_last_op)
{
	char path[256], from[256];
	struct file *f;

	text_of(&op->path, path, sizeof(path));
	f = find(path);
	switch (op->op) {
	case LP_OP_MOVE:
		received.moves++;
		text_of(&op->content, from, sizeof(from));
		move(from, path);
		return;
	case LP_OP_DELETE:
		received.deletes++;
		if (f)
			forget(f);
		return;
	case LP_OP_PUT:
		break;
	default:
		fail_msg("operation %u", (unsigned)op->op);
	}
	if (op->kind == LP_KIND_DIR)
		return;
	if (op->has_content || op->size == 0) {
		keep(path, op->digest, op->content.p, op->content.len);
		return;
	}
	assert_true(is_last_op);
	under_way = *op;
	memcpy(under_way_path, path, sizeof(path));
	is_under_way = true;
	fresh.len = 0;
}

static void take_data(const struct lp_msg_data *data)
{
	received.datas++;
	received.content_bytes += data->content.len;
	assert_true(is_under_way);
	assert_true(data->content.len > 0 && data->content.len <= LP_WIRE_PIECE_BYTES);
	if (fresh.len == 0 && data->at > 0) {
		assert_int_equal(data->at, partial.len);
		assert_memory_equal(partial_digest.b, under_way.digest, 16);
		assert_int_equal(lp_buf_add(&fresh, partial.data, partial.len), 0);
	}
	assert_int_equal(data->at, fresh.len);
	assert_int_equal(lp_buf_add(&fresh, data->content.p, data->content.len), 0);
	end_if_whole();
}

static void take_patch(const struct lp_msg_patch *patch)
{
	struct file *base = find(under_way_path);

	received.patches++;
	assert_true(is_under_way && base);
	assert_memory_equal(patch->base, base->digest.b, 16);
	assert_true(patch->n_segments > 0);
	for (size_t i = 0; i < patch->n_segments; i++) {
		const struct lp_wire_segment *s = &patch->segments[i];

		if (s->has_content) {
			received.content_bytes += s->content.len;
			assert_int_equal(s->len, s->content.len);
			assert_int_equal(lp_buf_add(&fresh, s->content.p, s->content.len), 0);
			continue;
		}
		assert_true(s->from + s->len <= base->content.len);
		assert_int_equal(lp_buf_add(&fresh, base->content.data + s->from, s->len), 0);
	}
	end_if_whole();
}

static void take_change(const struct lp_msg_change *c)
{
	static const uint8_t none[16];

	assert_false(is_under_way);
	assert_int_equal(c->revision, 7);
	assert_true(!(c->flags & LP_CHANGE_FIRST) == (received.changes > 0));
	received.changes++;
	received.ops += (unsigned)c->n_ops;
	received.is_last = c->flags & LP_CHANGE_LAST;
	received.has_root = memcmp(c->root, none, 16) != 0;
	assert_true(received.is_last || !received.has_root);
	for (size_t i = 0; i < c->n_ops; i++)
		take_op(&c->ops[i], i + 1 == c->n_ops);
	assert_false(received.is_last && is_under_way);
}

void receiver_take(const void *data, size_t len)
{
	struct lp_msg msg;
	struct lp_err err = {0};

	if (lp_msg_decode(&msg, data, len, &err) < 0)
		fail_msg("%s", err.msg);
	received.largest = len > received.largest ? len : received.largest;
	received.bytes += len;
	assert_false(received.is_last);
	switch (msg.kind) {
	case LP_MSG_CHANGE:
		take_change(&msg.u.change);
		break;
	case LP_MSG_DATA:
		take_data(&msg.u.data);
		break;
	case LP_MSG_PATCH:
		take_patch(&msg.u.patch);
		break;
	case LP_MSG_SKIP:
		assert_true(is_under_way);
		received.skips++;
		is_under_way = false;
		break;
	default:
		fail_msg("a %s", lp_msg_name(msg.kind));
	}
	lp_msg_finish(&msg);
}

const struct lp_buf *receiver_has(const char *path)
{
	struct file *f = find(path);

	return f ? &f->content : NULL;
}

size_t receiver_count(void)
{
	return n_files;
}

void receiver_set_partial(const struct lp_digest *digest, const void *data, size_t len)
{
	partial_digest = *digest;
	partial.len = 0;
	assert_int_equal(lp_buf_add(&partial, data, len), 0);
}

void receiver_reset(bool all)
{
	received = (struct received){0};
	is_under_way = false;
	while (all && n_files > 0)
		forget(&files[n_files - 1]);
	if (!all)
		return;
	lp_buf_finish(&fresh);
	lp_buf_finish(&partial);
}
