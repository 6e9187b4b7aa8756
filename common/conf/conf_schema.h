/* common/conf/conf_schema.h: the tables of the keys of livepush.yml. Internal to the room. */
#ifndef LP_COMMON_CONF_CONF_SCHEMA_H
#define LP_COMMON_CONF_CONF_SCHEMA_H

#include "common/conf/conf_read.h"

/* The whole file; its object is a struct lp_conf with the defaults. */
extern const struct conf_map conf_schema;

#endif
