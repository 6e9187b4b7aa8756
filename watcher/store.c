/* watcher/store.c: encodes and decodes a remembered index. */
#include "watcher/store.h"

#include "common/base/lp_mem.h"

#include <string.h>

#define DIGEST_BYTES     sizeof(((struct lp_digest *)0)->b)
#define CHUNK_BYTES      (4 + DIGEST_BYTES)
#define RECORD_MAX_BYTES (6 + LP_NAME_MAX_BYTES + 8 + DIGEST_BYTES + 24 + 4)

static const char magic[] = "lpindex1";
#define MAGIC_LEN (sizeof(magic) - 1)

static uint8_t *put_number(uint8_t *p, uint64_t v, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++, v >>= 8)
		p[i] = (uint8_t)v;
	return p + bytes;
}

static uint8_t *put_digest(uint8_t *p, const struct lp_digest *d)
{
	memcpy(p, d->b, DIGEST_BYTES);
	return p + DIGEST_BYTES;
}

int lp_store_begin(struct lp_store_writer *w, const char *root_path)
{
	size_t len = strlen(root_path);
	uint8_t number[4];
	int r;

	lp_buf_init(&w->out, LP_STORE_MAX_BYTES);
	w->last[0] = '\0';
	(void)put_number(number, len, sizeof(number));
	r = lp_buf_add(&w->out, magic, MAGIC_LEN);
	if (r == 0)
		r = lp_buf_add(&w->out, number, sizeof(number));
	return r == 0 ? lp_buf_add(&w->out, root_path, len) : r;
}

void lp_store_finish(struct lp_store_writer *w)
{
	lp_buf_finish(&w->out);
}

static size_t depth_of(const struct lp_node *n)
{
	size_t depth = 0;

	while ((n = lp_node_parent(n)) && lp_node_parent(n))
		depth++;
	return depth;
}

static int add_record(struct lp_buf *out, const struct lp_node *n)
{
	const struct lp_stat_sig *sig = lp_node_sig(n);
	const struct lp_chunks *chunks = lp_node_chunks(n);
	size_t len = strlen(n->name);
	uint32_t n_chunks = chunks ? chunks->n : 0;
	uint8_t *p;
	int r;

	if (n->e.kind == LP_KIND_FILE &&
	    (sig->ino == 0 || sig->ctime_ns == 0 || lp_node_is_blank(n)))
		return 0;
	r = lp_buf_reserve(out, RECORD_MAX_BYTES + n_chunks * CHUNK_BYTES);
	if (r < 0)
		return r;
	p = out->data + out->len;
	*p++ = n->e.kind;
	*p++ = (uint8_t)len;
	p = put_number(p, depth_of(n), 2);
	p = put_number(p, n->e.mode, 2);
	memcpy(p, n->name, len);
	p += len;
	if (n->e.kind != LP_KIND_DIR) {
		p = put_number(p, n->e.size, 8);
		p = put_digest(p, &n->e.digest);
	}
	if (n->e.kind == LP_KIND_FILE) {
		p = put_number(p, sig->ino, 8);
		p = put_number(p, (uint64_t)sig->mtime_ns, 8);
		p = put_number(p, (uint64_t)sig->ctime_ns, 8);
		p = put_number(p, n_chunks, 4);
		for (uint32_t i = 0; i < n_chunks; i++) {
			p = put_number(p, chunks->c[i].len, 4);
			p = put_digest(p, &chunks->c[i].digest);
		}
	}
	out->len = (size_t)(p - out->data);
	return 0;
}

/* The first child of dir whose name comes after name[0..len), or is it: then *same. NULL: there is
 * none. */
