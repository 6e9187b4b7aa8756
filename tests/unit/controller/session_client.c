/* session_client.c: see session_client.h. */
#include "tests/unit/controller/session_client.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/loop/loop_internal.h"
#include "wire/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define DEADLINE_US 30000000u

struct instance client_instance;
static struct lp_loop *loop;
static struct lp_timer tick;

static void on_open(struct lp_ws *ws)
{
	struct client *c = lp_ws_user(ws);

	c->open = true;
}

static void on_message(struct lp_ws *ws, const uint8_t *data, size_t len)
{
	struct client *c = lp_ws_user(ws);

	assert_true(c->n_in < LP_COUNT_OF(c->in));
	assert_int_equal(lp_buf_add(&c->in[c->n_in++], data, len), 0);
}

static void on_writable(struct lp_ws *ws)
{
	struct client *c = lp_ws_user(ws);

	if (c->n_out == 0)
		return;
	if (lp_ws_send(ws, c->out[0].data, c->out[0].len) < 0)
		return;
	lp_buf_finish(&c->out[0]);
	c->n_out--;
	memmove(c->out, c->out + 1, c->n_out * sizeof(c->out[0]));
	c->out[c->n_out] = (struct lp_buf){0};
	lp_ws_want_write(ws);
}

static void on_close(struct lp_ws *ws, const char *reason)
{
	struct client *c = lp_ws_user(ws);

	(void)snprintf(c->reason, sizeof(c->reason), "%s", reason);
	c->closed = true;
	c->ws = NULL;
}

static void on_tick(struct lp_timer *timer)
{
	lp_timer_set(loop, timer, lp_now_us() + 5000);
}

static void step(void)
{
	assert_int_equal(loop->driver ? loop->driver->service(loop) : lp_loop_dispatch(loop, 5), 0);
}

void client_start(struct client *c)
{
	static const struct lp_ws_ops ops = {.on_open = on_open,
					     .on_message = on_message,
					     .on_writable = on_writable,
					     .on_close = on_close};
	const struct lp_ws_connect_opts opts = {.url = client_instance.url, .ops = &ops, .user = c};

	*c = (struct client){0};
	assert_int_equal(lp_ws_connect(loop, &c->ws, &opts, NULL), 0);
}

void client_finish(struct client *c)
{
	if (c->ws)
		lp_ws_abandon(c->ws);
	for (size_t i = 0; i < c->n_out; i++)
		lp_buf_finish(&c->out[i]);
	lp_msg_finish(&c->msg);
	for (size_t i = 0; i < c->n_in; i++)
		lp_buf_finish(&c->in[i]);
}

bool client_has_opened(struct client *c)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;

	while (!c->open && !c->closed) {
		assert_true(lp_now_us() < deadline_us);
		step();
	}
	return c->open;
}

void client_say_bytes(struct client *c, const void *data, size_t len)
{
	assert_true(client_has_opened(c));
	assert_true(c->n_out < LP_COUNT_OF(c->out));
	assert_int_equal(lp_buf_add(&c->out[c->n_out++], data, len), 0);
	lp_ws_want_write(c->ws);
}

void client_say(struct client *c, const struct lp_msg *msg)
{
	struct lp_buf out = {0};

	assert_int_equal(lp_msg_encode(msg, &out), 0);
	client_say_bytes(c, out.data, out.len);
	lp_buf_finish(&out);
}

const struct lp_msg *client_hear(struct client *c, enum lp_msg_kind kind)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;

	for (;;) {
		if (c->next_in < c->n_in) {
			const struct lp_buf *b = &c->in[c->next_in++];

			lp_msg_finish(&c->msg);
			assert_int_equal(lp_msg_decode(&c->msg, b->data, b->len, NULL), 0);
			if (c->msg.kind == kind)
				return &c->msg;
		} else if (c->closed) {
			return NULL;
		} else {
			assert_true(lp_now_us() < deadline_us);
			step();
		}
	}
}

void client_expect_refusal(struct client *c, enum lp_refusal code)
{
	const struct lp_msg *msg = client_hear(c, LP_MSG_REFUSED);

	assert_non_null(msg);
	assert_int_equal(msg->u.refused.code, code);
	assert_true(msg->u.refused.text.len > 0);
	assert_null(client_hear(c, LP_MSG_WELCOME)); /* it is closed after that */
}

void client_say_hello(struct client *c, enum lp_role role, const char *workspace)
{
	struct lp_msg msg = {.kind = LP_MSG_HELLO};

	c->hello = (struct lp_msg_hello){.version = LP_WIRE_VERSION,
					 .features = LP_FEATURE_ZSTD,
					 .role = role,
					 .app = lp_bytes_of("app"),
					 .holder = lp_bytes_of(workspace)};
	lp_random(c->hello.nonce, sizeof(c->hello.nonce));
	memcpy(c->hello.workspace, workspace, strlen(workspace));
	msg.u.hello = c->hello;
	client_say(c, &msg);
}

void client_prove(struct client *c, const char *secret)
{
	struct lp_msg msg = {.kind = LP_MSG_PROOF};
	const struct lp_msg *challenge = client_hear(c, LP_MSG_CHALLENGE);

	assert_non_null(challenge);
	lp_auth_mac(secret, LP_AUTH_CLIENT, &c->hello, challenge->u.challenge.nonce,
		    msg.u.proof.mac);
	client_say(c, &msg);
}

void client_open_session(struct client *c, enum lp_role role, const char *workspace)
{
	client_start(c);
	client_say_hello(c, role, workspace);
	client_prove(c, INSTANCE_SECRET);
	assert_non_null(client_hear(c, LP_MSG_WELCOME));
}

int client_set_up(void **state)
{
	(void)state;
	instance_init(&client_instance, INSTANCE_SECRET);
	instance_start(&client_instance);
	assert_int_equal(lp_loop_create(&loop, NULL), 0);
	tick.on_fire = on_tick;
	lp_timer_set(loop, &tick, lp_now_us());
	return 0;
}

int client_tear_down(void **state)
{
	(void)state;
	lp_timer_clear(&tick);
	lp_loop_destroy(loop);
	instance_finish(&client_instance);
	return 0;
}
