/* sync/changeset.h: changes that are applied together. An operation says what a path shall be, not
 * how it got there, so applying one twice does no harm. Pure data with a reference count, so that
 * one changeset can be on its way to many instances; one thread. */
#ifndef LP_SYNC_CHANGESET_H
#define LP_SYNC_CHANGESET_H

#include "sync/index.h"

/* Immutable bytes shared by reference. */
struct lp_blob {
	unsigned refs;
	size_t len;
	uint8_t data[];
};

/* A blob of len bytes that the caller fills; one reference. NULL when there is no memory. */
struct lp_blob *lp_blob_create(size_t len);
struct lp_blob *lp_blob_ref(struct lp_blob *b);
void lp_blob_unref(struct lp_blob *b); /* NULL is allowed */

enum lp_op_kind {
	LP_OP_PUT = 1,    /* the path shall be this entry; content follows (none for directories) */
	LP_OP_KEEP = 2,   /* the same, and the receiver already has this content there */
	LP_OP_DELETE = 3, /* the path shall not be; with all below it that the workspace owned */
	LP_OP_MOVE = 4,   /* what is at `from`, with all below it, shall be at the path instead */
};

/* The version of a large file that every instance holds that was sent all changesets before this
 * one: the content can be made of it. in_place: the writer wrote into that very file, so that
 * whoever reads it while it is written sees what a reader on the writer's machine saw. */
struct lp_base {
	struct lp_digest digest;
	struct lp_chunks *chunks;  /* one reference */
	struct lp_ranges *written; /* owned (free); nothing else differs; NULL: not known */
	bool in_place;
};

/* path is owned. from: of a MOVE, owned. chunks: of a large file, one reference or NULL;
 * base.chunks NULL: no base. blob: content of a small file or target of a link; NULL for
 * directories, deletes, KEEP, and files that are read when they are sent. is_new: nothing was
 * there. was_foreign: something was, but not the workspace's. (Both for reports and sync/guard.h.)
 */
struct lp_op {
	enum lp_op_kind kind;
	char *path;
	struct lp_entry e;
	struct lp_blob *blob;
	char *from;
	struct lp_chunks *chunks;
	struct lp_base base;
	bool is_new;
	bool was_foreign;
	bool is_adopted;           /* KEEP of what was there already, in content and mode */
	size_t seq;                /* private to sorting */
	struct lp_segment *recipe; /* private to lp_op_recipe; owned */
	size_t n_recipe;
};

struct lp_changeset {
	unsigned refs;
	uint64_t revision;
	struct lp_digest root; /* of the tree that it leads to */
	uint64_t saved_us;     /* lp_now_us() of the first event in it; 0: unknown */
	struct lp_op *ops;
	size_t n_ops;
	size_t cap_ops;
	uint64_t bytes; /* of content that have to be sent: lp_op_bytes of all once it is sorted */
};

struct lp_changeset *lp_changeset_create(void);
struct lp_changeset *lp_changeset_ref(struct lp_changeset *cs);
void lp_changeset_unref(struct lp_changeset *cs); /* NULL is allowed */

/* Appends an operation. path is copied; e may be NULL for DELETE; blob's reference is taken. The
 * result is borrowed until the next call. */
struct lp_op *lp_changeset_add(struct lp_changeset *cs, enum lp_op_kind kind, const char *path,
			       const struct lp_entry *e, struct lp_blob *blob);

/* Appends a MOVE. It happens before all operations that are no MOVE, moves among them in the order
 * in which they were added: so those others name paths as they are after all moves. A directory
 * that a PUT of the same changeset makes may be moved into. Both paths are copied. e: what it is
 * that moves. */
struct lp_op *lp_changeset_add_move(struct lp_changeset *cs, const char *from, const char *to,
				    const struct lp_entry *e);

/* How the content of a PUT with chunks and a base is made of the base: as lp_chunks_recipe says, or
 * lp_ranges_recipe when it is known what was written. It is made once, so neither chunks nor base
 * may change afterwards. *out: borrowed from the operation. Returns how many segments. */
size_t lp_op_recipe(struct lp_op *op, const struct lp_segment **out);

/* How many bytes of content have to be sent for it to an instance that has its base. */
uint64_t lp_op_bytes(struct lp_op *op);

/* Sorts: first the MOVEs as they were added, then by path (byte order), so that directories come
 * before what is in them. Of several operations on one path the one added last stays, moves apart.
 * Counts cs->bytes anew. */
void lp_changeset_sort(struct lp_changeset *cs);

/* What a peer has at one directory, as it answered. */
struct lp_peer_entry {
	const char *name;
	struct lp_entry e;
	bool owned; /* came from a workspace; false: the app or its buildpack made it */
};

/* A directory of a peer: its path and all its entries, in any order. */
struct lp_peer_dir {
	const char *path;
	const struct lp_peer_entry *entries;
	size_t n;
};

/* Compares one directory of the workspace with a peer's listing of it and appends to cs what makes
 * the peer equal: PUT (files without content: blob NULL), KEEP where the content is there already,
 * DELETE for owned entries that the workspace does not have. node NULL: the workspace has no such
 * directory. descend(ctx, path) is called for every directory that both have and whose digest
 * differs; what the peer does not have at all is added whole. root digests must be fresh
 * (lp_index_root). Returns 0, -ENAMETOOLONG, or -EBADMSG when the peer has a name twice. */
int lp_diff_listing(struct lp_changeset *cs, const struct lp_node *node,
		    const struct lp_peer_dir *peer, void (*descend)(void *ctx, const char *path),
		    void *ctx) LP_MUST_USE;

/* Appends PUT for top (unless it is the root) and everything below it. Returns 0 or -ENAMETOOLONG.
 */
int lp_diff_add_subtree(struct lp_changeset *cs, const struct lp_node *top) LP_MUST_USE;

#endif
