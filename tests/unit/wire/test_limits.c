/* test_limits.c: the encoder and the decoder keep to the same limits. */
#include "common/base/lp_mem.h"
#include "tests/unit/wire/wire_raw.h"
#include "tests/unit/wire/wire_samples.h"
#include "wire/fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

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

static struct lp_wire_member many_members[LP_WIRE_MEMBERS_MAX + 1];

static void set_members(struct lp_msg *m, size_t n)
{
	m->u.fleet.members = many_members;
	m->u.fleet.n_members = n;
}

static void set_member_name(struct lp_msg *m, size_t n)
{
	set_members(m, 1);
	many_members[0] = (struct lp_wire_member){.name = filled(n)};
}

static void set_member_state(struct lp_msg *m, size_t n)
{
	set_members(m, 1);
	many_members[0] = (struct lp_wire_member){.state = n};
}

static struct lp_wire_revision many_revisions[LP_WIRE_REVISIONS_MAX + 1];

static void set_revisions(struct lp_msg *m, size_t n)
{
	m->u.revisions.revisions = many_revisions;
	m->u.revisions.n_revisions = n;
}

static void set_revision_state(struct lp_msg *m, size_t n)
{
	set_revisions(m, 1);
	many_revisions[0] = (struct lp_wire_revision){.state = n};
}

static void set_revision_error(struct lp_msg *m, size_t n)
{
	set_revisions(m, 1);
	many_revisions[0] = (struct lp_wire_revision){.error = filled(n)};
}

static void set_history_most(struct lp_msg *m, size_t n)
{
	m->u.history.most = n;
}

static void set_rolled_text(struct lp_msg *m, size_t n)
{
	m->u.rolled.text = filled(n);
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
	{LP_MSG_FLEET, set_members, 1024, "members"},
	{LP_MSG_FLEET, set_member_name, 512, "name"},
	{LP_MSG_FLEET, set_member_state, 4, "state"},
	{LP_MSG_REVISIONS, set_revisions, 128, "revisions"},
	{LP_MSG_REVISIONS, set_revision_state, 5, "state"},
	{LP_MSG_REVISIONS, set_revision_error, 512, "error"},
	{LP_MSG_HISTORY, set_history_most, 128, "most"},
	{LP_MSG_ROLLED, set_rolled_text, 512, "text"},
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
		assert_null(out.data);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encode__keeps_every_limit),
		cmocka_unit_test(encode__leaves_the_buffer_when_the_message_is_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
