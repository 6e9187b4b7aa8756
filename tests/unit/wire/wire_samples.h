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

/* Whether two messages have the same kind and fields: bytes and arrays by content. */
bool wire_equal(const struct lp_msg *a, const struct lp_msg *b);

/* The same for a sample and what was decoded, and nothing in their memory differs besides: a member
 * that encoding or decoding forgot makes them differ. */
bool wire_equal_sample(const struct lp_msg *sample, const struct lp_msg *decoded);

#endif
