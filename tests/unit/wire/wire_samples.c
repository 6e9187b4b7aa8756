/* wire_samples.c: the sample messages. */
#include "tests/unit/wire/wire_samples.h"

#include "wire/fields.h"

#include <string.h>

#define B4  0xde, 0xad, 0xbe, 0xef
#define B16 B4, B4, B4, B4
#define B32 B16, B16
#define BIG 0x0102030405060708u

static struct lp_bytes paths[] = {WIRE_BYTES(""), WIRE_BYTES("src"), WIRE_BYTES("src/a\xff b")};

static struct lp_wire_entry entries[] = {
	{.name = WIRE_BYTES("app.py"),
	 .kind = LP_KIND_FILE,
	 .mode = 0755,
	 .size = INT64_MAX,
	 .digest = {B16},
	 .owned = true},
	{.name = WIRE_BYTES("..."), .kind = LP_KIND_DIR, .mode = 0777, .size = 0, .digest = {B16}},
	{.name = WIRE_BYTES("l"), .kind = LP_KIND_LINK, .mode = 0, .size = 3, .digest = {B16}},
};

static struct lp_wire_op ops[] = {
	{.op = LP_OP_PUT,
	 .kind = LP_KIND_FILE,
	 .path = WIRE_BYTES("src/app.py"),
	 .mode = 0644,
	 .size = 7,
	 .digest = {B16},
	 .has_content = true,
	 .content = WIRE_BYTES("content")},
	{.op = LP_OP_PUT,
	 .kind = LP_KIND_FILE,
	 .path = WIRE_BYTES("src/empty"),
	 .mode = 0600,
	 .digest = {B16},
	 .has_content = true},
	{.op = LP_OP_KEEP,
	 .kind = LP_KIND_FILE,
	 .path = WIRE_BYTES("kept"),
	 .mode = 0400,
	 .size = INT64_MAX,
	 .digest = {B16}},
	{.op = LP_OP_DELETE, .path = WIRE_BYTES("gone")},
	{.op = LP_OP_PUT,
	 .kind = LP_KIND_FILE,
	 .path = WIRE_BYTES("large"),
	 .mode = 0644,
	 .size = 1u << 30,
	 .digest = {B16}},
};

static struct lp_wire_op moves[] = {
	{.op = LP_OP_MOVE,
	 .kind = LP_KIND_DIR,
	 .path = WIRE_BYTES("to/here"),
	 .mode = 0755,
	 .digest = {B16},
	 .has_content = true,
	 .content = WIRE_BYTES("from/there")},
	{.op = LP_OP_DELETE, .path = WIRE_BYTES("gone")},
};

static struct lp_wire_segment segments[] = {
	{.from = BIG, .len = INT64_MAX - BIG},
	{.len = 11, .has_content = true, .content = WIRE_BYTES("new\0content")},
	{.from = 0, .len = 1},
};

static struct lp_bytes drifted[] = {WIRE_BYTES("src"), WIRE_BYTES("src/a\xff b")};

static struct lp_wire_member members[] = {
	{.name = WIRE_BYTES("a1b2c3d4"),
	 .state = LP_MEMBER_SERVING,
	 .applied = BIG,
	 .settled = BIG - 1,
	 .generation = 7},
	{.name = WIRE_BYTES("e5"), .state = LP_MEMBER_AWAY},
};

static struct lp_wire_revision revisions[] = {
	{.revision = BIG,
	 .at_ms = 1700000000000,
	 .state = LP_REVISION_FAILED,
	 .files = 3,
	 .removed = 1,
	 .bytes = BIG,
	 .kept = true,
	 .paths = WIRE_BYTES("src/a\xff b\0main.py\0"),
	 .error = WIRE_BYTES("the app exited with status 1"),
	 .root = {B16}},
	{.revision = 1, .state = LP_REVISION_UNDONE},
};

