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

/* Resolves app against conf (of the workspace). may_embed: an app that is found nowhere else and
 * has a command is started here. secret_file: from the command line, or NULL. Returns 0, -ENOENT
 * (nothing of that name, with what would help) or another -errno. */
int lp_target_resolve(struct lp_target *out, const struct lp_conf *conf, const char *app,
		      const char *secret_file, bool may_embed, struct lp_err *err) LP_MUST_USE;

void lp_target_finish(struct lp_target *t);

/* What the command line says of TLS goes before the configuration, for all that is resolved from
 * now on: a file of authorities and pins, each NULL when not given. Borrowed for ever. */
void lp_target_trust(const char *ca_file, const char *pins);

/* The address where people see the app: "http://127.0.0.1:8080/" for a ws:// one. Owned by the
 * caller. */
char *lp_target_http_url(const char *url);

#endif
