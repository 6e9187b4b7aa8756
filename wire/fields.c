/* wire/fields.c: the rows. Adding a message: a struct in msg.h, a table here, a line in records[]
 * and a section in docs/protocol.md. */
#include "wire/fields.h"

#define UINT(s, m, limit)                                                                          \
	{                                                                                          \
		.name = #m, .type = LP_FIELD_UINT, .max = (limit), .offset = offsetof(struct s, m) \
	}
#define FLAG(s, m)                                                                                 \
	{                                                                                          \
		.name = #m, .type = LP_FIELD_BOOL, .max = 1, .offset = offsetof(struct s, m)       \
	}
#define FIXED(s, m)                                                                                \
	{                                                                                          \
		.name = #m, .type = LP_FIELD_FIXED, .max = sizeof(((struct s *)0)->m),             \
		.offset = offsetof(struct s, m)                                                    \
	}
#define BYTES(s, m, t, limit)                                                                      \
	{                                                                                          \
		.name = #m, .type = (t), .max = (limit), .offset = offsetof(struct s, m)           \
	}
#define ARRAY(s, m, n, record)                                                                     \
	{                                                                                          \
		.name = #m, .type = LP_FIELD_ARRAY, .max = LP_WIRE_OPS_MAX,                        \
		.offset = offsetof(struct s, m), .offset2 = offsetof(struct s, n),                 \
		.element = &(record)                                                               \
	}
#define CHECKED(label, s, table, check)                                                            \
	{                                                                                          \
		.name = (label), .bytes = sizeof(struct s), .fields = (table),                     \
		.n_fields = LP_COUNT_OF(table), .fault = (check)                                   \
	}
#define RECORD(label, s, table) CHECKED(label, s, table, NULL)

#define TEXT_MAX LP_WIRE_TEXT_MAX_BYTES

static const struct lp_field hello[] = {
	UINT(lp_msg_hello, version, 0),
	UINT(lp_msg_hello, features, 0),
	UINT(lp_msg_hello, role, 0),
	FLAG(lp_msg_hello, take_over),
	FIXED(lp_msg_hello, nonce),
	FIXED(lp_msg_hello, workspace),
	BYTES(lp_msg_hello, app, LP_FIELD_TEXT, TEXT_MAX),
	BYTES(lp_msg_hello, holder, LP_FIELD_TEXT, TEXT_MAX),
};
static const struct lp_field challenge[] = {
	UINT(lp_msg_challenge, version, 0),
	UINT(lp_msg_challenge, features, 0),
	FIXED(lp_msg_challenge, nonce),
};
static const struct lp_field proof[] = {FIXED(lp_msg_proof, mac)};
static const struct lp_field welcome[] = {
	FIXED(lp_msg_welcome, mac),     BYTES(lp_msg_welcome, instance, LP_FIELD_TEXT, TEXT_MAX),
	FIXED(lp_msg_welcome, boot),    UINT(lp_msg_welcome, revision, 0),
	FIXED(lp_msg_welcome, root),    FLAG(lp_msg_welcome, foreign),
	FLAG(lp_msg_welcome, has_app),  UINT(lp_msg_welcome, generation, 0),
	FIXED(lp_msg_welcome, partial), UINT(lp_msg_welcome, partial_have, INT64_MAX),
	UINT(lp_msg_welcome, files, 0),
};
static const struct lp_field refused[] = {
	UINT(lp_msg_refused, code, 0),
	BYTES(lp_msg_refused, text, LP_FIELD_TEXT, TEXT_MAX),
};
static const struct lp_field packed[] = {
	UINT(lp_msg_packed, raw_len, LP_WIRE_MSG_MAX_BYTES),
	BYTES(lp_msg_packed, content, LP_FIELD_BIN, LP_WIRE_MSG_MAX_BYTES),
};
static const struct lp_field list_path[] = {
	{.name = "path", .type = LP_FIELD_DIR_PATH, .max = LP_PATH_MAX_BYTES, .offset = 0},
};
static const struct lp_record list_path_record = RECORD("path", lp_bytes, list_path);
static const struct lp_field list[] = {ARRAY(lp_msg_list, paths, n_paths, list_path_record)};
static const struct lp_field entry[] = {
	BYTES(lp_wire_entry, name, LP_FIELD_NAME, LP_NAME_MAX_BYTES),
	UINT(lp_wire_entry, kind, LP_KIND_COUNT_ - 1),
	UINT(lp_wire_entry, mode, 0777),
	UINT(lp_wire_entry, size, INT64_MAX),
	FIXED(lp_wire_entry, digest),
	FLAG(lp_wire_entry, owned),
};
static const struct lp_record entry_record = RECORD("entry", lp_wire_entry, entry);
static const struct lp_field listing[] = {
	BYTES(lp_msg_listing, path, LP_FIELD_DIR_PATH, LP_PATH_MAX_BYTES),
	FLAG(lp_msg_listing, more),
	FLAG(lp_msg_listing, last),
	ARRAY(lp_msg_listing, entries, n_entries, entry_record),
};
static const struct lp_field op[] = {
	UINT(lp_wire_op, op, LP_OP_MOVE),
	UINT(lp_wire_op, kind, LP_KIND_COUNT_ - 1),
	BYTES(lp_wire_op, path, LP_FIELD_PATH, LP_PATH_MAX_BYTES),
	UINT(lp_wire_op, mode, 0777),
	UINT(lp_wire_op, size, INT64_MAX),
	FIXED(lp_wire_op, digest),
	{.name = "content",
	 .type = LP_FIELD_OPT_BIN,
	 .max = LP_WIRE_PIECE_BYTES,
	 .offset = offsetof(struct lp_wire_op, content),
	 .offset2 = offsetof(struct lp_wire_op, has_content)},
};

