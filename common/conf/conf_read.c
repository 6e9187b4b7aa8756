/* common/conf/conf_read.c: walks YAML events. What the format of livepush.yml never needs (anchors,
 * aliases, tags, several documents) is refused here, for all keys at once. */
#include "common/conf/conf_read.h"

#include "common/conf/conf_word.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int conf_fail(struct conf_reader *r, struct conf_mark at, const char *fmt, ...)
{
	char text[384];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return lp_err_say(r->err, EINVAL, "%s:%zu:%zu: %s", r->name, at.line, at.column, text);
}

int conf_fail_memory(struct conf_reader *r)
{
	return lp_err_set(r->err, ENOMEM, "read %s", r->name);
}

static struct conf_mark mark_of(yaml_mark_t m)
{
	return (struct conf_mark){m.line + 1, m.column + 1};
}

struct conf_mark conf_here(const struct conf_reader *r)
{
	return mark_of(r->event.start_mark);
}

/* The place of a byte, for what libyaml finds before it has lines. */
static struct conf_mark mark_of_byte(const struct conf_reader *r, size_t byte)
{
	struct conf_mark at = {1, 1};

	for (size_t i = 0; i < byte && i < r->len; i++) {
		bool starts_character = ((uint8_t)r->text[i] & 0xc0) != 0x80;

		at.column += starts_character;
		if (r->text[i] == '\n')
			at = (struct conf_mark){at.line + 1, 1};
	}
	return at;
}

/* What a person meant who wrote what libyaml stumbles over. */
static const char *hint(const yaml_parser_t *p)
{
	static const struct {
		const char *context, *hint;
	} hints[] = {
		{"while scanning an alias", "; put a value that starts with '*' in quotes"},
		{"while scanning an anchor", "; put a value that starts with '&' in quotes"},
		{"while scanning a tag", "; put a value that starts with '!' in quotes"},
		{"while parsing a tag", "; put a value that starts with '!' in quotes"},
		{"while scanning for the next token",
		 "; indent with spaces, and put a value that starts with a sign in quotes"},
	};

	for (size_t i = 0; p->context && i < LP_COUNT_OF(hints); i++) {
		if (strcmp(hints[i].context, p->context) == 0)
			return hints[i].hint;
	}
	return "";
}

static int fail_parser(struct conf_reader *r)
{
	const yaml_parser_t *p = &r->parser;
	const char *problem = p->problem ? p->problem : "not YAML";

	if (p->error == YAML_MEMORY_ERROR)
		return conf_fail_memory(r);
	if (p->error == YAML_READER_ERROR)
		return conf_fail(r, mark_of_byte(r, p->problem_offset),
				 "%s; the file has to be text in UTF-8", problem);
	return conf_fail(r, mark_of(p->problem_mark), "%s%s%s%s", p->context ? p->context : "",
			 p->context ? ", " : "", problem, hint(p));
}

/* Refuses what could stand at any value. */
static int check_event(struct conf_reader *r)
{
	const yaml_event_t *e = &r->event;
	const yaml_char_t *anchor = NULL, *tag = NULL;

	if (e->type == YAML_ALIAS_EVENT)
		return conf_fail(r, conf_here(r),
				 "'*' makes an alias, which has no place here; "
				 "write the value out, or put it in quotes");
	if (e->type == YAML_SCALAR_EVENT) {
		anchor = e->data.scalar.anchor;
		tag = e->data.scalar.tag;
	} else if (e->type == YAML_SEQUENCE_START_EVENT) {
		anchor = e->data.sequence_start.anchor;
		tag = e->data.sequence_start.tag;
	} else if (e->type == YAML_MAPPING_START_EVENT) {
		anchor = e->data.mapping_start.anchor;
		tag = e->data.mapping_start.tag;
	}
	if (anchor)
		return conf_fail(r, conf_here(r),
				 "'&' makes an anchor, which has no place here; "
				 "put the value in quotes if it starts with '&'");
	if (tag)
		return conf_fail(r, conf_here(r),
				 "'!' makes a tag, which has no place here; "
				 "put the value in quotes if it starts with '!'");
	return 0;
}

int conf_next(struct conf_reader *r)
{
	yaml_event_delete(&r->event);
	if (!yaml_parser_parse(&r->parser, &r->event))
		return fail_parser(r);
	return check_event(r);
}

/* A scalar that YAML takes for "nothing". */
static bool is_null(const yaml_event_t *e)
{
	const char *text = (const char *)e->data.scalar.value;

	return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 ||
		strcmp(text, "Null") == 0 || strcmp(text, "NULL") == 0);
}

int conf_fail_type(struct conf_reader *r, const char *expected)
{
	const yaml_event_t *e = &r->event;
	char shown[CONF_SHOWN_BYTES];

	if (e->type == YAML_SEQUENCE_START_EVENT)
		return conf_fail(r, conf_here(r), "'%s' takes %s, not a list", r->what, expected);
	if (e->type == YAML_MAPPING_START_EVENT)
		return conf_fail(r, conf_here(r), "'%s' takes %s, not a mapping", r->what,
				 expected);
	if (e->type == YAML_SCALAR_EVENT && is_null(e))
		return conf_fail(r, conf_here(r), "'%s' has no value; it takes %s", r->what,
				 expected);
	if (e->type == YAML_SCALAR_EVENT)
		return conf_fail(r, conf_here(r), "'%s' takes %s, not '%s'", r->what, expected,
				 conf_shown(shown, (const char *)e->data.scalar.value));
	return conf_fail(r, conf_here(r), "'%s' takes %s", r->what, expected);
}

