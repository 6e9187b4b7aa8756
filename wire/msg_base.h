/* wire/msg_base.h: limits and kinds of messages, and what their structs are made of. Part of
 * wire/msg.h. */
#ifndef LP_WIRE_MSG_BASE_H
#define LP_WIRE_MSG_BASE_H

#include "sync/changeset.h"

#define LP_WIRE_VERSION       1
#define LP_WIRE_MSG_MAX_BYTES ((size_t)512 * 1024) /* encoded, packed or not */
#define LP_WIRE_PIECE_BYTES   ((size_t)256 * 1024) /* content in one message */
#define LP_WIRE_WINDOW_BYTES                                                                       \
	((uint64_t)8 * 1024 * 1024) /* unacknowledged content and operations                       \
				     */
#define LP_WIRE_NONCE_BYTES       32
#define LP_WIRE_MAC_BYTES         32
#define LP_WIRE_ID_BYTES          16
#define LP_WIRE_TEXT_MAX_BYTES    512
#define LP_WIRE_EXCERPT_MAX_BYTES 16384
#define LP_WIRE_MEMBERS_MAX       1024  /* instances in one message */
#define LP_WIRE_OPS_MAX           16384 /* operations, entries or paths in one message */

/* Kinds are never used for anything else once given out. */
enum lp_msg_kind {
	LP_MSG_HELLO = 1,
	LP_MSG_CHALLENGE = 2,
	LP_MSG_PROOF = 3,
	LP_MSG_WELCOME = 4,
	LP_MSG_REFUSED = 5,
	LP_MSG_PACKED = 9,
	LP_MSG_LIST = 10,
	LP_MSG_LISTING = 11,
	LP_MSG_CHANGE = 20,
	LP_MSG_DATA = 21,
	LP_MSG_SKIP = 22,
	LP_MSG_PATCH = 23,
	LP_MSG_CREDIT = 30,
	LP_MSG_APPLIED = 31,
	LP_MSG_RESTARTED = 32,
	LP_MSG_SETTLED = 33,
	LP_MSG_FAILED = 34,
	LP_MSG_LOG = 35,
	LP_MSG_RESTART = 40,
	LP_MSG_ASK = 41,
	LP_MSG_STATUS = 42,
	LP_MSG_TAIL = 43,
	LP_MSG_VERIFY = 44,
	LP_MSG_VERIFIED = 45,
	LP_MSG_FLEET = 50,
	LP_MSG_RELOADED = 51,
	LP_MSG_HISTORY = 52,
	LP_MSG_REVISIONS = 53,
	LP_MSG_ROLLBACK = 54,
	LP_MSG_ROLLED = 55,
};

/* Borrowed bytes: text or binary, not terminated. */
struct lp_bytes {
	const uint8_t *p;
	size_t len;
};

#endif
