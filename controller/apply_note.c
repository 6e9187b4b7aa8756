/* controller/apply_note.c: says in the log what is wrong with the tree. */
#include "controller/apply_internal.h"

#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"

#include <inttypes.h>

/* What could not be done is tried again after that. */
#define OWED_FIRST_US ((uint64_t)1000000)

void lp_apply_note_damage(const struct lp_tree *t)
{
	uint64_t unread = lp_tree_unread(t);

	if (lp_tree_has_damage(t))
		lp_log(LP_ERROR, "apply",
		       "a changeset was not finished and its journal is damaged: what it replaced "
		       "is kept in " LP_STATE_DIR "/damaged; the next owner sees what differs");
	if (unread > 0)
		lp_log(LP_WARN, "apply",
		       "the last %" PRIu64 " bytes of " LP_STATE_DIR
		       "/owned cannot be read (damaged, or cut off by a crash): what only they "
		       "name counts as the app's and stays; the next owner takes over what its "
		       "workspace has, what it deleted meanwhile is to be removed by hand",
		       unread);
}

static void note_left(struct lp_apply *a)
{
	LP_AUTO_FREE char *path = NULL;
	size_t n = lp_tree_left(a->tree, &path);

	if (n == 1)
		lp_log(LP_WARN, "apply",
		       "'%s' is not taken back: the app changed it meanwhile, and it stays as the "
		       "app has it",
		       path);
	else if (n > 1)
		lp_log(LP_WARN, "apply",
		       "'%s' and %zu more are not taken back: the app changed them meanwhile, and "
		       "they stay as the app has them",
		       path, n - 1);
}

void lp_apply_note_state(struct lp_apply *a)
{
	struct lp_err why = {0};
	bool owes = lp_tree_owes(a->tree, &why), is_old;

	if (owes && !a->owes)
		lp_log(LP_ERROR, "apply", "%s", why.msg);
	else if (!owes && a->owes)
		lp_log(LP_INFO, "apply", "what could not be put back is as it was again");
	is_old = lp_tree_log_is_old(a->tree, &why);
	if (is_old && !a->is_old)
		lp_log(LP_WARN, "apply", "%s", why.msg);
	else if (!is_old && a->is_old)
		lp_log(LP_INFO, "apply", LP_STATE_DIR "/owned was written anew");
	if ((owes && !a->owes) || (is_old && !a->is_old))
		a->owed_wait_us = OWED_FIRST_US;
	a->owes = owes;
	a->is_old = is_old;
	note_left(a);
}
