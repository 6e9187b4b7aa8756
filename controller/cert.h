/* controller/cert.h: the front door's certificate: which files it is, and taking renewed ones. */
#ifndef LP_CONTROLLER_CERT_H
#define LP_CONTROLLER_CERT_H

#include "common/base/lp_err.h"

struct lp_instance;
struct lp_proxy_opts;
struct lp_conf;

/* Fills opts->tls_cert and tls_key by the command line or, where that says nothing, the
 * configuration; while the tree's livepush.yml is broken, by what the last good one said, which is
 * kept below LP_STATE_DIR; neither: they stay NULL and the door speaks plain HTTP. Borrowed until
 * lp_cert_close. Returns 0, or -EINVAL for one without the other. */
int lp_cert_open(struct lp_instance *in, struct lp_proxy_opts *opts,
		 struct lp_err *err) LP_MUST_USE;

/* The door is open: looks every few seconds whether the files have changed, and takes them. What
 * cannot be used is logged and leaves the old in force. */
void lp_cert_watch(struct lp_instance *in);

/* Another configuration: takes the files that it names. Whether the door speaks TLS at all stays as
 * it was at the start. Returns 0, or -errno with the old in force. */
int lp_cert_reconfigure(struct lp_instance *in, const struct lp_conf *conf,
			struct lp_err *err) LP_MUST_USE;

/* Releases it; harmless without. */
void lp_cert_close(struct lp_instance *in);

#endif
