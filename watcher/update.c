/* watcher/update.c: what a look at an entry means for the index and for the changeset. */
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "watcher/aside.h"
#include "watcher/memory.h"
#include "watcher/settle.h"
#include "watcher/workspace_internal.h"

#include <string.h>

/* The inode of a file that may have other names; 0: it has none. */
static uint64_t linked_ino(const struct lp_workspace *ws, const struct lp_node *node)
{
	return ws->linked.n > 0 && node && node->e.kind == LP_KIND_FILE ? lp_node_sig(node)->ino
									: 0;
}

void lp_workspace_drop(struct lp_workspace *ws, struct lp_node *node, const char *path,
		       struct lp_changeset *cs)
{
	uint64_t ino = linked_ino(ws, node);

	ws->blanks.n -= lp_node_is_blank(node);
	lp_node_remove(ws->index, node);
	if (ino != 0)
		lp_links_gone(ws, path, ino);
	lp_memory_touch(ws);
	if (cs)
		lp_changeset_add(cs, LP_OP_DELETE, path, NULL, NULL);
}

/* What was known of a file before the index took in the next version of it. */
static struct lp_base base_of(const struct lp_node *known, const struct lp_look *look,
			      const struct lp_written *written)
{
	struct lp_base base = {0};
	uint64_t ino;

	if (!known || !lp_node_chunks(known) || !look->chunks)
		return base;
	base.digest = known->e.digest;
	base.chunks = lp_chunks_ref(lp_node_chunks(known));
	ino = lp_node_sig(known)->ino;
	base.in_place = look->is_sole && ino != 0 && ino == look->sig.ino;
	if (look->by_ranges && written) {
		base.written = lp_xcalloc(1, sizeof(*base.written));
		*base.written = written->ranges;
	}
	return base;
}

static void base_finish(struct lp_base *base)
{
	lp_chunks_unref(base->chunks);
	free(base->written);
}

/* A change of a file whose times may not show the next one is found by reading. The inode stays: it
 * tells whether a writer writes into the same file. */
static void forget_times(struct lp_stat_sig *sig)
{
	sig->ctime_ns = 0;
}

/* Whether its times may not show its next change; also when it was read while somebody had it open,
 * of whose writes not all are known: who has mapped a file moves its times with the first write to
 * each page only. */
static bool has_vague_times(const struct lp_look *look, const struct lp_dirty *hint)
{
	return look->is_racy || (hint && hint->held && !hint->written);
}

static void add_op(struct lp_changeset *cs, const char *path, struct lp_look *look, bool keep,
		   struct lp_base *base)
{
	struct lp_blob *blob = keep || cs->bytes > LP_KEEP_MAX_BYTES ? NULL : look->blob;
	struct lp_op *op =
		lp_changeset_add(cs, keep ? LP_OP_KEEP : LP_OP_PUT, path, &look->e, blob);

	if (blob)
		look->blob = NULL;
	if (look->chunks)
		op->chunks = lp_chunks_ref(look->chunks);
	if (!keep) {
		op->base = *base;
		*base = (struct lp_base){0};
	}
}

/* Counts what comes into the index without a digest, or had none. */
static void count_blank(struct lp_workspace *ws, const struct lp_node *known,
			const struct lp_entry *e)
{
	ws->blanks.n += lp_entry_is_blank(e);
	ws->blanks.n -= known && lp_node_is_blank(known);
}

/* Puts what was looked at into the index, and into cs when it differs from what was known or has to
 * be sent whatever it is. */
