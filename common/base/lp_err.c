/* lp_err.c: formats errors into the caller's struct. */
#include "common/base/lp_err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void LP_PRINTF(2, 0) format(struct lp_err *err, const char *fmt, va_list ap)
{
	int n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);

	if (n < 0)
		err->msg[0] = '\0';
}

int lp_err_set(struct lp_err *err, int code, const char *fmt, ...)
{
	va_list ap;
	size_t len;
	char text[128];

	if (!err)
		return -code;
	err->code = code;
	va_start(ap, fmt);
	format(err, fmt, ap);
	va_end(ap);
	len = strlen(err->msg);
	(void)snprintf(err->msg + len, sizeof(err->msg) - len, ": %s",
		       strerror_r(code, text, sizeof(text)));
	return -code;
}

int lp_err_say(struct lp_err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -code;
	err->code = code;
	va_start(ap, fmt);
	format(err, fmt, ap);
	va_end(ap);
	return -code;
}

int lp_err_wrap(struct lp_err *err, int r, const char *fmt, ...)
{
	char inner[sizeof(err->msg)];
	va_list ap;
	size_t len;

	if (!err)
		return r;
	memcpy(inner, err->msg, sizeof(inner));
	va_start(ap, fmt);
	format(err, fmt, ap);
	va_end(ap);
	len = strlen(err->msg);
	(void)snprintf(err->msg + len, sizeof(err->msg) - len, ": %.*s",
		       (int)(sizeof(err->msg) - len), inner);
	return r;
}

int lp_err_as(struct lp_err *err, int code)
{
	if (err)
		err->code = code;
	return -code;
}
