/* lp_buf.h: a growable byte buffer with a ceiling. Does no I/O. */
#ifndef LP_COMMON_BASE_LP_BUF_H
#define LP_COMMON_BASE_LP_BUF_H

#include "common/base/lp_util.h"

#include <stddef.h>
#include <stdint.h>

/* data[0..len) is valid; data is owned by the buffer. max is the most that len may become; 0 means
 * 1 GiB. A zeroed struct is a valid empty buffer. */
struct lp_buf {
	uint8_t *data;
	size_t len;
	size_t cap;
	size_t max;
};

/* Prepares an empty buffer that may grow to max bytes. */
void lp_buf_init(struct lp_buf *b, size_t max);

/* Releases the memory and leaves an empty buffer with the same ceiling. */
void lp_buf_finish(struct lp_buf *b);

/* Makes room for `more` bytes after len. Returns 0, -EMSGSIZE (over max) or -ENOMEM; on failure the
 * buffer is unchanged. */
int lp_buf_reserve(struct lp_buf *b, size_t more) LP_MUST_USE;

/* Appends len bytes. Returns as lp_buf_reserve. */
int lp_buf_add(struct lp_buf *b, const void *data, size_t len) LP_MUST_USE;

/* Appends a string without its NUL. Returns as lp_buf_reserve. */
int lp_buf_add_str(struct lp_buf *b, const char *s) LP_MUST_USE;

/* Appends formatted text without a NUL. Returns as lp_buf_reserve. */
int lp_buf_addf(struct lp_buf *b, const char *fmt, ...) LP_PRINTF(2, 3) LP_MUST_USE;

/* Drops the first n (at most len) bytes. */
void lp_buf_drop(struct lp_buf *b, size_t n);

/* Puts a NUL behind the content without counting it. Returns data as text, or NULL when there is no
 * memory. Borrowed until the buffer changes. */
const char *lp_buf_text(struct lp_buf *b);

#endif