static void record(struct lp_workspace *ws, struct lp_node *dir, const char *path,
		   const struct lp_dirty *hint, struct lp_look *look, struct lp_changeset *cs)
{
	const char *name = lp_path_base(path);
	struct lp_node *known = lp_node_child(dir, name);
	bool is_new = !known, owed = cs && lp_workspace_owes(ws, path), same, same_content;
	uint64_t ino_before = linked_ino(ws, known);
	struct lp_base base = {0};

	if (look->e.kind == LP_KIND_DIR && known && known->e.kind == LP_KIND_DIR)
		look->e.digest = known->e.digest;
	same = known && lp_node_equal(known, &look->e);
	same_content = known && known->e.kind == look->e.kind && known->e.size == look->e.size &&
		       lp_digest_equal(&known->e.digest, &look->e.digest);
	/* What is owed was not sent: nobody has the version before. */
	if (cs && !same_content && !owed)
		base = base_of(known, look, hint ? hint->written : NULL);
	if (has_vague_times(look, hint))
		forget_times(&look->sig);
	count_blank(ws, known, &look->e);
	if (!same ||
	    (look->e.kind == LP_KIND_FILE && !lp_sig_equal(lp_node_sig(known), &look->sig)))
		lp_memory_touch(ws);
	if (same)
		lp_node_set_sig(known, &look->sig);
	else
		known = lp_node_put(ws->index, dir, name, &look->e, &look->sig);
	if (look->chunks)
		lp_node_set_chunks(known, look->chunks);
	known->mark = ws->scan_mark;
	if (ino_before != 0 && ino_before != look->sig.ino)
		lp_links_gone(ws, path, ino_before);
	if (look->e.kind == LP_KIND_FILE && !look->is_sole)
		lp_links_seen(ws, path, look->sig.ino, cs && !same);
	if (cs && (!same || owed)) {
		bool keep = same_content && look->e.kind == LP_KIND_FILE && !owed;

		ws->grew_us = lp_now_us();
		add_op(cs, path, look, keep, &base);
		cs->ops[cs->n_ops - 1].is_new = is_new;
		lp_workspace_paid(ws, path);
	}
	base_finish(&base);
}

/* What cannot be read cannot be sent: the instances have to do without, too, or their trees would
 * never be equal. */
static int accept_failed(struct lp_workspace *ws, struct lp_node *known, const char *path, int r,
			 struct lp_changeset *cs)
{
	lp_workspace_notice(ws, path, strerror(-r));
	if (known && r == -EACCES)
		lp_workspace_drop(ws, known, path, cs);
	return r == -ENOMEM ? r : 0;
}

/* A file, link or directory that was read. Returns as lp_workspace_accept, or -ENOENT when it is
 * left out. */
static int accept_read(struct lp_workspace *ws, struct lp_node *dir, const char *path,
		       const struct lp_dirty *hint, struct lp_look *look, struct lp_changeset *cs)
{
	struct lp_node *known = lp_node_child(dir, lp_path_base(path));
	bool was_dir = known && known->e.kind == LP_KIND_DIR, opened;

	if (look->e.kind == LP_KIND_LINK &&
	    !lp_path_link_is_inside(path, (const char *)look->blob->data, look->blob->len)) {
		lp_workspace_notice(ws, path, "is a link that leads out of the workspace");
		return -ENOENT;
	}
	/* What could not be read or entered before may be now. */
	opened = was_dir && (look->e.mode & ~(uint32_t)known->e.mode & 0555);
	record(ws, dir, path, hint, look, cs);
	return look->e.kind == LP_KIND_DIR && (!was_dir || opened || (hint && hint->subtree));
}

static int accept(struct lp_workspace *ws, struct lp_node *dir, const char *path,
		  const struct lp_dirty *hint, struct lp_look *look, struct lp_changeset *cs)
{
	struct lp_node *known = lp_node_child(dir, lp_path_base(path));
	int r;

	if (look->error < 0)
		return accept_failed(ws, known, path, look->error, cs);
	switch (look->state) {
	case LP_LOOK_SAME:
		if (known && !look->is_sole)
			lp_links_seen(ws, path, look->sig.ino, false);
		return 0;
	case LP_LOOK_BUSY:
	case LP_LOOK_LARGE:
		return 0;
	case LP_LOOK_SPECIAL:
		lp_workspace_notice(ws, path, "is a socket, fifo or device");
		break;
	case LP_LOOK_READ:
		r = accept_read(ws, dir, path, hint, look, cs);
		if (r != -ENOENT)
			return r;
		break;
	case LP_LOOK_GONE:
	case LP_LOOK_STATE_COUNT_:
		break;
	}
	lp_workspace_paid(ws, path);
	if (known)
		lp_workspace_drop(ws, known, path, cs);
	return 0;
}

