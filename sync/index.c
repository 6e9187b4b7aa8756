/* sync/index.c: the tree of entries. */
#include "sync/index_internal.h"

#include "common/base/lp_mem.h"

#include <string.h>

static const struct lp_stat_sig unknown_sig;

_Static_assert(sizeof(struct lp_stat_sig) % 8 == 0 && sizeof(struct lp_node_more) == 8 &&
		       offsetof(struct lp_node, name) == 32,
	       "a signature before a node is aligned, and nothing is lost between");

/* What stands before a node: its signature, and then what directories and large files have. */
static size_t bytes_before(bool has_sig, bool has_more)
{
	return (has_sig ? sizeof(struct lp_stat_sig) : 0) +
	       (has_more ? sizeof(struct lp_node_more) : 0);
}

static struct lp_stat_sig *sig_of(const struct lp_node *n)
{
	uint8_t *p = (uint8_t *)(uintptr_t)n - bytes_before(true, n->e.has_more);

	return (struct lp_stat_sig *)(void *)p;
}

static struct lp_node *make_node(struct lp_index *ix, const char *name, size_t len, bool has_more)
{
	size_t before = bytes_before(!ix->lean, has_more);
	uint8_t *p = lp_pool_take(&ix->pool, before + offsetof(struct lp_node, name) + len + 1);
	struct lp_node *n = (struct lp_node *)(void *)(p + before);

	memcpy(n->name, name, len);
	n->e.has_sig = !ix->lean;
	n->e.has_more = has_more;
	return n;
}

/* Releases what the node has besides. */
static void free_more(struct lp_node *n)
{
	if (!n->e.has_more)
		return;
	if (n->e.kind == LP_KIND_DIR)
		free(lp_node_more(n)->u.children);
	else
		lp_chunks_unref(lp_node_more(n)->u.chunks);
	lp_node_more(n)->u.chunks = NULL;
}

static void free_node(struct lp_index *ix, struct lp_node *n)
{
	size_t before = bytes_before(n->e.has_sig, n->e.has_more);
	size_t bytes = before + offsetof(struct lp_node, name) + strlen(n->name) + 1;

	free_more(n);
	lp_pool_give(&ix->pool, (uint8_t *)n - before, bytes);
}

/* Whether the node of such an entry has more. */
static bool needs_more(const struct lp_entry *e)
{
	return e->kind == LP_KIND_DIR || (e->kind == LP_KIND_FILE && e->size > LP_INLINE_MAX_BYTES);
}

static struct lp_index *create(bool lean)
{
	struct lp_index *ix = lp_xcalloc(1, sizeof(*ix));

	ix->lean = lean;
	ix->pool.tight = lean;
	ix->root = make_node(ix, "", 0, true);
	ix->root->e.kind = LP_KIND_DIR;
	return ix;
}

struct lp_index *lp_index_create(void)
{
	return create(false);
}

struct lp_index *lp_index_create_lean(void)
{
	return create(true);
}

/* Takes what a node is out of the numbers; a new one is nothing yet. */
static void uncount(struct lp_index *ix, const struct lp_node *n)
{
	ix->files -= n->e.kind != LP_KIND_DIR && n->e.kind != LP_KIND_NONE;
	ix->bytes -= n->e.kind == LP_KIND_FILE ? n->e.size : 0;
}

/* Removes all that is below. Children go first, by walking down to a leaf: trees may be deeper than
 * the stack is large. */
static void free_below(struct lp_index *ix, struct lp_node *top)
{
	struct lp_node *n = top;

	for (;;) {
		uint32_t count = lp_node_count(n);
		struct lp_node *up;

		if (count > 0) {
			n = lp_node_at(n, count - 1);
			continue;
		}
		if (n == top)
			break;
		up = lp_node_parent(n);
		lp_node_more(up)->u.children->n--;
		uncount(ix, n);
		ix->count--;
		free_node(ix, n);
		n = up;
	}
}

void lp_index_destroy(struct lp_index *ix)
{
	if (!ix)
		return;
	free_below(ix, ix->root);
	free_node(ix, ix->root);
	lp_pool_finish(&ix->pool);
	free(ix);
}

struct lp_node *lp_node_child(const struct lp_node *dir, const char *name)
{
	return lp_children_find(dir, name, strlen(name));
}

