/* controller/session_internal.h: one connection to the control endpoint, shared by session.c (who
 * may do what) and session_out.c (what is said to whom). */
#ifndef LP_CONTROLLER_SESSION_INTERNAL_H
#define LP_CONTROLLER_SESSION_INTERNAL_H

#include "common/loop/ws.h"
#include "controller/instance_internal.h"

enum session_state {
	AWAITING_HELLO,
	AWAITING_PROOF,
	AWAITING_TURN, /* an owner: the apply thread is not done with what came before */
	READY,
	CLOSING,
};

struct outgoing {
	struct outgoing *next;
	struct lp_buf bytes;
};

struct lp_session {
	struct lp_session *next;
	struct lp_instance *in;
	struct lp_ws *ws;
	enum session_state state;
	struct lp_timer deadline;
	enum lp_role role;
	bool take_over;
	bool follows;
	uint64_t epoch; /* of an owner; 0 otherwise */
	uint8_t workspace[LP_WIRE_ID_BYTES];
	uint8_t nonce[LP_WIRE_NONCE_BYTES];
	uint8_t expected[LP_WIRE_MAC_BYTES];
	uint8_t own_mac[LP_WIRE_MAC_BYTES];
	char holder[LP_WIRE_TEXT_MAX_BYTES];
	struct outgoing *first;
	struct outgoing *last;
	size_t queued_bytes;
	uint64_t held;     /* bytes that apply has not finished with */
	uint64_t consumed; /* bytes of changesets that it has */
	uint64_t credited;
	struct lp_packer *packer;
};

/* session_out.c. send: encodes and queues; a message that does not fit ends the connection. refuse:
 * says why and closes once that is written. log: output of the app, ctx is the session. forget:
 * releases what was not written. */
void lp_session_send(struct lp_session *s, const struct lp_msg *msg);
void lp_session_refuse(struct lp_session *s, enum lp_refusal code, const char *text);
void lp_session_log(void *ctx, const struct lp_output *piece);
void lp_session_on_writable(struct lp_ws *ws);
void lp_session_forget(struct lp_session *s);

#endif
