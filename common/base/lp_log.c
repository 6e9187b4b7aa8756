/* lp_log.c: the log lines of the shells. */
#include "common/base/lp_log.h"

#include "common/base/lp_log_out.h"
#include "common/base/lp_utf8.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static const char *const level_names[LP_LOG_LEVEL_COUNT_] = {
	[LP_TRACE] = "trace", [LP_DEBUG] = "debug", [LP_INFO] = "info",
	[LP_WARN] = "warn",   [LP_ERROR] = "error",
};
static atomic_int least_level = LP_WARN;

void lp_log_set_level(enum lp_log_level level)
{
	atomic_store(&least_level, (int)level);
}

int lp_log_level_by_name(const char *name)
{
	for (size_t i = 0; i < LP_COUNT_OF(level_names); i++)
		if (strcmp(name, level_names[i]) == 0)
			return (int)i;
	return -1;
}

int lp_log_on(enum lp_log_level level)
{
	return (int)level >= atomic_load(&least_level);
}

void lp_log(enum lp_log_level level, const char *module, const char *fmt, ...)
{
	char line[4096];
	va_list ap;
	int n, m;
	size_t len;

	if (!lp_log_on(level))
		return;
	n = snprintf(line, sizeof(line), "%s %s: ", level_names[level], module);
	if (n < 0 || (size_t)n >= sizeof(line) - 1)
		return;
	va_start(ap, fmt);
	/* clang 14 takes ap for uninitialised. NOLINTNEXTLINE(clang-analyzer-valist*) */
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (m < 0)
		return;
	lp_utf8_plain(line);
	len = strlen(line);
	line[len++] = '\n';
	lp_log_out(line, len);
}

bool lp_log_may(struct lp_log_limit *limit, uint64_t now_us, unsigned *left_out)
{
	if (limit->lines == 0 || now_us - limit->since_us >= LP_LOG_LIMIT_US) {
		limit->since_us = now_us;
		limit->lines = 0;
	}
	if (limit->lines == LP_LOG_LIMIT_LINES) {
		limit->left_out++;
		return false;
	}
	limit->lines++;
	*left_out = limit->left_out;
	limit->left_out = 0;
	return true;
}
