/* test_refuse.c: what lp_msg_decode must refuse, and what later versions may add without harm. */
#include "tests/unit/wire/wire_raw.h"
#include "tests/unit/wire/wire_samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MAX_VALUES 256

/* Decodes from memory of exactly that size, so that a sanitizer sees a read past the end. */
static int decode_exact(struct lp_msg *msg, const void *data, size_t len, struct lp_err *err)
{
	uint8_t *copy = malloc(len ? len : 1);
	int r;

	assert_non_null(copy);
	if (len > 0)
		memcpy(copy, data, len);
	r = lp_msg_decode(msg, copy, len, err);
	free(copy);
	return r;
}

static void assert_refused(const struct lp_buf *b, const char *what)
{
	struct lp_err err = {0};
	struct lp_msg msg;

	if (decode_exact(&msg, b->data, b->len, &err) != -EBADMSG)
		fail_msg("%s was accepted", what);
	assert_int_equal(err.code, EBADMSG);
	assert_true(err.msg[0] != '\0');
}

static void encode_sample(size_t i, struct lp_buf *out)
{
	out->len = 0;
	assert_int_equal(lp_msg_encode(&wire_samples[i].msg, out), 0);
}

static void decode__refuses_every_truncation(void **state)
{
	struct lp_buf whole = {0};

	(void)state;
	for (size_t i = 0; i < wire_n_samples; i++) {
		encode_sample(i, &whole);
		for (size_t len = 0; len < whole.len; len++)
			assert_refused(&(struct lp_buf){.data = whole.data, .len = len},
				       wire_samples[i].name);
	}
	lp_buf_finish(&whole);
}

static void decode__refuses_trailing_bytes(void **state)
{
	struct lp_buf b = {0};

	(void)state;
	for (size_t i = 0; i < wire_n_samples; i++) {
		for (unsigned extra = 0; extra < 256; extra++) {
			encode_sample(i, &b);
			raw_byte(&b, extra);
			assert_refused(&b, wire_samples[i].name);
		}
	}
	lp_buf_finish(&b);
}

static void decode__refuses_every_wrong_type(void **state)
{
	struct lp_buf b = {0}, changed = {0};
	struct raw_value values[MAX_VALUES];

	(void)state;
	for (size_t i = 0; i < wire_n_samples; i++) {
		size_t n;

		encode_sample(i, &b);
		n = raw_values(&b, values, MAX_VALUES);
		for (size_t v = 0; v < n; v++) {
			for (size_t s = 0; s < raw_n_specimens; s++) {
				enum raw_family had = values[v].family;
				enum raw_family gets = raw_specimens[s].family;
				/* The content of an operation or segment, its last field, may be
				 * nil. */
				bool optional = (wire_samples[i].msg.kind == LP_MSG_CHANGE ||
						 wire_samples[i].msg.kind == LP_MSG_PATCH) &&
						values[v].depth == 3 &&
						(v + 1 == n || values[v + 1].depth < 3) &&
						(gets == RAW_NIL || gets == RAW_BIN);

				if (had == gets || optional)
					continue;
				changed.len = 0;
				raw_replace(&changed, &b, &values[v], raw_specimens[s].bytes,
					    raw_specimens[s].len);
				assert_refused(&changed, raw_specimens[s].name);
			}
		}
	}
	lp_buf_finish(&b);
	lp_buf_finish(&changed);
}

/* Every byte takes every value: nothing may crash, and what is accepted must be a message that can
 * be encoded again. */
static void decode__survives_every_changed_byte(void **state)
{
	struct lp_buf b = {0}, again = {0};
	struct lp_msg msg;

	(void)state;
	for (size_t i = 0; i < wire_n_samples; i++) {
		encode_sample(i, &b);
		for (size_t at = 0; at < b.len; at++) {
			uint8_t kept = b.data[at];

			for (unsigned value = 0; value < 256; value++) {
				b.data[at] = (uint8_t)value;
				if (lp_msg_decode(&msg, b.data, b.len, NULL) < 0)
					continue;
				again.len = 0;
				assert_int_equal(lp_msg_encode(&msg, &again), 0);
				lp_msg_finish(&msg);
			}
			b.data[at] = kept;
		}
	}
	lp_buf_finish(&b);
	lp_buf_finish(&again);
}

