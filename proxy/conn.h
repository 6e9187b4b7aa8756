/* proxy/conn.h: a client connection and the request that runs on it. Each file that moves a request
 * along has its functions here: conn.c (head and route), exchange.c (both directions), tunnel.c
 * (after 101), respond.c (own answers and the end). Proxy thread only.
 *
 *   HEAD -> HELD -> RUN -> FLUSH -> HEAD ...     an exchange
 *                    `--> TUNNEL                 after 101
 *   FLUSH -> LINGER -> gone                      an answer before the request was read
 */
#ifndef LP_PROXY_CONN_H
#define LP_PROXY_CONN_H

#include "proxy/flow.h"
#include "proxy/frames.h"
#include "proxy/inject.h"
#include "proxy/list.h"
#include "proxy/route.h"
#include "proxy/sock.h"
#include "proxy/timeq.h"
#include "proxy/upstream.h"

#include <netinet/in.h>

/* Deadlines by their length. */
enum lp_px_wait {
	LP_PX_WAIT_HEAD,     /* for the rest of a head */
	LP_PX_WAIT_IDLE,     /* for a request */
	LP_PX_WAIT_BODY,     /* for more of a request's body */
	LP_PX_WAIT_HOLD,     /* for another table */
	LP_PX_WAIT_NEXT,     /* for the table that says what follows an upstream that is gone */
	LP_PX_WAIT_CONNECT,  /* for an upstream */
	LP_PX_WAIT_REDIAL,   /* until a full unix socket is tried again */
	LP_PX_WAIT_RESPONSE, /* for the head of a response */
	LP_PX_WAIT_WRITE,    /* for the client to take some of what waits for it */
	LP_PX_WAIT_GONE,     /* for the response, after the client has closed its sending side */
	LP_PX_WAIT_LINGER,   /* for the client to read an early answer */
	LP_PX_WAIT_COUNT_,
};

enum lp_px_state {
	LP_PX_HEAD,   /* waits for or reads a request head */
	LP_PX_HELD,   /* waits for another table */
	LP_PX_REDIAL, /* waits before it tries to connect again */
	LP_PX_RUN,    /* has an upstream connection */
	LP_PX_TUNNEL, /* passes raw bytes */
	LP_PX_FLUSH,  /* sends the rest of a response */
	LP_PX_LINGER, /* lets the client read the answer to a request that was not read whole */
	LP_PX_DEAD,   /* closed, freed after the current events */
};

struct lp_px_conn {
	struct lp_px_sock s;
	struct lp_proxy *proxy;
	struct lp_px_link link;    /* in all connections, or in the dead */
	struct lp_px_link held;    /* in the queue of held requests */
	struct lp_px_link running; /* in its upstream */
	struct lp_px_link ready;   /* in the list of those with work left */
	struct lp_px_timer timer;
	enum lp_px_state state;
	char ip[INET6_ADDRSTRLEN];

	/* The request. */
	struct lp_px_scan scan;
	struct lp_px_upstream *upstream;
	struct lp_px_upconn *up;
	struct lp_px_buf replay; /* the rewritten request while it has no upstream connection */
	struct lp_px_flow req;
	struct lp_px_flow res;
	struct lp_px_inject inject;
	const char *ended_by; /* how an upstream failed the request once; NULL: none did */
	size_t head_bytes;    /* counted in the proxy's heads_bytes (heads.c) */
	uint64_t body_sent;   /* bytes of the body that are gone for good */
	uint64_t redial_until_ms;
	uint64_t sent_then; /* bytes sent to the client when its last deadline to read was set */
	uint8_t minor;
	uint8_t dials;    /* upstream connections tried */
	bool more;        /* the buffered bytes hold no whole head */
	bool timing;      /* the timer for the head runs */
	bool is_new;      /* the handshake of TLS is not over, which has the time of a head */
	bool held_before; /* it was held, and counted as a request */
	bool keep_alive;  /* what the client wants, then what it gets */
	bool is_head;
	bool is_safe;
	bool wants_upgrade;
	bool is_http2;  /* the whole connection is one tunnel */
	bool is_stream; /* the response is an event stream */
	bool ending;    /* to be ended at the next place where a stream or tunnel can be */
	bool res_begun; /* the final response head was written */
	bool res_seen;  /* the upstream has answered something */
	bool up_keep_alive;
	struct lp_px_scan res_scan;
	struct lp_px_frames frames; /* of a tunnel, from the upstream */
	enum lp_px_wait waits_for;  /* while the timer runs */
};

