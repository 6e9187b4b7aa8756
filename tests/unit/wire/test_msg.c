/* test_msg.c: every message survives its encoding; test_limits.c has what is too large for one. */
#include "common/base/lp_mem.h"
#include "tests/unit/wire/wire_raw.h"
#include "tests/unit/wire/wire_samples.h"
#include "wire/fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void encode__decodes_to_the_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < wire_n_samples; i++) {
		const struct wire_sample *s = &wire_samples[i];
		struct lp_buf first = {0}, second = {0};
		struct lp_err err = {0};
		struct lp_msg msg;

		assert_int_equal(lp_msg_encode(&s->msg, &first), 0);
		if (lp_msg_decode(&msg, first.data, first.len, &err) != 0)
			fail_msg("%s: %s", s->name, err.msg);
		if (!wire_equal_sample(&s->msg, &msg))
			fail_msg("%s: a field got lost", s->name);
		assert_int_equal(err.code, 0);
		assert_int_equal(lp_msg_encode(&msg, &second), 0);
		assert_int_equal(first.len, second.len);
		assert_memory_equal(first.data, second.data, first.len);
		lp_msg_finish(&msg);
		lp_buf_finish(&first);
		lp_buf_finish(&second);
	}
}

static void samples__have_every_kind(void **state)
{
	size_t kinds = 0;

	(void)state;
	for (unsigned kind = 0; kind < 256; kind++) {
		bool sampled = false;

		for (size_t i = 0; i < wire_n_samples; i++)
			sampled = sampled || wire_samples[i].msg.kind == kind;
		if (sampled != (lp_record_of(kind) != NULL))
			fail_msg("kind %u (%s)", kind, lp_msg_name((enum lp_msg_kind)kind));
		kinds += sampled;
	}
	assert_int_equal(kinds, 30);
	assert_null(lp_record_of(UINT64_MAX));
}

/* Whether a field says something: a sample that leaves it zero could not show that it got lost. */
static bool field_is_set(const struct lp_field *f, const uint8_t *base)
{
	struct lp_bytes bytes;
	uint64_t number;
	size_t n;

	switch (f->type) {
	case LP_FIELD_UINT:
		memcpy(&number, base + f->offset, sizeof(number));
		return number != 0;
	case LP_FIELD_BOOL:
	case LP_FIELD_FIXED:
		return base[f->offset] != 0;
	case LP_FIELD_ARRAY:
		memcpy(&n, base + f->offset2, sizeof(n));
		return n > 1;
	case LP_FIELD_TEXT:
	case LP_FIELD_BIN:
	case LP_FIELD_OPT_BIN:
	case LP_FIELD_PATH:
	case LP_FIELD_DIR_PATH:
	case LP_FIELD_NAME:
	case LP_FIELD_TYPE_COUNT_:
		break;
	}
	memcpy(&bytes, base + f->offset, sizeof(bytes));
	return bytes.len > 1;
}

static void samples__set_every_field(void **state)
{
	(void)state;
	for (size_t i = 0; i < wire_n_samples; i++) {
		const struct wire_sample *s = &wire_samples[i];
		const struct lp_record *rec = lp_record_of(s->msg.kind);

		for (size_t k = 0; !strstr(s->name, "zeros") && k < rec->n_fields; k++)
			if (!field_is_set(&rec->fields[k], (const uint8_t *)&s->msg.u))
				fail_msg("%s: '%s' is not set", s->name, rec->fields[k].name);
	}
}

static void encode__begins_with_count_and_kind(void **state)
{
	(void)state;
	for (size_t i = 0; i < wire_n_samples; i++) {
		const struct wire_sample *s = &wire_samples[i];
		struct raw_value values[128];
		struct lp_buf out = {0};

		assert_int_equal(lp_msg_encode(&s->msg, &out), 0);
		assert_true(raw_values(&out, values, LP_COUNT_OF(values)) > 1);
		assert_int_equal(values[0].family, RAW_ARRAY);
		assert_int_equal(values[1].end - values[1].start, 1);
		assert_int_equal(out.data[values[1].start], s->msg.kind);
		lp_buf_finish(&out);
	}
}

static void encode__appends(void **state)
{
	const struct lp_msg msg = {.kind = LP_MSG_ASK};
	struct lp_buf out = {0};

	(void)state;
	raw_bytes(&out, "before", 6);
	assert_int_equal(lp_msg_encode(&msg, &out), 0);
	assert_int_equal(out.max, 0);
	assert_int_equal(out.len, 6 + 3);
	assert_memory_equal(out.data, "before\x92\x29\x00", out.len);
	lp_buf_finish(&out);
}

static void name__knows_every_kind_and_no_other(void **state)
{
	(void)state;
	assert_string_equal(lp_msg_name(LP_MSG_HELLO), "HELLO");
	assert_string_equal(lp_msg_name(LP_MSG_TAIL), "TAIL");
	assert_string_equal(lp_msg_name((enum lp_msg_kind)0), "?");
	assert_string_equal(lp_msg_name((enum lp_msg_kind)8), "?");
	assert_string_equal(lp_msg_name((enum lp_msg_kind)1000), "?");
	assert_string_equal(lp_wire_stage_name(LP_WIRE_STAGE_CONFIG), "config");
	assert_string_equal(lp_wire_stage_name(LP_WIRE_STAGE_APPLY), "apply");
	assert_string_equal(lp_wire_stage_name(0), "unknown");
	assert_string_equal(lp_wire_stage_name(UINT64_MAX), "unknown");
}

/* Messages whose one field has `len` bytes or elements, or that value. */

static void bytes_text__terminates_and_cleans(void **state)
{
	static const struct {
		struct lp_bytes in;
		size_t room;
		const char *out;
	} cases[] = {
		{WIRE_BYTES("plain"), 16, "plain"},
		{WIRE_BYTES("plain"), 6, "plain"},
		{WIRE_BYTES("plain"), 5, "plai"},
		{WIRE_BYTES("plain"), 1, ""},
		{WIRE_BYTES("a\nb\033[31m\177\0c\xc3\xa4"), 32, "a?b?[31m??c\xc3\xa4"},
		{{NULL, 0}, 8, ""},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		char out[32];

		lp_bytes_text(&cases[i].in, out, cases[i].room);
		assert_string_equal(out, cases[i].out);
	}
	assert_int_equal(lp_bytes_of("abc").len, 3);
}

static void finish__is_harmless_twice(void **state)
{
	struct lp_buf out = {0};
	struct lp_msg msg;

	(void)state;
	for (size_t i = 0; i < wire_n_samples; i++) {
		out.len = 0;
		assert_int_equal(lp_msg_encode(&wire_samples[i].msg, &out), 0);
		assert_int_equal(lp_msg_decode(&msg, out.data, out.len, NULL), 0);
		lp_msg_finish(&msg);
		lp_msg_finish(&msg);
	}
	lp_buf_finish(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encode__decodes_to_the_same),
		cmocka_unit_test(samples__have_every_kind),
		cmocka_unit_test(samples__set_every_field),
		cmocka_unit_test(encode__begins_with_count_and_kind),
		cmocka_unit_test(encode__appends),
		cmocka_unit_test(name__knows_every_kind_and_no_other),
		cmocka_unit_test(bytes_text__terminates_and_cleans),
		cmocka_unit_test(finish__is_harmless_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
