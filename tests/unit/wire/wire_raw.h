/* wire_raw.h: msgpack by hand for the tests of wire/: a writer and a reader that share nothing with
 * the code under test. */
#ifndef LP_TESTS_UNIT_WIRE_WIRE_RAW_H
#define LP_TESTS_UNIT_WIRE_WIRE_RAW_H

#include "common/base/lp_buf.h"

/* Appenders. They fail the test when there is no memory. */
void raw_bytes(struct lp_buf *out, const void *data, size_t len);
void raw_byte(struct lp_buf *out, unsigned byte);
void raw_uint(struct lp_buf *out, uint64_t v);             /* always uint 64 */
void raw_array(struct lp_buf *out, size_t n);              /* fixarray or array 16 */
void raw_bin(struct lp_buf *out, const void *p, size_t n); /* bin 32 */
void raw_str(struct lp_buf *out, const void *p, size_t n); /* str 32 */

/* The families of msgpack values that a decoder can tell apart. */
enum raw_family {
	RAW_NIL = 1,
	RAW_BOOL,
	RAW_UINT,
	RAW_INT,
	RAW_FLOAT,
	RAW_STR,
	RAW_BIN,
	RAW_ARRAY,
	RAW_MAP,
	RAW_EXT,
};

/* One value inside a message. start and end are offsets; of an array, all its elements included. */
struct raw_value {
	size_t start;
	size_t end;
	enum raw_family family;
	unsigned depth; /* 0: the message itself */
};

/* Lists every value of a well-formed message in pre-order. Returns how many there are; fails the
 * test when there are more than max or when the bytes end early. */
size_t raw_values(const struct lp_buf *msg, struct raw_value *out, size_t max);

/* Appends msg with the bytes [start, end) replaced. */
void raw_replace(struct lp_buf *out, const struct lp_buf *msg, const struct raw_value *v,
		 const void *by, size_t len);

/* A complete value of each family, to put in the place of others. */
struct raw_specimen {
	const char *name;
	enum raw_family family;
	const char *bytes;
	size_t len;
};
extern const struct raw_specimen raw_specimens[];
extern const size_t raw_n_specimens;

#endif
