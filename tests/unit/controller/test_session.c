/* test_session.c: who may say what to an instance, tried on a real one through its front door. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/loop/loop_internal.h"
#include "common/loop/ws.h"
#include "tests/unit/controller/instance_rig.h"
#include "tests/unit/controller/tree_rig.h"
#include "wire/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define DEADLINE_US 30000000u
#define PIECE       ((size_t)250000)
#define HAVE        (6 * PIECE) /* of a large file, when its connection is lost */

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

static atomic_int unfit; /* the kind of message that is taken not to fit into one */

int __real_lp_msg_encode(const struct lp_msg *msg, struct lp_buf *out);
int __wrap_lp_msg_encode(const struct lp_msg *msg, struct lp_buf *out);

int __wrap_lp_msg_encode(const struct lp_msg *msg, struct lp_buf *out)
{
	return msg->kind == (enum lp_msg_kind)atomic_load(&unfit) ? -EMSGSIZE
								  : __real_lp_msg_encode(msg, out);
}

static struct instance instance;
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

static void start(struct client *c)
{
	static const struct lp_ws_ops ops = {.on_open = on_open,
					     .on_message = on_message,
					     .on_writable = on_writable,
					     .on_close = on_close};
	const struct lp_ws_connect_opts opts = {.url = instance.url, .ops = &ops, .user = c};

	*c = (struct client){0};
	assert_int_equal(lp_ws_connect(loop, &c->ws, &opts, NULL), 0);
}

static void finish(struct client *c)
{
	if (c->ws)
		lp_ws_abandon(c->ws);
	for (size_t i = 0; i < c->n_out; i++)
		lp_buf_finish(&c->out[i]);
	lp_msg_finish(&c->msg);
	for (size_t i = 0; i < c->n_in; i++)
		lp_buf_finish(&c->in[i]);
}

/* Waits until the client is open or was turned away. */
static bool has_opened(struct client *c)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;

	while (!c->open && !c->closed) {
		assert_true(lp_now_us() < deadline_us);
		step();
	}
	return c->open;
}

static void say_bytes(struct client *c, const void *data, size_t len)
{
	assert_true(has_opened(c));
	assert_true(c->n_out < LP_COUNT_OF(c->out));
	assert_int_equal(lp_buf_add(&c->out[c->n_out++], data, len), 0);
	lp_ws_want_write(c->ws);
}

static void say(struct client *c, const struct lp_msg *msg)
{
	struct lp_buf out = {0};

	assert_int_equal(lp_msg_encode(msg, &out), 0);
	say_bytes(c, out.data, out.len);
	lp_buf_finish(&out);
}

/* The next message that is of that kind; others (LOG, SETTLED, …) are passed over. NULL when the
 * connection ended before. */
static const struct lp_msg *hear(struct client *c, enum lp_msg_kind kind)
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

static void expect_refusal(struct client *c, enum lp_refusal code)
{
	const struct lp_msg *msg = hear(c, LP_MSG_REFUSED);

	assert_non_null(msg);
	assert_int_equal(msg->u.refused.code, code);
	assert_true(msg->u.refused.text.len > 0);
	assert_null(hear(c, LP_MSG_WELCOME)); /* it is closed after that */
}

static void say_hello(struct client *c, enum lp_role role, const char *workspace)
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
	say(c, &msg);
}

static void prove(struct client *c, const char *secret)
{
	struct lp_msg msg = {.kind = LP_MSG_PROOF};
	const struct lp_msg *challenge = hear(c, LP_MSG_CHALLENGE);

	assert_non_null(challenge);
	lp_auth_mac(secret, LP_AUTH_CLIENT, &c->hello, challenge->u.challenge.nonce,
		    msg.u.proof.mac);
	say(c, &msg);
}

static void open_session(struct client *c, enum lp_role role, const char *workspace)
{
	start(c);
	say_hello(c, role, workspace);
	prove(c, INSTANCE_SECRET);
	assert_non_null(hear(c, LP_MSG_WELCOME));
}

