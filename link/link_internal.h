/* link/link_internal.h: a link's state, shared by link.c (connection, opening), stream.c (sending,
 * acknowledgements) and walk.c (catching up). */
#ifndef LP_LINK_LINK_INTERNAL_H
#define LP_LINK_LINK_INTERNAL_H

#include "common/loop/ws.h"
#include "link/feed.h"
#include "link/link.h"

struct lp_frame {
	unsigned refs;
	struct lp_buf raw;
	struct lp_buf packed; /* empty until a compressing link asks */
};

/* The bytes to send; packer NULL: uncompressed. Borrowed from the frame. */
const struct lp_buf *lp_frame_bytes(struct lp_frame *frame, struct lp_packer *packer);

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

/* One changeset to be sent, or being sent. */
struct lp_outgoing {
	struct lp_outgoing *next;
	struct lp_changeset *cs;
	struct lp_frame *frame; /* or NULL: feed */
	struct lp_feed *feed;
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
	struct lp_timer retry;
	unsigned tries;
	bool final; /* refused: do not come back */
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
	bool behind;        /* too many were queued: compare trees when these are answered */
	uint64_t sent;      /* encoded bytes of CHANGE, DATA and SKIP since WELCOME */
	uint64_t consumed;  /* of them, as the instance credits */
	struct lp_buf scratch;
	uint64_t applied;
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
	struct lp_peer_entry *listed; /* entries of a directory that came in pieces; names owned */
	size_t n_listed;
	size_t cap_listed;
	unsigned resyncs; /* in a row without an APPLIED between them */
	struct lp_timer resync_timer;
};

/* link.c */
int lp_link_queue(struct lp_link *link, const struct lp_msg *msg);
void lp_link_fail(struct lp_link *link, const char *why);

/* stream.c */
void lp_stream_writable(struct lp_link *link);
void lp_stream_message(struct lp_link *link, const struct lp_msg *msg);
void lp_stream_enqueue(struct lp_link *link, struct lp_changeset *cs, struct lp_frame *frame);
void lp_stream_reset(struct lp_link *link);

/* walk.c */
void lp_walk_start(struct lp_link *link, bool empty_instance);
void lp_walk_catch_up(struct lp_link *link, struct lp_changeset *cs);
void lp_walk_listing(struct lp_link *link, const struct lp_msg_listing *listing);
void lp_walk_touch(struct lp_link *link, const struct lp_changeset *cs);
void lp_walk_reset(struct lp_link *link);

#endif
