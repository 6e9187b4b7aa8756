/* wire/msg.h: the messages of livepush.v1 as structs, and their encoding. Bytes in, structs out; no
 * I/O. docs/protocol.md describes the same from the outside.
 *
 * Order. A connection begins HELLO → CHALLENGE → PROOF → WELCOME; REFUSED may come instead of any
 * answer and ends it. After WELCOME an owner asks LIST as often as it needs (each answered by
 * LISTINGs), then sends changesets: one CHANGE with FIRST and LAST, or CHANGEs, DATAs and PATCHes
 * with FIRST on the first and LAST on the last CHANGE. The instance gives CREDIT for what it has
 * consumed and answers every changeset with APPLIED or FAILED, in order. RESTARTED, SETTLED, FAILED
 * and LOG come when they happen. FLEET goes to every instance when what the owner knows of all of
 * them has changed, RELOADED comes when a browser shows what FLEET announced. Observers may send
 * RESTART, ASK and TAIL only.
 *
 * Resynchronisation. A changeset must lead to the root digest that it names; when it does not, or
 * a KEEP does not hold, the instance answers FAILED with resync set and ignores changesets until
 * the owner has listed the tree again. */
#ifndef LP_WIRE_MSG_H
#define LP_WIRE_MSG_H

#include "common/base/lp_buf.h"
#include "common/base/lp_err.h"
#include "wire/msg_history.h"
#include "wire/msg_types.h"

struct lp_msg {
	enum lp_msg_kind kind;
	union {
		struct lp_msg_hello hello;
		struct lp_msg_challenge challenge;
		struct lp_msg_proof proof;
		struct lp_msg_welcome welcome;
		struct lp_msg_refused refused;
		struct lp_msg_packed packed;
		struct lp_msg_list list;
		struct lp_msg_listing listing;
		struct lp_msg_change change;
		struct lp_msg_data data;
		struct lp_msg_skip skip;
		struct lp_msg_credit credit;
		struct lp_msg_applied applied;
		struct lp_msg_restarted restarted;
		struct lp_msg_settled settled;
		struct lp_msg_failed failed;
		struct lp_msg_log log;
		struct lp_msg_restart restart;
		struct lp_msg_ask ask;
		struct lp_msg_status status;
		struct lp_msg_tail tail;
		struct lp_msg_patch patch;
		struct lp_msg_verify verify;
		struct lp_msg_verified verified;
		struct lp_msg_fleet fleet;
		struct lp_msg_reloaded reloaded;
		struct lp_msg_history history;
		struct lp_msg_revisions revisions;
		struct lp_msg_rollback rollback;
		struct lp_msg_rolled rolled;
	} u;
};

struct lp_bytes lp_bytes_of(const char *text);

/* Copies at most out_bytes-1 bytes, no part of a character of UTF-8 at the end, control characters
 * (of C1, too) replaced by '?', and terminates. */
void lp_bytes_text(const struct lp_bytes *b, char *out, size_t out_bytes);

/* The stage's name: "apply"; "unknown" for others. */
const char *lp_wire_stage_name(uint64_t stage);

/* Appends the encoded message. Arrays and bytes in msg stay the caller's. Returns 0, -EMSGSIZE
 * (over LP_WIRE_MSG_MAX_BYTES or a field's limit) or -ENOMEM; on failure out is as before, and has
 * no memory when it was empty. */
int lp_msg_encode(const struct lp_msg *msg, struct lp_buf *out) LP_MUST_USE;

/* Decodes exactly one message from data[0..len). Bytes in *msg are borrowed from data, its arrays
 * are owned: lp_msg_finish after success. Checks kind, count and type of all fields, their limits,
 * that paths are clean (a MOVE's content is one), names single components, kinds known, and that
 * segments fit their contents and end in range. Fields after the known ones are ignored, so that
 * later versions may add some. Returns 0 or -EBADMSG with the reason. */
int lp_msg_decode(struct lp_msg *msg, const void *data, size_t len, struct lp_err *err) LP_MUST_USE;

/* Releases the arrays of a decoded message. */
void lp_msg_finish(struct lp_msg *msg);

/* The kind's name: "CHANGE"; "?" for unknown ones. */
const char *lp_msg_name(enum lp_msg_kind kind);

/* Compresses encoded messages that are worth it; one context per process and thread. */
struct lp_packer; /* opaque */
struct lp_packer *lp_packer_create(void);
void lp_packer_destroy(struct lp_packer *p);

/* Replaces raw (an encoded message) by a PACKED message when that is smaller by a tenth at least;
 * otherwise leaves it. Returns 0 or -ENOMEM (raw unchanged). */
int lp_packer_pack(struct lp_packer *p, struct lp_buf *raw) LP_MUST_USE;

/* Decompresses the content of a decoded PACKED message into out (emptied before). raw_len is the
 * ceiling, and it is checked against LP_WIRE_MSG_MAX_BYTES first. Returns 0 or -EBADMSG. */
int lp_packer_unpack(struct lp_packer *p, const struct lp_msg_packed *packed, struct lp_buf *out,
		     struct lp_err *err) LP_MUST_USE;

#endif
