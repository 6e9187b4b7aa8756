/* controller/patch.c: large files that are made of what is at their path and of new bytes. Either a
 * whole new file is staged, or, when its writer wrote into the file itself, only the new bytes,
 * each at its place; they are written into the file when the changeset is committed, and what was
 * there is kept before. */
#include "controller/patch.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <string.h>

/* A patch of more pieces than that, or of more than half the file, makes a new file. */
#define PLACES_MAX 4096

void lp_patch_destroy(struct lp_patch *p)
{
	if (!p)
		return;
	lp_auto_close(&p->base_fd);
	lp_chunks_unref(p->chunks);
	free(p->places);
	free(p);
}

bool lp_patch_is_open(const struct lp_staged *s)
{
	return s->patch && !s->patch->is_complete;
}

/* The result as it will be: the new bytes over the base. */
static int read_result(void *ctx, uint64_t at, void *out, size_t len)
{
	const struct lp_patch *p = ctx;
	uint64_t base_bytes = (uint64_t)p->base.st_size, end = at + len;
	size_t from_base = at >= base_bytes        ? 0
			   : base_bytes - at < len ? (size_t)(base_bytes - at)
						   : len;
	uint8_t *bytes = out;
	int r;

	if (!p->in_place)
		return lp_read_at(p->staged_fd, at, out, len);
	r = lp_read_at(p->base_fd, at, bytes, from_base);
	memset(bytes + from_base, 0, len - from_base);
	for (size_t i = 0; i < p->n_places && r == 0; i++) {
		uint64_t first = p->places[i].at, last = first + p->places[i].len;

		if (last <= at || first >= end)
			continue;
		first = first < at ? at : first;
		last = last > end ? end : last;
		r = lp_read_at(p->staged_fd, first, bytes + (first - at), (size_t)(last - first));
	}
	return r;
}

/* Reads all of a content and hashes it. */
static int hash_all(lp_read_at_fn *read, void *ctx, uint64_t bytes, struct lp_hasher *hasher)
{
	LP_AUTO_FREE uint8_t *piece = lp_xcalloc(1, LP_PATCH_PIECE_BYTES);
	int r = 0;

	lp_hasher_reset(hasher);
	for (uint64_t at = 0; at < bytes && r == 0; at += LP_PATCH_PIECE_BYTES) {
		size_t len = bytes - at < LP_PATCH_PIECE_BYTES ? (size_t)(bytes - at)
							       : LP_PATCH_PIECE_BYTES;

		r = read(ctx, at, piece, len);
		if (r == 0)
			lp_hasher_add(hasher, piece, len);
	}
	return r;
}

static int read_base(void *ctx, uint64_t at, void *out, size_t len)
{
	const struct lp_patch *p = ctx;

	return lp_read_at(p->base_fd, at, out, len);
}

/* The base must be what the index says. When nothing says that it is unchanged it is read, and the
 * index learns what it is. */
static int check_base(struct lp_tree *t, struct lp_patch *p, struct lp_node *n)
{
	struct lp_entry e = lp_node_entry(n);
	uint32_t mark = lp_sig_mark(lp_sig_of(&p->base));
	struct lp_digest d;

	if ((uint64_t)p->base.st_size == e.size && n->mark == mark)
		return 0;
	if (hash_all(read_base, p, (uint64_t)p->base.st_size, t->data_hasher) < 0)
		return -ESTALE;
	d = lp_hasher_get(t->data_hasher);
	if ((uint64_t)p->base.st_size != e.size || !lp_digest_equal(&d, &e.digest)) {
		char path[LP_PATH_MAX_BYTES + 1];

		e.size = (uint64_t)p->base.st_size;
		e.digest = d;
		return lp_node_path(n, path, sizeof(path)) == 0 &&
				       lp_index_put(t->index, path, &e, NULL, NULL) < 0
			       ? -ENOENT
			       : -ESTALE;
	}
	n->mark = mark;
	if (!lp_node_chunks(n) && e.size >= LP_CHUNKED_MIN_BYTES) {
		struct lp_chunks *chunks = lp_hasher_chunks(t->data_hasher);

		lp_node_set_chunks(n, chunks);
		lp_chunks_unref(chunks);
	}
	return 0;
}

static int begin(struct lp_tree *t, struct lp_staged *s, const struct lp_msg_patch *msg,
		 struct lp_err *err)
{
	char before[LP_PATH_MAX_BYTES + 1];
	struct lp_node *n =
		lp_stage_before_moves(t, s->path, before) ? lp_index_get(t->index, before) : NULL;
	struct lp_patch *p;
	int r;

	if (!n || n->e.kind != LP_KIND_FILE || memcmp(n->e.digest.b, msg->base, 16) != 0)
		return lp_err_say(err, ESTALE, "%s: is not what the patch is for", s->path);
	p = s->patch = lp_xcalloc(1, sizeof(*p));
	p->staged_fd = t->data_fd;
	p->base_fd = -1;
	/* What becomes read-only could not be opened any more to be put back. */
	p->in_place =
		msg->in_place && s->e.size >= n->e.size && !s->is_nested && (s->e.mode & 0200) != 0;
	if (p->in_place)
		p->base_fd = lp_open_beneath(t->root_fd, before, O_RDWR | O_NONBLOCK, 0);
	if (p->base_fd < 0) {
		/* Read-only, or running: it is replaced. */
		p->in_place = false;
		p->base_fd = lp_open_beneath(t->root_fd, before, O_RDONLY | O_NONBLOCK, 0);
	}
	if (p->base_fd < 0 || fstat(p->base_fd, &p->base) < 0 || !S_ISREG(p->base.st_mode))
		return lp_err_say(err, ESTALE, "%s: cannot be read to be patched", s->path);
	/* A hard link's other names do not change here. */
	p->in_place = p->in_place && p->base.st_nlink == 1;
	r = check_base(t, p, n);
	if (r < 0)
		return lp_err_say(err, -r, "%s: was changed here", s->path);
	p->chunks = lp_node_chunks(n);
	if (p->chunks)
		lp_chunks_ref(p->chunks);
	return 0;
}

