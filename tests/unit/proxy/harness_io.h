/* tests/unit/proxy/harness_io.h: blocking reads and writes of HTTP on a socket, for both sides of
 * the tests. */
#ifndef LP_TESTS_UNIT_PROXY_HARNESS_IO_H
#define LP_TESTS_UNIT_PROXY_HARNESS_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/* The wall clock's time after which a test has failed. */
struct timespec io_deadline(void);

void io_set_timeouts(int fd);

/* Sends all of it; false when the peer is gone. */
bool io_send_all(int fd, const void *data, size_t len);

/* Reads byte by byte to the empty line. Returns the length, 0 at the end of the connection. */
size_t io_read_head(int fd, char *out, size_t bytes);

/* false: the connection ended before. */
bool io_read_exact(int fd, char *out, size_t len);

/* Copies the value of a header to out and returns that; NULL when there is none. */
const char *io_find_header(const char *head, const char *name, char *out, size_t bytes);

/* Reads a chunked body with its trailers, appending to *data (owned by the caller). */
bool io_read_chunks(int fd, char **data, size_t *len);

#endif
