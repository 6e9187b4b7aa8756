/* test_fit.c: messages whose fields are right one by one and do not fit together. */
#include "tests/unit/wire/wire_samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void assert_refused(const struct lp_buf *b, const char *what)
{
	struct lp_err err = {0};
	struct lp_msg msg;

	if (lp_msg_decode(&msg, b->data, b->len, &err) != -EBADMSG)
		fail_msg("%s was accepted", what);
	assert_int_equal(err.code, EBADMSG);
	assert_true(err.msg[0] != '\0');
}

/* The encoder leaves that to its caller, so it can make them. */
static void decode__refuses_fields_that_do_not_fit(void **state)
{
	static const struct lp_wire_segment segments[] = {
		{.from = 1, .len = 0},
		{.from = 0, .len = 0, .has_content = true},
		{.from = 1, .len = 3, .has_content = true, .content = WIRE_BYTES("new")},
		{.from = 0, .len = 4, .has_content = true, .content = WIRE_BYTES("new")},
		{.from = 0, .len = 2, .has_content = true, .content = WIRE_BYTES("new")},
		{.from = INT64_MAX, .len = 1},
		{.from = 1, .len = INT64_MAX},
		{.from = INT64_MAX, .len = INT64_MAX},
	};
	static const struct lp_bytes sources[] = {WIRE_BYTES(""),     WIRE_BYTES("/a"),
						  WIRE_BYTES("../a"), WIRE_BYTES("a/"),
						  WIRE_BYTES("a//b"), WIRE_BYTES("a\0b")};
	struct lp_buf b = {0};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(segments); i++) {
		struct lp_wire_segment two[] = {{.len = 1}, segments[i]};
		struct lp_msg msg = {.kind = LP_MSG_PATCH, .u.patch = {{0}, false, two, 2}};

		b.len = 0;
		assert_int_equal(lp_msg_encode(&msg, &b), 0);
		assert_refused(&b, "a segment that cannot be");
	}
	for (size_t i = 0; i <= LP_COUNT_OF(sources); i++) {
		bool none = i == LP_COUNT_OF(sources);
		struct lp_wire_op op = {.op = LP_OP_MOVE,
					.kind = LP_KIND_FILE,
					.path = WIRE_BYTES("to"),
					.has_content = !none};
		struct lp_msg msg = {.kind = LP_MSG_CHANGE, .u.change = {.ops = &op, .n_ops = 1}};

		if (!none)
			op.content = sources[i];
		b.len = 0;
		assert_int_equal(lp_msg_encode(&msg, &b), 0);
		assert_refused(&b, "a move from nowhere");
	}
	b.len = 0;
	assert_int_equal(lp_msg_encode(&(struct lp_msg){.kind = LP_MSG_PATCH}, &b), 0);
	assert_refused(&b, "a PATCH without segments");
	b.len = 0;
	assert_int_equal(
		lp_msg_encode(&(struct lp_msg){.kind = LP_MSG_DATA,
					       .u.data = {INT64_MAX - 1, WIRE_BYTES("ab")}},
			      &b),
		0);
	assert_refused(&b, "DATA that ends out of range");
	lp_buf_finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decode__refuses_fields_that_do_not_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