const struct wire_sample wire_samples[] = {
	{"hello",
	 {.kind = LP_MSG_HELLO,
	  .u.hello = {.version = BIG,
		      .features = UINT64_MAX,
		      .role = LP_ROLE_OWNER,
		      .take_over = true,
		      .nonce = {B32},
		      .workspace = {B16},
		      .app = WIRE_BYTES("hello"),
		      .holder = WIRE_BYTES("me@here pid 1")}}},
	{"hello of zeros", {.kind = LP_MSG_HELLO}},
	{"challenge",
	 {.kind = LP_MSG_CHALLENGE,
	  .u.challenge = {.version = BIG, .features = LP_FEATURE_ZSTD, .nonce = {B32}}}},
	{"proof", {.kind = LP_MSG_PROOF, .u.proof = {.mac = {B32}}}},
	{"welcome",
	 {.kind = LP_MSG_WELCOME,
	  .u.welcome = {.mac = {B32},
			.instance = WIRE_BYTES("hello/0"),
			.boot = {B16},
			.revision = BIG,
			.root = {B16},
			.foreign = true,
			.has_app = true,
			.generation = BIG,
			.partial = {B16},
			.partial_have = INT64_MAX,
			.files = 100000}}},
	{"refused",
	 {.kind = LP_MSG_REFUSED,
	  .u.refused = {.code = LP_REFUSE_HELD, .text = WIRE_BYTES("held by other@there")}}},
	{"packed",
	 {.kind = LP_MSG_PACKED,
	  .u.packed = {.raw_len = LP_WIRE_MSG_MAX_BYTES,
		       .content = WIRE_BYTES("\x28\xb5\x2f\xfd")}}},
	{"list", {.kind = LP_MSG_LIST, .u.list = {.paths = paths, .n_paths = LP_COUNT_OF(paths)}}},
	{"list of zeros", {.kind = LP_MSG_LIST}},
	{"listing",
	 {.kind = LP_MSG_LISTING,
	  .u.listing = {.path = WIRE_BYTES("src"),
			.more = true,
			.last = true,
			.entries = entries,
			.n_entries = LP_COUNT_OF(entries)}}},
	{"listing of zeros", {.kind = LP_MSG_LISTING}},
	{"change",
	 {.kind = LP_MSG_CHANGE,
	  .u.change = {.revision = BIG,
		       .flags = LP_CHANGE_FIRST | LP_CHANGE_LAST,
		       .root = {B16},
		       .ops = ops,
		       .n_ops = LP_COUNT_OF(ops)}}},
	{"change of zeros", {.kind = LP_MSG_CHANGE}},
	{"change with a move",
	 {.kind = LP_MSG_CHANGE,
	  .u.change = {.revision = BIG,
		       .flags = LP_CHANGE_FIRST,
		       .root = {B16},
		       .ops = moves,
		       .n_ops = LP_COUNT_OF(moves)}}},
	{"data",
	 {.kind = LP_MSG_DATA, .u.data = {.at = BIG, .content = WIRE_BYTES("piece\0piece")}}},
	{"patch",
	 {.kind = LP_MSG_PATCH,
	  .u.patch = {.base = {B16},
		      .in_place = true,
		      .segments = segments,
		      .n_segments = LP_COUNT_OF(segments)}}},
	{"skip", {.kind = LP_MSG_SKIP, .u.skip = {.revision = BIG}}},
	{"credit", {.kind = LP_MSG_CREDIT, .u.credit = {.consumed = BIG}}},
	{"applied",
	 {.kind = LP_MSG_APPLIED,
	  .u.applied = {.revision = BIG, .files = 3, .bytes = BIG, .took_us = 800, .root = {B16}}}},
	{"restarted",
	 {.kind = LP_MSG_RESTARTED,
	  .u.restarted =
		  {.revision = BIG, .generation = 9, .took_us = 212000, .spawned_us = 4000}}},
	{"settled", {.kind = LP_MSG_SETTLED, .u.settled = {.revision = BIG}}},
	{"failed",
	 {.kind = LP_MSG_FAILED,
	  .u.failed = {.revision = BIG,
		       .generation = 10,
		       .stage = LP_WIRE_STAGE_HEALTH,
		       .resync = true,
		       .error = WIRE_BYTES("not healthy within 10 s"),
		       .excerpt = WIRE_BYTES("SyntaxError\n\xff"),
		       .path = WIRE_BYTES("src/a\xff b"),
		       .files = 12}}},
	{"log",
	 {.kind = LP_MSG_LOG,
	  .u.log = {.generation = BIG,
		    .stream = 2,
		    .content = WIRE_BYTES("line\n"),
		    .at_ms = 1700000000000}}},
	{"restart", {.kind = LP_MSG_RESTART, .u.restart = {.unused = 1}}},
	{"ask", {.kind = LP_MSG_ASK, .u.ask = {.unused = 1}}},
	{"status",
	 {.kind = LP_MSG_STATUS,
	  .u.status = {.state = WIRE_BYTES("up"),
		       .revision = BIG,
		       .generation = 2,
		       .settled = 3,
		       .pid = 4,
		       .crashes = 5,
		       .files = 6,
		       .bytes = 7,
		       .uptime_us = 8,
		       .root = {B16},
		       .owner = WIRE_BYTES("me@here pid 1")}}},
	{"tail", {.kind = LP_MSG_TAIL, .u.tail = {.backlog = 1000, .follow = true}}},
	{"verify", {.kind = LP_MSG_VERIFY, .u.verify = {.unused = 1}}},
	{"verified",
	 {.kind = LP_MSG_VERIFIED,
	  .u.verified = {.files = 100000,
			 .bytes = BIG,
			 .drifted = 2,
			 .root = {B16},
			 .paths = drifted,
			 .n_paths = LP_COUNT_OF(drifted)}}},
	{"verified of zeros", {.kind = LP_MSG_VERIFIED}},
	{"fleet",
	 {.kind = LP_MSG_FLEET,
	  .u.fleet = {.served = BIG, .members = members, .n_members = LP_COUNT_OF(members)}}},
	{"fleet of zeros", {.kind = LP_MSG_FLEET}},
	{"reloaded", {.kind = LP_MSG_RELOADED, .u.reloaded = {.revision = BIG, .took_us = 35000}}},
	{"history", {.kind = LP_MSG_HISTORY, .u.history = {.most = 128}}},
	{"revisions",
	 {.kind = LP_MSG_REVISIONS,
	  .u.revisions = {.revision = BIG,
			  .revisions = revisions,
			  .n_revisions = LP_COUNT_OF(revisions)}}},
	{"revisions of zeros", {.kind = LP_MSG_REVISIONS}},
	{"rollback",
	 {.kind = LP_MSG_ROLLBACK, .u.rollback = {.revision = BIG, .only_failed = true}}},
	{"rolled",
	 {.kind = LP_MSG_ROLLED,
	  .u.rolled = {.done = true,
		       .asked = true,
		       .revision = BIG,
		       .from = BIG + 1,
		       .files = 4,
		       .root = {B16},
		       .text = WIRE_BYTES("why not")}}},
};
const size_t wire_n_samples = LP_COUNT_OF(wire_samples);

