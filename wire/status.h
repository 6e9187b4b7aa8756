/* wire/status.h: what a STATUS says in numbers, under the names that they have in JSON: wherever an
 * instance is asked how it is, the answer reads the same. */
#ifndef LP_WIRE_STATUS_H
#define LP_WIRE_STATUS_H

#include "wire/msg.h"

#define LP_STATUS_NUMBERS 8

struct lp_status_number {
	const char *name; /* static; ends with the unit where there is one */
	uint64_t value;
};

/* All of them, in the order in which they are shown. */
void lp_status_numbers(const struct lp_msg_status *s,
		       struct lp_status_number out[LP_STATUS_NUMBERS]);

#endif
