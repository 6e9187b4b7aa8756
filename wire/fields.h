/* wire/fields.h: the layout of every message as a table: one row per field, in the order of the
 * wire. Encoding and decoding are loops over these rows. Private to wire/. */
#ifndef LP_WIRE_FIELDS_H
#define LP_WIRE_FIELDS_H

#include "wire/msg.h"

enum lp_field_type {
	LP_FIELD_UINT = 1,
	LP_FIELD_BOOL,
	LP_FIELD_FIXED,    /* exactly `max` bytes, stored in place */
	LP_FIELD_TEXT,     /* str, at most `max` bytes */
	LP_FIELD_BIN,      /* bin, at most `max` bytes */
	LP_FIELD_OPT_BIN,  /* bin or nil; the bool at `offset2` says whether it is there */
	LP_FIELD_PATH,     /* bin: a clean relative path */
	LP_FIELD_DIR_PATH, /* bin: the same, or empty for the root */
	LP_FIELD_NAME,     /* bin: one path component */
	LP_FIELD_ARRAY,    /* array of `element` records; pointer at `offset`, count at `offset2` */
	LP_FIELD_TYPE_COUNT_,
};

/* max: of UINT the largest value (0: any), of the others bytes or elements. */
struct lp_field {
	const char *name;
	enum lp_field_type type;
	uint64_t max;
	size_t offset;
	size_t offset2;
	const struct lp_record *element;
};

/* bytes: size of the struct in memory. fault: what is wrong with a struct whose fields are right
 * one by one, or NULL; itself NULL where they have nothing to do with each other. */
struct lp_record {
	const char *name;
	size_t bytes;
	const struct lp_field *fields;
	size_t n_fields;
	const char *(*fault)(const void *record);
};

/* The record of a message kind, or NULL. */
const struct lp_record *lp_record_of(uint64_t kind);

#endif