#define ELEMENT_MAX_BYTES 256 /* of an array; a larger one fails */

static bool record_equal(const struct lp_record *rec, uint8_t *a, uint8_t *b);

static bool array_equal(const struct lp_field *f, const uint8_t *a, const uint8_t *b)
{
	const size_t bytes = f->element->bytes;
	uint8_t *pa, *pb;
	size_t na, nb;
	bool same;

	memcpy(&pa, a + f->offset, sizeof(pa));
	memcpy(&pb, b + f->offset, sizeof(pb));
	memcpy(&na, a + f->offset2, sizeof(na));
	memcpy(&nb, b + f->offset2, sizeof(nb));
	same = na == nb;
	for (size_t i = 0; same && i < na; i++) {
		uint8_t ea[ELEMENT_MAX_BYTES], eb[ELEMENT_MAX_BYTES];

		same = bytes <= sizeof(ea);
		if (!same)
			break;
		memcpy(ea, pa + i * bytes, bytes);
		memcpy(eb, pb + i * bytes, bytes);
		same = record_equal(f->element, ea, eb);
	}
	return same;
}

static bool bytes_equal(const struct lp_field *f, const uint8_t *a, const uint8_t *b)
{
	struct lp_bytes ba, bb;

	memcpy(&ba, a + f->offset, sizeof(ba));
	memcpy(&bb, b + f->offset, sizeof(bb));
	return ba.len == bb.len && (ba.len == 0 || memcmp(ba.p, bb.p, ba.len) == 0);
}

/* Compares one field. Bytes that it takes in memory, for clearing. */
static bool field_equal(const struct lp_field *f, const uint8_t *a, const uint8_t *b, size_t *size)
{
	switch (f->type) {
	case LP_FIELD_UINT:
		*size = sizeof(uint64_t);
		break;
	case LP_FIELD_BOOL:
		*size = sizeof(bool);
		break;
	case LP_FIELD_FIXED:
		*size = f->max;
		break;
	case LP_FIELD_ARRAY:
		*size = sizeof(void *);
		return array_equal(f, a, b);
	case LP_FIELD_TEXT:
	case LP_FIELD_BIN:
	case LP_FIELD_OPT_BIN:
	case LP_FIELD_PATH:
	case LP_FIELD_DIR_PATH:
	case LP_FIELD_NAME:
	case LP_FIELD_TYPE_COUNT_:
		*size = sizeof(struct lp_bytes);
		return bytes_equal(f, a, b) &&
		       (f->type != LP_FIELD_OPT_BIN ||
			memcmp(a + f->offset2, b + f->offset2, sizeof(bool)) == 0);
	}
	return memcmp(a + f->offset, b + f->offset, *size) == 0;
}

/* Whether the whole memory of records is compared too: with static initialisers and decoded ones
 * the bytes between the members are zero. */
static bool strictly;

static bool record_equal(const struct lp_record *rec, uint8_t *a, uint8_t *b)
{
	for (size_t i = 0; i < rec->n_fields; i++) {
		size_t size = 0;

		if (!field_equal(&rec->fields[i], a, b, &size))
			return false;
		memset(a + rec->fields[i].offset, 0, size);
		memset(b + rec->fields[i].offset, 0, size);
	}
	return !strictly || memcmp(a, b, rec->bytes) == 0;
}

bool wire_equal(const struct lp_msg *a, const struct lp_msg *b)
{
	struct lp_msg ca, cb;

	memcpy(&ca, a, sizeof(ca));
	memcpy(&cb, b, sizeof(cb));
	return a->kind == b->kind && lp_record_of(a->kind) &&
	       record_equal(lp_record_of(a->kind), (uint8_t *)&ca.u, (uint8_t *)&cb.u);
}

bool wire_equal_sample(const struct lp_msg *sample, const struct lp_msg *decoded)
{
	bool same;

	strictly = true;
	same = wire_equal(sample, decoded);
	strictly = false;
	return same;
}