/* Where a MOVE comes from is a path, too. */
static const char *op_fault(const void *record)
{
	const struct lp_wire_op *o = record;

	if (o->op != LP_OP_MOVE)
		return NULL;
	return o->has_content && lp_path_is_clean((const char *)o->content.p, o->content.len)
		       ? NULL
		       : "a move needs the path where from as its content";
}

static const struct lp_record op_record = CHECKED("op", lp_wire_op, op, op_fault);
static const struct lp_field change[] = {
	UINT(lp_msg_change, revision, 0),
	UINT(lp_msg_change, flags, LP_CHANGE_FIRST | LP_CHANGE_LAST),
	FIXED(lp_msg_change, root),
	ARRAY(lp_msg_change, ops, n_ops, op_record),
};
static const struct lp_field segment[] = {
	UINT(lp_wire_segment, from, INT64_MAX),
	UINT(lp_wire_segment, len, INT64_MAX),
	{.name = "content",
	 .type = LP_FIELD_OPT_BIN,
	 .max = LP_WIRE_PIECE_BYTES,
	 .offset = offsetof(struct lp_wire_segment, content),
	 .offset2 = offsetof(struct lp_wire_segment, has_content)},
};

static const char *segment_fault(const void *record)
{
	const struct lp_wire_segment *g = record;

	if (g->len == 0)
		return "is empty";
	if (g->has_content)
		return g->from == 0 && g->len == g->content.len ? NULL : "does not fit its content";
	return g->len <= (uint64_t)INT64_MAX - g->from ? NULL : "ends out of range";
}

static const struct lp_record segment_record =
	CHECKED("segment", lp_wire_segment, segment, segment_fault);

static const struct lp_field patch[] = {
	FIXED(lp_msg_patch, base),
	FLAG(lp_msg_patch, in_place),
	ARRAY(lp_msg_patch, segments, n_segments, segment_record),
};

static const char *patch_fault(const void *record)
{
	const struct lp_msg_patch *p = record;

	return p->n_segments > 0 ? NULL : "has no segments";
}

static const struct lp_field verify[] = {UINT(lp_msg_verify, unused, 0)};

static const struct lp_field drifted_path[] = {
	{.name = "path", .type = LP_FIELD_PATH, .max = LP_PATH_MAX_BYTES, .offset = 0},
};
static const struct lp_record drifted_path_record = RECORD("path", lp_bytes, drifted_path);

static const struct lp_field verified[] = {
	UINT(lp_msg_verified, files, 0),
	UINT(lp_msg_verified, bytes, 0),
	UINT(lp_msg_verified, drifted, 0),
	FIXED(lp_msg_verified, root),
	ARRAY(lp_msg_verified, paths, n_paths, drifted_path_record),
};

static const struct lp_field data[] = {
	UINT(lp_msg_data, at, INT64_MAX),
	BYTES(lp_msg_data, content, LP_FIELD_BIN, LP_WIRE_PIECE_BYTES),
};

static const char *data_fault(const void *record)
{
	const struct lp_msg_data *d = record;

	return d->content.len <= (uint64_t)INT64_MAX - d->at ? NULL : "ends out of range";
}

