/* common/conf/conf_read.h: walks the events of a YAML document along tables of keys. It knows the
 * shape of mappings and lists, not what any key means. Internal to the room. */
#ifndef LP_COMMON_CONF_CONF_READ_H
#define LP_COMMON_CONF_CONF_READ_H

#include "common/conf/conf.h"

#include <yaml.h>

/* Keys of one table. */
#define CONF_FIELDS_MAX 16

/* Elements of one list or mapping; keeps the search for doubles cheap. */
#define CONF_ENTRIES_MAX 4096

/* A place in the file; both count from 1. */
struct conf_mark {
	size_t line;
	size_t column;
};

/* The document being read. event is the current one; what, in messages, names the value being read
 * ("health.path"), borrowed while that lasts. */
struct conf_reader {
	yaml_parser_t parser;
	yaml_event_t event;
	const char *name;
	const char *text;
	size_t len;
	const char *what;
	struct lp_err *err;
};

struct conf_field;

/* Reads the value whose first event is current into obj, and leaves its last event current.
 * Returns 0, -EINVAL or -ENOMEM. */
typedef int conf_value_fn(struct conf_reader *r, const struct conf_field *f, void *obj);

/* A word and what it stands for; the end of a list has NULL. */
struct conf_word {
	const char *word;
	int value;
};

/* One key: at `offset` its value goes into the object, at `also` the length of a list or the second
 * number of a range. min and max bound numbers, min also the length of a list. each (may be NULL)
 * looks at every string of a value and returns 0 or an error that it has said. A hidden key is not
 * offered in messages. */
struct conf_field {
	const char *key;
	conf_value_fn *read;
	size_t offset;
	size_t also;
	uint32_t min, max;
	const struct conf_word *words;
	int (*each)(struct conf_reader *r, const char *text);
	bool is_hidden;
};

struct conf_seen;

/* One kind of mapping. init and check may be NULL; check sees what was there. */
struct conf_map {
	const char *name; /* "" at the top */
	const struct conf_field *fields;
	size_t n_fields;
	void (*init)(void *obj);
	int (*check)(struct conf_reader *r, const struct conf_seen *seen, void *obj);
};

/* The keys of a mapping that were there, and where. line 0: not there. */
struct conf_seen {
	const struct conf_map *map;
	struct conf_mark start;
	struct conf_mark at[CONF_FIELDS_MAX];
};

/* Reads the whole of r->text as one mapping into obj. Returns 0, -EINVAL or -ENOMEM. */
int conf_read_document(struct conf_reader *r, const struct conf_map *map, void *obj) LP_MUST_USE;

/* Goes to the next event. Returns 0, -EINVAL or -ENOMEM. */
int conf_next(struct conf_reader *r) LP_MUST_USE;

/* Where the current event starts. */
struct conf_mark conf_here(const struct conf_reader *r);

/* Says "name:line:column: text". Returns -EINVAL. */
int conf_fail(struct conf_reader *r, struct conf_mark at, const char *fmt, ...) LP_PRINTF(3, 4);

/* Says that the current event is not what was expected. Returns -EINVAL. */
int conf_fail_type(struct conf_reader *r, const char *expected);

/* Says that there is no memory. Returns -ENOMEM. */
int conf_fail_memory(struct conf_reader *r);

/* Reads the mapping whose start is current. */
int conf_read_map(struct conf_reader *r, const struct conf_map *map, void *obj) LP_MUST_USE;

/* Where that key stood, or NULL when it did not. */
const struct conf_mark *conf_seen_at(const struct conf_seen *seen, const char *key);

/* The text of the current scalar, or NULL (and an error) when it is none, is empty without quotes
 * or null, or holds a NUL. Borrowed until the next event. */
const char *conf_scalar(struct conf_reader *r, const char *expected);

/* Appends a zeroed element of `size` bytes to *array, which has *n, and counts it. Returns it, or
 * NULL and an error (memory, CONF_ENTRIES_MAX). */
void *conf_append(struct conf_reader *r, void *array, size_t *n, size_t size);

#endif