static void decode__refuses_a_fixed_field_of_another_length(void **state)
{
	struct lp_buf b = {0}, changed = {0}, bin = {0};
	struct raw_value values[MAX_VALUES];
	uint8_t zeros[40] = {0};
	size_t fixed = 0;

	(void)state;
	for (size_t i = 0; i < wire_n_samples; i++) {
		size_t n;

		encode_sample(i, &b);
		n = raw_values(&b, values, MAX_VALUES);
		for (size_t v = 0; v < n; v++) {
			size_t len = values[v].end - values[v].start - 2;

			if (values[v].family != RAW_BIN || (len != 16 && len != 32))
				continue;
			fixed++;
			for (size_t other = len - 1; other <= len + 1; other += 2) {
				bin.len = changed.len = 0;
				raw_bin(&bin, zeros, other);
				raw_replace(&changed, &b, &values[v], bin.data, bin.len);
				assert_refused(&changed, wire_samples[i].name);
			}
		}
	}
	assert_true(fixed > 20);
	lp_buf_finish(&b);
	lp_buf_finish(&changed);
	lp_buf_finish(&bin);
}

#define RAW(text)                                                                                  \
	{                                                                                          \
		.data = (uint8_t *)(text), .len = sizeof(text) - 1                                 \
	}

static void decode__refuses_what_is_no_message(void **state)
{
	static const struct {
		const char *name;
		struct lp_buf bytes;
	} cases[] = {
		{"nothing", RAW("")},
		{"a number", RAW("\x01")},
		{"a text", RAW("\xa5HELLO")},
		{"an empty array", RAW("\x90")},
		{"an array without a kind", RAW("\x92\xa1x\x00")},
		{"a kind that is no number", RAW("\x92\xc3\x00")},
		{"a negative kind", RAW("\x92\xff\x00")},
		{"kind 0", RAW("\x92\x00\x00")},
		{"kind 6", RAW("\x92\x06\x00")},
		{"kind 46", RAW("\x92\x2e\x00")},
		{"kind 255", RAW("\x92\xcc\xff\x00")},
		{"kind 2^64-1", RAW("\x92\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x00")},
		{"kind 41 + 2^32", RAW("\x92\xcf\x00\x00\x00\x01\x00\x00\x00\x29\x00")},
		{"a map", RAW("\x81\x29\x00")},
		{"an extension", RAW("\xd4\x29\x00")},
		{"ASK without its field", RAW("\x91\x29")},
		{"TAIL with half of its fields", RAW("\x92\x2b\x01")},
		{"an array 32 of 2^32-1", RAW("\xdd\xff\xff\xff\xff")},
		{"an array 16 of 65535", RAW("\xdc\xff\xff")},
		{"LIST that promises 2^32-1 paths", RAW("\x92\x0a\xdd\xff\xff\xff\xff")},
		{"LIST that promises 65535 paths", RAW("\x92\x0a\xdc\xff\xff\x91\xc4\x00")},
		{"DATA that promises 2^32-1 bytes", RAW("\x93\x15\x00\xc6\xff\xff\xff\xff")},
		{"DATA that promises 65535 bytes", RAW("\x93\x15\x00\xc5\xff\xffx")},
		{"DATA that promises 2 of 1 bytes", RAW("\x93\x15\x00\xc4\x02x")},
		{"REFUSED that promises 2^32-1 bytes", RAW("\x93\x05\x01\xdb\xff\xff\xff\xff")},
		{"a map 32 of 2^32-1", RAW("\xdf\xff\xff\xff\xff")},
		{"an ext 32 of 2^32-1", RAW("\xc9\xff\xff\xff\xff\x01")},
		{"arrays in arrays", RAW("\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91")},
		{"LIST with a path too deep", RAW("\x92\x0a\x91\x91\x91\xc4\x00")},
		{"LIST with a bare path", RAW("\x92\x0a\x91\xc4\x00")},
		{"LIST with an empty element", RAW("\x92\x0a\x91\x90")},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++)
		assert_refused(&cases[i].bytes, cases[i].name);
}

static void decode__refuses_deep_nesting(void **state)
{
	struct lp_buf b = {0};

	(void)state;
	for (size_t i = 0; i < 100000; i++)
		raw_byte(&b, 0x91);
	raw_byte(&b, 0x01);
	assert_refused(&b, "100,000 nested arrays");
	lp_buf_finish(&b);
}