static int set_up(void **state)
{
	(void)state;
	instance_init(&instance, INSTANCE_SECRET);
	instance_start(&instance);
	assert_int_equal(lp_loop_create(&loop, NULL), 0);
	tick.on_fire = on_tick;
	lp_timer_set(loop, &tick, lp_now_us());
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	lp_timer_clear(&tick);
	lp_loop_destroy(loop);
	instance_finish(&instance);
	return 0;
}

static void stranger__may_say_hello_and_nothing_else(void **state)
{
	static uint8_t noise[8192];
	struct lp_packer *packer = lp_packer_create();
	struct lp_buf packed = {0};
	struct lp_msg log = {.kind = LP_MSG_LOG}, list = {.kind = LP_MSG_LIST},
		      ask = {.kind = LP_MSG_ASK}, restart = {.kind = LP_MSG_RESTART};
	const struct lp_msg *msgs[] = {&list, &ask, &restart};
	struct client c;

	(void)state;
	log.u.log.content = (struct lp_bytes){noise, 2000};
	assert_int_equal(lp_msg_encode(&log, &packed), 0);
	assert_int_equal(lp_packer_pack(packer, &packed), 0);
	for (size_t i = 0; i < LP_COUNT_OF(msgs) + 4; i++) {
		start(&c);
		if (i % 2)
			say_hello(&c, LP_ROLE_OWNER, "w"); /* and without a proof */
		if (i < LP_COUNT_OF(msgs))
			say(&c, msgs[i]);
		else if (i < LP_COUNT_OF(msgs) + 2)
			say_bytes(&c, packed.data, packed.len);
		else
			say_bytes(&c, noise, i % 2 ? 5 : sizeof(noise));
		expect_refusal(&c, LP_REFUSE_PROTOCOL);
		finish(&c);
	}
	lp_buf_finish(&packed);
	lp_packer_destroy(packer);
}

static void opening__refuses_what_does_not_fit(void **state)
{
	struct lp_msg hello = {.kind = LP_MSG_HELLO};
	struct client c;

	(void)state;
	start(&c);
	hello.u.hello.version = LP_WIRE_VERSION + 1;
	hello.u.hello.role = LP_ROLE_OWNER;
	say(&c, &hello);
	expect_refusal(&c, LP_REFUSE_VERSION);
	finish(&c);
	start(&c);
	say_hello(&c, (enum lp_role)9, "w");
	expect_refusal(&c, LP_REFUSE_PROTOCOL);
	finish(&c);
	start(&c);
	say_hello(&c, LP_ROLE_OWNER, "w");
	prove(&c, "a secret of another");
	expect_refusal(&c, LP_REFUSE_SECRET);
	finish(&c);
}

static void opening__without_a_secret_is_closed_to_all(void **state)
{
	struct client c;

	(void)state;
	instance_stop(&instance);
	instance.opts.secret = NULL;
	instance_start(&instance);
	start(&c);
	say_hello(&c, LP_ROLE_OBSERVER, "w");
	expect_refusal(&c, LP_REFUSE_CLOSED);
	finish(&c);
}

static void observer__asks_and_changes_nothing(void **state)
{
	struct lp_wire_op op = op_file("f", "x", 0644);
	struct lp_msg ask = {.kind = LP_MSG_ASK}, tail = {.kind = LP_MSG_TAIL},
		      change = {.kind = LP_MSG_CHANGE}, list = {.kind = LP_MSG_LIST},
		      skip = {.kind = LP_MSG_SKIP}, welcome = {.kind = LP_MSG_WELCOME};
	const struct lp_msg *refused[] = {&change, &list, &skip, &welcome};
	struct client c;

	(void)state;
	change.u.change.flags = LP_CHANGE_FIRST | LP_CHANGE_LAST;
	change.u.change.ops = &op;
	change.u.change.n_ops = 1;
	tail.u.tail.backlog = 1000;
	for (size_t i = 0; i < LP_COUNT_OF(refused); i++) {
		open_session(&c, LP_ROLE_OBSERVER, "o");
		say(&c, &ask);
		assert_int_equal(hear(&c, LP_MSG_STATUS)->u.status.files, 0);
		assert_int_equal(c.msg.u.status.owner.len, 0);
		say(&c, &tail);
		assert_int_equal(hear(&c, LP_MSG_LOG)->u.log.content.len, 0);
		say(&c, refused[i]);
		expect_refusal(&c, LP_REFUSE_PROTOCOL);
		finish(&c);
	}
}

