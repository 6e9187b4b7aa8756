/* lp_err.h: an error as a value on the caller's stack. Nothing here prints. */
#ifndef LP_COMMON_BASE_LP_ERR_H
#define LP_COMMON_BASE_LP_ERR_H

#include "common/base/lp_util.h"

/* code: a positive errno. msg: text for a person, without a trailing newline, always terminated.
 * A function that succeeds leaves it untouched. */
struct lp_err {
	int code;
	char msg[512];
};

/* Sets err (NULL is allowed) to errno `code`; the text is the formatted one followed by
 * ": " and strerror(code). Returns -code. */
int lp_err_set(struct lp_err *err, int code, const char *fmt, ...) LP_PRINTF(3, 4);

/* The same without the strerror text: for causes that the caller words itself. Returns -code. */
int lp_err_say(struct lp_err *err, int code, const char *fmt, ...) LP_PRINTF(3, 4);

/* Puts the formatted text and ": " before the message that err holds. Returns r unchanged. */
int lp_err_wrap(struct lp_err *err, int r, const char *fmt, ...) LP_PRINTF(3, 4);

/* Gives err (NULL is allowed) another code and leaves its message. Returns -code. */
int lp_err_as(struct lp_err *err, int code);

#endif
