/* cli/control.h: how other commands talk to a running mount or watch: one JSON object a line over
 * an abstract unix socket, after both sides have checked that the other is of the same user (or
 * root). One request a connection, {"cmd":NAME,…}; cli/mirror_control.c has the table of them. One
 * answer a request: {"ok":true,…} or {"ok":false,"error":…}.
 */
#ifndef LP_CLI_CONTROL_H
#define LP_CLI_CONTROL_H

#include "cli/runtime.h"
#include "common/loop/loop.h"

#include <jansson.h>

struct lp_control_server; /* opaque */
struct lp_control_client; /* one connection; opaque */

/* on_request: answer now or later, once, with lp_control_answer; request is borrowed. on_gone: the
 * client left before it was answered, or after lp_control_say. */
struct lp_control_ops {
	void (*on_request)(void *ctx, struct lp_control_client *client, const json_t *request);
	void (*on_gone)(void *ctx, struct lp_control_client *client);
	void *ctx;
};

/* Listens at the app's address, which makes the caller its only session on this machine. Returns 0,
 * -EADDRINUSE (there is one: who says err) or another -errno. */
int lp_control_serve(struct lp_control_server **out, struct lp_loop *loop, const char *app,
		     const struct lp_control_ops *ops, struct lp_err *err) LP_MUST_USE;
void lp_control_close(struct lp_control_server *s); /* NULL is allowed */

/* Sends the answer (taken) and closes the connection. */
void lp_control_answer(struct lp_control_client *client, json_t *answer);

/* Sends the answer (taken) and keeps the connection, so that on_gone tells when the client ends. */
void lp_control_say(struct lp_control_client *client, json_t *answer);

/* Asks the session of an app and waits for the answer, at most timeout_ms. Returns 0 and the answer
 * (the caller's), -ENOENT (no session of that app runs on this machine), -ETIMEDOUT or another
 * -errno. */
int lp_control_ask(json_t **out, const char *app, json_t *request, uint32_t timeout_ms,
		   struct lp_err *err) LP_MUST_USE;

/* The same, and keeps the connection: *fd is the caller's. For requests that last as long as
 * whoever made them. */
int lp_control_ask_open(json_t **out, int *fd, const char *app, json_t *request,
			uint32_t timeout_ms, struct lp_err *err) LP_MUST_USE;

/* Whether the answer says that it was done; otherwise err (NULL allowed) has "name: why". */
bool lp_control_is_ok(const json_t *answer, const char *name, struct lp_err *err);

/* The same for the session at an address; name is for messages. */
int lp_control_ask_at(json_t **out, const struct lp_session_addr *addr, const char *name,
		      json_t *request, uint32_t timeout_ms, struct lp_err *err) LP_MUST_USE;

#endif
