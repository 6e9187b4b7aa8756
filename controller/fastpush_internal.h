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

/* token: NULL: nobody gets in. listen: as found first. task: under way, or NULL. stop: it gives up.
 */
struct lp_fastpush {
	bool is_on;
	bool is_said;
	char *token;
	char *path;
	char *listen;
	struct lp_fastpush_conf conf;
	regex_t restarts;
	regex_t ignored;
	bool has_restarts;
	bool has_ignored;
	atomic_bool stop;
	struct fp_task *task;
};

/* Turns everything off. */
void lp_fastpush_forget_conf(struct lp_fastpush *fp);

#endif
