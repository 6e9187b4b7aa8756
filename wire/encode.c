/* wire/encode.c: structs to msgpack, by the tables of fields.c. */
#include "wire/fields.h"

#include "common/base/lp_utf8.h"

#include <msgpack.h>
#include <string.h>

static int append(void *data, const char *bytes, size_t len)
{
	return lp_buf_add(data, bytes, len) < 0 ? -1 : 0;
}

static int pack_bin(msgpack_packer *pk, const void *p, size_t len)
{
	return msgpack_pack_bin(pk, len) || (len && msgpack_pack_bin_body(pk, p, len)) ? -EMSGSIZE
										       : 0;
}

static int encode_field(msgpack_packer *pk, const struct lp_field *f, const uint8_t *base);

static int encode_record(msgpack_packer *pk, const struct lp_record *rec, const uint8_t *base)
{
	for (size_t i = 0; i < rec->n_fields; i++) {
		int r = encode_field(pk, &rec->fields[i], base);

		if (r < 0)
			return r;
	}
	return 0;
}

static int encode_array(msgpack_packer *pk, const struct lp_field *f, const uint8_t *base)
{
	const uint8_t *elements;
	size_t n;

	memcpy(&elements, base + f->offset, sizeof(elements));
	memcpy(&n, base + f->offset2, sizeof(n));
	if (n > f->max || msgpack_pack_array(pk, n))
		return -EMSGSIZE;
	for (size_t i = 0; i < n; i++) {
		if (msgpack_pack_array(pk, f->element->n_fields))
			return -EMSGSIZE;
		if (encode_record(pk, f->element, elements + i * f->element->bytes) < 0)
			return -EMSGSIZE;
	}
	return 0;
}

static int encode_field(msgpack_packer *pk, const struct lp_field *f, const uint8_t *base)
{
	struct lp_bytes bytes;
	uint64_t number;
	bool flag;

	switch (f->type) {
	case LP_FIELD_UINT:
		memcpy(&number, base + f->offset, sizeof(number));
		if (f->max && number > f->max)
			return -EMSGSIZE;
		return msgpack_pack_uint64(pk, number) ? -EMSGSIZE : 0;
	case LP_FIELD_BOOL:
		memcpy(&flag, base + f->offset, sizeof(flag));
		return (flag ? msgpack_pack_true(pk) : msgpack_pack_false(pk)) ? -EMSGSIZE : 0;
	case LP_FIELD_FIXED:
		return pack_bin(pk, base + f->offset, f->max);
	case LP_FIELD_ARRAY:
		return encode_array(pk, f, base);
	case LP_FIELD_OPT_BIN:
		memcpy(&flag, base + f->offset2, sizeof(flag));
		if (!flag)
			return msgpack_pack_nil(pk) ? -EMSGSIZE : 0;
		break;
	case LP_FIELD_TEXT:
	case LP_FIELD_BIN:
	case LP_FIELD_PATH:
	case LP_FIELD_DIR_PATH:
	case LP_FIELD_NAME:
	case LP_FIELD_TYPE_COUNT_:
		break;
	}
	memcpy(&bytes, base + f->offset, sizeof(bytes));
	if (bytes.len > f->max)
		return -EMSGSIZE;
	if (f->type != LP_FIELD_TEXT)
		return pack_bin(pk, bytes.p, bytes.len);
	return msgpack_pack_str(pk, bytes.len) ||
			       (bytes.len && msgpack_pack_str_body(pk, bytes.p, bytes.len))
		       ? -EMSGSIZE
		       : 0;
}

int lp_msg_encode(const struct lp_msg *msg, struct lp_buf *out)
{
	const struct lp_record *rec = lp_record_of(msg->kind);
	size_t before = out->len, max = out->max;
	msgpack_packer pk;
	int r;

	if (!rec)
		return -EMSGSIZE;
	if (!max || max - before > LP_WIRE_MSG_MAX_BYTES)
		out->max = before + LP_WIRE_MSG_MAX_BYTES;
	msgpack_packer_init(&pk, out, append);
	r = msgpack_pack_array(&pk, rec->n_fields + 1) || msgpack_pack_uint64(&pk, msg->kind)
		    ? -EMSGSIZE
		    : encode_record(&pk, rec, (const uint8_t *)&msg->u);
	out->max = max;
	if (r < 0)
		out->len = before;
	if (r < 0 && before == 0)
		lp_buf_finish(out);
	return r;
}

struct lp_bytes lp_bytes_of(const char *text)
{
	return (struct lp_bytes){(const uint8_t *)text, strlen(text)};
}

void lp_bytes_text(const struct lp_bytes *b, char *out, size_t out_bytes)
{
	size_t n = b->len < out_bytes - 1 ? b->len : out_bytes - 1;

	for (size_t i = 0; i < n; i++)
		out[i] = b->p[i] ? (char)b->p[i] : '?';
	out[n] = '\0';
	if (n < b->len)
		out[lp_utf8_whole(out, n)] = '\0';
	lp_utf8_plain(out);
}

const char *lp_wire_stage_name(uint64_t stage)
{
	static const char *const names[] = {
		[LP_WIRE_STAGE_CONFIG] = "config", [LP_WIRE_STAGE_RULE] = "rule",
		[LP_WIRE_STAGE_START] = "start",   [LP_WIRE_STAGE_HEALTH] = "health",
		[LP_WIRE_STAGE_CRASH] = "crash",   [LP_WIRE_STAGE_APPLY] = "apply",
		[LP_WIRE_STAGE_LOOP] = "loop",
	};

	return stage < LP_COUNT_OF(names) && names[stage] ? names[stage] : "unknown";
}