static void decode__refuses_a_message_over_the_limit(void **state)
{
	struct lp_buf b = {0};
	uint8_t *filler = calloc(1, LP_WIRE_MSG_MAX_BYTES);
	struct lp_msg msg;

	(void)state;
	assert_non_null(filler);
	/* An unknown further field fills the message up to the byte. */
	raw_array(&b, 3);
	raw_byte(&b, LP_MSG_ASK);
	raw_byte(&b, 0);
	raw_bin(&b, filler, LP_WIRE_MSG_MAX_BYTES - 8);
	assert_int_equal(b.len, LP_WIRE_MSG_MAX_BYTES);
	assert_int_equal(lp_msg_decode(&msg, b.data, b.len, NULL), 0);
	lp_msg_finish(&msg);
	b.len = 3;
	raw_bin(&b, filler, LP_WIRE_MSG_MAX_BYTES - 7);
	assert_refused(&b, "one byte more");
	lp_buf_finish(&b);
	free(filler);
}

/* A CHANGE with one DELETE, a LISTING of one entry and a LIST of one path, around the same bytes.
 */
static void build_around(struct lp_buf *out, enum lp_msg_kind kind, const char *p, size_t len)
{
	static const uint8_t digest[16];

	out->len = 0;
	switch ((int)kind) {
	case LP_MSG_CHANGE:
		raw_array(out, 5);
		raw_byte(out, kind);
		raw_uint(out, 1);
		raw_byte(out, 3);
		raw_bin(out, digest, 16);
		raw_array(out, 1);
		raw_array(out, 7);
		raw_byte(out, LP_OP_DELETE);
		raw_byte(out, LP_KIND_NONE);
		raw_bin(out, p, len);
		raw_uint(out, 0);
		raw_uint(out, 0);
		raw_bin(out, digest, 16);
		raw_byte(out, 0xc0);
		break;
	case LP_MSG_LISTING:
		raw_array(out, 5);
		raw_byte(out, kind);
		raw_bin(out, "", 0);
		raw_byte(out, 0xc2);
		raw_byte(out, 0xc2);
		raw_array(out, 1);
		raw_array(out, 6);
		raw_bin(out, p, len);
		raw_byte(out, LP_KIND_FILE);
		raw_uint(out, 0644);
		raw_uint(out, 0);
		raw_bin(out, digest, 16);
		raw_byte(out, 0xc3);
		break;
	default:
		raw_array(out, 2);
		raw_byte(out, LP_MSG_LIST);
		raw_array(out, 1);
		raw_array(out, 1);
		raw_bin(out, p, len);
		break;
	}
}

static char long_path[LP_PATH_MAX_BYTES + 2], name_255[255], name_256[256];

#define PATH(s) (s), sizeof(s) - 1

/* What counts as a path of an operation, as one name, and as a directory. */
static const struct {
	const char *p;
	size_t len;
	bool path, name, dir;
} path_cases[] = {
	{PATH("a"), true, true, true},
	{PATH("a/b"), true, false, true},
	{PATH("\xff\xfe"), true, true, true},
	{PATH("..."), true, true, true},
	{PATH("..a"), true, true, true},
	{PATH("a.."), true, true, true},
	{PATH(".a"), true, true, true},
	{PATH("a\nb"), true, true, true},
	{PATH("a\\b"), true, true, true},
	{name_255, sizeof(name_255), true, true, true},
	{long_path, LP_PATH_MAX_BYTES, true, false, true},
	{PATH(""), false, false, true},
	{PATH("/"), false, false, false},
	{PATH("."), false, false, false},
	{PATH(".."), false, false, false},
	{PATH("/a"), false, false, false},
	{PATH("//a"), false, false, false},
	{PATH("a/"), false, false, false},
	{PATH("a//b"), false, false, false},
	{PATH("../a"), false, false, false},
	{PATH("a/.."), false, false, false},
	{PATH("a/../b"), false, false, false},
	{PATH("./a"), false, false, false},
	{PATH("a/."), false, false, false},
	{PATH("a/./b"), false, false, false},
	{PATH("a\0b"), false, false, false},
	{PATH("\0"), false, false, false},
	{PATH("a\0/../b"), false, false, false},
	{name_256, sizeof(name_256), false, false, false},
	{long_path, LP_PATH_MAX_BYTES + 1, false, false, false},
};

