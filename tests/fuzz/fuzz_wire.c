/* fuzz_wire.c: any bytes as a message: refused with a reason, or a message that can be encoded,
 * decoded and packed again without a change. */
#include "tests/fuzz/fuzz.h"
#include "wire/guard.h"
#include "wire/msg.h"

#include <stdlib.h>
#include <string.h>

static void require(bool holds)
{
	if (!holds)
		abort();
}

static bool same(const struct lp_buf *a, const struct lp_buf *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* What receivers rely on without looking again. */
static void check_promises(const struct lp_msg *msg)
{
	if (msg->kind == LP_MSG_CHANGE) {
		for (size_t i = 0; i < msg->u.change.n_ops; i++) {
			const struct lp_wire_op *op = &msg->u.change.ops[i];

			require(op->path.len > 0 && op->size <= INT64_MAX && op->mode <= 0777);
			require(op->op != LP_OP_MOVE ||
				(op->has_content &&
				 lp_path_is_clean((const char *)op->content.p, op->content.len)));
		}
	} else if (msg->kind == LP_MSG_PATCH) {
		require(msg->u.patch.n_segments > 0 && msg->u.patch.n_segments <= LP_WIRE_OPS_MAX);
		for (size_t i = 0; i < msg->u.patch.n_segments; i++) {
			const struct lp_wire_segment *s = &msg->u.patch.segments[i];

			require(s->len > 0 && s->from <= INT64_MAX &&
				s->len <= INT64_MAX - s->from);
			require(!s->has_content || (s->len == s->content.len && s->from == 0));
		}
	} else if (msg->kind == LP_MSG_DATA) {
		require(msg->u.data.at <= INT64_MAX - msg->u.data.content.len);
	}
}

static void check_again(const struct lp_buf *first)
{
	struct lp_buf second = {0};
	struct lp_msg msg;

	require(lp_msg_decode(&msg, first->data, first->len, NULL) == 0);
	require(lp_msg_encode(&msg, &second) == 0);
	require(same(first, &second));
	lp_msg_finish(&msg);
	lp_buf_finish(&second);
}

/* Packs an encoded message; when that pays off, it must come out as it went in. */
static void check_pack(struct lp_packer *packer, const struct lp_buf *encoded)
{
	struct lp_buf packed = {0}, out = {0};
	struct lp_msg msg;

	require(lp_buf_add(&packed, encoded->data, encoded->len) == 0);
	require(lp_packer_pack(packer, &packed) == 0);
	if (same(&packed, encoded)) {
		lp_buf_finish(&packed);
		return;
	}
	require(packed.len < encoded->len);
	require(lp_msg_decode(&msg, packed.data, packed.len, NULL) == 0);
	require(msg.kind == LP_MSG_PACKED);
	require(lp_packer_unpack(packer, &msg.u.packed, &out, NULL) == 0);
	require(same(&out, encoded));
	lp_msg_finish(&msg);
	lp_buf_finish(&packed);
	lp_buf_finish(&out);
}

static void check_unpack(struct lp_packer *packer, const struct lp_msg_packed *packed)
{
	struct lp_buf out = {0};
	struct lp_err err = {0};
	struct lp_msg inner;

	if (lp_packer_unpack(packer, packed, &out, &err) < 0) {
		require(err.code == EBADMSG && out.len == 0);
	} else {
		require(out.len == packed->raw_len && packed->raw_len <= LP_WIRE_MSG_MAX_BYTES);
		if (lp_msg_decode(&inner, out.data, out.len, NULL) == 0)
			lp_msg_finish(&inner);
	}
	lp_buf_finish(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lp_packer *packer;
	struct lp_buf encoded = {0};
	struct lp_err err = {0};
	struct lp_msg msg;
	bool well_formed = lp_guard_check(data, size);

	if (!packer)
		packer = lp_packer_create();
	if (lp_msg_decode(&msg, data, size, &err) < 0) {
		require(err.code == EBADMSG && err.msg[0]);
		/* What the guard lets through is a value for the library too. */
		require(!well_formed || strcmp(err.msg, "malformed message") != 0);
		return 0;
	}
	require(well_formed && err.code == 0 && lp_msg_name(msg.kind)[0] != '?');
	check_promises(&msg);
	/* Never longer than what came: numbers are written as short as can be. */
	require(lp_msg_encode(&msg, &encoded) == 0 && encoded.len <= size);
	check_again(&encoded);
	check_pack(packer, &encoded);
	if (msg.kind == LP_MSG_PACKED)
		check_unpack(packer, &msg.u.packed);
	lp_msg_finish(&msg);
	lp_buf_finish(&encoded);
	return 0;
}
