/* sync/changeset.c: changesets and the blobs in them. */
#include "sync/changeset.h"

#include "common/base/lp_mem.h"

#include <string.h>

struct lp_blob *lp_blob_create(size_t len)
{
	struct lp_blob *b = malloc(sizeof(*b) + len);

	if (!b)
		return NULL;
	b->refs = 1;
	b->len = len;
	return b;
}

struct lp_blob *lp_blob_ref(struct lp_blob *b)
{
	b->refs++;
	return b;
}

void lp_blob_unref(struct lp_blob *b)
{
	if (b && --b->refs == 0)
		free(b);
}

struct lp_changeset *lp_changeset_create(void)
{
	struct lp_changeset *cs = lp_xcalloc(1, sizeof(*cs));

	cs->refs = 1;
	return cs;
}

struct lp_changeset *lp_changeset_ref(struct lp_changeset *cs)
{
	cs->refs++;
	return cs;
}

static void free_op(struct lp_op *op)
{
	free(op->path);
	free(op->from);
	lp_blob_unref(op->blob);
	lp_chunks_unref(op->chunks);
	lp_chunks_unref(op->base.chunks);
	free(op->base.written);
	free(op->recipe);
}

void lp_changeset_unref(struct lp_changeset *cs)
{
	if (!cs || --cs->refs > 0)
		return;
	for (size_t i = 0; i < cs->n_ops; i++) {
		free_op(&cs->ops[i]);
	}
	free(cs->ops);
	free(cs);
}

struct lp_op *lp_changeset_add(struct lp_changeset *cs, enum lp_op_kind kind, const char *path,
			       const struct lp_entry *e, struct lp_blob *blob)
{
	struct lp_op *op;

	lp_grow(&cs->ops, &cs->cap_ops, cs->n_ops + 1, sizeof(*cs->ops));
	op = &cs->ops[cs->n_ops++];
	*op = (struct lp_op){.kind = kind, .path = lp_xstrdup(path), .blob = blob};
	if (e)
		op->e = *e;
	if (kind == LP_OP_PUT && op->e.kind != LP_KIND_DIR)
		cs->bytes += op->e.size;
	return op;
}

struct lp_op *lp_changeset_add_move(struct lp_changeset *cs, const char *from, const char *to,
				    const struct lp_entry *e)
{
	struct lp_op *op = lp_changeset_add(cs, LP_OP_MOVE, to, e, NULL);

	op->from = lp_xstrdup(from);
	return op;
}

size_t lp_op_recipe(struct lp_op *op, const struct lp_segment **out)
{
	const struct lp_base *base = &op->base;

	if (!op->recipe && base->written)
		op->n_recipe = lp_ranges_recipe(base->written, base->chunks->bytes, op->e.size,
						&op->recipe);
	else if (!op->recipe)
		op->n_recipe = lp_chunks_recipe(base->chunks, op->chunks, &op->recipe);
	*out = op->recipe;
	return op->n_recipe;
}

static uint64_t new_bytes(struct lp_op *op)
{
	const struct lp_segment *segments;
	uint64_t sum = 0;
	size_t n = lp_op_recipe(op, &segments);

	for (size_t i = 0; i < n; i++)
		sum += segments[i].is_new ? segments[i].len : 0;
	return sum;
}

uint64_t lp_op_bytes(struct lp_op *op)
{
	if (op->kind != LP_OP_PUT || op->e.kind == LP_KIND_DIR)
		return 0;
	return op->chunks && op->base.chunks ? new_bytes(op) : op->e.size;
}

static int by_place(const void *a, const void *b)
{
	const struct lp_op *x = a, *y = b;
	bool x_moves = x->kind == LP_OP_MOVE, y_moves = y->kind == LP_OP_MOVE;
	int c = x_moves || y_moves ? y_moves - x_moves : strcmp(x->path, y->path);

	return c ? c : x->seq < y->seq ? -1 : x->seq > y->seq;
}

static bool is_replaced(const struct lp_changeset *cs, size_t i)
{
	const struct lp_op *op = &cs->ops[i];

	return op->kind != LP_OP_MOVE && i + 1 < cs->n_ops &&
	       strcmp(op->path, cs->ops[i + 1].path) == 0;
}

void lp_changeset_sort(struct lp_changeset *cs)
{
	size_t kept = 0;
	bool sorted = true;

	for (size_t i = 0; i < cs->n_ops; i++) {
		cs->ops[i].seq = i;
		sorted = sorted && (i == 0 || by_place(&cs->ops[i - 1], &cs->ops[i]) < 0);
	}
	if (!sorted)
		qsort(cs->ops, cs->n_ops, sizeof(*cs->ops), by_place);
	cs->bytes = 0;
	for (size_t i = 0; i < cs->n_ops; i++) {
		if (is_replaced(cs, i)) {
			free_op(&cs->ops[i]);
			continue;
		}
		cs->bytes += lp_op_bytes(&cs->ops[i]);
		cs->ops[kept++] = cs->ops[i];
	}
	cs->n_ops = kept;
}
