/* test_msg.c: every message survives its encoding, and the encoder keeps to the limits. */
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
	assert_int_equal(kinds, 24);
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
static char filler[LP_WIRE_MSG_MAX_BYTES + 1];
static struct lp_wire_op many_ops[LP_WIRE_OPS_MAX + 1];
static struct lp_wire_entry many_entries[LP_WIRE_OPS_MAX + 1];
static struct lp_bytes many_paths[LP_WIRE_OPS_MAX + 1];
static struct lp_wire_segment many_segments[LP_WIRE_OPS_MAX + 1];

static struct lp_bytes filled(size_t len)
{
	return (struct lp_bytes){(const uint8_t *)filler, len};
}

static void set_app(struct lp_msg *m, size_t n)
{
	m->u.hello.app = filled(n);
}

static void set_holder(struct lp_msg *m, size_t n)
{
	m->u.hello.holder = filled(n);
}

static void set_instance(struct lp_msg *m, size_t n)
{
	m->u.welcome.instance = filled(n);
}

static void set_text(struct lp_msg *m, size_t n)
{
	m->u.refused.text = filled(n);
}

static void set_data(struct lp_msg *m, size_t n)
{
	m->u.data.content = filled(n);
}

static void set_log(struct lp_msg *m, size_t n)
{
	m->u.log.content = filled(n);
}

static void set_error(struct lp_msg *m, size_t n)
{
	m->u.failed.error = filled(n);
}

static void set_excerpt(struct lp_msg *m, size_t n)
{
	m->u.failed.excerpt = filled(n);
}

static void set_state(struct lp_msg *m, size_t n)
{
	m->u.status.state = filled(n);
}

static void set_owner(struct lp_msg *m, size_t n)
{
	m->u.status.owner = filled(n);
}

static void set_paths(struct lp_msg *m, size_t n)
{
	m->u.list = (struct lp_msg_list){many_paths, n};
}

static void set_entries(struct lp_msg *m, size_t n)
{
	many_entries[0].name = filled(1);
	for (size_t i = 0; i < LP_COUNT_OF(many_entries); i++)
		many_entries[i].name = many_entries[0].name;
	m->u.listing.entries = many_entries;
	m->u.listing.n_entries = n;
}

static void set_ops(struct lp_msg *m, size_t n)
{
	for (size_t i = 0; i < LP_COUNT_OF(many_ops); i++)
		many_ops[i].path = filled(1);
	m->u.change.ops = many_ops;
	m->u.change.n_ops = n;
}

static struct lp_wire_op one_op;

static void set_content(struct lp_msg *m, size_t n)
{
	one_op = (struct lp_wire_op){.path = filled(1), .has_content = true, .content = filled(n)};
	m->u.change.ops = &one_op;
	m->u.change.n_ops = 1;
}

static void set_op_mode(struct lp_msg *m, size_t n)
{
	one_op = (struct lp_wire_op){.path = filled(1), .mode = n};
	m->u.change.ops = &one_op;
	m->u.change.n_ops = 1;
}

static void set_op_kind(struct lp_msg *m, size_t n)
{
	set_op_mode(m, 0);
	one_op.kind = n;
}

static void set_op_op(struct lp_msg *m, size_t n)
{
	set_op_mode(m, 0);
	one_op.op = n;
	one_op.has_content = true;
	one_op.content = filled(1);
}

static void set_op_size(struct lp_msg *m, size_t n)
{
	set_op_mode(m, 0);
	one_op.size = n;
}

static void set_at(struct lp_msg *m, size_t n)
{
	m->u.data.at = n;
}

static void set_segments(struct lp_msg *m, size_t n)
{
	for (size_t i = 0; i < LP_COUNT_OF(many_segments); i++)
		many_segments[i].len = 1;
	m->u.patch.segments = many_segments;
	m->u.patch.n_segments = n;
}

static struct lp_wire_segment one_segment;

static void set_segment_len(struct lp_msg *m, size_t n)
{
	one_segment = (struct lp_wire_segment){.len = n};
	m->u.patch.segments = &one_segment;
	m->u.patch.n_segments = 1;
}

static void set_segment_content(struct lp_msg *m, size_t n)
{
	set_segment_len(m, n);
	one_segment.has_content = true;
	one_segment.content = filled(n);
}

static void set_verified_paths(struct lp_msg *m, size_t n)
{
	for (size_t i = 0; i < LP_COUNT_OF(many_paths); i++)
		many_paths[i] = filled(1);
	m->u.verified.paths = many_paths;
	m->u.verified.n_paths = n;
}

static void set_partial_have(struct lp_msg *m, size_t n)
{
	m->u.welcome.partial_have = n;
}

static void set_flags(struct lp_msg *m, size_t n)
{
	m->u.change.flags = n;
}

static void set_backlog(struct lp_msg *m, size_t n)
{
	m->u.tail.backlog = n;
}

