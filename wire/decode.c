/* wire/decode.c: msgpack to structs, by the tables of fields.c. All checks of form are here; what a
 * message means in its place is the receiver's business. */
#include "wire/fields.h"

#include "common/base/lp_mem.h"
#include "wire/guard.h"

#include <msgpack.h>
#include <string.h>

static int bad(struct lp_err *err, const struct lp_record *rec, const struct lp_field *f,
	       const char *why)
{
	return lp_err_say(err, EBADMSG, "%s: field '%s' %s", rec->name, f->name, why);
}

static int decode_record(const struct lp_record *rec, const msgpack_object *objs, size_t n,
			 uint8_t *base, struct lp_err *err);

static int decode_array(const struct lp_record *rec, const struct lp_field *f,
			const msgpack_object *o, uint8_t *base, struct lp_err *err)
{
	size_t n = o->via.array.size;
	uint8_t *elements;

	if (o->type != MSGPACK_OBJECT_ARRAY)
		return bad(err, rec, f, "is not an array");
	if (n > f->max)
		return bad(err, rec, f, "has too many elements");
	elements = calloc(n ? n : 1, f->element->bytes);
	if (!elements)
		return bad(err, rec, f, "does not fit into memory");
	/* Stored at once, so that lp_msg_finish finds it when an element is wrong. */
	memcpy(base + f->offset, &elements, sizeof(elements));
	memcpy(base + f->offset2, &n, sizeof(n));
	for (size_t i = 0; i < n; i++) {
		const msgpack_object *e = &o->via.array.ptr[i];
		int r;

		if (e->type != MSGPACK_OBJECT_ARRAY)
			return bad(err, rec, f, "has an element that is no array");
		r = decode_record(f->element, e->via.array.ptr, e->via.array.size,
				  elements + i * f->element->bytes, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static const char *bytes_fault(const struct lp_field *f, const char *p, size_t len)
{
	switch (f->type) {
	case LP_FIELD_PATH:
		return lp_path_is_clean(p, len) ? NULL : "is not a clean relative path";
	case LP_FIELD_DIR_PATH:
		return len == 0 || lp_path_is_clean(p, len) ? NULL : "is not a clean relative path";
	case LP_FIELD_NAME:
		return lp_path_is_clean(p, len) && !memchr(p, '/', len) ? NULL
									: "is not a file name";
	default:
		return len > f->max ? "is too long" : NULL;
	}
}

static int decode_bytes(const struct lp_record *rec, const struct lp_field *f,
			const msgpack_object *o, uint8_t *base, struct lp_err *err)
{
	bool text = f->type == LP_FIELD_TEXT;
	struct lp_bytes bytes = {(const uint8_t *)o->via.bin.ptr, o->via.bin.size};
	const char *fault;
	bool present = true;

	if (f->type == LP_FIELD_OPT_BIN && o->type == MSGPACK_OBJECT_NIL)
		return 0;
	if (o->type != (text ? MSGPACK_OBJECT_STR : MSGPACK_OBJECT_BIN))
		return bad(err, rec, f, text ? "is not a string" : "is not binary");
	if (f->type == LP_FIELD_FIXED) {
		if (bytes.len != f->max)
			return bad(err, rec, f, "has the wrong length");
		memcpy(base + f->offset, bytes.p, bytes.len);
		return 0;
	}
	fault = bytes_fault(f, o->via.bin.ptr, bytes.len);
	if (fault)
		return bad(err, rec, f, fault);
	memcpy(base + f->offset, &bytes, sizeof(bytes));
	if (f->type == LP_FIELD_OPT_BIN)
		memcpy(base + f->offset2, &present, sizeof(present));
	return 0;
}

static int decode_field(const struct lp_record *rec, const struct lp_field *f,
			const msgpack_object *o, uint8_t *base, struct lp_err *err)
{
	switch (f->type) {
	case LP_FIELD_UINT:
		if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
			return bad(err, rec, f, "is not a positive number");
		if (f->max && o->via.u64 > f->max)
			return bad(err, rec, f, "is out of range");
		memcpy(base + f->offset, &o->via.u64, sizeof(o->via.u64));
		return 0;
	case LP_FIELD_BOOL:
		if (o->type != MSGPACK_OBJECT_BOOLEAN)
			return bad(err, rec, f, "is not a truth value");
		memcpy(base + f->offset, &o->via.boolean, sizeof(o->via.boolean));
		return 0;
	case LP_FIELD_ARRAY:
		return decode_array(rec, f, o, base, err);
	case LP_FIELD_FIXED:
	case LP_FIELD_TEXT:
	case LP_FIELD_BIN:
	case LP_FIELD_OPT_BIN:
	case LP_FIELD_PATH:
	case LP_FIELD_DIR_PATH:
	case LP_FIELD_NAME:
	case LP_FIELD_TYPE_COUNT_:
		break;
	}
	return decode_bytes(rec, f, o, base, err);
}

static int decode_record(const struct lp_record *rec, const msgpack_object *objs, size_t n,
			 uint8_t *base, struct lp_err *err)
{
	const char *fault;

	if (n < rec->n_fields)
		return lp_err_say(err, EBADMSG, "%s: %zu of %zu fields", rec->name, n,
				  rec->n_fields);
	for (size_t i = 0; i < rec->n_fields; i++) {
		int r = decode_field(rec, &rec->fields[i], &objs[i], base, err);

		if (r < 0)
			return r;
	}
	fault = rec->fault ? rec->fault(base) : NULL;
	return fault ? lp_err_say(err, EBADMSG, "%s: %s", rec->name, fault) : 0;
}

static int decode_object(struct lp_msg *msg, const msgpack_object *o, struct lp_err *err)
{
	const struct lp_record *rec;

	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size == 0 ||
	    o->via.array.ptr[0].type != MSGPACK_OBJECT_POSITIVE_INTEGER)
		return lp_err_say(err, EBADMSG, "not a message");
	rec = lp_record_of(o->via.array.ptr[0].via.u64);
	if (!rec)
		return lp_err_say(err, EBADMSG, "unknown message kind %llu",
				  (unsigned long long)o->via.array.ptr[0].via.u64);
	msg->kind = (enum lp_msg_kind)o->via.array.ptr[0].via.u64;
	return decode_record(rec, o->via.array.ptr + 1, o->via.array.size - 1, (uint8_t *)&msg->u,
			     err);
}

int lp_msg_decode(struct lp_msg *msg, const void *data, size_t len, struct lp_err *err)
{
	msgpack_unpacked unpacked;
	int r;

	memset(msg, 0, sizeof(*msg));
	if (len > LP_WIRE_MSG_MAX_BYTES)
		return lp_err_say(err, EBADMSG, "message of %zu bytes is too large", len);
	if (!lp_guard_check(data, len))
		return lp_err_say(err, EBADMSG, "malformed message");
	msgpack_unpacked_init(&unpacked);
	if (msgpack_unpack_next(&unpacked, data, len, NULL) == MSGPACK_UNPACK_SUCCESS)
		r = decode_object(msg, &unpacked.data, err);
	else
		r = lp_err_say(err, EBADMSG, "malformed message");
	/* Bytes point into data, arrays are ours: the objects are not needed any more. */
	msgpack_unpacked_destroy(&unpacked);
	if (r < 0)
		lp_msg_finish(msg);
	return r;
}

void lp_msg_finish(struct lp_msg *msg)
{
	const struct lp_record *rec = lp_record_of(msg->kind);

	for (size_t i = 0; rec && i < rec->n_fields; i++) {
		uint8_t *at = (uint8_t *)&msg->u + rec->fields[i].offset;
		void *none = NULL;

		if (rec->fields[i].type != LP_FIELD_ARRAY)
			continue;
		lp_auto_free(at);
		memcpy(at, &none, sizeof(none));
	}
	msg->kind = (enum lp_msg_kind)0;
}