static const struct lp_field skip[] = {UINT(lp_msg_skip, revision, 0)};
static const struct lp_field credit[] = {UINT(lp_msg_credit, consumed, 0)};
static const struct lp_field applied[] = {
	UINT(lp_msg_applied, revision, 0), UINT(lp_msg_applied, files, 0),
	UINT(lp_msg_applied, bytes, 0),    UINT(lp_msg_applied, took_us, 0),
	FIXED(lp_msg_applied, root),
};
static const struct lp_field restarted[] = {
	UINT(lp_msg_restarted, revision, 0),
	UINT(lp_msg_restarted, generation, 0),
	UINT(lp_msg_restarted, took_us, 0),
	UINT(lp_msg_restarted, spawned_us, 0),
};
static const struct lp_field settled[] = {UINT(lp_msg_settled, revision, 0)};
static const struct lp_field failed[] = {
	UINT(lp_msg_failed, revision, 0),
	UINT(lp_msg_failed, generation, 0),
	UINT(lp_msg_failed, stage, 0),
	FLAG(lp_msg_failed, resync),
	BYTES(lp_msg_failed, error, LP_FIELD_TEXT, (uint64_t)2 * TEXT_MAX),
	BYTES(lp_msg_failed, excerpt, LP_FIELD_BIN, LP_WIRE_EXCERPT_MAX_BYTES),
	BYTES(lp_msg_failed, path, LP_FIELD_DIR_PATH, LP_PATH_MAX_BYTES),
	UINT(lp_msg_failed, files, 0),
};
static const struct lp_field log_fields[] = {
	UINT(lp_msg_log, generation, 0),
	UINT(lp_msg_log, stream, 0),
	BYTES(lp_msg_log, content, LP_FIELD_BIN, LP_WIRE_PIECE_BYTES),
	UINT(lp_msg_log, at_ms, 0),
};
static const struct lp_field restart[] = {UINT(lp_msg_restart, unused, 0)};
static const struct lp_field ask[] = {UINT(lp_msg_ask, unused, 0)};
static const struct lp_field status[] = {
	BYTES(lp_msg_status, state, LP_FIELD_TEXT, TEXT_MAX),
	UINT(lp_msg_status, revision, 0),
	UINT(lp_msg_status, generation, 0),
	UINT(lp_msg_status, settled, 0),
	UINT(lp_msg_status, pid, 0),
	UINT(lp_msg_status, crashes, 0),
	UINT(lp_msg_status, files, 0),
	UINT(lp_msg_status, bytes, 0),
	UINT(lp_msg_status, uptime_us, 0),
	FIXED(lp_msg_status, root),
	BYTES(lp_msg_status, owner, LP_FIELD_TEXT, TEXT_MAX),
};
static const struct lp_field tail[] = {UINT(lp_msg_tail, backlog, 1000), FLAG(lp_msg_tail, follow)};

static const struct lp_field member[] = {
	BYTES(lp_wire_member, name, LP_FIELD_TEXT, TEXT_MAX),
	UINT(lp_wire_member, state, LP_MEMBER_STATE_COUNT_ - 1),
	UINT(lp_wire_member, applied, 0),
	UINT(lp_wire_member, settled, 0),
	UINT(lp_wire_member, generation, 0),
};
static const struct lp_record member_record = RECORD("member", lp_wire_member, member);
static const struct lp_field fleet[] = {
	UINT(lp_msg_fleet, served, 0),
	{.name = "members",
	 .type = LP_FIELD_ARRAY,
	 .max = LP_WIRE_MEMBERS_MAX,
	 .offset = offsetof(struct lp_msg_fleet, members),
	 .offset2 = offsetof(struct lp_msg_fleet, n_members),
	 .element = &member_record},
};
static const struct lp_field reloaded[] = {
	UINT(lp_msg_reloaded, revision, 0),
	UINT(lp_msg_reloaded, took_us, 0),
};

static const struct lp_field history[] = {UINT(lp_msg_history, most, LP_WIRE_REVISIONS_MAX)};
static const struct lp_field revision[] = {
	UINT(lp_wire_revision, revision, 0),
	UINT(lp_wire_revision, at_ms, INT64_MAX),
	UINT(lp_wire_revision, state, LP_REVISION_STATE_COUNT_ - 1),
	UINT(lp_wire_revision, files, 0),
	UINT(lp_wire_revision, removed, 0),
	UINT(lp_wire_revision, bytes, 0),
	FLAG(lp_wire_revision, kept),
	BYTES(lp_wire_revision, paths, LP_FIELD_BIN, LP_WIRE_PATHS_MAX_BYTES),
	BYTES(lp_wire_revision, error, LP_FIELD_TEXT, TEXT_MAX),
	FIXED(lp_wire_revision, root),
};

/* The list of paths ends with a NUL, so that each of them does. */
static const char *revision_fault(const void *record)
{
	const struct lp_wire_revision *r = record;

	return r->paths.len == 0 || r->paths.p[r->paths.len - 1] == '\0'
		       ? NULL
		       : "has a path that does not end";
}

