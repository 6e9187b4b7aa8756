/* cli/log_print.h: an app's output by lines, for people and programs: JSON events, or lines on
 * stdout with the name of their instance before them when there are several. */
#ifndef LP_CLI_LOG_PRINT_H
#define LP_CLI_LOG_PRINT_H

#include "wire/msg.h"

struct lp_log_print; /* opaque */

/* n: instances. json: an object a line. times: each line begins with when the instance read it. */
struct lp_log_print *lp_log_print_create(size_t n, bool json, bool times);
void lp_log_print_destroy(struct lp_log_print *p); /* NULL is allowed */

/* Names instance i; its number otherwise. */
void lp_log_print_name(struct lp_log_print *p, unsigned i, const char *instance_id);

/* Prints the lines that end in a piece of instance i's output. */
void lp_log_print_take(struct lp_log_print *p, unsigned i, const struct lp_msg_log *log);

/* Prints what instance i has begun of lines without an end. */
void lp_log_print_end(struct lp_log_print *p, unsigned i);

#endif
