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

void lp_changeset_unref(struct lp_changeset *cs)
{
	if (!cs || --cs->refs > 0)
		return;
	for (size_t i = 0; i < cs->n_ops; i++) {
		free(cs->ops[i].path);
		lp_blob_unref(cs->ops[i].blob);
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

static int by_path_and_age(const void *a, const void *b)
{
	const struct lp_op *x = a, *y = b;
	int c = strcmp(x->path, y->path);

	return c ? c : x->seq < y->seq ? -1 : x->seq > y->seq;
}

void lp_changeset_sort(struct lp_changeset *cs)
{
	size_t kept = 0;

	for (size_t i = 0; i < cs->n_ops; i++)
		cs->ops[i].seq = i;
	if (cs->n_ops > 1)
		qsort(cs->ops, cs->n_ops, sizeof(*cs->ops), by_path_and_age);
	for (size_t i = 0; i < cs->n_ops; i++) {
		struct lp_op *op = &cs->ops[i];

		if (i + 1 < cs->n_ops && strcmp(op->path, cs->ops[i + 1].path) == 0) {
			if (op->kind == LP_OP_PUT && op->e.kind != LP_KIND_DIR)
				cs->bytes -= op->e.size;
			free(op->path);
			lp_blob_unref(op->blob);
			continue;
		}
		cs->ops[kept++] = *op;
	}
	cs->n_ops = kept;
}
