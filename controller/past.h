/* controller/past.h: what an instance was given before, and its ways back: keeps the list of
 * revisions, answers HISTORY and ROLLBACK, and goes back by itself when the configuration says so.
 * Loop thread. */
#ifndef LP_CONTROLLER_PAST_H
#define LP_CONTROLLER_PAST_H

#include "controller/instance_internal.h"
#include "controller/revisions.h"

/* What the tree was given and what became of it; a failure may lead to a rollback. */
void lp_past_applied(struct lp_instance *in, const struct lp_applied *a);
void lp_past_settled(struct lp_instance *in, uint64_t revision);
void lp_past_failed(struct lp_instance *in, const struct lp_sup_failure *f);

/* The livepush.yml that came with a revision is in force. What came with a broken one, and what
 * follows until then, counts as failed, though the app serves with the configuration before it. */
void lp_past_conf_good(struct lp_instance *in, uint64_t revision);

/* A rollback came to its end: notes it and tells everyone. */
void lp_past_rolled(struct lp_instance *in, const struct lp_rollback *r);

/* Fills in the answer to HISTORY; its array is the caller's, texts are borrowed until the list of
 * revisions changes. */
void lp_past_list(struct lp_instance *in, uint64_t most, struct lp_msg_revisions *out);

/* Begins what ROLLBACK asks for. Returns 0, or -errno with the reason. */
int lp_past_rollback(struct lp_instance *in, const struct lp_msg_rollback *what,
		     struct lp_err *err) LP_MUST_USE;

#endif
