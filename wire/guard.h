/* wire/guard.h: a look over msgpack bytes before the library unpacks them. Private to wire/. */
#ifndef LP_WIRE_GUARD_H
#define LP_WIRE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether data[0..len) is exactly one msgpack value, complete, nested at most 4 deep, without maps
 * and extensions, in which no count or length promises more than is there. msgpack-c allocates for
 * the promised number of elements, so a five-byte message could ask for gigabytes. Format:
 * https://github.com/msgpack/msgpack/blob/master/spec.md */
bool lp_guard_check(const uint8_t *data, size_t len);

#endif