static void owner__is_one_at_a_time(void **state)
{
	struct client first, second, again;
	struct lp_msg hello = {.kind = LP_MSG_HELLO};

	(void)state;
	open_session(&first, LP_ROLE_OWNER, "first");
	start(&second);
	say_hello(&second, LP_ROLE_OWNER, "second");
	prove(&second, INSTANCE_SECRET);
	expect_refusal(&second, LP_REFUSE_HELD);
	finish(&second);
	/* The same session may come back before its lost connection is noticed. */
	open_session(&again, LP_ROLE_OWNER, "first");
	expect_refusal(&first, LP_REFUSE_CLOSED);
	finish(&first);
	start(&second);
	second.hello = (struct lp_msg_hello){.version = LP_WIRE_VERSION,
					     .role = LP_ROLE_OWNER,
					     .take_over = true,
					     .app = lp_bytes_of("app"),
					     .holder = lp_bytes_of("second"),
					     .workspace = "second"};
	hello.u.hello = second.hello;
	say(&second, &hello);
	prove(&second, INSTANCE_SECRET);
	assert_non_null(hear(&second, LP_MSG_WELCOME));
	expect_refusal(&again, LP_REFUSE_TAKEN);
	finish(&again);
	finish(&second);
}

static void owner__gets_credit_for_what_was_consumed(void **state)
{
	struct lp_wire_op op = op_file("f", "content", 0644);
	struct lp_msg change = {.kind = LP_MSG_CHANGE};
	struct lp_buf encoded = {0};
	struct client c;

	(void)state;
	change.u.change.revision = 1;
	change.u.change.flags = LP_CHANGE_FIRST | LP_CHANGE_LAST;
	change.u.change.ops = &op;
	change.u.change.n_ops = 1;
	assert_int_equal(lp_msg_encode(&change, &encoded), 0);
	open_session(&c, LP_ROLE_OWNER, "w");
	for (uint64_t i = 1; i <= 3; i++) {
		say(&c, &change);
		assert_int_equal(hear(&c, LP_MSG_APPLIED)->u.applied.revision, 1);
		assert_int_equal(hear(&c, LP_MSG_CREDIT)->u.credit.consumed, i * encoded.len);
	}
	lp_buf_finish(&encoded);
	finish(&c);
}

/* An owner that comes back at once is told of the tree as its lost connection left it. */
static void owner__that_comes_back_hears_what_is_there(void **state)
{
	static uint8_t bytes[2 * HAVE];
	struct lp_wire_op ops[] = {op_file("f", "x", 0644),
				   op_large("large", bytes, sizeof(bytes))};
	struct lp_msg change = {.kind = LP_MSG_CHANGE}, data = {.kind = LP_MSG_DATA};
	struct client first, again;
	uint64_t consumed = 0;

	(void)state;
	change.u.change.ops = ops;
	change.u.change.n_ops = 1;
	change.u.change.revision = 7;
	change.u.change.flags = LP_CHANGE_FIRST | LP_CHANGE_LAST;
	open_session(&first, LP_ROLE_OWNER, "w");
	assert_int_equal(first.msg.u.welcome.files, 0);
	say(&first, &change);
	assert_non_null(hear(&first, LP_MSG_APPLIED));
	change.u.change.ops = &ops[1];
	change.u.change.flags = LP_CHANGE_FIRST;
	say(&first, &change);
	for (size_t at = 0; at < HAVE; at += PIECE) {
		data.u.data.at = at;
		data.u.data.content = (struct lp_bytes){bytes, PIECE};
		say(&first, &data);
	}
	while (consumed < HAVE)
		consumed = hear(&first, LP_MSG_CREDIT)->u.credit.consumed;
	open_session(&again, LP_ROLE_OWNER, "w");
	assert_int_equal(again.msg.u.welcome.partial_have, HAVE);
	assert_memory_equal(again.msg.u.welcome.partial, ops[1].digest, 16);
	assert_int_equal(again.msg.u.welcome.revision, 7);
	assert_int_equal(again.msg.u.welcome.files, 1);
	finish(&first);
	finish(&again);
}