static void decode__takes_clean_paths_only(void **state)
{
	static const enum lp_msg_kind kinds[] = {LP_MSG_CHANGE, LP_MSG_LISTING, LP_MSG_LIST};
	struct lp_buf b = {0};
	struct lp_msg msg;

	(void)state;
	memset(name_255, 'n', sizeof(name_255));
	memset(name_256, 'n', sizeof(name_256));
	for (size_t i = 0; i < sizeof(long_path); i++)
		long_path[i] = i % 2 ? '/' : 'p';
	for (size_t i = 0; i < LP_COUNT_OF(path_cases); i++) {
		const bool expected[] = {path_cases[i].path, path_cases[i].name, path_cases[i].dir};

		for (size_t k = 0; k < LP_COUNT_OF(kinds); k++) {
			int r;

			build_around(&b, kinds[k], path_cases[i].p, path_cases[i].len);
			r = decode_exact(&msg, b.data, b.len, NULL);
			if (r == 0)
				lp_msg_finish(&msg);
			if (r != (expected[k] ? 0 : -EBADMSG))
				fail_msg("%s of path case %zu: %d", lp_msg_name(kinds[k]), i, r);
		}
	}
	lp_buf_finish(&b);
}

/* Inserts a further value of every family behind the known fields, of the message and of what is
 * inside. */
static void decode__ignores_fields_of_later_versions(void **state)
{
	struct lp_buf b = {0}, longer = {0};
	struct raw_value values[MAX_VALUES];
	struct lp_msg msg;

	(void)state;
	for (size_t i = 0; i < wire_n_samples; i++) {
		size_t n;

		encode_sample(i, &b);
		n = raw_values(&b, values, MAX_VALUES);
		for (size_t v = 0; v < n; v++) {
			struct raw_value end = {.start = values[v].end, .end = values[v].end};
			uint8_t more[] = {0xc4, 3, 'n', 'e', 'w'};

			/* Depth 0 is the message, depth 2 an operation, an entry or a path. */
			if (values[v].family != RAW_ARRAY || values[v].depth == 1)
				continue;
			longer.len = 0;
			raw_replace(&longer, &b, &end, more, sizeof(more));
			assert_true((longer.data[values[v].start] & 0xf0) == 0x90);
			longer.data[values[v].start]++;
			if (lp_msg_decode(&msg, longer.data, longer.len, NULL) != 0)
				fail_msg("%s: value %zu", wire_samples[i].name, v);
			assert_true(wire_equal(&msg, &wire_samples[i].msg));
			lp_msg_finish(&msg);
		}
	}
	lp_buf_finish(&b);
	lp_buf_finish(&longer);
}

/* The encoder writes the shortest form; other implementations need not. */
static void decode__takes_every_width(void **state)
{
	static const struct lp_buf cases[] = {
		RAW("\x93\x2b\x07\xc3"),
		RAW("\x93\x2b\xcc\x07\xc3"),
		RAW("\x93\xcc\x2b\xcd\x00\x07\xc3"),
		RAW("\xdc\x00\x03\xcd\x00\x2b\xce\x00\x00\x00\x07\xc3"),
		RAW("\xdd\x00\x00\x00\x03\x2b\xcf\x00\x00\x00\x00\x00\x00\x00\x07\xc3"),
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_msg msg;

		assert_int_equal(decode_exact(&msg, cases[i].data, cases[i].len, NULL), 0);
		assert_int_equal(msg.kind, LP_MSG_TAIL);
		assert_int_equal(msg.u.tail.backlog, 7);
		assert_true(msg.u.tail.follow);
		lp_msg_finish(&msg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decode__refuses_every_truncation),
		cmocka_unit_test(decode__refuses_trailing_bytes),
		cmocka_unit_test(decode__refuses_every_wrong_type),
		cmocka_unit_test(decode__survives_every_changed_byte),
		cmocka_unit_test(decode__refuses_a_fixed_field_of_another_length),
		cmocka_unit_test(decode__refuses_what_is_no_message),
		cmocka_unit_test(decode__refuses_deep_nesting),
		cmocka_unit_test(decode__refuses_a_message_over_the_limit),
		cmocka_unit_test(decode__takes_clean_paths_only),
		cmocka_unit_test(decode__ignores_fields_of_later_versions),
		cmocka_unit_test(decode__takes_every_width),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
