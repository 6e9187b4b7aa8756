/* cli/output.c: stdout and stderr. */
#include "cli/output.h"

#include "cli/command.h"
#include "common/base/lp_buf.h"
#include "common/base/lp_env.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_utf8.h"

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

json_t *lp_out_text(const void *bytes, size_t len)
{
	struct lp_buf text = {0};
	json_t *s = NULL;

	if (lp_utf8_add(&text, bytes, len) == 0)
		s = json_stringn(text.data ? (const char *)text.data : "", text.len);
	lp_buf_finish(&text);
	return s;
}

/* Length of an escape sequence that sets colours and the like (ECMA-48: SGR), 0 for any other. */
static size_t colour_len(const char *p, size_t left)
{
	size_t n = 2;

	if (left < 3 || p[0] != '\x1b' || p[1] != '[')
		return 0;
	while (n < left && ((p[n] >= '0' && p[n] <= '9') || p[n] == ';' || p[n] == ':'))
		n++;
	return n < left && p[n] == 'm' ? n + 1 : 0;
}

void lp_out_shown(FILE *to, const void *bytes, size_t len)
{
	const char *p = bytes;
	size_t from = 0, i = 0;

	if (isatty(fileno(to)) != 1) {
		(void)fwrite(p, 1, len, to);
		return;
	}
	while (i < len) {
		size_t control = lp_utf8_control(p + i, len - i), n;

		n = control ? colour_len(p + i, len - i) : lp_utf8_len(p + i, len - i);
		if (control && n == 0 && !strchr("\t\r\n", p[i] ? p[i] : 'x')) {
			(void)fwrite(p + from, 1, i - from, to);
			(void)fputc('?', to);
			from = i + control;
		}
		i += n ? n : control ? control : 1;
	}
	(void)fwrite(p + from, 1, len - from, to);
}

int lp_out_fail(bool json, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	/* clang 14 takes ap for uninitialised. */
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* NOLINT(clang-analyzer-valist*) */
	va_end(ap);
	if (json)
		(void)lp_out_json(json_pack("{s:s, s:o}", "event", "error", "error",
					    lp_out_text(text, strlen(text))));
	lp_out_progress_end();
	/* Names of files and other machines' words may be in it. */
	for (char *line = text, *end; line; line = end) {
		end = strchr(line, '\n');
		if (end)
			*end = '\0';
		lp_utf8_plain(line);
		if (end)
			*end++ = '\n';
	}
	(void)fprintf(stderr, "livepush: %s\n", text);
	return LP_EXIT_FAILED;
}

int lp_out_err(bool json, const struct lp_err *err)
{
	(void)lp_out_fail(json, "%s", err->msg);
	return err->code == EINVAL ? LP_EXIT_USAGE : LP_EXIT_FAILED;
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
	lp_out_shown(stderr, text, len);
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
	char *out = lp_xstrdup(text);

	lp_utf8_plain(out);
	return out;
}

const char *lp_json_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}
