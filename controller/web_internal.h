/* controller/web_internal.h: the web's state in an instance, and what sessions share with it: the
 * count of wrong attempts. */
#ifndef LP_CONTROLLER_WEB_INTERNAL_H
#define LP_CONTROLLER_WEB_INTERNAL_H

#include "controller/instance_internal.h"

/* Makes in->web from the options and the environment; releases it. */
void lp_web_create(struct lp_instance *in);
void lp_web_destroy(struct lp_instance *in);

/* forwarded_for: of the request or connection. How long its address has to wait before another
 * attempt is looked at; 0: not at all. */
uint64_t lp_web_wait_us(struct lp_instance *in, const char *forwarded_for);

/* The same in whole seconds for an HTTP request, whose answer it adds to: Retry-After. */
unsigned lp_web_wait_s(struct lp_instance *in, struct lp_http *http);

/* An attempt to prove the secret was looked at. */
void lp_web_attempt(struct lp_instance *in, const char *forwarded_for, bool passed);

#endif
