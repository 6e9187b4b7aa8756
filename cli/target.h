/* cli/target.h: from the name of an app to its instances: an address given outright, a target of
 * livepush.yml, or an instance on this machine that is started for it. */
#ifndef LP_CLI_TARGET_H
#define LP_CLI_TARGET_H

#include "common/conf/conf.h"

#include <stdbool.h>

/* urls: n of them, one per instance; none for an embedded one, whose address comes later. All
 * owned. */
struct lp_target {
	char *app;
	char **urls;
	size_t n_urls;
	char *secret;
	char *ca_file;
	char *pins; /* as in common/loop/ws.h; NULL: any */
	enum lp_conf_compress compress;
	bool embedded;
};

/* Whether a text begins as an address does: "ws://" or "wss://". */
bool lp_target_is_url(const char *app);

/* Whether there can be such an app: not an address that is none, nor one without ws://. Returns 0,
 * or -EINVAL with what to write instead. */
int lp_target_check_name(const char *app, struct lp_err *err) LP_MUST_USE;

/* Resolves app, which passed lp_target_check_name, against conf (of the workspace). may_embed: an
 * app that is found nowhere else and has a command is started here. secret_file: from the command
 * line, or NULL. Returns 0, -ENOENT (nothing of that name, with what would help), -EINVAL (for a
 * value of the command line or of a variable that is none, and for nothing else) or another -errno.
 */
int lp_target_resolve(struct lp_target *out, const struct lp_conf *conf, const char *app,
		      const char *secret_file, bool may_embed, struct lp_err *err) LP_MUST_USE;

void lp_target_finish(struct lp_target *t);

/* What the command line says of TLS goes before the configuration, for all that is resolved from
 * now on: a file of authorities and pins, each NULL when not given. is_asked: one of them stands on
 * the command line itself, which makes no sense of an app without a wss:// address. Borrowed for
 * ever. */
void lp_target_trust(const char *ca_file, const char *pins, bool is_asked);

/* Whether a text is one pin or several with ';' between them. */
bool lp_target_are_pins(const char *text);

/* The address where people see the app: "http://127.0.0.1:8080/" for a ws:// one. Owned by the
 * caller. */
char *lp_target_http_url(const char *url);

#endif
