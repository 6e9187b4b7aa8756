/* cli/log_print.c: lines of output. In JSON and in pipes bytes stay as they are; a terminal is kept
 * from what could drive it. */
#include "cli/log_print.h"

#include "cli/lines.h"
#include "cli/output.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_utf8.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define STREAMS  4
#define AT_BYTES 32

/* What a stream has begun. at_ms: when the begun line began. parted: a part of it has been printed.
 */
struct stream {
	struct lp_buf begun;
	uint64_t at_ms;
	bool parted;
};

struct source {
	char id[64];
	struct stream streams[STREAMS];
};

/* open: the stream whose line has no end yet on stdout, or NULL. */
struct lp_log_print {
	bool json;
	bool times;
	struct source *sources;
	size_t n;
	const struct stream *open;
};

/* The stream of one instance that a line is of. now_ms: when the piece was read that is taken. */
struct place {
	struct lp_log_print *print;
	struct source *source;
	uint64_t stream;
	uint64_t now_ms;
};

struct lp_log_print *lp_log_print_create(size_t n, bool json, bool times)
{
	struct lp_log_print *p = lp_xcalloc(1, sizeof(*p));

	p->json = json;
	p->times = times;
	p->n = n;
	p->sources = lp_xcalloc(n, sizeof(*p->sources));
	for (size_t i = 0; i < n; i++)
		(void)snprintf(p->sources[i].id, sizeof(p->sources[i].id), "%zu", i);
	return p;
}

void lp_log_print_destroy(struct lp_log_print *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		for (size_t s = 0; s < STREAMS; s++)
			lp_buf_finish(&p->sources[i].streams[s].begun);
	free(p->sources);
	free(p);
}

void lp_log_print_name(struct lp_log_print *p, unsigned i, const char *instance_id)
{
	(void)snprintf(p->sources[i].id, sizeof(p->sources[i].id), "%.63s", instance_id);
}

/* "2024-01-31T12:00:00.123Z" (RFC 3339). */
static void format_time(uint64_t at_ms, char out[AT_BYTES])
{
	time_t seconds = (time_t)(at_ms / 1000);
	struct tm utc;
	size_t len;

	if (!gmtime_r(&seconds, &utc) ||
	    (len = strftime(out, AT_BYTES, "%Y-%m-%dT%H:%M:%S", &utc)) == 0) {
		out[0] = '\0';
		return;
	}
	(void)snprintf(out + len, AT_BYTES - len, ".%03uZ", (unsigned)(at_ms % 1000));
}

/* What stands before the lines of an instance, when there are several. */
static void print_name(const struct lp_log_print *p, const struct source *source)
{
	static const char *const colours[] = {"36", "33", "35", "34", "32", "31"};
	const char *off = getenv("NO_COLOR");
	int widest = 0;

	for (size_t i = 0; i < p->n; i++) {
		int width = (int)strlen(p->sources[i].id);

		widest = width > widest ? width : widest;
	}
	if ((off && off[0]) || isatty(STDOUT_FILENO) != 1)
		(void)printf("%-*s | ", widest, source->id);
	else
		(void)printf("\x1b[%sm%-*s |\x1b[0m ",
			     colours[(size_t)(source - p->sources) % LP_COUNT_OF(colours)], widest,
			     source->id);
}

/* Bytes that are no text are given exactly as well. */
static void print_json_line(const struct place *at, const void *line, size_t len, bool more)
{
	static const char *const names[STREAMS] = {"unknown", "stdout", "stderr", "livepush"};
	char when[AT_BYTES];
	json_t *o;

	format_time(at->source->streams[at->stream].at_ms, when);
	o = json_pack("{s:s, s:s, s:s, s:s, s:o}", "event", "log", "instance", at->source->id, "at",
		      when, "stream", names[at->stream], "line", lp_out_text(line, len));
	if (!lp_utf8_is_text(line, len)) {
		LP_AUTO_FREE char *base64 = lp_xcalloc(1, (len + 2) / 3 * 4 + 1);

		(void)EVP_EncodeBlock((unsigned char *)base64, line, (int)len);
		(void)json_object_set_new(o, "base64", json_string(base64));
	}
	if (more)
		(void)json_object_set_new(o, "more", json_true());
	(void)lp_out_json(o);
}

static void print_text_line(const struct place *at, const void *line, size_t len, bool more)
{
	struct lp_log_print *p = at->print;
	const struct stream *stream = &at->source->streams[at->stream];
	char when[AT_BYTES];

	lp_out_progress_end();
	if (p->open && p->open != stream)
		(void)putchar('\n');
	if (p->open != stream) {
		if (p->n > 1)
			print_name(p, at->source);
		if (p->times) {
			format_time(stream->at_ms, when);
			(void)printf("%s ", when);
		}
	}
	lp_out_shown(stdout, line, len);
	if (!more)
		(void)putchar('\n');
	p->open = more ? stream : NULL;
	(void)fflush(stdout);
}

static void print_line(void *ctx, const void *line, size_t len, bool more)
{
	const struct place *at = ctx;
	struct stream *stream = &at->source->streams[at->stream];

	if (at->print->json)
		print_json_line(at, line, len, more);
	else
		print_text_line(at, line, len, more);
	stream->parted = more;
	/* What follows in this piece was read with it. */
	if (!more)
		stream->at_ms = at->now_ms;
}

void lp_log_print_take(struct lp_log_print *p, unsigned i, const struct lp_msg_log *log)
{
	struct place at = {.print = p,
			   .source = &p->sources[i],
			   .stream = log->stream < STREAMS ? log->stream : 0,
			   .now_ms = log->at_ms};
	struct stream *stream = &at.source->streams[at.stream];

	if (stream->begun.len == 0 && !stream->parted)
		stream->at_ms = log->at_ms;
	lp_lines_take(&stream->begun, log->content.p, log->content.len, print_line, &at);
}

void lp_log_print_end(struct lp_log_print *p, unsigned i)
{
	struct place at = {.print = p, .source = &p->sources[i]};

	for (; at.stream < STREAMS; at.stream++)
		lp_lines_end(&at.source->streams[at.stream].begun, print_line, &at);
}
