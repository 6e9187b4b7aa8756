/* sync/index.c: the tree of entries and its Merkle digests.
 *
 * A directory's digest is the digest of the sum of its children's parts (two 64-bit lanes, each
 * wrapping), a part being the digest of kind, mode, name and digest of the child. A sum does not
 * depend on the order and needs no text of all children put together; changed directories are
 * summed again when the root is asked for. */
#include "sync/index.h"

#include "common/base/lp_mem.h"

#include <string.h>

struct lp_index {
	struct lp_node *root;
	size_t count;
	uint64_t bytes;
};

static struct lp_node *node_create(const char *name, size_t len)
{
	struct lp_node *n = lp_xcalloc(1, sizeof(*n) + len + 1);

	memcpy(n->name, name, len);
	n->stale = true;
	return n;
}

struct lp_index *lp_index_create(void)
{
	struct lp_index *ix = lp_xcalloc(1, sizeof(*ix));

	ix->root = node_create("", 0);
	ix->root->e.kind = LP_KIND_DIR;
	return ix;
}

/* Children go first, by walking down to a leaf: trees may be deeper than the stack is large. */
static void free_below(struct lp_index *ix, struct lp_node *top)
{
	struct lp_node *n = top;

	for (;;) {
		struct lp_node *up;

		if (n->n_children > 0) {
			n = n->children[n->n_children - 1];
			continue;
		}
		if (n == top)
			break;
		up = n->parent;
		up->n_children--;
		ix->count--;
		ix->bytes -= n->e.kind == LP_KIND_FILE ? n->e.size : 0;
		free(n->children);
		free(n);
		n = up;
	}
	free(top->children);
	top->children = NULL;
	top->cap_children = 0;
}

void lp_index_destroy(struct lp_index *ix)
{
	if (!ix)
		return;
	free_below(ix, ix->root);
	free(ix->root);
	free(ix);
}