static const struct lp_record revision_record =
	CHECKED("revision", lp_wire_revision, revision, revision_fault);
static const struct lp_field revisions[] = {
	UINT(lp_msg_revisions, revision, 0),
	{.name = "revisions",
	 .type = LP_FIELD_ARRAY,
	 .max = LP_WIRE_REVISIONS_MAX,
	 .offset = offsetof(struct lp_msg_revisions, revisions),
	 .offset2 = offsetof(struct lp_msg_revisions, n_revisions),
	 .element = &revision_record},
};
static const struct lp_field rollback[] = {
	UINT(lp_msg_rollback, revision, 0),
	FLAG(lp_msg_rollback, only_failed),
};
static const struct lp_field rolled[] = {
	FLAG(lp_msg_rolled, done),
	FLAG(lp_msg_rolled, asked),
	UINT(lp_msg_rolled, revision, 0),
	UINT(lp_msg_rolled, from, 0),
	UINT(lp_msg_rolled, files, 0),
	FIXED(lp_msg_rolled, root),
	BYTES(lp_msg_rolled, text, LP_FIELD_TEXT, TEXT_MAX),
};

static const struct lp_record records[] = {
	[LP_MSG_HELLO] = RECORD("HELLO", lp_msg_hello, hello),
	[LP_MSG_CHALLENGE] = RECORD("CHALLENGE", lp_msg_challenge, challenge),
	[LP_MSG_PROOF] = RECORD("PROOF", lp_msg_proof, proof),
	[LP_MSG_WELCOME] = RECORD("WELCOME", lp_msg_welcome, welcome),
	[LP_MSG_REFUSED] = RECORD("REFUSED", lp_msg_refused, refused),
	[LP_MSG_PACKED] = RECORD("PACKED", lp_msg_packed, packed),
	[LP_MSG_LIST] = RECORD("LIST", lp_msg_list, list),
	[LP_MSG_LISTING] = RECORD("LISTING", lp_msg_listing, listing),
	[LP_MSG_CHANGE] = RECORD("CHANGE", lp_msg_change, change),
	[LP_MSG_DATA] = CHECKED("DATA", lp_msg_data, data, data_fault),
	[LP_MSG_SKIP] = RECORD("SKIP", lp_msg_skip, skip),
	[LP_MSG_CREDIT] = RECORD("CREDIT", lp_msg_credit, credit),
	[LP_MSG_APPLIED] = RECORD("APPLIED", lp_msg_applied, applied),
	[LP_MSG_RESTARTED] = RECORD("RESTARTED", lp_msg_restarted, restarted),
	[LP_MSG_SETTLED] = RECORD("SETTLED", lp_msg_settled, settled),
	[LP_MSG_FAILED] = RECORD("FAILED", lp_msg_failed, failed),
	[LP_MSG_LOG] = RECORD("LOG", lp_msg_log, log_fields),
	[LP_MSG_RESTART] = RECORD("RESTART", lp_msg_restart, restart),
	[LP_MSG_ASK] = RECORD("ASK", lp_msg_ask, ask),
	[LP_MSG_STATUS] = RECORD("STATUS", lp_msg_status, status),
	[LP_MSG_TAIL] = RECORD("TAIL", lp_msg_tail, tail),
	[LP_MSG_PATCH] = CHECKED("PATCH", lp_msg_patch, patch, patch_fault),
	[LP_MSG_VERIFY] = RECORD("VERIFY", lp_msg_verify, verify),
	[LP_MSG_VERIFIED] = RECORD("VERIFIED", lp_msg_verified, verified),
	[LP_MSG_FLEET] = RECORD("FLEET", lp_msg_fleet, fleet),
	[LP_MSG_RELOADED] = RECORD("RELOADED", lp_msg_reloaded, reloaded),
	[LP_MSG_HISTORY] = RECORD("HISTORY", lp_msg_history, history),
	[LP_MSG_REVISIONS] = RECORD("REVISIONS", lp_msg_revisions, revisions),
	[LP_MSG_ROLLBACK] = RECORD("ROLLBACK", lp_msg_rollback, rollback),
	[LP_MSG_ROLLED] = RECORD("ROLLED", lp_msg_rolled, rolled),
};

const struct lp_record *lp_record_of(uint64_t kind)
{
	return kind < LP_COUNT_OF(records) && records[kind].name ? &records[kind] : NULL;
}

const char *lp_msg_name(enum lp_msg_kind kind)
{
	const struct lp_record *r = lp_record_of(kind);

	return r ? r->name : "?";
}
