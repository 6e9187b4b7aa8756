/* sync/index.h: what a tree holds: path → entry, with a digest per directory (a Merkle tree), so
 * that two trees are compared at a cost that follows their difference. Pure memory; it looks at no
 * file system and is not locked: whoever owns an index uses it from one thread. */
#ifndef LP_SYNC_INDEX_H
#define LP_SYNC_INDEX_H

#include "common/base/lp_err.h"
#include "common/base/lp_path.h"
#include "sync/chunk.h"

enum lp_kind {
	LP_KIND_NONE,
	LP_KIND_FILE,
	LP_KIND_DIR,
	LP_KIND_LINK, /* symbolic link; its content is the target */
	LP_KIND_COUNT_,
};

/* What is mirrored of one path. mode: permission bits (0777), 0 for links. size in bytes: of a
 * file's content or a link's target, 0 for directories. digest: of the content or target; of a
 * directory, over its children. */
struct lp_entry {
	enum lp_kind kind;
	uint32_t mode;
	uint64_t size;
	struct lp_digest digest;
};

/* How a file looked to stat(2) when its digest was taken: while these stay the same it need not be
 * read again. Zeroed: unknown. */
struct lp_stat_sig {
	uint64_t ino;
	uint64_t size;
	int64_t mtime_ns;
	int64_t ctime_ns;
};

/* A file's size as a node keeps it is at most that, half a petabyte. */
#define LP_NODE_SIZE_MAX ((UINT64_C(1) << 49) - 1)

/* The entry as a node keeps it: the same fields in 24 bytes. kind: enum lp_kind. stale: of a
 * directory, the digest must be computed again. has_sig: there is a signature; has_more: there is a
 * struct lp_node_more. */
struct lp_packed_entry {
	uint64_t size : 49;
	uint32_t mode : 9;
	uint32_t kind : 3;
	bool stale : 1;
	bool has_sig : 1;
	bool has_more : 1;
	struct lp_digest digest;
} __attribute__((packed, aligned(4)));

/* Where another node of the index is, seen from this one, in steps of 4 bytes; 0: there is none.
 * All nodes of an index lie in one piece of address space (sync/pool.h). */
typedef int32_t lp_node_ref;

/* One entry in the tree; read only outside sync/index*.c, apart from mark, which is for the owner
 * (e.g. the scan that saw it last). A tree may have very many: what is here costs memory, and what
 * few of them have stands before them. parent: 0 for the root. e.digest of a directory is valid
 * only after lp_index_root. */
struct lp_node {
	lp_node_ref parent;
	struct lp_packed_entry e;
	uint32_t mark;
	char name[];
};

/* What is directly below a directory, sorted by strcmp of the names but for the last `fresh` ones,
 * which are sorted among themselves. All places are seen from the directory. The rest is for the
 * digests. */
struct lp_children {
	uint32_t n;
	uint32_t cap;
	uint32_t fresh;
	lp_node_ref stale;      /* the first stale one */
	lp_node_ref stale_prev; /* of the directory itself, among its stale siblings */
	lp_node_ref stale_next;
	uint64_t sum[2]; /* of the parts of those that are not stale */
	lp_node_ref at[];
};

/* What a directory and a large file (more than LP_INLINE_MAX_BYTES) have; right before the node. */
struct lp_node_more {
	union {
		struct lp_children *children; /* of a directory; NULL: it never had any */
		struct lp_chunks *chunks;     /* of a file, when they are known; a reference */
	} u;
} __attribute__((packed, aligned(4)));

/* The node at that place, which must be one. */
static inline struct lp_node *lp_node_from(const struct lp_node *n, lp_node_ref ref)
{
	return (struct lp_node *)(void *)((char *)(uintptr_t)n + (ptrdiff_t)ref * 4);
}

/* The directory that it is in; NULL for the root. */
static inline struct lp_node *lp_node_parent(const struct lp_node *n)
{
	return n->parent ? lp_node_from(n, n->parent) : NULL;
}

/* Only where e.has_more. */
static inline struct lp_node_more *lp_node_more(const struct lp_node *n)
{
	return (struct lp_node_more *)(void *)(uintptr_t)n - 1;
}

/* How many are directly below; 0 for what is no directory. Puts them in order. */
uint32_t lp_node_count(const struct lp_node *n);

/* Child i of lp_node_count, in the order of the names; nothing may have been put in between. */
static inline struct lp_node *lp_node_at(const struct lp_node *dir, uint32_t i)
{
	return lp_node_from(dir, lp_node_more(dir)->u.children->at[i]);
}

/* The chunks of a large file, borrowed; NULL when they are not known. */
static inline struct lp_chunks *lp_node_chunks(const struct lp_node *n)
{
	return n->e.kind == LP_KIND_FILE && n->e.has_more ? lp_node_more(n)->u.chunks : NULL;
}

