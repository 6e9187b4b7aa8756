/* controller/privilege.h: giving up what a controller does not need, before it does anything. */
#ifndef LP_CONTROLLER_PRIVILEGE_H
#define LP_CONTROLLER_PRIVILEGE_H

#include "common/base/lp_err.h"

/* Drops every capability (capabilities(7)) apart from those that a tree, a port below 1024 and an
 * app that changes its user need: CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID and
 * NET_BIND_SERVICE; for children, too. One that is permitted and not effective stays so. Sets
 * no_new_privs (prctl(2)): no program that is started from here gains anything by set-id bits or
 * file capabilities. Before other threads are started. Returns 0 or -errno. */
int lp_privilege_drop(struct lp_err *err) LP_MUST_USE;

#endif
