/* wire/msg_types.h: limits, kinds and the struct of every message of livepush.v1. Part of
 * wire/msg.h, which says in which order they go and how they are encoded. */
#ifndef LP_WIRE_MSG_TYPES_H
#define LP_WIRE_MSG_TYPES_H

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
};

/* Borrowed bytes: text or binary, not terminated. */
struct lp_bytes {
	const uint8_t *p;
	size_t len;
};

enum lp_role {
	LP_ROLE_OWNER = 1,    /* mirrors a workspace; one at a time */
	LP_ROLE_OBSERVER = 2, /* asks and watches */
};

enum lp_refusal {
	LP_REFUSE_VERSION = 1,
	LP_REFUSE_SECRET = 2,
	LP_REFUSE_HELD = 3,  /* another owner is connected; text says who */
	LP_REFUSE_TAKEN = 4, /* another owner took over */
	LP_REFUSE_PROTOCOL = 5,
	LP_REFUSE_CLOSED = 6, /* the instance has no secret or is going down */
};

/* The features that both sides know are the ones in use. */
#define LP_FEATURE_ZSTD 1u

struct lp_msg_hello {
	uint64_t version;
	uint64_t features;
	uint64_t role;
	bool take_over;
	uint8_t nonce[LP_WIRE_NONCE_BYTES];
	uint8_t workspace[LP_WIRE_ID_BYTES]; /* id of this workspace session */
	struct lp_bytes app;
	struct lp_bytes holder; /* "who@where pid 123", shown to others */
};

struct lp_msg_challenge {
	uint64_t version;
	uint64_t features;
	uint8_t nonce[LP_WIRE_NONCE_BYTES];
};

struct lp_msg_proof {
	uint8_t mac[LP_WIRE_MAC_BYTES];
};

/* foreign: the tree holds entries that no workspace sent. has_app: there is a command, so restarts
 * follow changes. */
struct lp_msg_welcome {
	uint8_t mac[LP_WIRE_MAC_BYTES];
	struct lp_bytes instance;
	uint8_t boot[LP_WIRE_ID_BYTES];
	uint64_t revision;
	uint8_t root[16];
	bool foreign;
	bool has_app;
	uint64_t generation;
};

struct lp_msg_refused {
	uint64_t code;
	struct lp_bytes text;
};

/* content is one zstd frame of an encoded message of raw_len bytes; never nested. */
struct lp_msg_packed {
	uint64_t raw_len;
	struct lp_bytes content;
};

struct lp_msg_list {
	struct lp_bytes *paths;
	size_t n_paths;
};

struct lp_wire_entry {
	struct lp_bytes name;
	uint64_t kind;
	uint64_t mode;
	uint64_t size;
	uint8_t digest[16];
	bool owned;
};

/* more: further entries of the same path follow in the next message. last: the LIST is answered. */
struct lp_msg_listing {
	struct lp_bytes path;
	bool more;
	bool last;
	struct lp_wire_entry *entries;
	size_t n_entries;
};

/* has_content: content holds all of it; otherwise a PUT of a file with size > 0 must be the last
 * operation of its message and DATA messages follow. */
struct lp_wire_op {
	uint64_t op;
	uint64_t kind;
	struct lp_bytes path;
	uint64_t mode;
	uint64_t size;
	uint8_t digest[16];
	bool has_content;
	struct lp_bytes content;
};

#define LP_CHANGE_FIRST 1u
#define LP_CHANGE_LAST  2u

/* root counts on the LAST message only: the digest of the owned tree afterwards, or all zeros when
 * the sender cannot know it (a file changed while it was being sent). */
struct lp_msg_change {
	uint64_t revision;
	uint64_t flags;
	uint8_t root[16];
	struct lp_wire_op *ops;
	size_t n_ops;
};

struct lp_msg_data {
	struct lp_bytes content;
};

/* Instead of the next DATA: the file changed while it was being sent. The instance forgets the
 * operation whose content was under way and goes on with the changeset. */
struct lp_msg_skip {
	uint64_t revision;
};

struct lp_msg_credit {
	uint64_t consumed; /* encoded bytes of CHANGE and DATA since WELCOME */
};

struct lp_msg_applied {
	uint64_t revision;
	uint64_t files;
	uint64_t bytes;
	uint64_t took_us;
	uint8_t root[16];
};

struct lp_msg_restarted {
	uint64_t revision;
	uint64_t generation;
	uint64_t took_us;
};

struct lp_msg_settled {
	uint64_t revision;
};

struct lp_msg_failed {
	uint64_t revision;
	uint64_t generation;
	uint64_t stage; /* enum lp_wire_stage */
	bool resync;
	struct lp_bytes error;
	struct lp_bytes excerpt;
};

enum lp_wire_stage {
	LP_WIRE_STAGE_CONFIG = 1,
	LP_WIRE_STAGE_RULE = 2,
	LP_WIRE_STAGE_START = 3,
	LP_WIRE_STAGE_HEALTH = 4,
	LP_WIRE_STAGE_CRASH = 5,
	LP_WIRE_STAGE_APPLY = 6,
};

/* stream: 1 stdout, 2 stderr, 3 the controller itself. */
struct lp_msg_log {
	uint64_t generation;
	uint64_t stream;
	struct lp_bytes content;
};

struct lp_msg_restart {
	uint64_t unused; /* 0 */
};

struct lp_msg_ask {
	uint64_t unused; /* 0 */
};

struct lp_msg_status {
	struct lp_bytes state;
	uint64_t revision;
	uint64_t generation;
	uint64_t settled;
	uint64_t pid;
	uint64_t crashes;
	uint64_t files;
	uint64_t bytes;
	uint64_t uptime_us;
	uint8_t root[16];
	struct lp_bytes owner; /* "" when none is connected */
};

/* backlog: lines of the past to send, at most 1000. follow: LOG messages from now on. */
struct lp_msg_tail {
	uint64_t backlog;
	bool follow;
};

#endif
