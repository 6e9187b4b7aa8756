/* cli/output.c: stdout and stderr. */
#include "cli/output.h"

#include "cli/command.h"
#include "common/base/lp_buf.h"
#include "common/base/lp_env.h"
#include "common/base/lp_mem.h"
#include "wire/msg.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool progress_shown;

bool lp_out_json(json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6));
	bool ok;

	json_decref(object);
	ok = text && printf("%s\n", text) > 0;
	free(text);
	return fflush(stdout) == 0 && ok;
}

/* Length of the valid UTF-8 sequence at p, 0 when there is none (RFC 3629, 4: by first byte, and
 * the bounds of the second). */
static size_t utf8_len(const uint8_t *p, size_t left)
{
	static const struct {
		uint8_t first_min, first_max, second_min, second_max;
		size_t len;
	} rows[] = {
		{0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2},
		{0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	size_t row = 0;

	while (row < LP_COUNT_OF(rows) &&
	       (p[0] < rows[row].first_min || p[0] > rows[row].first_max))
		row++;
	if (row == LP_COUNT_OF(rows) || rows[row].len > left)
		return 0;
	if (rows[row].len > 1 && (p[1] < rows[row].second_min || p[1] > rows[row].second_max))
		return 0;
	for (size_t i = 2; i < rows[row].len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return rows[row].len;
}

bool lp_out_is_text(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_len(p + i, len - i);
		if (n == 0)
			return false;
	}
	return true;
}

json_t *lp_out_text(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	struct lp_buf text = {0};
	json_t *s;
	int r = 0;

	for (size_t i = 0; i < len && r == 0;) {
		size_t n = utf8_len(p + i, len - i);

		r = n ? lp_buf_add(&text, p + i, n) : lp_buf_add(&text, "\xef\xbf\xbd", 3);
		i += n ? n : 1;
	}
	s = json_stringn(text.data ? (const char *)text.data : "", text.len);
	lp_buf_finish(&text);
	return s;
}

int lp_out_fail(bool json, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	/* clang 14 takes ap for uninitialised. */
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* NOLINT(clang-analyzer-valist*) */
	va_end(ap);
	lp_out_progress_end();
	(void)fprintf(stderr, "livepush: %s\n", text);
	if (json)
		(void)lp_out_json(json_pack("{s:s, s:o}", "event", "error", "error",
					    lp_out_text(text, strlen(text))));
	return LP_EXIT_FAILED;
}

int lp_out_misuse(const struct lp_args *args, const char *option, const char *what, ...)
{
	char text[128];
	va_list ap;
	LP_AUTO_FREE char *variable = lp_env_name(option);
	bool given = lp_arg_is_given(args, option);

	va_start(ap, what);
	(void)vsnprintf(text, sizeof(text), what, ap); /* NOLINT(clang-analyzer-valist*) */
	va_end(ap);
	(void)lp_out_fail(args->json, "%s: '%s'%s%s is no %s", args->command->name,
			  lp_arg(args, option), given ? "" : " in ", given ? "" : variable, text);
	return LP_EXIT_USAGE;
}

void lp_out_excerpt(const void *text, size_t len)
{
	if (len == 0)
		return;
	(void)fwrite(text, 1, len, stderr);
	if (((const char *)text)[len - 1] != '\n')
		(void)fputc('\n', stderr);
}

void lp_out_say(const char *fmt, ...)
{
	va_list ap;

	lp_out_progress_end();
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap); /* NOLINT(clang-analyzer-valist*) */
	va_end(ap);
	(void)fputc('\n', stderr);
}

bool lp_out_is_terminal(void)
{
	return isatty(STDERR_FILENO) == 1;
}

const char *lp_out_colour(enum lp_colour colour)
{
	static const char *const codes[LP_COLOUR_COUNT_] = {
		[LP_PLAIN] = "\x1b[0m",
		[LP_GREEN] = "\x1b[32m",
		[LP_RED] = "\x1b[31m",
		[LP_DIM] = "\x1b[2m",
	};
	const char *off = getenv("NO_COLOR");

	return (off && off[0]) || !lp_out_is_terminal() ? "" : codes[colour];
}

void lp_out_progress(const char *label, uint64_t done, uint64_t total)
{
	static const char full[] = "########################################";
	int percent = total ? (int)(done * 100 / total) : 100, cells;

	if (!lp_out_is_terminal())
		return;
	if (percent > 100)
		percent = 100;
	cells = percent * 40 / 100;
	(void)fprintf(stderr, "\r%.40s [%.*s%*s] %d %%", label, cells, full, 40 - cells, "",
		      percent);
	progress_shown = true;
}

void lp_out_progress_end(void)
{
	if (progress_shown)
		(void)fprintf(stderr, "\r\x1b[K");
	progress_shown = false;
}

void lp_out_ms(uint64_t us, char out[16])
{
	if (us < 10000)
		(void)snprintf(out, 16, "%.1f", (double)us / 1000);
	else
		(void)snprintf(out, 16, "%llu", (unsigned long long)(us / 1000 % 1000000000000));
}

char *lp_out_printable(const char *text)
{
	struct lp_bytes bytes = lp_bytes_of(text);
	char *out = lp_xcalloc(1, bytes.len + 1);

	lp_bytes_text(&bytes, out, bytes.len + 1);
	return out;
}

const char *lp_json_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}
