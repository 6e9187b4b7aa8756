/* controller/echo.h: what the app writes goes to the controller's own standard output, too, where
 * whoever runs the instance looks for it. Never waits for a reader. Loop thread. */
#ifndef LP_CONTROLLER_ECHO_H
#define LP_CONTROLLER_ECHO_H

#include "common/loop/loop.h"

/* What waits for a slow reader, at most. */
#define LP_ECHO_MAX_BYTES 262144u

struct lp_echo; /* opaque */

/* fd: where it goes: a file, pipe, terminal or socket; borrowed. Its mode is left as it is, because
 * others may have it, too. Somebody else sees to SIGPIPE. Returns 0 or -errno. */
int lp_echo_create(struct lp_echo **out, struct lp_loop *loop, int fd,
		   struct lp_err *err) LP_MUST_USE;
void lp_echo_destroy(struct lp_echo *echo); /* NULL is allowed */

/* Bytes as they are. What finds no room is dropped up to the end of a line, which a warning in the
 * log tells; after an error, or without a reader, everything is. echo: NULL does nothing. */
void lp_echo_add(struct lp_echo *echo, const char *data, size_t len);

/* Bytes that were dropped so far. */
uint64_t lp_echo_dropped(const struct lp_echo *echo);

#endif
