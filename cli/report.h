/* cli/report.h: what a mount, watch or push tells its user about saves: JSON events, or one calm
 * line a save. Remembers how far each instance is. */
#ifndef LP_CLI_REPORT_H
#define LP_CLI_REPORT_H

#include "wire/msg.h"

struct lp_report; /* opaque */

/* app: borrowed. follows: the instances' output is printed as it comes, so that a failure need not
 * show it again. */
struct lp_report *lp_report_create(const char *app, size_t n_instances, bool json, bool follows);
void lp_report_destroy(struct lp_report *r); /* NULL is allowed */

/* A changeset was given to the links. */
void lp_report_saved(struct lp_report *r, const struct lp_changeset *cs);

/* Everything has come to an end for the first time: every instance serves, or has failed. */
void lp_report_ready(struct lp_report *r, const char *url, const char *dir, uint64_t revision);

/* A message of instance `i`: APPLIED, RESTARTED, SETTLED, FAILED, LOG. */
void lp_report_message(struct lp_report *r, unsigned i, const struct lp_msg *msg);

/* Instance i is connected, or not (reason). */
void lp_report_connected(struct lp_report *r, unsigned i, const char *instance_id);
void lp_report_disconnected(struct lp_report *r, unsigned i, const char *reason);

/* Instance i has refused for good, or is lost: the others go on. */
void lp_report_lost(struct lp_report *r, unsigned i, const char *reason);

/* Whether every instance has applied and settled `revision` or a newer one. Returns 1; 0 when not
 * yet; -1 when an instance failed at it, with the reason in why. */
int lp_report_outcome(const struct lp_report *r, uint64_t revision, char *why, size_t why_bytes);

/* The newest revision that every connected instance has settled; 0: none. */
uint64_t lp_report_served(const struct lp_report *r);

/* How instance i is; its name is borrowed from the report. */
void lp_report_member(const struct lp_report *r, unsigned i, struct lp_wire_member *out);

/* Whether instance i has settled, or failed, anything since it connected. */
bool lp_report_has_outcome(const struct lp_report *r, unsigned i);

#endif