/* Where name[0..len) is among the children, or would be. */
static size_t child_slot(const struct lp_node *dir, const char *name, size_t len, bool *found)
{
	size_t lo = 0, hi = dir->n_children;

	*found = false;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = strncmp(dir->children[mid]->name, name, len);

		if (c == 0 && dir->children[mid]->name[len] != '\0')
			c = 1;
		if (c == 0) {
			*found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct lp_node *find_child(const struct lp_node *dir, const char *name, size_t len)
{
	bool found;
	size_t at = child_slot(dir, name, len, &found);

	return found ? dir->children[at] : NULL;
}

struct lp_node *lp_node_child(const struct lp_node *dir, const char *name)
{
	return find_child(dir, name, strlen(name));
}

static struct lp_node *find(const struct lp_index *ix, const char *path, size_t len)
{
	struct lp_node *n = ix->root;
	size_t start = 0;

	while (n && start < len) {
		const char *slash = memchr(path + start, '/', len - start);
		size_t end = slash ? (size_t)(slash - path) : len;

		n = find_child(n, path + start, end - start);
		start = end + 1;
	}
	return n;
}

struct lp_node *lp_index_get(const struct lp_index *ix, const char *path)
{
	return find(ix, path, strlen(path));
}

static void mark_stale(struct lp_node *n)
{
	n->stale = true;
	for (n = n->parent; n && !n->stale; n = n->parent)
		n->stale = true;
}

static struct lp_node *add_child(struct lp_index *ix, struct lp_node *dir, const char *name)
{
	struct lp_node *n;
	size_t len = strlen(name), at;
	bool found;

	at = child_slot(dir, name, len, &found);
	if (found)
		return dir->children[at];
	n = node_create(name, len);
	lp_grow(&dir->children, &dir->cap_children, dir->n_children + 1, sizeof(struct lp_node *));
	memmove(dir->children + at + 1, dir->children + at,
		(dir->n_children - at) * sizeof(struct lp_node *));
	dir->children[at] = n;
	dir->n_children++;
	n->parent = dir;
	ix->count++;
	return n;
}

struct lp_node *lp_node_put(struct lp_index *ix, struct lp_node *dir, const char *name,
			    const struct lp_entry *entry, const struct lp_stat_sig *sig)
{
	static const struct lp_stat_sig unknown;
	struct lp_node *n = add_child(ix, dir, name);

	if (n->e.kind == LP_KIND_FILE)
		ix->bytes -= n->e.size;
	if (entry->kind != LP_KIND_DIR)
		free_below(ix, n);
	n->e = *entry;
	n->sig = sig ? *sig : unknown;
	if (entry->kind == LP_KIND_FILE)
		ix->bytes += entry->size;
	mark_stale(n);
	/* A new node is born stale, so mark_stale alone might stop below stale parents too early.
	 */
	mark_stale(dir);
	return n;
}

int lp_index_put(struct lp_index *ix, const char *path, const struct lp_entry *entry,
		 const struct lp_stat_sig *sig, struct lp_node **out)
{
	struct lp_node *dir = find(ix, path, lp_path_dir_len(path)), *n;

	if (!dir)
		return -ENOENT;
	if (dir->e.kind != LP_KIND_DIR)
		return -ENOTDIR;
	n = lp_node_put(ix, dir, lp_path_base(path), entry, sig);
	if (out)
		*out = n;
	return 0;
}

void lp_node_remove(struct lp_index *ix, struct lp_node *node)
{
	struct lp_node *dir = node->parent;
	bool found;
	size_t at = child_slot(dir, node->name, strlen(node->name), &found);

	free_below(ix, node);
	if (found) {
		memmove(dir->children + at, dir->children + at + 1,
			(dir->n_children - at - 1) * sizeof(struct lp_node *));
		dir->n_children--;
	}
	if (node->e.kind == LP_KIND_FILE)
		ix->bytes -= node->e.size;
	ix->count--;
	free(node);
	mark_stale(dir);
}

bool lp_index_remove(struct lp_index *ix, const char *path)
{
	struct lp_node *n = lp_index_get(ix, path);

	if (!n)
		return false;
	if (n == ix->root) {
		free_below(ix, n);
		mark_stale(n);
	} else {
		lp_node_remove(ix, n);
	}
	return true;
}

static uint64_t load_lane(const uint8_t *b)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | b[i];
	return v;
}

static void store_lane(uint8_t *b, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		b[i] = (uint8_t)v;
}

static void sum_directory(struct lp_node *dir)
{
	uint64_t hi = 0, lo = 0;
	uint8_t text[24];

	if (dir->n_children == 0) {
		memset(&dir->e.digest, 0, sizeof(dir->e.digest));
		return;
	}
	for (size_t i = 0; i < dir->n_children; i++) {
		hi += load_lane(dir->children[i]->part.b);
		lo += load_lane(dir->children[i]->part.b + 8);
	}
	store_lane(text, hi);
	store_lane(text + 8, lo);
	store_lane(text + 16, dir->n_children);
	dir->e.digest = lp_digest_of(text, sizeof(text));
}

static void compute_part(struct lp_node *n)
{
	uint8_t text[1 + 4 + 16 + LP_NAME_MAX_BYTES];
	size_t len = strlen(n->name);

	if (len > LP_NAME_MAX_BYTES)
		len = LP_NAME_MAX_BYTES;
	text[0] = (uint8_t)n->e.kind;
	for (int i = 0; i < 4; i++)
		text[1 + i] = (uint8_t)(n->e.mode >> (24 - 8 * i));
	memcpy(text + 5, n->e.digest.b, 16);
	memcpy(text + 21, n->name, len);
	n->part = lp_digest_of(text, 21 + len);
}

/* Post-order over the stale part of the tree, without recursion: a node is finished when none of
 * its children is stale any more. `from`: the children before it are done. */
static void refresh(struct lp_node *root)
{
	struct lp_node *n = root;
	size_t from = 0;
	bool found;

	while (root->stale) {
		struct lp_node *stale_dir = NULL;

		for (size_t i = from; n->e.kind == LP_KIND_DIR && i < n->n_children; i++) {
			struct lp_node *c = n->children[i];

			if (!c->stale)
				continue;
			if (c->e.kind == LP_KIND_DIR) {
				stale_dir = c;
				break;
			}
			compute_part(c);
			c->stale = false;
		}
		if (stale_dir) {
			n = stale_dir;
			from = 0;
			continue;
		}
		if (n->e.kind == LP_KIND_DIR)
			sum_directory(n);
		compute_part(n);
		n->stale = false;
		if (n == root)
			break;
		from = child_slot(n->parent, n->name, strlen(n->name), &found) + 1;
		n = n->parent;
	}
}

struct lp_digest lp_index_root(struct lp_index *ix)
{
	refresh(ix->root);
	return ix->root->e.digest;
}

size_t lp_index_count(const struct lp_index *ix)
{
	return ix->count;
}

uint64_t lp_index_bytes(const struct lp_index *ix)
{
	return ix->bytes;
}

int lp_node_path(const struct lp_node *node, char *out, size_t out_bytes)
{
	size_t len = 0, at;

	for (const struct lp_node *n = node; n->parent; n = n->parent)
		len += strlen(n->name) + (n->parent->parent ? 1 : 0);
	if (len + 1 > out_bytes)
		return -ENAMETOOLONG;
	out[len] = '\0';
	at = len;
	for (const struct lp_node *n = node; n->parent; n = n->parent) {
		size_t name_len = strlen(n->name);

		at -= name_len;
		memcpy(out + at, n->name, name_len);
		if (n->parent->parent)
			out[--at] = '/';
	}
	return 0;
}

struct lp_node *lp_node_next(const struct lp_node *top, const struct lp_node *node)
{
	return node->n_children > 0 ? node->children[0] : lp_node_after(top, node);
}

struct lp_node *lp_node_after(const struct lp_node *top, const struct lp_node *node)
{
	while (node != top && node->parent) {
		const struct lp_node *dir = node->parent;
		bool found;
		size_t at = child_slot(dir, node->name, strlen(node->name), &found);

		if (found && at + 1 < dir->n_children)
			return dir->children[at + 1];
		node = dir;
	}
	return NULL;
}

bool lp_entry_equal(const struct lp_entry *a, const struct lp_entry *b)
{
	return a->kind == b->kind && a->mode == b->mode && a->size == b->size &&
	       lp_digest_equal(&a->digest, &b->digest);
}
