/* wire_samples.h: a message of every kind with every field set, and a comparison that misses none.
 */
#ifndef LP_TESTS_UNIT_WIRE_WIRE_SAMPLES_H
#define LP_TESTS_UNIT_WIRE_WIRE_SAMPLES_H

#include "wire/msg.h"

struct wire_sample {
	const char *name;
	struct lp_msg msg;
};

/* At least one of every kind; no byte of any field is zero unless the name says so. */
extern const struct wire_sample wire_samples[];
extern const size_t wire_n_samples;

/* Text or bytes in the form that messages want; s is a string literal. */
#define WIRE_BYTES(s)                                                                              \
	{                                                                                          \
		(const uint8_t *)(s), sizeof(s) - 1                                                \
	}

/* Whether two messages say the same: bytes and arrays by content, everything else by memory, so
 * that a field which encoding or decoding forgot makes them differ. */
bool wire_equal(const struct lp_msg *a, const struct lp_msg *b);

#endif
