/* ws_fixture.h: a WebSocket server in a thread of its own, a bridge from TCP to its unix socket,
 * and a raw connection to it for peers that do not keep to the rules. */
#ifndef LP_TESTS_UNIT_COMMON_WS_FIXTURE_H
#define LP_TESTS_UNIT_COMMON_WS_FIXTURE_H

#include "common/base/lp_buf.h"
#include "common/loop/ws.h"

#define FIXTURE_DEADLINE_US UINT64_C(30000000)

/* What the server does with a connection. Messages are sent back as they came in any case. */
enum fixture_mode {
	FIXTURE_ECHO,
	FIXTURE_REFUSE,        /* on_accept says no */
	FIXTURE_CLOSE_ON_OPEN, /* 4001 "held by somebody else" */
	FIXTURE_CLOSE_ON_MESSAGE,
	FIXTURE_SEND_TOO_MUCH, /* tries a message over the limit, then sends "refused" or "sent" */
};

/* Starts server and bridge. Fails the test when that does not work. */
void fixture_start(enum fixture_mode mode);
void fixture_stop(void);

/* The address of the bridge: "ws://127.0.0.1:PORT". */
const char *fixture_url(void);

/* Waits until the server has seen n connections end, then copies the reason of the last. */
void fixture_wait_closed(unsigned n, char *reason, size_t reason_bytes);

/* A blocking connection to the server's socket, with a deadline on reads. Owned by the caller. */
int fixture_connect(void);

/* Sends the text and reads until the head of the answer is complete (or the peer closes); what
 * followed the head stays in `answer` too. Returns the status, 0 when there is none. */
int fixture_http(int fd, const char *request, struct lp_buf *answer);

/* Sends an upgrade for that path; protocol NULL: without a subprotocol. Returns the status. */
int fixture_upgrade(int fd, const char *path, const char *protocol);

/* Sends one masked frame. first: FIN, RSV and opcode byte. */
void fixture_send_frame(int fd, unsigned first, const void *data, size_t len);

/* Reads one frame of the server into payload (emptied before). Returns its first byte, or -1 when
 * the connection ended. */
int fixture_read_frame(int fd, struct lp_buf *payload);

#endif
