/* tests/unit/proxy/harness.h: a real upstream in threads, a raw client and a proxy between them,
 * for the tests that use sockets. Everything waits with a deadline. */
#ifndef LP_TESTS_UNIT_PROXY_HARNESS_H
#define LP_TESTS_UNIT_PROXY_HARNESS_H

#include "proxy/proxy.h"

#include <pthread.h>
#include <stdatomic.h>

#define DEADLINE_S   20
#define MAX_UP_CONNS 1024

/* An upstream: one thread accepts, one serves each connection. What it answers depends on the path,
 * see serve_request in harness_up.c. */
struct up {
	struct lp_proxy_addr addr;
	int listen_fd;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int fds[MAX_UP_CONNS];
	pthread_t threads[MAX_UP_CONNS];
	size_t n_conns;   /* ever accepted */
	unsigned waiting; /* requests at the gate */
	bool gate_open;   /* /gate answers */
	bool stopping;
	_Atomic unsigned requests;
	_Atomic bool close_after; /* close each connection after a response, without saying so */
	_Atomic uint64_t sent;    /* bytes of bodies handed to the kernel */
	const char *name;         /* answered by /name */
};

/* unix_path NULL: TCP on a free port of 127.0.0.1. */
void up_start(struct up *u, const char *name, const char *unix_path);
void up_stop(struct up *u);

/* Lets all requests at /gate go on, now and later. */
void up_open_gate(struct up *u);

/* Returns when `n` requests wait at /gate. */
void up_await_gate(struct up *u, unsigned n);

/* Connections that the upstream has accepted so far. */
size_t up_conns(struct up *u);

/* Returns when all connections that the upstream has accepted are closed on its side too. */
void up_await_closed(struct up *u);

/* Closes the upstream's side of all its connections. */
void up_drop_conns(struct up *u);

/* A proxy, and the ids that it has reported as drained. */
struct rig {
	struct lp_proxy *proxy;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t drained[64];
	size_t n_drained;
};

/* limits: NULL for the defaults. */
void rig_start(struct rig *r, const struct lp_proxy_limits *limits);
void rig_stop(struct rig *r);

/* One route "/" to the given upstream. */
void rig_forward(struct rig *r, uint64_t id, const struct up *u);
void rig_hold(struct rig *r);

/* Returns when id has been reported; fails the test when that does not come. */
void rig_await_drained(struct rig *r, uint64_t id);
size_t rig_n_drained(struct rig *r, uint64_t id);

/* Returns when the counter has that value. */
enum rig_counter { RIG_HELD, RIG_ACTIVE, RIG_CONNS };
void rig_await(struct rig *r, enum rig_counter counter, unsigned value);

/* A connected client socket with timeouts. */
int client_open(const struct rig *r);
void client_send(int fd, const char *text);
void client_send_bytes(int fd, const void *data, size_t len);

/* A response as read from a socket. */
struct reply {
	int status;
	char head[16384];
	char *body; /* owned, terminated */
	size_t body_len;
	bool chunked;
};

/* Reads one response; a short read or a missing one gives status -1. to_head: no body follows. */
void reply_read(struct reply *reply, int fd, bool to_head);
void reply_finish(struct reply *reply);

/* The value of a header of the reply, or NULL; valid until the next call. */
const char *reply_header(const struct reply *reply, const char *name);

/* Sends `text`, reads one response and returns its status; body (NULL: not wanted) gets its start.
 */
int ask(int fd, const char *text, char *body, size_t body_bytes);

/* Whether the peer has closed: reads until the end, which must come without further bytes. */
bool is_closed(int fd);

#endif
