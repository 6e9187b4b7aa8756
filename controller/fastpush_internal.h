/* controller/fastpush_internal.h: what fastpush.c (the calls) and fastpush_setup.c (on, off and
 * how) share. */
#ifndef LP_CONTROLLER_FASTPUSH_INTERNAL_H
#define LP_CONTROLLER_FASTPUSH_INTERNAL_H

#include "controller/fastpush.h"
#include "controller/fastpush_conf.h"

#include <regex.h>
#include <stdatomic.h>

#define LP_FP_BASE_PATH_DEFAULT "/_fastpush"

struct fp_task; /* one call that takes time */

/* What a configuration that turns the calls on says. Owned by whoever holds it. listen: NULL where
 * it says none. */
struct fp_calls {
	char *path;
	char *listen;
	struct lp_fastpush_conf conf;
	regex_t restarts;
	regex_t ignored;
	bool has_restarts;
	bool has_ignored;
};

/* token: NULL: nobody gets in. calls: NULL: off. next: what the configuration that was read last
 * makes of them, until it is adopted. task: under way, or NULL. stop: it gives up. */
struct lp_fastpush {
	bool is_said;
	char *token;
	struct fp_calls *calls;
	struct fp_calls *next;
	atomic_bool stop;
	struct fp_task *task;
};

/* NULL is allowed. */
void lp_fastpush_calls_destroy(struct fp_calls *calls);

#endif