static struct lp_node *find(const struct lp_index *ix, const char *path, size_t len)
{
	struct lp_node *n = ix->root;
	size_t start = 0;

	while (n && start < len) {
		const char *slash = memchr(path + start, '/', len - start);
		size_t end = slash ? (size_t)(slash - path) : len;

		n = lp_children_find(n, path + start, end - start);
		start = end + 1;
	}
	return n;
}

struct lp_node *lp_index_get(const struct lp_index *ix, const char *path)
{
	return find(ix, path, strlen(path));
}

/* Sets what a node without a share is, which has room for it. What was below it stays only in a
 * directory, chunks only while the content is the same. */
static void set_entry(struct lp_index *ix, struct lp_node *n, const struct lp_entry *e)
{
	bool stays_dir = n->e.kind == LP_KIND_DIR && e->kind == LP_KIND_DIR;
	bool same_file = n->e.kind == LP_KIND_FILE && e->kind == LP_KIND_FILE &&
			 n->e.size == e->size && lp_digest_equal(&n->e.digest, &e->digest);

	uncount(ix, n);
	if (n->e.kind == LP_KIND_DIR && !stays_dir) {
		free_below(ix, n);
		n->e.stale = false;
	}
	if (!stays_dir && !same_file)
		free_more(n);
	if (e->kind != LP_KIND_DIR)
		n->e.digest = e->digest;
	else if (!stays_dir)
		n->e.digest = (struct lp_digest){{0}};
	n->e.kind = (uint32_t)e->kind & 7;
	n->e.mode = e->mode & 0777;
	n->e.size = (e->size < LP_NODE_SIZE_MAX ? e->size : LP_NODE_SIZE_MAX) & LP_NODE_SIZE_MAX;
	ix->files += e->kind != LP_KIND_DIR && e->kind != LP_KIND_NONE;
	if (e->kind == LP_KIND_FILE)
		ix->bytes += n->e.size;
}

/* A copy of a node, which takes over what was below it; perhaps under another name, or with more
 * than it had. The node itself is gone. */
static struct lp_node *remake_node(struct lp_index *ix, struct lp_node *n, const char *name,
				   bool has_more)
{
	struct lp_node *to = make_node(ix, name, strlen(name), has_more);

	to->e = n->e;
	to->e.has_more = has_more;
	to->mark = n->mark;
	lp_node_set_sig(to, lp_node_sig(n));
	if (n->e.has_more) {
		lp_children_move(to, n);
		*lp_node_more(to) = *lp_node_more(n);
		lp_node_more(n)->u.chunks = NULL;
	}
	free_node(ix, n);
	return to;
}

struct lp_node *lp_node_put(struct lp_index *ix, struct lp_node *dir, const char *name,
			    const struct lp_entry *entry, const struct lp_stat_sig *sig)
{
	size_t len = strlen(name);
	struct lp_node *n = lp_children_find(dir, name, len);

	if (n) {
		lp_share_leave(n);
		if (!n->e.has_more && needs_more(entry)) {
			lp_children_take_out(n);
			n = remake_node(ix, n, name, true);
			lp_children_insert(dir, n);
		}
	} else {
		n = make_node(ix, name, len, needs_more(entry));
		lp_children_insert(dir, n);
		ix->count++;
	}
	set_entry(ix, n, entry);
	lp_node_set_sig(n, sig);
	lp_share_enter(n);
	return n;
}

struct lp_node *lp_node_append(struct lp_index *ix, struct lp_node *dir, const char *name,
			       size_t len, const struct lp_entry *entry,
			       const struct lp_stat_sig *sig)
{
	struct lp_node *n = make_node(ix, name, len, needs_more(entry));

	if (!lp_children_append(dir, n)) {
		free_node(ix, n);
		return NULL;
	}
	ix->count++;
	set_entry(ix, n, entry);
	lp_node_set_sig(n, sig);
	lp_share_enter(n);
	return n;
}

/* The directory that `path` is in. Returns 0, -ENOENT or -ENOTDIR. */
static int find_parent(const struct lp_index *ix, const char *path, struct lp_node **dir)
{
	*dir = find(ix, path, lp_path_dir_len(path));
	if (!*dir)
		return -ENOENT;
	return (*dir)->e.kind == LP_KIND_DIR ? 0 : -ENOTDIR;
}

