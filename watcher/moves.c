/* watcher/moves.c: what was renamed is told as a MOVE, when that is certain; otherwise both places
 * are looked at like any other. */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "watcher/workspace_internal.h"

#include <string.h>
#include <sys/stat.h>

/* More moves than that are taken for places that changed. */
#define MOVES_MAX 1000

static void free_move(struct lp_move *m)
{
	free(m->from);
	free(m->to);
}

void lp_moves_finish(struct lp_workspace *ws)
{
	for (size_t i = 0; i < ws->n_moves; i++)
		free_move(&ws->moves[i]);
	free(ws->moves);
	ws->moves = NULL;
	ws->n_moves = ws->cap_moves = 0;
}

void lp_moves_note(struct lp_workspace *ws, const char *from, const char *to)
{
	if (ws->n_moves >= MOVES_MAX) {
		lp_workspace_dirty(ws, LP_EVENT_SUBTREE, to);
		return;
	}
	lp_grow(&ws->moves, &ws->cap_moves, ws->n_moves + 1, sizeof(*ws->moves));
	ws->moves[ws->n_moves++] = (struct lp_move){lp_xstrdup(from), lp_xstrdup(to)};
}

/* What is at `path` now, crossing no link. */
static bool stat_at(const struct lp_workspace *ws, const char *path, struct stat *st)
{
	LP_AUTO_FREE char *dir = lp_xstrndup(path, lp_path_dir_len(path));
	LP_AUTO_CLOSE int fd =
		lp_open_beneath(ws->root_fd, dir[0] ? dir : ".", O_PATH | O_DIRECTORY, 0);

	return fd >= 0 && fstatat(fd, lp_path_base(path), st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Whether what is there is what the index has: the same directory, or the same large file that
 * nobody changed. Small files are sent as quickly whole. */
static bool is_same(const struct lp_node *node, const struct stat *st)
{
	const struct lp_stat_sig *sig = lp_node_sig(node);
	struct lp_stat_sig now;

	lp_stat_sig_of(st, &now);
	if (sig->ino == 0 || sig->ino != st->st_ino)
		return false;
	if (node->e.kind == LP_KIND_DIR)
		return S_ISDIR(st->st_mode);
	return node->e.kind == LP_KIND_FILE && S_ISREG(st->st_mode) &&
	       node->e.size > LP_INLINE_MAX_BYTES && sig->ctime_ns != 0 && sig->size == now.size &&
	       sig->mtime_ns == now.mtime_ns;
}

/* The directory of `path` is on every instance before the changeset begins. */
static bool has_parent(const struct lp_workspace *ws, const char *path)
{
	LP_AUTO_FREE char *dir = lp_xstrndup(path, lp_path_dir_len(path));
	const struct lp_node *node = lp_index_get(ws->index, dir);

	return node && node->e.kind == LP_KIND_DIR;
}

/* A rename changes nothing of a file but its change time. */
static void renew_sig(struct lp_workspace *ws, const char *path, const struct stat *st)
{
	struct lp_node *node = lp_index_get(ws->index, path);
	struct lp_stat_sig sig;

	if (!node || node->e.kind != LP_KIND_FILE || node->e.mode != (st->st_mode & 0777))
		return;
	lp_stat_sig_of(st, &sig);
	lp_node_set_sig(node, &sig);
}

/* Where what move i brought to its target is by now, after the moves that followed. Returns false
 * when that is too long. */
static bool follow(const struct lp_workspace *ws, size_t i, char out[LP_PATH_MAX_BYTES + 1])
{
	char rest[LP_PATH_MAX_BYTES + 1];
	size_t len = strlen(ws->moves[i].to);

	if (len > LP_PATH_MAX_BYTES)
		return false;
	memcpy(out, ws->moves[i].to, len + 1);
	for (i++; i < ws->n_moves; i++) {
		const struct lp_move *m = &ws->moves[i];
		size_t from_len = strlen(m->from), to_len = strlen(m->to);

		if (!lp_path_is_below(out, m->from))
			continue;
		len = strlen(out + from_len);
		if (to_len + len > LP_PATH_MAX_BYTES)
			return false;
		memcpy(rest, out + from_len, len + 1);
		memcpy(out, m->to, to_len);
		memcpy(out + to_len, rest, len + 1);
	}
	return true;
}

static void carry_out(struct lp_workspace *ws, size_t i, struct lp_changeset *cs)
{
	const struct lp_move *m = &ws->moves[i];
	struct lp_node *node = lp_index_get(ws->index, m->from);
	struct lp_dirty *to = lp_map_get(&ws->dirty, m->to);
	char now_at[LP_PATH_MAX_BYTES + 1];
	struct lp_entry e;
	struct stat st;

	/* Whatever comes of it, what is at the target is compared with the index, for what happened
	 * to it on the way and for rules that differ there. It is read only where it changed. */
	if (to)
		to->subtree = true;
	if (!node || lp_path_is_below(m->to, m->from) || lp_path_is_below(m->from, m->to) ||
	    !has_parent(ws, m->to) || !follow(ws, i, now_at) || !stat_at(ws, now_at, &st) ||
	    !is_same(node, &st) || lp_ignore_check(ws->ignore, now_at, S_ISDIR(st.st_mode), NULL))
		return;
	e = lp_node_entry(node);
	if (lp_node_move(ws->index, node, m->to) < 0)
		return;
	(void)lp_changeset_add_move(cs, m->from, m->to, &e);
	renew_sig(ws, m->to, &st);
}

void lp_moves_take(struct lp_workspace *ws, struct lp_changeset *cs)
{
	for (size_t i = 0; i < ws->n_moves; i++)
		carry_out(ws, i, cs);
	lp_moves_finish(ws);
}

static bool is_moved(const struct lp_changeset *cs, const char *path)
{
	for (size_t i = 0; i < cs->n_ops; i++)
		if (cs->ops[i].kind == LP_OP_MOVE && lp_path_is_below(path, cs->ops[i].path))
			return true;
	return false;
}

void lp_moves_finish_changeset(struct lp_changeset *cs)
{
	bool any = false;

	for (size_t i = 0; i < cs->n_ops && !any; i++)
		any = cs->ops[i].kind == LP_OP_MOVE;
	for (size_t i = 0; any && i < cs->n_ops; i++) {
		struct lp_op *op = &cs->ops[i];

		/* Where a base was before the changeset another file lies, if any. */
		if (op->base.chunks && is_moved(cs, op->path)) {
			lp_chunks_unref(op->base.chunks);
			op->base = (struct lp_base){0};
		}
	}
}
