/* cli/mirror.h: a session that keeps an app equal to a workspace: what mount, watch and push have
 * in common. */
#ifndef LP_CLI_MIRROR_H
#define LP_CLI_MIRROR_H

#include "cli/command.h"

#define LP_VERIFY_DEFAULT_MS 300000u

enum lp_mirror_mode {
	LP_MIRROR_MOUNT,  /* FUSE and inotify */
	LP_MIRROR_WATCH,  /* inotify */
	LP_MIRROR_PUSH,   /* once */
	LP_MIRROR_VERIFY, /* once, and every file of the instances is read */
};

/* Runs the session to its end: a signal, a refusal, or (push, verify) when there is nothing left to
 * do. Returns the exit status. */
int lp_mirror_run(const struct lp_args *args, const char *dir, const char *app,
		  enum lp_mirror_mode mode);

/* Prints what a comparison found, [{"instance":…,"state":…},…]. Returns the exit status. */
struct json_t;
int lp_verify_print(const char *app, const struct json_t *instances, bool json);

#endif