int lp_index_put(struct lp_index *ix, const char *path, const struct lp_entry *entry,
		 const struct lp_stat_sig *sig, struct lp_node **out)
{
	struct lp_node *dir, *n;
	int r = find_parent(ix, path, &dir);

	if (r < 0)
		return r;
	n = lp_node_put(ix, dir, lp_path_base(path), entry, sig);
	if (out)
		*out = n;
	return 0;
}

const struct lp_stat_sig *lp_node_sig(const struct lp_node *node)
{
	return node->e.has_sig ? sig_of(node) : &unknown_sig;
}

void lp_node_set_sig(struct lp_node *node, const struct lp_stat_sig *sig)
{
	if (node->e.has_sig)
		*sig_of(node) = sig ? *sig : unknown_sig;
}

void lp_node_set_chunks(struct lp_node *node, struct lp_chunks *chunks)
{
	if (node->e.kind != LP_KIND_FILE || node->e.size <= LP_INLINE_MAX_BYTES)
		return;
	if (chunks)
		lp_chunks_ref(chunks);
	lp_chunks_unref(lp_node_more(node)->u.chunks);
	lp_node_more(node)->u.chunks = chunks;
}

void lp_node_remove(struct lp_index *ix, struct lp_node *node)
{
	lp_share_leave(node);
	free_below(ix, node);
	lp_children_take_out(node);
	uncount(ix, node);
	ix->count--;
	free_node(ix, node);
}

bool lp_index_remove(struct lp_index *ix, const char *path)
{
	struct lp_node *n = lp_index_get(ix, path);

	if (!n)
		return false;
	if (n != ix->root) {
		lp_node_remove(ix, n);
		return true;
	}
	free_below(ix, n);
	free_more(n);
	n->e.stale = false;
	n->e.digest = (struct lp_digest){{0}};
	return true;
}

/* Whether a is b or above it. */
static bool is_above(const struct lp_node *a, const struct lp_node *b)
{
	while (b && b != a)
		b = lp_node_parent(b);
	return b == a;
}

int lp_node_move(struct lp_index *ix, struct lp_node *node, const char *to)
{
	struct lp_node *dir, *there;
	int r = find_parent(ix, to, &dir);

	if (r < 0)
		return r;
	there = lp_index_get(ix, to);
	if (there == node)
		return 0;
	if (is_above(node, dir) || (there && is_above(there, node)))
		return -EINVAL;
	if (there)
		lp_node_remove(ix, there);
	lp_share_leave(node);
	lp_children_take_out(node);
	node = remake_node(ix, node, lp_path_base(to), node->e.has_more);
	lp_children_insert(dir, node);
	lp_share_enter(node);
	return 0;
}

size_t lp_index_count(const struct lp_index *ix)
{
	return ix->count;
}

size_t lp_index_files(const struct lp_index *ix)
{
	return ix->files;
}

uint64_t lp_index_bytes(const struct lp_index *ix)
{
	return ix->bytes;
}

int lp_node_path(const struct lp_node *node, char *out, size_t out_bytes)
{
	size_t len = 0, at;

	for (const struct lp_node *n = node; n->parent; n = lp_node_parent(n))
		len += strlen(n->name) + (lp_node_parent(n)->parent ? 1 : 0);
	if (len + 1 > out_bytes)
		return -ENAMETOOLONG;
	out[len] = '\0';
	at = len;
	for (const struct lp_node *n = node; n->parent; n = lp_node_parent(n)) {
		size_t name_len = strlen(n->name);

		at -= name_len;
		memcpy(out + at, n->name, name_len);
		if (lp_node_parent(n)->parent)
			out[--at] = '/';
	}
	return 0;
}

bool lp_entry_equal(const struct lp_entry *a, const struct lp_entry *b)
{
	return a->kind == b->kind && a->mode == b->mode && a->size == b->size &&
	       lp_digest_equal(&a->digest, &b->digest);
}

bool lp_node_equal(const struct lp_node *node, const struct lp_entry *e)
{
	return node->e.kind == e->kind && node->e.mode == e->mode && node->e.size == e->size &&
	       lp_digest_equal(&node->e.digest, &e->digest);
}