/* What the apply thread answers when nobody listens any more is released with the rest. */
static void instance__ends_while_it_lists(void **state)
{
	static char content[200000];
	struct lp_bytes top = {0};
	struct lp_msg list = {.kind = LP_MSG_LIST}, ask = {.kind = LP_MSG_ASK};
	struct rig tree = {0};
	struct client c;

	(void)state;
	(void)snprintf(tree.dir, sizeof(tree.dir), "%s", instance.tree);
	memset(content, 'x', sizeof(content) - 1);
	for (int i = 0; i < 200; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%d", i);
		app_write(&tree, name, content);
	}
	list.u.list.paths = &top;
	list.u.list.n_paths = 1;
	open_session(&c, LP_ROLE_OWNER, "w");
	say(&c, &list);
	say(&c, &ask);
	assert_non_null(hear(&c, LP_MSG_STATUS)); /* the list is under way */
	instance_stop(&instance);
	finish(&c);
}

/* Any number of strangers takes no place from those who know the secret. */
static void strangers__make_room_for_the_next(void **state)
{
	static struct client many[40];
	struct lp_msg ask = {.kind = LP_MSG_ASK};
	struct client before, after;

	(void)state;
	open_session(&before, LP_ROLE_OBSERVER, "o");
	for (size_t i = 0; i < LP_COUNT_OF(many); i++) {
		start(&many[i]);
		assert_true(has_opened(&many[i]));
	}
	open_session(&after, LP_ROLE_OWNER, "w");
	assert_null(hear(&many[0], LP_MSG_CHALLENGE)); /* the oldest went */
	say(&before, &ask);
	assert_non_null(hear(&before, LP_MSG_STATUS));
	say(&after, &ask);
	assert_non_null(hear(&after, LP_MSG_STATUS));
	say_hello(&many[39], LP_ROLE_OBSERVER, "o"); /* the newest may still become known */
	assert_non_null(hear(&many[39], LP_MSG_CHALLENGE));
	for (size_t i = 0; i < LP_COUNT_OF(many); i++)
		finish(&many[i]);
	finish(&before);
	finish(&after);
}

/* Who waits for an answer that cannot be given is told so, and nobody else is disturbed. */
static void session__ends_with_an_answer_that_does_not_fit(void **state)
{
	const struct lp_msg ask = {.kind = LP_MSG_ASK};
	struct client owner, observer;

	(void)state;
	open_session(&owner, LP_ROLE_OWNER, "w");
	open_session(&observer, LP_ROLE_OBSERVER, "o");
	atomic_store(&unfit, LP_MSG_STATUS);
	say(&observer, &ask);
	assert_null(hear(&observer, LP_MSG_STATUS));
	assert_non_null(strstr(observer.reason, "an answer does not fit"));
	atomic_store(&unfit, 0);
	finish(&observer);
	say(&owner, &ask);
	assert_non_null(hear(&owner, LP_MSG_STATUS));
	open_session(&observer, LP_ROLE_OBSERVER, "o");
	say(&observer, &ask);
	assert_non_null(hear(&observer, LP_MSG_STATUS));
	finish(&observer);
	finish(&owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(stranger__may_say_hello_and_nothing_else, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(opening__refuses_what_does_not_fit, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(opening__without_a_secret_is_closed_to_all, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(observer__asks_and_changes_nothing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(session__ends_with_an_answer_that_does_not_fit,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(owner__is_one_at_a_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(owner__gets_credit_for_what_was_consumed, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(owner__that_comes_back_hears_what_is_there, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(strangers__make_room_for_the_next, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(instance__ends_while_it_lists, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
