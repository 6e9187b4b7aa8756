/* common/conf/conf_front.h: the readers of `front:` and `tls:`. Internal to the room. */
#ifndef LP_COMMON_CONF_CONF_FRONT_H
#define LP_COMMON_CONF_CONF_FRONT_H

#include "common/conf/conf_read.h"

/* struct lp_conf_front: a mapping of the front door's limits. */
conf_value_fn conf_read_front;

/* struct lp_conf_tls: a mapping of the two files. */
conf_value_fn conf_read_tls;

#endif
