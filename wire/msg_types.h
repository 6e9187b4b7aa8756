/* wire/msg_types.h: the struct of every message of livepush.v1. Part of wire/msg.h, which says in
 * which order they go and how they are encoded. */
#ifndef LP_WIRE_MSG_TYPES_H
#define LP_WIRE_MSG_TYPES_H

#include "wire/msg_base.h"
#include "wire/msg_change.h"

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
 * follow changes. partial, partial_have: the digest of a large content of which the instance has
 * the first partial_have bytes from a connection that was lost; zeros: none. files: those that are
 * owned, links included. */
struct lp_msg_welcome {
	uint8_t mac[LP_WIRE_MAC_BYTES];
	struct lp_bytes instance;
	uint8_t boot[LP_WIRE_ID_BYTES];
	uint64_t revision;
	uint8_t root[16];
	bool foreign;
	bool has_app;
	uint64_t generation;
	uint8_t partial[16];
	uint64_t partial_have;
	uint64_t files;
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

/* took_us, spawned_us: from the cause to now, and to the start of its process. */
struct lp_msg_restarted {
	uint64_t revision;
	uint64_t generation;
	uint64_t took_us;
	uint64_t spawned_us;
};

struct lp_msg_settled {
	uint64_t revision;
};

/* path: the first of the files that changed last before it; files: how many those were. Both may
 * be empty. */
struct lp_msg_failed {
	uint64_t revision;
	uint64_t generation;
	uint64_t stage; /* enum lp_wire_stage */
	bool resync;
	struct lp_bytes error;
	struct lp_bytes excerpt;
	struct lp_bytes path;
	uint64_t files;
};

enum lp_wire_stage {
	LP_WIRE_STAGE_CONFIG = 1,
	LP_WIRE_STAGE_RULE = 2,
	LP_WIRE_STAGE_START = 3,
	LP_WIRE_STAGE_HEALTH = 4,
	LP_WIRE_STAGE_CRASH = 5,
	LP_WIRE_STAGE_APPLY = 6,
	LP_WIRE_STAGE_LOOP = 7,
};

/* Asks an owner's instance to read every file of its tree again and to compare it with what it
 * takes it for. What differs is taken for what it is, so that comparing trees mends it. */
struct lp_msg_verify {
	uint64_t unused; /* 0 */
};

/* The answer: files read, files that were not as they were taken for (changed or missing), and the
 * first paths of them. */
struct lp_msg_verified {
	uint64_t files;
	uint64_t bytes;
	uint64_t drifted;
	uint8_t root[16]; /* of the tree as it is */
	struct lp_bytes *paths;
	size_t n_paths;
};

/* stream: 1 stdout, 2 stderr, 3 the controller itself. at_ms: when it was read, since 1970. */
struct lp_msg_log {
	uint64_t generation;
	uint64_t stream;
	struct lp_bytes content;
	uint64_t at_ms;
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

/* How an instance is, as its owner sees it. */
enum lp_wire_member_state {
	LP_MEMBER_AWAY = 1, /* not connected */
	LP_MEMBER_BEHIND,   /* something is on its way there */
	LP_MEMBER_SERVING,  /* it serves what the workspace holds */
	LP_MEMBER_FAILED,   /* the newest revision did not come to serve there */
	LP_MEMBER_STATE_COUNT_,
};

struct lp_wire_member {
	struct lp_bytes name;
	uint64_t state; /* enum lp_wire_member_state */
	uint64_t applied;
	uint64_t settled;
	uint64_t generation;
};

/* What an owner tells each of its instances of all of them. served: the newest revision that every
 * one of them serves; browsers are told of it then. */
struct lp_msg_fleet {
	uint64_t served;
	struct lp_wire_member *members;
	size_t n_members;
};

/* A browser shows what it was told of; it says so once. took_us: since it was told. */
struct lp_msg_reloaded {
	uint64_t revision;
	uint64_t took_us;
};

/* backlog: lines of the past to send, at most 1000. follow: LOG messages from now on. */
struct lp_msg_tail {
	uint64_t backlog;
	bool follow;
};

#endif
