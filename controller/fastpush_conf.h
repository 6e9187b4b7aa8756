/* controller/fastpush_conf.h: cf-fastpush-controller's configuration: its file and its variables.
 */
#ifndef LP_CONTROLLER_FASTPUSH_CONF_H
#define LP_CONTROLLER_FASTPUSH_CONF_H

#include "common/base/lp_err.h"

enum lp_fastpush_key {
	LP_FP_BIND_ADDRESS,
	LP_FP_PORT,
	LP_FP_BACKEND_COMMAND,
	LP_FP_BACKEND_DIRS,
	LP_FP_BACKEND_PORT,
	LP_FP_RESTART_REGEX,
	LP_FP_IGNORE_REGEX,
	LP_FP_BASE_PATH,
	LP_FP_KEY_COUNT_,
};

/* values: by key, owned, NULL where nothing was said. */
struct lp_fastpush_conf {
	char *values[LP_FP_KEY_COUNT_];
};

/* Reads the first of /etc/, $HOME/.config/ and the tree that has a cf-fastpush-controller.yml, then
 * the variables: BACKEND_COMMAND for backend_command and so on. An unknown key is left alone, as
 * fastpush does. Returns 0, or -EINVAL for a file that is none; then *out is empty. */
int lp_fastpush_conf_load(struct lp_fastpush_conf *out, int tree_fd,
			  struct lp_err *err) LP_MUST_USE;

void lp_fastpush_conf_finish(struct lp_fastpush_conf *conf);

#endif