static const struct lp_node *child_from(const struct lp_node *dir, const char *name, size_t len,
					bool *same)
{
	uint32_t lo = 0, hi = lp_node_count(dir);

	*same = false;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const char *other = lp_node_at(dir, mid)->name;
		int c = strncmp(other, name, len);

		if (c == 0 && other[len] == '\0') {
			*same = true;
			return lp_node_at(dir, mid);
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < lp_node_count(dir) ? lp_node_at(dir, lo) : NULL;
}

/* The node that comes after the place of `path`, whether there is still something or not. */
static const struct lp_node *node_after(const struct lp_node *top, const char *path)
{
	const struct lp_node *dir = top;

	if (path[0] == '\0')
		return lp_node_next(top, top);
	for (;;) {
		const char *end = strchrnul(path, '/');
		const struct lp_node *next;
		bool same;

		next = child_from(dir, path, (size_t)(end - path), &same);
		if (!same)
			return next ? next : lp_node_after(top, dir);
		if (*end == '\0' || next->e.kind != LP_KIND_DIR)
			return lp_node_next(top, next);
		dir = next;
		path = end + 1;
	}
}

int lp_store_add(struct lp_store_writer *w, const struct lp_index *ix, size_t max)
{
	const struct lp_node *top = lp_index_get(ix, ""), *n = node_after(top, w->last);
	const struct lp_node *last = NULL;
	const uint8_t end = LP_KIND_NONE;

	for (; n && max > 0; n = lp_node_next(top, n), max--) {
		int r = add_record(&w->out, n);

		if (r < 0)
			return r;
		last = n;
	}
	if (!n)
		return lp_buf_add(&w->out, &end, 1);
	return last && lp_node_path(last, w->last, sizeof(w->last)) < 0 ? -EMSGSIZE : 1;
}

int lp_store_end(struct lp_store_writer *w)
{
	struct lp_digest d = lp_digest_of(w->out.data, w->out.len);

	return lp_buf_add(&w->out, d.b, sizeof(d.b));
}

/* Bytes being read: [p, end). depths: the directories that the next record may be in, from the root
 * on; lens: how long their paths are, with the slash. */
struct reader {
	const uint8_t *p;
	const uint8_t *end;
	struct lp_index *ix;
	struct lp_node **dirs;
	size_t *lens;
	size_t n_dirs;
	size_t cap_dirs;
	size_t cap_lens;
};

static bool has(const struct reader *r, uint64_t bytes)
{
	return (uint64_t)(r->end - r->p) >= bytes;
}

/* The next number of that many bytes, which are there. */
static uint64_t take_number(struct reader *r, size_t bytes)
{
	uint64_t v = 0;

	for (size_t i = bytes; i-- > 0;)
		v = v << 8 | r->p[i];
	r->p += bytes;
	return v;
}

static struct lp_digest take_digest(struct reader *r)
{
	struct lp_digest d;

	memcpy(d.b, r->p, DIGEST_BYTES);
	r->p += DIGEST_BYTES;
	return d;
}

/* The chunks of a file. Returns false when they are not those of a content like e. */
static bool take_chunks(struct reader *r, const struct lp_entry *e, struct lp_chunks **out)
{
	LP_AUTO_FREE struct lp_chunk *c = NULL;
	struct lp_digest d;
	uint64_t n;

	*out = NULL;
	if (!has(r, 4))
		return false;
	n = take_number(r, 4);
	if (n == 0)
		return e->size <= LP_INLINE_MAX_BYTES;
	if (e->size <= LP_INLINE_MAX_BYTES || !has(r, n * CHUNK_BYTES))
		return false;
	c = lp_xcalloc(n, sizeof(*c));
	for (uint64_t i = 0; i < n; i++) {
		c[i].len = (uint32_t)take_number(r, 4);
		c[i].digest = take_digest(r);
		if (c[i].len == 0 || c[i].len > LP_CHUNK_MAX_BYTES)
			return false;
	}
	*out = lp_chunks_create(c, n, NULL);
	d = lp_chunks_digest(*out);
	if ((*out)->bytes == e->size && lp_digest_equal(&d, &e->digest))
		return true;
	lp_chunks_unref(*out);
	*out = NULL;
	return false;
}

/* What follows the name of a file or link. */
static bool take_content(struct reader *r, struct lp_entry *e, struct lp_stat_sig *sig,
			 struct lp_chunks **chunks)
{
	if (!has(r, 8 + DIGEST_BYTES))
		return false;
	e->size = take_number(r, 8);
	e->digest = take_digest(r);
	if (e->kind == LP_KIND_LINK)
		return e->size <= LP_PATH_MAX_BYTES + 1;
	if (!has(r, 24))
		return false;
	sig->size = e->size;
	sig->ino = take_number(r, 8);
	sig->mtime_ns = (int64_t)take_number(r, 8);
	sig->ctime_ns = (int64_t)take_number(r, 8);
	return take_chunks(r, e, chunks);
}

/* Goes down into a directory that was read. */
static void enter(struct reader *r, struct lp_node *dir, size_t len)
{
	lp_grow(&r->dirs, &r->cap_dirs, r->n_dirs + 1, sizeof(struct lp_node *));
	lp_grow(&r->lens, &r->cap_lens, r->n_dirs + 1, sizeof(size_t));
	r->dirs[r->n_dirs] = dir;
	r->lens[r->n_dirs++] = len;
}

/* Where a record belongs: in the directory of that depth. Returns NULL when it cannot be. */
static struct lp_node *place_of(const struct reader *r, size_t depth, const char *name, size_t len)
{
	if (depth >= r->n_dirs || !lp_path_is_clean(name, len) || memchr(name, '/', len) ||
	    r->lens[depth] + len > LP_PATH_MAX_BYTES)
		return NULL;
	return r->dirs[depth];
}

/* Reads a record of that kind. */
static bool take_record(struct reader *r, uint64_t kind)
{
	const char *name;
	struct lp_stat_sig sig = {0};
	struct lp_chunks *chunks = NULL;
	struct lp_entry e = {0};
	struct lp_node *dir, *n;
	size_t len, depth;

	if (kind >= LP_KIND_COUNT_ || !has(r, 5))
		return false;
	e.kind = (enum lp_kind)kind;
	len = (size_t)take_number(r, 1);
	depth = (size_t)take_number(r, 2);
	e.mode = (uint32_t)take_number(r, 2);
	if (e.mode > 0777 || !has(r, len))
		return false;
	name = (const char *)r->p;
	r->p += len;
	dir = place_of(r, depth, name, len);
	if (!dir || (kind != LP_KIND_DIR && !take_content(r, &e, &sig, &chunks)))
		return false;
	/* Behind the siblings there are. */
	n = lp_node_append(r->ix, dir, name, len, &e, &sig);
	if (n && chunks)
		lp_node_set_chunks(n, chunks);
	lp_chunks_unref(chunks);
	if (!n)
		return false;
	r->n_dirs = depth + 1;
	if (kind == LP_KIND_DIR)
		enter(r, n, r->lens[depth] + len + 1);
	return true;
}

/* Everything between the magic and the digest. Returns what is wrong with it, or NULL. */
static const char *read_all(struct reader *r, const char *root_path)
{
	size_t len;

	if (!has(r, 4))
		return "it is cut short";
	len = (size_t)take_number(r, 4);
	if (!has(r, len))
		return "it is cut short";
	if (len != strlen(root_path) || memcmp(r->p, root_path, len) != 0)
		return "it is of another workspace";
	r->p += len;
	enter(r, lp_index_get(r->ix, ""), 0);
	for (;;) {
		uint64_t kind;

		if (!has(r, 1))
			return "it is cut short";
		kind = take_number(r, 1);
		if (kind == LP_KIND_NONE)
			return has(r, 1) ? "there is something behind its end" : NULL;
		if (!take_record(r, kind))
			return "a record is damaged";
	}
}

int lp_store_read(struct lp_index **out, const void *data, size_t len, const char *root_path,
		  struct lp_err *err)
{
	struct reader r = {.p = data};
	struct lp_digest d;
	const char *wrong;

	if (len < MAGIC_LEN || memcmp(data, magic, MAGIC_LEN) != 0)
		return lp_err_say(err, EINVAL, "it is of another version");
	if (len < MAGIC_LEN + DIGEST_BYTES)
		return lp_err_say(err, EINVAL, "it is cut short");
	r.end = r.p + len - DIGEST_BYTES;
	d = lp_digest_of(data, len - DIGEST_BYTES);
	if (memcmp(d.b, r.end, DIGEST_BYTES) != 0)
		return lp_err_say(err, EINVAL, "its checksum is wrong");
	r.p += MAGIC_LEN;
	r.ix = lp_index_create();
	wrong = read_all(&r, root_path);
	free(r.dirs);
	free(r.lens);
	if (wrong) {
		lp_index_destroy(r.ix);
		return lp_err_say(err, EINVAL, "%s", wrong);
	}
	*out = r.ix;
	return 0;
}
