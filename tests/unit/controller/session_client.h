/* session_client.h: an instance in a thread of the test, and clients of its sessions that say what
 * they like. Every call fails the test when it does not come about in time. */
#ifndef LP_TESTS_SESSION_CLIENT_H
#define LP_TESTS_SESSION_CLIENT_H

#include "common/base/lp_buf.h"
#include "common/loop/ws.h"
#include "tests/unit/controller/instance_rig.h"
#include "wire/msg.h"

#include <stdbool.h>

/* A client without manners. */
struct client {
	struct lp_ws *ws;
	bool open;
	bool closed;
	char reason[256];
	struct lp_buf out[8]; /* what is still to be sent */
	size_t n_out;
	struct lp_buf in[64]; /* what came */
	size_t n_in;
	size_t next_in;
	struct lp_msg msg;
	struct lp_msg_hello hello;
};

/* The instance. Both for cmocka, around each test. */
extern struct instance client_instance;
int client_set_up(void **state);
int client_tear_down(void **state);

void client_start(struct client *c);
void client_finish(struct client *c);

/* Waits until the client is open or was turned away. */
bool client_has_opened(struct client *c);

void client_say(struct client *c, const struct lp_msg *msg);
void client_say_bytes(struct client *c, const void *data, size_t len);

/* The next message that is of that kind; others (LOG, SETTLED, …) are passed over. NULL when the
 * connection ended before. */
const struct lp_msg *client_hear(struct client *c, enum lp_msg_kind kind);

/* Hears that it is refused, and closed after that. */
void client_expect_refusal(struct client *c, enum lp_refusal code);

/* The opening: HELLO, PROOF after the CHALLENGE; and all of it up to WELCOME. */
void client_say_hello(struct client *c, enum lp_role role, const char *workspace);
void client_prove(struct client *c, const char *secret);
void client_open_session(struct client *c, enum lp_role role, const char *workspace);

#endif