/* Whether what was seen is left for a moment: half of something that goes on (settle.c). */
static bool is_left(struct lp_workspace *ws, struct lp_node *dir, const char *path,
		    const struct lp_dirty *hint, const struct lp_look *look)
{
	const struct lp_node *known = lp_node_child(dir, lp_path_base(path));

	if (look->error < 0)
		return false;
	if (look->state == LP_LOOK_GONE)
		return known && lp_settle_gone(ws, path, hint);
	if (look->state == LP_LOOK_LARGE ||
	    (look->state == LP_LOOK_READ && look->e.kind != LP_KIND_DIR))
		return !known && lp_settle_name(ws, dir, path, hint, look->sig.ctime_ns);
	return false;
}

int lp_workspace_accept(struct lp_workspace *ws, struct lp_node *dir, const char *path,
			const struct lp_dirty *hint, struct lp_look *look, struct lp_changeset *cs)
{
	int r;

	if (cs && is_left(ws, dir, path, hint, look)) {
		lp_look_finish(look);
		return 0;
	}
	if (look->error == 0 && look->state != LP_LOOK_GONE)
		lp_settle_there(ws, path);
	/* A file that somebody is writing goes out when they have closed it. */
	if (look->error == 0 && look->state == LP_LOOK_BUSY)
		lp_workspace_defer(ws, path);
	else
		lp_workspace_settled(ws, path);
	if (look->error < 0 || look->state != LP_LOOK_LARGE)
		lp_aside_drop(ws, path);
	else if (!lp_aside_take(ws, path, look))
		lp_aside_start(ws, path, hint, &look->sig);
	r = accept(ws, dir, path, hint, look, cs);
	if (look->is_growing)
		lp_workspace_defer(ws, path);
	lp_look_finish(look);
	return r;
}

/* Whether a writer has closed it who may have written through a mapping, and it costs less to read
 * than to wonder. What comes through a mount is known without. */
static bool is_closed_small(const struct lp_node *known, const struct lp_dirty *hint)
{
	return hint && hint->just_closed && !hint->closed && known->e.size <= LP_INLINE_MAX_BYTES;
}

int lp_workspace_update(struct lp_workspace *ws, struct lp_node *dir, int dir_fd, const char *path,
			const struct lp_dirty *hint, struct lp_changeset *cs)
{
	const struct lp_node *known = lp_node_child(dir, lp_path_base(path));
	struct lp_look_opts opts = {.max_bytes = cs ? LP_ASIDE_MIN_BYTES : 0,
				    .scratch = ws->scratch,
				    .ticks = ws->ticks,
				    .want_blob = cs,
				    .even_if_busy = hint && hint->closed,
				    .just_closed = hint && hint->just_closed,
				    .created = hint && hint->created,
				    .is_being_written =
					    hint && hint->held ? NULL : ws->ops.is_being_written,
				    .ctx = ws->ctx,
				    .path = path};
	struct lp_look look;

	if (known && known->e.kind == LP_KIND_FILE && !lp_workspace_owes(ws, path)) {
		if (!is_closed_small(known, hint))
			opts.known = lp_node_sig(known);
		opts.chunks = lp_node_chunks(known);
		opts.written = hint ? hint->written : NULL;
	}
	(void)lp_look_at(dir_fd, lp_path_base(path), &opts, &look);
	return lp_workspace_accept(ws, dir, path, hint, &look, cs);
}
