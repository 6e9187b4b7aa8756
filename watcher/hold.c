/* watcher/hold.c: holding changesets back for whoever writes many files that belong together. */
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "watcher/workspace_internal.h"

#include <string.h>

int lp_workspace_hold(struct lp_workspace *ws, const char *who)
{
	lp_grow(&ws->holds, &ws->cap_holds, ws->n_holds + 1, sizeof(*ws->holds));
	ws->last_hold++;
	ws->holds[ws->n_holds++] = (struct lp_hold){ws->last_hold, lp_xstrdup(who)};
	return ws->last_hold;
}

bool lp_workspace_release(struct lp_workspace *ws, int id)
{
	for (size_t i = 0; i < ws->n_holds; i++) {
		if (ws->holds[i].id != id)
			continue;
		free(ws->holds[i].who);
		ws->n_holds--;
		memmove(&ws->holds[i], &ws->holds[i + 1], (ws->n_holds - i) * sizeof(*ws->holds));
		lp_workspace_unheld(ws);
		return true;
	}
	return false;
}

const char *lp_workspace_held(const struct lp_workspace *ws)
{
	return ws->n_holds > 0 ? ws->holds[0].who : lp_git_holds(ws);
}

void lp_workspace_unheld(struct lp_workspace *ws)
{
	if (lp_workspace_held(ws))
		return;
	/* Whoever held has told what belongs together: none of it is waited for any more. */
	ws->quiet_us = lp_now_us();
	if (ws->dirty.n > 0)
		lp_workspace_tell(ws);
}

void lp_holds_finish(struct lp_workspace *ws)
{
	for (size_t i = 0; i < ws->n_holds; i++)
		free(ws->holds[i].who);
	free(ws->holds);
	ws->holds = NULL;
	ws->n_holds = ws->cap_holds = 0;
}
