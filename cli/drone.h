/* cli/drone.h: the embedded drone: a livepush-controller on this machine for as long as a command
 * runs, on a free port, in a private copy of the workspace. It is told of our end by a pipe, so
 * that it stops the app and removes the copy even when we are killed. */
#ifndef LP_CLI_DRONE_H
#define LP_CLI_DRONE_H

#include "common/loop/loop.h"

struct lp_drone; /* opaque */

/* on_listening: the controller answers at this ws:// address (borrowed). on_ended: it is gone (and
 * with it the copy); reason for people; not the place to
 * destroy it. All in the loop's thread. */
struct lp_drone_ops {
	void (*on_listening)(void *ctx, const char *url);
	void (*on_ended)(void *ctx, const char *reason);
	void *ctx;
};

/* Starts livepush-controller (beside our own binary, in its build folder, $LIVEPUSH_CONTROLLER or
 * in the PATH). secret reaches it by its environment. Returns 0 or -errno. */
int lp_drone_start(struct lp_drone **out, struct lp_loop *loop, const char *secret,
		   const struct lp_drone_ops *ops, struct lp_err *err) LP_MUST_USE;

/* Asks it to end; on_ended follows when nothing of it is left. One that has not ended after the
 * app's grace and a margin is killed. */
void lp_drone_stop(struct lp_drone *d, uint32_t grace_ms);

/* Releases it. One that still runs ends by itself. NULL is allowed. */
void lp_drone_destroy(struct lp_drone *d);

#endif
