/* sync/guard.c: counting what a changeset takes away. */
#include "sync/guard.h"

struct lp_loss lp_changeset_loss(const struct lp_changeset *cs, size_t before, size_t after)
{
	struct lp_loss loss = {.of = before};
	size_t had = before;

	for (size_t i = 0; i < cs->n_ops; i++) {
		const struct lp_op *op = &cs->ops[i];

		had += (op->kind == LP_OP_PUT || op->kind == LP_OP_KEEP) &&
		       op->e.kind != LP_KIND_DIR && (op->is_new || op->was_foreign);
	}
	if (had > after)
		loss.files = had - after;
	/* More than there was cannot go. */
	if (loss.files > before)
		loss.files = before;
	return loss;
}

struct lp_loss lp_loss_net(size_t before, size_t after)
{
	return (struct lp_loss){.files = before > after ? before - after : 0, .of = before};
}

bool lp_loss_is_mass(const struct lp_loss *loss)
{
	return loss->files > LP_LOSS_FREE_FILES && loss->files > loss->of / 2;
}
