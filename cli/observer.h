/* cli/observer.h: asking an app's instances without mirroring anything: for restart, status, logs
 * and doctor. */
#ifndef LP_CLI_OBSERVER_H
#define LP_CLI_OBSERVER_H

#include "cli/command.h"
#include "cli/target.h"
#include "link/link.h"

/* Where an app's instances are: from its session on this machine (session gets that one's answer to
 * "endpoints", the caller's; NULL: none), or from ./livepush.yml or an address. Returns 0 or
 * -errno. */
struct json_t;
int lp_observer_find(struct lp_target *out, struct json_t **session, const char *app,
		     const char *secret_file, struct lp_err *err) LP_MUST_USE;

/* on_up: ask. on_message: returns true when this instance has said all that was asked. on_down:
 * lost or never reached. Any may be NULL. */
struct lp_observer_ops {
	void (*on_up)(void *ctx, struct lp_link *link, const char *instance);
	bool (*on_message)(void *ctx, struct lp_link *link, const struct lp_msg *msg);
	void (*on_down)(void *ctx, struct lp_link *link, const char *reason);
	void *ctx;
};

/* Connects to all instances and runs until each has said all, or is down, or the time is over
 * (timeout_ms 0: no limit), or a signal. Returns how many did not say all, or -errno. interrupted
 * (NULL allowed) tells of a signal. */
int lp_observer_run(const struct lp_target *target, uint32_t timeout_ms,
		    const struct lp_observer_ops *ops, bool *interrupted,
		    struct lp_err *err) LP_MUST_USE;

#endif
