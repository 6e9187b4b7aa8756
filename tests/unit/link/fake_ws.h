/* fake_ws.h: common/loop/ws.h without a network: what a link sends is kept, and a test speaks for
 * the instance. Takes the place of ws.c when it is linked in. One connection at a time. */
#ifndef LP_TESTS_FAKE_WS_H
#define LP_TESTS_FAKE_WS_H

#include "common/loop/ws.h"
#include "wire/msg.h"

/* Lets the link connect: the next lp_ws_connect succeeds, or closes with that reason. */
void fake_accept(void);

/* Whether there is an open connection; whether the link has closed it itself. */
bool fake_is_open(void);
bool fake_was_closed(void);

/* The numeric address that the last connection was to be made to; "" for none. */
const char *fake_address(void);

/* How often the link asked whether its peer is still there. */
unsigned fake_probes(void);

/* What lp_ws_is_stuck says from now on, until fake_reset. */
void fake_stick(bool is_stuck);

/* Writes as long as the link wants to, at most max messages. Returns how many came. */
size_t fake_pump(size_t max);

/* The next message that the link sent, decoded and unpacked, or NULL. Borrowed until the next. */
const struct lp_msg *fake_sent(void);
/* Bytes of the message that fake_sent gave last, as the window counts them. */
size_t fake_sent_bytes(void);

/* Gives the link a message; bytes that are none. */
void fake_say(const struct lp_msg *msg);
void fake_say_bytes(const void *data, size_t len);

/* Ends the connection. */
void fake_lose(const char *reason);

void fake_reset(void);

#endif
