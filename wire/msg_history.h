/* wire/msg_history.h: the structs of the messages about what an instance was given and how it goes
 * back. Part of wire/msg.h. */
#ifndef LP_WIRE_MSG_HISTORY_H
#define LP_WIRE_MSG_HISTORY_H

#include "wire/msg_base.h"

#define LP_WIRE_REVISIONS_MAX   128  /* in one message */
#define LP_WIRE_PATHS_MAX_BYTES 1024 /* of a revision's first paths, their NULs included */

/* What became of a revision. */
enum lp_wire_revision_state {
	LP_REVISION_PENDING = 1, /* not known yet */
	LP_REVISION_HEALTHY,     /* it came to serve */
	LP_REVISION_FAILED,      /* it did not */
	LP_REVISION_SKIPPED,     /* a newer one came before it was tried */
	LP_REVISION_UNDONE,      /* the tree went back behind it */
	LP_REVISION_STATE_COUNT_,
};

/* Asks what the tree was given. most: how many revisions, the newest. */
struct lp_msg_history {
	uint64_t most;
};

/* One revision that changed something. at_ms: when it was applied, since 1970. files: put, changed
 * or removed; removed: of them. paths: the first ones, each followed by a NUL. error: of a failure,
 * "" otherwise. kept: the tree can go back to it. */
struct lp_wire_revision {
	uint64_t revision;
	uint64_t at_ms;
	uint64_t state; /* enum lp_wire_revision_state */
	uint64_t files;
	uint64_t removed;
	uint64_t bytes;
	bool kept;
	struct lp_bytes paths;
	struct lp_bytes error;
	uint8_t root[16]; /* of the tree with it */
};

/* The answer, oldest first. revision: of the tree now. */
struct lp_msg_revisions {
	uint64_t revision;
	struct lp_wire_revision *revisions;
	size_t n_revisions;
};

/* Asks the tree to go back to how it was when `revision` had been applied; 0: the newest healthy
 * one before the present; with only_failed: the newest healthy one, which may be the present. */
struct lp_msg_rollback {
	uint64_t revision;
	bool only_failed;
};

/* The tree went back, and stays so until its owner has something new; or, without `done`, it did
 * not, and text says why. asked: somebody asked for it; otherwise a start had failed. */
struct lp_msg_rolled {
	bool done;
	bool asked;
	uint64_t revision; /* that it is at */
	uint64_t from;     /* that it was at */
	uint64_t files;    /* that changed by it */
	uint8_t root[16];
	struct lp_bytes text;
};

#endif
