/* controller/was.c: how the index was before the commit under way, so that it can be made so again,
 * now or by a later rollback; and which paths changed. */
#include "controller/commit.h"

#include "common/base/lp_mem.h"

#include <string.h>

static struct lp_was *add(struct lp_tree *t, size_t n)
{
	struct lp_was *first;

	lp_grow(&t->was, &t->cap_was, t->n_was + n, sizeof(*t->was));
	first = &t->was[t->n_was];
	memset(first, 0, n * sizeof(*first));
	t->n_was += n;
	return first;
}

static void fill(struct lp_was *w, const struct lp_node *n)
{
	struct lp_chunks *chunks = lp_node_chunks(n);

	w->kind = LP_ROW_ENTRY;
	w->e = lp_node_entry(n);
	w->mark = n->mark;
	w->chunks = chunks ? lp_chunks_ref(chunks) : NULL;
}

void lp_was_note(struct lp_tree *t, const char *path)
{
	const struct lp_node *n = lp_index_get(t->index, path);
	struct lp_was *w = add(t, 1);

	w->path = (char *)(uintptr_t)path;
	w->kind = LP_ROW_ABSENT;
	if (n)
		fill(w, n);
}

void lp_was_note_subtree(struct lp_tree *t, struct lp_node *top)
{
	char path[LP_PATH_MAX_BYTES + 1];
	size_t n = 0;
	struct lp_was *w;

	for (const struct lp_node *at = top; at; at = lp_node_next(top, at))
		n++;
	w = add(t, n);
	/* They are taken back from the last to the first: directories before what is in them. */
	for (const struct lp_node *at = top; at; at = lp_node_next(top, at)) {
		struct lp_was *to = &w[--n];

		fill(to, at);
		to->owns_path = true;
		to->path = lp_node_path(at, path, sizeof(path)) == 0 ? lp_xstrdup(path)
								     : lp_xstrdup("");
	}
}

void lp_was_note_move(struct lp_tree *t, const char *from, char *to)
{
	struct lp_was *w = add(t, 1);

	w->kind = LP_ROW_MOVED;
	w->from = from;
	w->path = to;
}

static void release(struct lp_was *w)
{
	lp_chunks_unref(w->chunks);
	if (w->owns_path)
		free(w->path);
}

void lp_was_revert(struct lp_tree *t, size_t keep)
{
	while (t->n_was > keep) {
		struct lp_was *w = &t->was[--t->n_was];
		struct lp_node *n;

		switch (w->kind) {
		case LP_ROW_ENTRY:
			if (lp_index_put(t->index, w->path, &w->e, NULL, &n) == 0) {
				lp_node_set_chunks(n, w->chunks);
				n->mark = w->mark;
			}
			break;
		case LP_ROW_MOVED:
			n = lp_index_get(t->index, w->path);
			if (n && lp_node_move(t->index, n, w->from) < 0)
				lp_node_remove(t->index, n);
			break;
		case LP_ROW_ABSENT:
			(void)lp_index_remove(t->index, w->path);
			break;
		case LP_ROW_OP:
		case LP_ROW_COUNT_:
			break;
		}
		release(w);
	}
}

void lp_was_forget(struct lp_tree *t)
{
	for (size_t i = 0; i < t->n_was; i++)
		release(&t->was[i]);
	free(t->was);
	t->was = NULL;
	t->n_was = t->cap_was = 0;
}

void lp_was_changed(struct lp_tree *t, const char *path)
{
	lp_grow(&t->changed, &t->cap_changed, t->n_changed + 1, sizeof(char *));
	t->changed[t->n_changed++] = lp_xstrdup(path);
}

void lp_was_changed_below(struct lp_tree *t, struct lp_node *top)
{
	char path[LP_PATH_MAX_BYTES + 1];

	for (struct lp_node *n = top; n; n = lp_node_next(top, n))
		if (n->e.kind != LP_KIND_DIR && lp_node_path(n, path, sizeof(path)) == 0)
			lp_was_changed(t, path);
}

void lp_was_changed_back(struct lp_tree *t, size_t keep)
{
	while (t->n_changed > keep)
		free(t->changed[--t->n_changed]);
}