/* Takes an accepted descriptor. */
void lp_px_conn_open(struct lp_proxy *p, int fd, const struct sockaddr *peer);

/* Does what can be done without waiting. */
void lp_px_conn_pump(struct lp_px_conn *c);

/* What is due. */
void lp_px_conn_expire(struct lp_px_conn *c);

/* heads.c: counts what a connection takes up before its request is known, and closes the slowest
 * that do when all take up too much. count: 0 when it is known; await: the head is not whole;
 * shake: a handshake of TLS went on, is over or has not begun. */
void lp_px_heads_count(struct lp_px_conn *c, size_t bytes);
void lp_px_heads_await(struct lp_px_conn *c);
void lp_px_heads_shake(struct lp_px_conn *c);

/* deadline.c: sets the deadline for what a request, its response or a tunnel waits for now; and
 * ends a running request whose deadline has passed. */
void lp_px_deadline_set(struct lp_px_conn *c);
void lp_px_deadline_passed(struct lp_px_conn *c);

/* hold.c: has the request whose head is in the input, or in c->replay, wait for another table, or
 * answers 503 when too many do. unhold takes it out of the queue; give_up answers it with 503. */
void lp_px_hold(struct lp_px_conn *c);
void lp_px_unhold(struct lp_px_conn *c);
void lp_px_hold_give_up(struct lp_px_conn *c, const char *cause, const char *text);

/* The upstream is not there any more, and nobody has said so yet: has the request in c->replay wait
 * a moment for another table. Returns false when it has done so before, or too many wait. cause
 * (static) is what it is answered with, 502, when none comes. */
bool lp_px_hold_for_next(struct lp_px_conn *c, const char *cause);

/* handover.c: whether the request whose head is parsed is one that the owner of the route gets with
 * its socket; and the attempt to give it away, rewritten (c->replay) and with what stands behind
 * it. It returns whether the connection is gone from here: given away, or closed. */
bool lp_px_handover_wanted(const struct lp_px_conn *c, const struct lp_px_route *route);
bool lp_px_handover_try(struct lp_px_conn *c);

/* Routes a held request by the table in force. */
void lp_px_conn_release(struct lp_px_conn *c);

/* Closes the connection and what it uses; the memory is freed after the current events. abort: the
 * client is to see an error. */
void lp_px_conn_close(struct lp_px_conn *c, bool abort);

/* Routes the request whose rewritten form is c->replay. */
void lp_px_conn_reroute(struct lp_px_conn *c);

/* Gets a connection to c->upstream for c->replay, pooled or (fresh) new. */
void lp_px_exchange_start(struct lp_px_conn *c, bool fresh);

/* One step of RUN. Returns whether something moved. */
bool lp_px_exchange_step(struct lp_px_conn *c);

/* The upstream connection failed or was cut: tries again where that is safe (cut: never), otherwise
 * answers 502 or cuts the client. */
void lp_px_exchange_fail(struct lp_px_conn *c, const char *cause, bool cut);

/* Ends a response or tunnel whose upstream goes away where it can be ended well: what the client is
 * still to get stands in its output. */
void lp_px_exchange_finish_early(struct lp_px_conn *c);

/* Whether a request body of that many bytes is more than the limit allows. */
bool lp_px_body_is_too_large(const struct lp_px_conn *c, uint64_t bytes);

/* Whether the connection carries a tunnel or an event stream. */
bool lp_px_conn_is_stream(const struct lp_px_conn *c);

/* From here on the bytes are nobody's business but for where the upstream's frames begin. */
void lp_px_tunnel_begin(struct lp_px_conn *c, enum lp_px_framing framing);

/* One step of TUNNEL. */
bool lp_px_tunnel_step(struct lp_px_conn *c);

/* Answers by the proxy itself and goes to FLUSH; what is attached upstream is let go. text as in
 * struct lp_px_answer. */
void lp_px_respond(struct lp_px_conn *c, int status, const char *cause, const char *text);

/* One step of FLUSH and LINGER. */
bool lp_px_respond_flush(struct lp_px_conn *c);
bool lp_px_respond_linger(struct lp_px_conn *c);

#endif
