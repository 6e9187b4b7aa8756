/* wire/msg_change.h: the structs of the messages that changesets are made of, and of the answers to
 * them. Part of wire/msg.h. */
#ifndef LP_WIRE_MSG_CHANGE_H
#define LP_WIRE_MSG_CHANGE_H

#include "wire/msg_base.h"

/* has_content: content holds all of it; otherwise a PUT of a file with size > 0 must be the last
 * operation of its message and DATA or PATCH messages follow. Of a MOVE: path is where to, content
 * is the path where from; MOVEs come before all other operations of a changeset. */
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

/* at: where in the file it goes: where the last one ended; the first may begin at partial_have of
 * WELCOME when it is of that digest. */
struct lp_msg_data {
	uint64_t at;
	struct lp_bytes content;
};

/* A part of a file that is made of what is at its path: len bytes of that, from `from`, or content
 * (then len is its length and from is 0). */
struct lp_wire_segment {
	uint64_t from;
	uint64_t len;
	bool has_content;
	struct lp_bytes content;
};

/* Instead of DATA: segments in order, in as many messages as are needed until the size is reached.
 * base: the digest of what is at the path; when it is another, the changeset cannot be applied.
 * in_place: the bytes may be written into that very file, because its writer did so. */
struct lp_msg_patch {
	uint8_t base[16];
	bool in_place;
	struct lp_wire_segment *segments;
	size_t n_segments;
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

#endif
