/* wire_raw.c: a msgpack writer and reader for tests, after
 * https://github.com/msgpack/msgpack/blob/master/spec.md. */
#include "tests/unit/wire/wire_raw.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SPECIMEN(label, fam, text)                                                                 \
	{                                                                                          \
		.name = (label), .family = (fam), .bytes = (text), .len = sizeof(text) - 1         \
	}

const struct raw_specimen raw_specimens[] = {
	SPECIMEN("nil", RAW_NIL, "\xc0"),
	SPECIMEN("false", RAW_BOOL, "\xc2"),
	SPECIMEN("true", RAW_BOOL, "\xc3"),
	SPECIMEN("positive fixint", RAW_UINT, "\x01"),
	SPECIMEN("uint 64", RAW_UINT, "\xcf\x00\x00\x00\x00\x00\x00\x00\x01"),
	SPECIMEN("negative fixint", RAW_INT, "\xff"),
	SPECIMEN("int 8", RAW_INT, "\xd0\xff"),
	SPECIMEN("int 64", RAW_INT, "\xd3\xff\xff\xff\xff\xff\xff\xff\xff"),
	SPECIMEN("float 32", RAW_FLOAT, "\xca\x3f\x80\x00\x00"),
	SPECIMEN("float 64", RAW_FLOAT, "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
	SPECIMEN("empty str", RAW_STR, "\xa0"),
	SPECIMEN("str", RAW_STR, "\xa1x"),
	SPECIMEN("str 8", RAW_STR, "\xd9\x01x"),
	SPECIMEN("empty bin", RAW_BIN, "\xc4\x00"),
	SPECIMEN("bin", RAW_BIN, "\xc4\x01x"),
	SPECIMEN("empty array", RAW_ARRAY, "\x90"),
	SPECIMEN("array", RAW_ARRAY, "\x91\x01"),
	SPECIMEN("empty map", RAW_MAP, "\x80"),
	SPECIMEN("map", RAW_MAP, "\x81\x01\x01"),
	SPECIMEN("map 16", RAW_MAP, "\xde\x00\x00"),
	SPECIMEN("fixext 1", RAW_EXT, "\xd4\x01x"),
	SPECIMEN("ext 8", RAW_EXT, "\xc7\x01\x01x"),
	SPECIMEN("never used", RAW_EXT, "\xc1"),
};
const size_t raw_n_specimens = LP_COUNT_OF(raw_specimens);

void raw_bytes(struct lp_buf *out, const void *data, size_t len)
{
	assert_int_equal(lp_buf_add(out, data, len), 0);
}

void raw_byte(struct lp_buf *out, unsigned byte)
{
	uint8_t b = (uint8_t)byte;

	raw_bytes(out, &b, 1);
}

static void big_endian(struct lp_buf *out, uint64_t v, unsigned bytes)
{
	while (bytes-- > 0)
		raw_byte(out, (unsigned)(v >> (8 * bytes)) & 0xff);
}

void raw_uint(struct lp_buf *out, uint64_t v)
{
	raw_byte(out, 0xcf);
	big_endian(out, v, 8);
}

void raw_array(struct lp_buf *out, size_t n)
{
	if (n < 16) {
		raw_byte(out, 0x90 | (unsigned)n);
		return;
	}
	raw_byte(out, 0xdc);
	big_endian(out, n, 2);
}

void raw_bin(struct lp_buf *out, const void *p, size_t n)
{
	raw_byte(out, 0xc6);
	big_endian(out, n, 4);
	raw_bytes(out, p, n);
}

void raw_str(struct lp_buf *out, const void *p, size_t n)
{
	raw_byte(out, 0xdb);
	big_endian(out, n, 4);
	raw_bytes(out, p, n);
}

/* What a type byte says: bytes of the length field (or of the fixed payload), and the family. */
struct head {
	uint8_t from;
	uint8_t to;
	enum raw_family family;
	unsigned length_bytes;  /* a length or count of that many bytes follows */
	unsigned payload_bytes; /* fixed payload */
	unsigned in_byte;       /* mask of the length inside the type byte; 0: none */
};

static const struct head heads[] = {
	{0x00, 0x7f, RAW_UINT, 0, 0, 0},   {0x90, 0x9f, RAW_ARRAY, 0, 0, 0x0f},
	{0xa0, 0xbf, RAW_STR, 0, 0, 0x1f}, {0xc0, 0xc0, RAW_NIL, 0, 0, 0},
	{0xc2, 0xc3, RAW_BOOL, 0, 0, 0},   {0xc4, 0xc4, RAW_BIN, 1, 0, 0},
	{0xc5, 0xc5, RAW_BIN, 2, 0, 0},    {0xc6, 0xc6, RAW_BIN, 4, 0, 0},
	{0xcc, 0xcc, RAW_UINT, 0, 1, 0},   {0xcd, 0xcd, RAW_UINT, 0, 2, 0},
	{0xce, 0xce, RAW_UINT, 0, 4, 0},   {0xcf, 0xcf, RAW_UINT, 0, 8, 0},
	{0xd9, 0xd9, RAW_STR, 1, 0, 0},    {0xda, 0xda, RAW_STR, 2, 0, 0},
	{0xdb, 0xdb, RAW_STR, 4, 0, 0},    {0xdc, 0xdc, RAW_ARRAY, 2, 0, 0},
	{0xdd, 0xdd, RAW_ARRAY, 4, 0, 0},
};

static const struct head *head_of(uint8_t b)
{
	for (size_t i = 0; i < LP_COUNT_OF(heads); i++)
		if (b >= heads[i].from && b <= heads[i].to)
			return &heads[i];
	fail_msg("the encoder wrote type byte 0x%02x", b);
	return &heads[0];
}

struct walk {
	const struct lp_buf *msg;
	struct raw_value *out;
	size_t max;
	size_t n;
};

static size_t walk_value(struct walk *w, size_t at, unsigned depth)
{
	const struct head *h;
	size_t mine = w->n++, count = 0;

	assert_true(at < w->msg->len);
	assert_true(mine < w->max);
	h = head_of(w->msg->data[at]);
	w->out[mine] = (struct raw_value){.start = at, .family = h->family, .depth = depth};
	if (h->in_byte)
		count = w->msg->data[at] & h->in_byte;
	assert_true(at + 1 + h->length_bytes <= w->msg->len);
	for (unsigned i = 0; i < h->length_bytes; i++)
		count = count << 8 | w->msg->data[at + 1 + i];
	at += 1 + h->length_bytes + h->payload_bytes;
	if (h->family == RAW_ARRAY)
		while (count-- > 0)
			at = walk_value(w, at, depth + 1);
	else
		at += count;
	assert_true(at <= w->msg->len);
	w->out[mine].end = at;
	return at;
}

size_t raw_values(const struct lp_buf *msg, struct raw_value *out, size_t max)
{
	struct walk w = {.msg = msg, .out = out, .max = max};

	assert_int_equal(walk_value(&w, 0, 0), msg->len);
	return w.n;
}

void raw_replace(struct lp_buf *out, const struct lp_buf *msg, const struct raw_value *v,
		 const void *by, size_t len)
{
	raw_bytes(out, msg->data, v->start);
	raw_bytes(out, by, len);
	raw_bytes(out, msg->data + v->end, msg->len - v->end);
}