/* Makes a whole file of what was collected to be written in place. */
static int make_whole(struct lp_patch *p)
{
	uint64_t at = 0;
	int r = 0;

	if (!p->in_place)
		return 0;
	for (size_t i = 0; i <= p->n_places && r == 0; i++) {
		uint64_t end = i < p->n_places ? p->places[i].at : p->at;

		if (end > at)
			r = lp_patch_copy(p->base_fd, at, p->staged_fd, at, end - at);
		at = i < p->n_places ? end + p->places[i].len : end;
	}
	p->in_place = false;
	return r;
}

static int add_new(struct lp_patch *p, const struct lp_wire_segment *seg, uint64_t size)
{
	struct lp_range *last = p->n_places > 0 ? &p->places[p->n_places - 1] : NULL;
	int r = 0;

	p->new_bytes += seg->len;
	if (p->in_place && (p->n_places == PLACES_MAX || p->new_bytes > size / 2))
		r = make_whole(p);
	if (r == 0)
		r = lp_patch_write(p->staged_fd, p->at, seg->content.p, seg->content.len);
	if (r < 0)
		return r;
	lp_ranges_add(&p->written, p->at, seg->len);
	if (last && last->at + last->len == p->at) {
		last->len += seg->len;
	} else if (p->in_place) {
		lp_grow(&p->places, &p->cap_places, p->n_places + 1, sizeof(*p->places));
		p->places[p->n_places++] = (struct lp_range){p->at, seg->len};
	}
	return 0;
}

static int add_segment(struct lp_patch *p, const struct lp_wire_segment *seg, uint64_t size)
{
	int r = 0;

	if (seg->len == 0 || seg->len > size - p->at)
		return -EBADMSG;
	if (seg->has_content) {
		if (seg->content.len != seg->len || seg->from != 0)
			return -EBADMSG;
		r = add_new(p, seg, size);
	} else {
		uint64_t base_bytes = (uint64_t)p->base.st_size;

		if (seg->from > base_bytes || seg->len > base_bytes - seg->from)
			return -EBADMSG;
		if (seg->from != p->at) {
			p->moved = true;
			r = make_whole(p);
		}
		if (r == 0 && !p->in_place)
			r = lp_patch_copy(p->base_fd, seg->from, p->staged_fd, p->at, seg->len);
	}
	p->at += seg->len;
	return r;
}

/* Compares the digest of the result with what was announced. */
static int verify(struct lp_tree *t, struct lp_staged *s, struct lp_patch *p)
{
	struct lp_digest d;
	int r;

	if (p->chunks && !p->moved) {
		r = lp_chunks_rewrite(p->chunks, s->e.size, &p->written, read_result, p,
				      &s->chunks);
		if (r < 0)
			return r;
		d = lp_chunks_digest(s->chunks);
	} else {
		r = hash_all(read_result, p, s->e.size, t->data_hasher);
		if (r < 0)
			return r;
		d = lp_hasher_get(t->data_hasher);
		s->chunks = lp_hasher_chunks(t->data_hasher);
	}
	return lp_digest_equal(&d, &s->e.digest) ? 0 : -EBADMSG;
}

static int complete(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	struct lp_patch *p = s->patch;
	int r = verify(t, s, p);

	if (r < 0)
		return r == -EBADMSG ? lp_stage_bad(err, s,
						    "the patched content does not have the digest "
						    "that was announced")
				     : lp_err_set(err, -r, "%s: cannot be patched", s->path);
	p->is_complete = true;
	s->in_place = p->in_place;
	if (p->in_place) {
		s->has_was = true;
		s->was_mode = p->base.st_mode & 0777;
	}
	r = lp_stage_settle(t, t->data_fd, s, err);
	lp_data_end(t);
	p->staged_fd = -1;
	if (!s->in_place) {
		lp_patch_destroy(p);
		s->patch = NULL;
	}
	return r;
}

int lp_tree_patch(struct lp_tree *t, const struct lp_msg_patch *msg, struct lp_err *err)
{
	struct lp_staged *s = t->data_fd >= 0 && t->n_ops > 0 ? &t->ops[t->n_ops - 1] : NULL;
	int r = 0;

	if (!s || (!s->patch && t->data_left != s->e.size))
		return lp_err_say(err, EBADMSG, "a patch came while no file was due");
	if (s->e.size <= LP_INLINE_MAX_BYTES)
		return lp_stage_bad(err, s, "is too small to be patched");
	if (!s->patch)
		r = begin(t, s, msg, err);
	for (size_t i = 0; i < msg->n_segments && r == 0 && s->patch; i++) {
		r = add_segment(s->patch, &msg->segments[i], s->e.size);
		if (r == -EBADMSG)
			return lp_stage_bad(err, s, "a patch that does not fit the file");
		if (r < 0)
			return lp_err_set(err, -r, "%s: cannot stage", s->path);
	}
	if (r < 0 || !s->patch || s->patch->at < s->e.size)
		return r;
	return complete(t, s, err);
}