/* The entry as others know it. */
static inline struct lp_entry lp_node_entry(const struct lp_node *n)
{
	return (struct lp_entry){.kind = (enum lp_kind)n->e.kind,
				 .mode = n->e.mode,
				 .size = n->e.size,
				 .digest = n->e.digest};
}

struct lp_index; /* opaque */

struct lp_index *lp_index_create(void);

/* One whose nodes never have a signature: it takes a third less memory. */
struct lp_index *lp_index_create_lean(void);
void lp_index_destroy(struct lp_index *ix); /* NULL is allowed */

/* The node at clean path `path`, "" for the root; NULL when there is none. Borrowed until it is
 * removed, or put as a directory or large file and was none. */
struct lp_node *lp_index_get(const struct lp_index *ix, const char *path);

/* The child of that name, or NULL. */
struct lp_node *lp_node_child(const struct lp_node *dir, const char *name);

/* Puts or replaces the entry at a clean path; the parent must be there and a directory. A directory
 * that stays one keeps its children; otherwise what was below is removed. The digest of a directory
 * is not taken from the entry but computed. sig NULL: unknown.
 * Returns 0 and the node (out may be NULL), -ENOENT (no parent) or -ENOTDIR. */
int lp_index_put(struct lp_index *ix, const char *path, const struct lp_entry *entry,
		 const struct lp_stat_sig *sig, struct lp_node **out) LP_MUST_USE;

/* The same below a known directory: name is one component. */
struct lp_node *lp_node_put(struct lp_index *ix, struct lp_node *dir, const char *name,
			    const struct lp_entry *entry, const struct lp_stat_sig *sig);

/* The same for whoever makes an index in the order of the names, with less to look for: NULL, and
 * nothing done, when the directory has a child that does not come before name[0..len), len being
 * 1 to LP_NAME_MAX_BYTES. */
struct lp_node *lp_node_append(struct lp_index *ix, struct lp_node *dir, const char *name,
			       size_t len, const struct lp_entry *entry,
			       const struct lp_stat_sig *sig);

/* How the file looked when its digest was taken, borrowed; zeroed when that is not known. */
const struct lp_stat_sig *lp_node_sig(const struct lp_node *node);

/* Remembers it (NULL: forgets); nothing in a lean index. */
void lp_node_set_sig(struct lp_node *node, const struct lp_stat_sig *sig);

/* Remembers (or with NULL forgets) the chunks of a file's content, if it is larger than
 * LP_INLINE_MAX_BYTES; takes a reference of its own. They are forgotten when an entry with another
 * digest is put. */
void lp_node_set_chunks(struct lp_node *node, struct lp_chunks *chunks);

/* Moves a node (not the root) with all below it to clean path `to`; chunks, signatures and marks
 * stay. What was at `to` is removed. Afterwards the node is another one, which lp_index_get finds
 * at `to`; those below it stay the same. Returns 0, -ENOENT (the directory of `to` is not there),
 * -ENOTDIR, or -EINVAL (`to` is below node, or node below `to`). */
int lp_node_move(struct lp_index *ix, struct lp_node *node, const char *to) LP_MUST_USE;

/* Removes path and all below it. Returns whether it was there. "" empties the tree. */
bool lp_index_remove(struct lp_index *ix, const char *path);

/* Removes a node (not the root) and all below it. */
void lp_node_remove(struct lp_index *ix, struct lp_node *node);

/* The digest of the whole tree; computes what is stale below. Two indexes with the same kinds,
 * modes, sizes, digests and names have the same one. An empty tree has the digest "none". */
struct lp_digest lp_index_root(struct lp_index *ix);

/* Number of entries without the root, of those that are no directories, and the sum of the files'
 * sizes. */
size_t lp_index_count(const struct lp_index *ix);
size_t lp_index_files(const struct lp_index *ix);
uint64_t lp_index_bytes(const struct lp_index *ix);

/* Writes the node's path ("" for the root). Returns 0 or -ENAMETOOLONG. */
int lp_node_path(const struct lp_node *node, char *out, size_t out_bytes) LP_MUST_USE;

/* The next node in depth-first order below `top` (parents before children, siblings by name), or
 * NULL at the end. Start with node = top. Nothing may be removed in between but what was visited
 * and has no children. */
struct lp_node *lp_node_next(const struct lp_node *top, const struct lp_node *node);

/* The same, but leaving out what is below node. */
struct lp_node *lp_node_after(const struct lp_node *top, const struct lp_node *node);

/* Whether it is a file that was seen and not read yet (watcher/blank.c): its digest is none. */
static inline bool lp_entry_is_blank(const struct lp_entry *e)
{
	return e->kind == LP_KIND_FILE && lp_digest_is_none(&e->digest);
}

static inline bool lp_node_is_blank(const struct lp_node *n)
{
	return n->e.kind == LP_KIND_FILE && lp_digest_is_none(&n->e.digest);
}

/* Whether kind, mode, size and digest are the same. */
bool lp_entry_equal(const struct lp_entry *a, const struct lp_entry *b);
bool lp_node_equal(const struct lp_node *node, const struct lp_entry *e);

#endif
