/* common/conf/conf_front.h: the reader of `front:`. Internal to the room. */
#ifndef LP_COMMON_CONF_CONF_FRONT_H
#define LP_COMMON_CONF_CONF_FRONT_H

#include "common/conf/conf_read.h"

/* struct lp_conf_front: a mapping of the front door's limits. */
conf_value_fn conf_read_front;

#endif
