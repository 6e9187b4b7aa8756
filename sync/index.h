/* sync/index.h: what a tree holds: path → entry, with a digest per directory (a Merkle tree), so
 * that two trees are compared at a cost that follows their difference. Pure memory; it looks at no
 * file system and is not locked: whoever owns an index uses it from one thread. */
#ifndef LP_SYNC_INDEX_H
#define LP_SYNC_INDEX_H

#include "common/base/lp_err.h"
#include "common/base/lp_path.h"
#include "sync/digest.h"

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

/* One entry in the tree; read only outside sync/index.c. children are sorted by strcmp of their
 * names. e.digest of a directory is valid only after lp_index_root. */
struct lp_node {
	struct lp_node *parent; /* NULL for the root */
	struct lp_node **children;
	size_t n_children;
	size_t cap_children;
	struct lp_entry e;
	struct lp_stat_sig sig;
	struct lp_digest part; /* its share in the parent's digest */
	uint32_t mark;         /* for the owner: e.g. the scan that saw it last */
	bool stale;            /* digest (of a directory) and part must be computed again */
	char name[];
};

struct lp_index; /* opaque */

struct lp_index *lp_index_create(void);
void lp_index_destroy(struct lp_index *ix); /* NULL is allowed */

/* The node at clean path `path`, "" for the root; NULL when there is none. Borrowed until it is
 * removed. */
struct lp_node *lp_index_get(const struct lp_index *ix, const char *path);

/* The child of that name, or NULL. */
struct lp_node *lp_node_child(const struct lp_node *dir, const char *name);

/* Puts or replaces the entry at a clean path; the parent must be there and a directory. A directory
 * that stays one keeps its children; otherwise what was below is removed. sig NULL: unknown.
 * Returns 0 and the node (out may be NULL), -ENOENT (no parent) or -ENOTDIR. */
int lp_index_put(struct lp_index *ix, const char *path, const struct lp_entry *entry,
		 const struct lp_stat_sig *sig, struct lp_node **out) LP_MUST_USE;

/* The same below a known directory: name is one component. */
struct lp_node *lp_node_put(struct lp_index *ix, struct lp_node *dir, const char *name,
			    const struct lp_entry *entry, const struct lp_stat_sig *sig);

/* Removes path and all below it. Returns whether it was there. "" empties the tree. */
bool lp_index_remove(struct lp_index *ix, const char *path);

/* Removes a node (not the root) and all below it. */
void lp_node_remove(struct lp_index *ix, struct lp_node *node);

/* The digest of the whole tree; computes what is stale below. Two indexes with the same kinds,
 * modes, sizes, digests and names have the same one. An empty tree has the digest "none". */
struct lp_digest lp_index_root(struct lp_index *ix);

/* Number of entries without the root, and the sum of the files' sizes. */
size_t lp_index_count(const struct lp_index *ix);
uint64_t lp_index_bytes(const struct lp_index *ix);

/* Writes the node's path ("" for the root). Returns 0 or -ENAMETOOLONG. */
int lp_node_path(const struct lp_node *node, char *out, size_t out_bytes) LP_MUST_USE;

/* The next node in depth-first order below `top` (parents before children, siblings by name), or
 * NULL at the end. Start with node = top. Nothing may be removed in between but what was visited
 * and has no children. */
struct lp_node *lp_node_next(const struct lp_node *top, const struct lp_node *node);

/* The same, but leaving out what is below node. */
struct lp_node *lp_node_after(const struct lp_node *top, const struct lp_node *node);

/* Whether kind, mode, size and digest are the same. */
bool lp_entry_equal(const struct lp_entry *a, const struct lp_entry *b);

#endif
