/* common/conf/conf_value.c: reads and checks single values. */
#include "common/conf/conf_value.h"

#include "common/conf/conf_word.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define DURATION_MAX_MS   (24U * 3600U * 1000U)
#define DURATION_EXAMPLES "a whole number with a unit, such as 250ms, 10s, 2m or 1h"

/* value 0: refused, the supervisor needs it itself. */
static const struct conf_word signals[] = {
	{"HUP", SIGHUP},   {"INT", SIGINT},     {"QUIT", SIGQUIT}, {"USR1", SIGUSR1},
	{"USR2", SIGUSR2}, {"ALRM", SIGALRM},   {"CHLD", SIGCHLD}, {"PIPE", SIGPIPE},
	{"PWR", SIGPWR},   {"IO", SIGIO},       {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},
	{"URG", SIGURG},   {"WINCH", SIGWINCH}, {"TERM", 0},       {"KILL", 0},
	{"STOP", 0},       {"CONT", 0},         {NULL, 0},
};

static void *at(void *obj, size_t offset)
{
	return (char *)obj + offset;
}

/* A copy of the current scalar, checked by f->each. Returns NULL and an error otherwise; *error is
 * then what to return. The caller owns it. */
static char *take_string(struct conf_reader *r, const struct conf_field *f, const char *expected,
			 int *error)
{
	const char *text = conf_scalar(r, expected);
	char *copy = NULL;

	*error = 0;
	if (!text)
		*error = -r->err->code;
	else if (text[0] == '\0')
		*error = conf_fail(r, conf_here(r), "'%s' is empty", r->what);
	else if (f->each)
		*error = f->each(r, text);
	if (*error < 0 || !text)
		return NULL;
	copy = strdup(text);
	if (!copy)
		*error = conf_fail_memory(r);
	return copy;
}

int conf_read_string(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	char **out = at(obj, f->offset);
	int error;

	*out = take_string(r, f, "a string", &error);
	return error;
}

/* Appends the current scalar. Returns 0, -EINVAL or -ENOMEM. */
static int append_string(struct conf_reader *r, const struct conf_field *f, char ***strings,
			 size_t *n)
{
	char **element = conf_append(r, strings, n, sizeof(*element));
	int error;

	if (!element)
		return -r->err->code;
	*element = take_string(r, f, "strings", &error);
	return error;
}

int conf_read_strings(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	char ***strings = at(obj, f->offset);
	size_t *n = at(obj, f->also);
	struct conf_mark start = conf_here(r);
	int e;

	if (r->event.type == YAML_SCALAR_EVENT)
		return append_string(r, f, strings, n);
	if (r->event.type != YAML_SEQUENCE_START_EVENT)
		return conf_fail_type(r, "a string or a list of strings");
	while ((e = conf_next(r)) == 0 && r->event.type != YAML_SEQUENCE_END_EVENT) {
		e = append_string(r, f, strings, n);
		if (e < 0)
			return e;
	}
	if (e == 0 && *n < f->min)
		return conf_fail(r, start, "'%s' is an empty list", r->what);
	return e;
}

void conf_free_strings(char ***strings, size_t *n)
{
	for (size_t i = 0; i < *n; i++)
		free((*strings)[i]);
	free(*strings);
	*strings = NULL;
	*n = 0;
}

/* Puts the NULL behind argv[0..n), without counting it. */
static int terminate(struct conf_reader *r, struct lp_conf_command *command)
{
	char **argv = reallocarray(command->argv, command->n + 1, sizeof(*argv));

	if (!argv)
		return conf_fail_memory(r);
	argv[command->n] = NULL;
	command->argv = argv;
	return 0;
}

int conf_read_command(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	static const char *const shell[] = {"/bin/sh", "-c"};
	static const struct conf_field strings = {
		.offset = offsetof(struct lp_conf_command, argv),
		.also = offsetof(struct lp_conf_command, n),
		.min = 1,
	};
	struct lp_conf_command *command = at(obj, f->offset);
	int e;

	for (size_t i = 0; r->event.type == YAML_SCALAR_EVENT && i < LP_COUNT_OF(shell); i++) {
		char **word = conf_append(r, &command->argv, &command->n, sizeof(*word));

		if (!word)
			return -r->err->code;
		*word = strdup(shell[i]);
		if (!*word)
			return conf_fail_memory(r);
	}
	e = conf_read_strings(r, &strings, command);
	return e < 0 ? e : terminate(r, command);
}

static size_t count_words(const struct conf_word *words)
{
	size_t n = 0;

	while (words[n].word)
		n++;
	return n;
}

/* "a, b or c" from words, into out. */
static void list_words(char *out, size_t out_bytes, const struct conf_word *words)
{
	size_t n = count_words(words);
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < n && len < out_bytes; i++) {
		const char *between = i == 0 ? "" : i + 1 < n ? ", " : " or ";

		len += (size_t)snprintf(out + len, out_bytes - len, "%s%s", between, words[i].word);
	}
}