const char *conf_scalar(struct conf_reader *r, const char *expected)
{
	const yaml_event_t *e = &r->event;

	if (e->type != YAML_SCALAR_EVENT || is_null(e)) {
		(void)conf_fail_type(r, expected);
		return NULL;
	}
	if (memchr(e->data.scalar.value, '\0', e->data.scalar.length)) {
		(void)conf_fail(r, conf_here(r), "'%s' contains a NUL character", r->what);
		return NULL;
	}
	return (const char *)e->data.scalar.value;
}

void *conf_append(struct conf_reader *r, void *array, size_t *n, size_t size)
{
	char *elements, *grown;

	if (*n >= CONF_ENTRIES_MAX) {
		(void)conf_fail(r, conf_here(r), "'%s' has more than %d entries", r->what,
				CONF_ENTRIES_MAX);
		return NULL;
	}
	memcpy(&elements, array, sizeof(elements));
	/* Full at each power of two. */
	if ((*n & (*n - 1)) == 0) {
		grown = reallocarray(elements, *n ? *n * 2 : 1, size);
		if (!grown) {
			(void)conf_fail_memory(r);
			return NULL;
		}
		elements = grown;
		memcpy(array, &elements, sizeof(elements));
	}
	elements += size * (*n)++;
	memset(elements, 0, size);
	return elements;
}

static int fail_unknown(struct conf_reader *r, const struct conf_map *map, const char *key)
{
	const char *near =
		conf_nearest(key, &map->fields->key, map->n_fields, sizeof(*map->fields));
	const char *in = map->name[0] ? " in '" : "", *quote = map->name[0] ? "'" : "";
	char shown[CONF_SHOWN_BYTES], known[160] = "";
	size_t len = 0;

	(void)conf_shown(shown, key);
	if (near)
		return conf_fail(r, conf_here(r), "unknown key '%s'%s%s%s; did you mean '%s'?",
				 shown, in, map->name, quote, near);
	for (size_t i = 0; i < map->n_fields && len < sizeof(known); i++) {
		if (!map->fields[i].is_hidden)
			len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s",
						len ? ", " : "", map->fields[i].key);
	}
	return conf_fail(r, conf_here(r), "unknown key '%s'%s%s%s; known are %s", shown, in,
			 map->name, quote, known);
}

/* Reads one key and its value. */
static int read_pair(struct conf_reader *r, struct conf_seen *seen, void *obj)
{
	const struct conf_map *map = seen->map;
	const struct conf_field *f = map->fields, *end = f + map->n_fields;
	const char *key, *outer = r->what;
	char what[2 * CONF_SHOWN_BYTES];
	struct conf_mark *at;
	int e;

	key = conf_scalar(r, "a word as each of its keys");
	if (!key)
		return -r->err->code;
	while (f < end && strcmp(f->key, key) != 0)
		f++;
	if (f == end)
		return fail_unknown(r, map, key);
	at = &seen->at[f - map->fields];
	if (at->line > 0)
		return conf_fail(r, conf_here(r),
				 "'%s' stands here a second time; the first is in "
				 "line %zu",
				 f->key, at->line);
	*at = conf_here(r);
	(void)snprintf(what, sizeof(what), "%s%s%s", map->name, map->name[0] ? "." : "", f->key);
	r->what = what;
	e = conf_next(r);
	if (e == 0)
		e = f->read(r, f, obj);
	r->what = outer;
	return e;
}

int conf_read_map(struct conf_reader *r, const struct conf_map *map, void *obj)
{
	struct conf_seen seen = {.map = map, .start = conf_here(r)};

	if (r->event.type != YAML_MAPPING_START_EVENT)
		return conf_fail_type(r, "a mapping of keys to values");
	if (map->init)
		map->init(obj);
	for (;;) {
		int e = conf_next(r);

		if (e < 0)
			return e;
		if (r->event.type == YAML_MAPPING_END_EVENT)
			return map->check ? map->check(r, &seen, obj) : 0;
		e = read_pair(r, &seen, obj);
		if (e < 0)
			return e;
	}
}

const struct conf_mark *conf_seen_at(const struct conf_seen *seen, const char *key)
{
	for (size_t i = 0; i < seen->map->n_fields; i++) {
		if (strcmp(seen->map->fields[i].key, key) == 0)
			return seen->at[i].line > 0 ? &seen->at[i] : NULL;
	}
	return NULL;
}

static int read_events(struct conf_reader *r, const struct conf_map *map, void *obj)
{
	int e = conf_next(r); /* the stream's start */

	if (e == 0)
		e = conf_next(r);
	if (e < 0 || r->event.type == YAML_STREAM_END_EVENT)
		return e;
	e = conf_next(r);
	if (e < 0)
		return e;
	if (r->event.type != YAML_SCALAR_EVENT || !is_null(&r->event))
		e = conf_read_map(r, map, obj);
	if (e == 0)
		e = conf_next(r); /* the document's end */
	if (e == 0)
		e = conf_next(r);
	if (e == 0 && r->event.type != YAML_STREAM_END_EVENT)
		return conf_fail(r, conf_here(r), "a second document starts here; one is enough");
	return e;
}

int conf_read_document(struct conf_reader *r, const struct conf_map *map, void *obj)
{
	int e;

	r->what = "the file";
	if (!yaml_parser_initialize(&r->parser))
		return conf_fail_memory(r);
	/* Said outright, or a byte order mark could switch to UTF-16. */
	yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r->parser, (const unsigned char *)r->text, r->len);
	e = read_events(r, map, obj);
	yaml_event_delete(&r->event);
	yaml_parser_delete(&r->parser);
	return e;
}
