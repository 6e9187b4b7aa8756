/* cli/mirror.h: a session that keeps an app equal to a workspace: what mount, watch and push have
 * in common. */
#ifndef LP_CLI_MIRROR_H
#define LP_CLI_MIRROR_H

#include "cli/command.h"

enum lp_mirror_mode {
	LP_MIRROR_MOUNT, /* FUSE and inotify */
	LP_MIRROR_WATCH, /* inotify */
	LP_MIRROR_PUSH,  /* once */
};

/* Runs the session to its end: a signal, a refusal, or (push) when everything is healthy. Returns
 * the exit status. args: of the command, with words DIR and APP. */
int lp_mirror_run(const struct lp_args *args, enum lp_mirror_mode mode);

#endif