static const struct conf_word *find_word(const struct conf_word *words, const char *text)
{
	for (; words->word; words++) {
		if (strcmp(words->word, text) == 0)
			return words;
	}
	return NULL;
}

/* Says that the text is none of the words. Returns -EINVAL. */
static int fail_word(struct conf_reader *r, const struct conf_word *words, const char *text)
{
	const char *near = conf_nearest(text, &words->word, count_words(words), sizeof(*words));
	char known[160], shown[CONF_SHOWN_BYTES];

	if (near)
		return conf_fail(r, conf_here(r), "'%s' cannot be '%s'; did you mean '%s'?",
				 r->what, conf_shown(shown, text), near);
	list_words(known, sizeof(known), words);
	return conf_fail(r, conf_here(r), "'%s' takes %s, not '%s'", r->what, known,
			 conf_shown(shown, text));
}

const struct conf_word conf_yes_words[] = {
	{"true", 1},
	{"false", 0},
	{NULL, 0},
};

int conf_read_word(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	const struct conf_word *word;
	const char *text;
	char known[160];

	list_words(known, sizeof(known), f->words);
	text = conf_scalar(r, known);
	if (!text)
		return -r->err->code;
	word = find_word(f->words, text);
	if (!word)
		return fail_word(r, f->words, text);
	memcpy(at(obj, f->offset), &word->value, sizeof(word->value));
	return 0;
}

int conf_read_signal(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	const char *text = conf_scalar(r, "the name of a signal");
	const struct conf_word *word;

	if (!text)
		return -r->err->code;
	if (strncmp(text, "SIG", 3) == 0)
		text += 3;
	word = find_word(signals, text);
	if (!word)
		return fail_word(r, signals, text);
	if (word->value == 0)
		return conf_fail(r, conf_here(r),
				 "'%s' cannot be %s, which stops, ends or wakes "
				 "the app behind its supervisor's back; use "
				 "'action: restart' to restart it",
				 r->what, word->word);
	memcpy(at(obj, f->offset), &word->value, sizeof(word->value));
	return 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads digits at *text into *out, up to `max`; goes behind them. Returns 0 or -EINVAL. */
static int take_number(const char **text, uint32_t max, uint32_t *out)
{
	const char *p = *text;
	uint64_t n = 0;

	if (!is_digit(*p))
		return -EINVAL;
	for (; is_digit(*p); p++) {
		n = n * 10 + (uint64_t)(*p - '0');
		if (n > max)
			return -EINVAL;
	}
	*text = p;
	*out = (uint32_t)n;
	return 0;
}

int lp_conf_duration(const char *text, uint32_t *out_ms)
{
	static const struct conf_word units[] = {
		{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {NULL, 0},
	};
	const struct conf_word *unit;
	uint32_t n;

	if (take_number(&text, DURATION_MAX_MS, &n) < 0)
		return -EINVAL;
	unit = find_word(units, text);
	if (!unit || n > DURATION_MAX_MS / (uint32_t)unit->value)
		return -EINVAL;
	*out_ms = n * (uint32_t)unit->value;
	return 0;
}

int conf_read_duration(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	const char *text = conf_scalar(r, DURATION_EXAMPLES);
	uint32_t ms;

	if (!text)
		return -r->err->code;
	if (lp_conf_duration(text, &ms) < 0)
		return conf_fail_type(r, DURATION_EXAMPLES ", at most 24h");
	if (ms < f->min || ms > f->max)
		return conf_fail(r, conf_here(r), "'%s' has to be from %ums to %us", r->what,
				 f->min, f->max / 1000);
	memcpy(at(obj, f->offset), &ms, sizeof(ms));
	return 0;
}

int conf_read_u16(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	const char *text = conf_scalar(r, "a number");
	uint32_t n = 0;
	uint16_t value;

	if (!text)
		return -r->err->code;
	if (take_number(&text, f->max, &n) < 0 || *text || n < f->min)
		return conf_fail(r, conf_here(r), "'%s' takes a number from %u to %u", r->what,
				 f->min, f->max);
	value = (uint16_t)n;
	memcpy(at(obj, f->offset), &value, sizeof(value));
	return 0;
}

int conf_read_range(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	const char *text = conf_scalar(r, "a number or a range of two");
	uint32_t from = 0, to;
	int numbers[2];
	int e;

	if (!text)
		return -r->err->code;
	e = take_number(&text, f->max, &from);
	to = from;
	if (e == 0 && *text == '-') {
		text++;
		e = take_number(&text, f->max, &to);
	}
	if (e < 0 || *text || from < f->min || to < from)
		return conf_fail(r, conf_here(r),
				 "'%s' takes a number or a range such as 200-299, from %u to %u",
				 r->what, f->min, f->max);
	numbers[0] = (int)from;
	numbers[1] = (int)to;
	memcpy(at(obj, f->offset), &numbers[0], sizeof(numbers[0]));
	memcpy(at(obj, f->also), &numbers[1], sizeof(numbers[1]));
	return 0;
}
