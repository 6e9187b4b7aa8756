/* controller/instance.h: an instance as a whole: tree, app, front door and sessions put together.
 */
#ifndef LP_CONTROLLER_INSTANCE_H
#define LP_CONTROLLER_INSTANCE_H

#include "common/base/lp_err.h"

#include <stdbool.h>

/* tree: directory. listen: address for the front
 * door; NULL: what the configuration says, or $PORT. secret: NULL closes the control endpoint.
 * config: a livepush.yml elsewhere; NULL: the tree's own, followed as it changes. command:
 * NULL-terminated, instead of the configuration's; NULL: none. parent_fd: stop when it reaches its
 * end; -1: none. ephemeral: remove the tree at the end. wait: do not start the app before the first
 * changeset. tls_cert, tls_key: files of the front door's certificate; NULL: what the configuration
 * says. echo: repeat the app's output on standard output. hosts: NULL-terminated names by which it
 * is reached, or NULL. on_listening: it answers at "127.0.0.1:8080" from now on. All borrowed. */
struct lp_instance_opts {
	const char *tree;
	const char *listen;
	const char *secret;
	const char *config;
	const char *tls_cert;
	const char *tls_key;
	char *const *command;
	const char *const *hosts;
	int parent_fd;
	bool echo;
	bool ephemeral;
	bool wait;
	void (*on_listening)(const char *address);
};

/* Runs until a signal or the parent's end, then stops the app. Returns 0 or -errno:
 * -EDESTADDRREQ when nothing says where to listen. */
int lp_instance_run(const struct lp_instance_opts *opts, struct lp_err *err) LP_MUST_USE;

#endif
