/* link/link_internal.h: a link's state, shared by link.c (connection, opening), stream.c (sending),
 * answers.c (what comes back), greet.c (what WELCOME leads to), walk.c (catching up) and old.c
 * (what catching up may build on). */
#ifndef LP_LINK_LINK_INTERNAL_H
#define LP_LINK_LINK_INTERNAL_H

#include "common/loop/resolve.h"
#include "common/loop/ws.h"
#include "link/link.h"
#include "link/reel.h"

enum lp_link_state {
	LP_LINK_DOWN,     /* not connected; perhaps a timer runs */
	LP_LINK_OPENING,  /* connecting, or HELLO sent */
	LP_LINK_PROVING,  /* PROOF sent */
	LP_LINK_READY,    /* observer: welcomed */
	LP_LINK_RESTING,  /* owner: trees differ; waits before it compares them again */
	LP_LINK_WALKING,  /* owner: comparing trees */
	LP_LINK_CATCHING, /* owner: the catch-up changeset is on its way */
	LP_LINK_STREAMING,
};

/* Changesets in flight and queued. What is queued for a slower instance is dropped, and it catches
 * up by comparing trees, so that it never makes the client's memory grow. */
#define LP_LINK_QUEUE_MAX 8

/* One changeset to be sent, or being sent: from the reel that all share, or from a feed of its own.
 */
struct lp_outgoing {
	struct lp_outgoing *next;
	struct lp_changeset *cs;
	struct lp_reader reader;
	struct lp_feed *feed;
	bool begun;
};

/* A version of a large file that the instance may hold although the workspace has a newer one: when
 * it lists that very digest, catching up needs to send the difference only. */
struct lp_old_version {
	char *path; /* owned */
	struct lp_digest digest;
	struct lp_chunks *chunks; /* one reference */
	bool listed;
};

/* An encoded control message. */
struct lp_control {
	struct lp_control *next;
	struct lp_buf bytes;
};

struct lp_link {
	struct lp_loop *loop;
	struct lp_link_opts opts;
	struct lp_link_ops ops;
	struct lp_source source;
	enum lp_link_state state;
	struct lp_ws *ws;
	struct lp_resolve *resolve; /* while the instance's host is being looked up */
	struct lp_addrs addrs;      /* where it is; none: as the URL says */
	size_t addr;                /* the one that is tried */
	struct lp_timer retry;
	struct lp_timer opening; /* while it connects and until WELCOME */
	struct lp_timer paced;   /* until the rate allows more content */
	uint64_t connect_us;     /* when the present try began */
	unsigned tries;
	unsigned silences; /* tries in a row that nobody answered */
	unsigned hurry;    /* tries since the network came back; 0: that was long ago */
	bool final;        /* refused: do not come back */
	char last_error[256];
	struct lp_msg_hello hello;
	uint8_t instance_nonce[LP_WIRE_NONCE_BYTES];
	uint64_t features;
	struct lp_packer *packer;
	struct lp_buf unpacked;
	struct lp_control *control_first;
	struct lp_control *control_last;
	struct lp_outgoing *out_first;
	struct lp_outgoing *out_last;
	unsigned in_flight; /* changesets queued, or sent whole or in part and not answered */
	unsigned verifies;  /* VERIFY that were sent and not answered */
	bool behind;        /* compare trees when these are answered */
	bool unsure;        /* something was left out: it may not hold what the index says */
	bool rolled;        /* its tree went back to rolled_root on purpose: leave it so until there
			     * is something new */
	bool held;          /* what is pushed, and what it lacks, waits for lp_link_hold */
	bool missed;        /* something does */
	bool verify;        /* VERIFY is to be sent when nothing is in flight */
	uint64_t sent;      /* encoded bytes of CHANGE, DATA and SKIP since WELCOME */
	uint64_t consumed;  /* of them, as the instance credits */
	struct lp_buf scratch;
	uint64_t applied;
	struct lp_digest
		led[LP_LINK_QUEUE_MAX]; /* roots that what was sent last leads to, a ring */
	size_t n_led;
	struct lp_digest rolled_root;
	struct lp_digest welcomed_root; /* what it held when it was connected, */
	uint64_t welcomed_revision;     /* of which revision */
	bool welcomed_foreign;          /* and whether there was something of others */
	struct lp_digest partial; /* of the content whose beginning the instance has; see WELCOME */
	uint64_t partial_have;
	struct lp_old_version *old; /* versions replaced since nothing was in flight */
	size_t n_old;
	size_t cap_old;
	/* Catching up. */
	struct lp_changeset *diff;
	char **todo; /* directories to ask for; owned */
	size_t n_todo;
	size_t cap_todo;
	size_t asked;   /* how many of todo were asked; the rest comes with the next LIST */
	size_t heard;   /* how many of these were answered */
	char **touched; /* paths that changed while walking; owned */
	size_t n_touched;
	size_t cap_touched;
	bool again;                   /* more changed than is worth remembering: walk once more */
	struct lp_peer_entry *listed; /* entries of a directory that came in pieces; names owned */
	size_t n_listed;
	size_t cap_listed;
	size_t listed_bytes; /* that they take */
	unsigned resyncs;    /* in a row without an APPLIED between them */
	unsigned failures;   /* that were reported, less what time has forgiven up to */
	uint64_t failures_us;
	unsigned doubts; /* comparisons in a row because of `unsure` */
	struct lp_timer resync_timer;
};

/* link.c */
int lp_link_queue(struct lp_link *link, const struct lp_msg *msg);
void lp_link_fail(struct lp_link *link, const char *why);

/* greet.c: compares the root of WELCOME with the workspace's as soon as that is known, and begins.
 */
void lp_link_greet(struct lp_link *link);

/* stream.c */
void lp_stream_writable(struct lp_link *link);
/* reel NULL: a feed of its own, for an instance of which `have` is known. */
void lp_stream_enqueue(struct lp_link *link, struct lp_changeset *cs, struct lp_reel *reel,
		       const struct lp_feed_have *have);
void lp_stream_reset(struct lp_link *link);
/* Forgets the changesets that are queued or in flight. */
void lp_stream_drop(struct lp_link *link);

/* answers.c */
void lp_stream_message(struct lp_link *link, const struct lp_msg *msg);
/* A save: somebody is at work, perhaps on what makes the instance fail. It is not left to rest for
 * more than a second. */
void lp_stream_hurry(struct lp_link *link);

/* walk.c */
void lp_walk_start(struct lp_link *link, bool empty_instance);
void lp_walk_catch_up(struct lp_link *link, struct lp_changeset *cs);
void lp_walk_listing(struct lp_link *link, const struct lp_msg_listing *listing);
void lp_walk_touch(struct lp_link *link, const struct lp_changeset *cs);
void lp_walk_reset(struct lp_link *link);

/* old.c */
/* Remembers the bases that the changeset's operations name. */
void lp_old_remember(struct lp_link *link, const struct lp_changeset *cs);
/* Compares them with what the instance listed of the directory `dir`. */
void lp_old_listed(struct lp_link *link, const char *dir, const struct lp_peer_entry *entries,
		   size_t n);
/* Gives operations of a catch-up the chunks of their contents, and the bases that were listed. */
void lp_old_use(struct lp_link *link, struct lp_changeset *cs, const struct lp_index *ix);
void lp_old_forget(struct lp_link *link);

#endif