static void set_raw_len(struct lp_msg *m, size_t n)
{
	m->u.packed.raw_len = n;
}

/* `most` is accepted by both sides, one more by none. */
static const struct {
	enum lp_msg_kind kind;
	void (*set)(struct lp_msg *m, size_t n);
	size_t most;
	const char *field;
} limits[] = {
	{LP_MSG_HELLO, set_app, 512, "app"},
	{LP_MSG_HELLO, set_holder, 512, "holder"},
	{LP_MSG_WELCOME, set_instance, 512, "instance"},
	{LP_MSG_REFUSED, set_text, 512, "text"},
	{LP_MSG_DATA, set_data, 262144, "content"},
	{LP_MSG_LOG, set_log, 262144, "content"},
	{LP_MSG_FAILED, set_error, 1024, "error"},
	{LP_MSG_FAILED, set_excerpt, 16384, "excerpt"},
	{LP_MSG_STATUS, set_state, 512, "state"},
	{LP_MSG_STATUS, set_owner, 512, "owner"},
	{LP_MSG_LIST, set_paths, 16384, "paths"},
	{LP_MSG_LISTING, set_entries, 16384, "entries"},
	{LP_MSG_CHANGE, set_ops, 16384, "ops"},
	{LP_MSG_CHANGE, set_content, 262144, "content"},
	{LP_MSG_CHANGE, set_op_mode, 0777, "mode"},
	{LP_MSG_CHANGE, set_op_kind, LP_KIND_LINK, "kind"},
	{LP_MSG_CHANGE, set_op_op, LP_OP_MOVE, "op"},
	{LP_MSG_DATA, set_at, INT64_MAX, "at"},
	{LP_MSG_PATCH, set_segments, 16384, "segments"},
	{LP_MSG_PATCH, set_segment_len, INT64_MAX, "len"},
	{LP_MSG_PATCH, set_segment_content, 262144, "content"},
	{LP_MSG_VERIFIED, set_verified_paths, 16384, "paths"},
	{LP_MSG_WELCOME, set_partial_have, INT64_MAX, "partial_have"},
	{LP_MSG_CHANGE, set_op_size, INT64_MAX, "size"},
	{LP_MSG_CHANGE, set_flags, 3, "flags"},
	{LP_MSG_TAIL, set_backlog, 1000, "backlog"},
	{LP_MSG_PACKED, set_raw_len, 524288, "raw_len"},
};

static void encode__keeps_every_limit(void **state)
{
	(void)state;
	memset(filler, 'x', sizeof(filler));
	for (size_t i = 0; i < LP_COUNT_OF(limits); i++) {
		struct lp_msg msg = {.kind = limits[i].kind}, back;
		struct lp_buf out = {0};
		int r;

		limits[i].set(&msg, limits[i].most);
		r = lp_msg_encode(&msg, &out);
		if (r != 0)
			fail_msg("%s of %zu: %d", limits[i].field, limits[i].most, r);
		assert_int_equal(lp_msg_decode(&back, out.data, out.len, NULL), 0);
		assert_true(wire_equal(&msg, &back));
		lp_msg_finish(&back);
		out.len = 0;
		limits[i].set(&msg, limits[i].most + 1);
		if (lp_msg_encode(&msg, &out) != -EMSGSIZE)
			fail_msg("%s over %zu was encoded", limits[i].field, limits[i].most);
		assert_int_equal(out.len, 0);
		lp_buf_finish(&out);
	}
}

static void encode__leaves_the_buffer_when_the_message_is_too_long(void **state)
{
	struct lp_wire_op three[3];
	struct lp_msg msg = {.kind = LP_MSG_CHANGE, .u.change = {.ops = three, .n_ops = 3}};
	struct lp_buf out = {.max = 1 << 20};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(three); i++)
		three[i] = (struct lp_wire_op){
			.path = filled(1), .has_content = true, .content = filled(200000)};
	raw_bytes(&out, "before", 6);
	assert_int_equal(lp_msg_encode(&msg, &out), -EMSGSIZE);
	assert_int_equal(out.len, 6);
	assert_int_equal(out.max, 1 << 20);
	assert_memory_equal(out.data, "before", 6);
	msg.u.change.n_ops = 2;
	assert_int_equal(lp_msg_encode(&msg, &out), 0);
	lp_buf_finish(&out);
	out.max = 100;
	assert_int_equal(lp_msg_encode(&msg, &out), -EMSGSIZE);
	assert_int_equal(out.len, 0);
	lp_buf_finish(&out);
	msg.kind = (enum lp_msg_kind)7;
	assert_int_equal(lp_msg_encode(&msg, &out), -EMSGSIZE);
}

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
		cmocka_unit_test(encode__keeps_every_limit),
		cmocka_unit_test(encode__leaves_the_buffer_when_the_message_is_too_long),
		cmocka_unit_test(bytes_text__terminates_and_cleans),
		cmocka_unit_test(finish__is_harmless_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
