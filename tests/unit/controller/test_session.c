/* test_session.c: who may say what to an instance, tried on a real one through its front door. */
#include "common/base/lp_mem.h"
#include "tests/unit/controller/session_client.h"
#include "tests/unit/controller/tree_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PIECE ((size_t)250000)
#define HAVE  (6 * PIECE) /* of a large file, when its connection is lost */

static atomic_int unfit; /* the kind of message that is taken not to fit into one */

int __real_lp_msg_encode(const struct lp_msg *msg, struct lp_buf *out);
int __wrap_lp_msg_encode(const struct lp_msg *msg, struct lp_buf *out);

int __wrap_lp_msg_encode(const struct lp_msg *msg, struct lp_buf *out)
{
	return msg->kind == (enum lp_msg_kind)atomic_load(&unfit) ? -EMSGSIZE
								  : __real_lp_msg_encode(msg, out);
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
		client_start(&c);
		if (i % 2)
			client_say_hello(&c, LP_ROLE_OWNER, "w"); /* and without a proof */
		if (i < LP_COUNT_OF(msgs))
			client_say(&c, msgs[i]);
		else if (i < LP_COUNT_OF(msgs) + 2)
			client_say_bytes(&c, packed.data, packed.len);
		else
			client_say_bytes(&c, noise, i % 2 ? 5 : sizeof(noise));
		client_expect_refusal(&c, LP_REFUSE_PROTOCOL);
		client_finish(&c);
	}
	lp_buf_finish(&packed);
	lp_packer_destroy(packer);
}

static void opening__refuses_what_does_not_fit(void **state)
{
	struct lp_msg hello = {.kind = LP_MSG_HELLO};
	struct client c;

	(void)state;
	client_start(&c);
	hello.u.hello.version = LP_WIRE_VERSION + 1;
	hello.u.hello.role = LP_ROLE_OWNER;
	client_say(&c, &hello);
	client_expect_refusal(&c, LP_REFUSE_VERSION);
	client_finish(&c);
	client_start(&c);
	client_say_hello(&c, (enum lp_role)9, "w");
	client_expect_refusal(&c, LP_REFUSE_PROTOCOL);
	client_finish(&c);
	client_start(&c);
	client_say_hello(&c, LP_ROLE_OWNER, "w");
	client_prove(&c, "a secret of another");
	client_expect_refusal(&c, LP_REFUSE_SECRET);
	client_finish(&c);
}

static void opening__without_a_secret_is_closed_to_all(void **state)
{
	struct client c;

	(void)state;
	instance_stop(&client_instance);
	client_instance.opts.secret = NULL;
	instance_start(&client_instance);
	client_start(&c);
	client_say_hello(&c, LP_ROLE_OBSERVER, "w");
	client_expect_refusal(&c, LP_REFUSE_CLOSED);
	client_finish(&c);
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
		client_open_session(&c, LP_ROLE_OBSERVER, "o");
		client_say(&c, &ask);
		assert_int_equal(client_hear(&c, LP_MSG_STATUS)->u.status.files, 0);
		assert_int_equal(c.msg.u.status.owner.len, 0);
		client_say(&c, &tail);
		assert_int_equal(client_hear(&c, LP_MSG_LOG)->u.log.content.len, 0);
		client_say(&c, refused[i]);
		client_expect_refusal(&c, LP_REFUSE_PROTOCOL);
		client_finish(&c);
	}
}

static void owner__is_one_at_a_time(void **state)
{
	struct client first, second, again;
	struct lp_msg hello = {.kind = LP_MSG_HELLO};

	(void)state;
	client_open_session(&first, LP_ROLE_OWNER, "first");
	client_start(&second);
	client_say_hello(&second, LP_ROLE_OWNER, "second");
	client_prove(&second, INSTANCE_SECRET);
	client_expect_refusal(&second, LP_REFUSE_HELD);
	client_finish(&second);
	/* The same session may come back before its lost connection is noticed. */
	client_open_session(&again, LP_ROLE_OWNER, "first");
	client_expect_refusal(&first, LP_REFUSE_CLOSED);
	client_finish(&first);
	client_start(&second);
	second.hello = (struct lp_msg_hello){.version = LP_WIRE_VERSION,
					     .role = LP_ROLE_OWNER,
					     .take_over = true,
					     .app = lp_bytes_of("app"),
					     .holder = lp_bytes_of("second"),
					     .workspace = "second"};
	hello.u.hello = second.hello;
	client_say(&second, &hello);
	client_prove(&second, INSTANCE_SECRET);
	assert_non_null(client_hear(&second, LP_MSG_WELCOME));
	client_expect_refusal(&again, LP_REFUSE_TAKEN);
	client_finish(&again);
	client_finish(&second);
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
	client_open_session(&c, LP_ROLE_OWNER, "w");
	for (uint64_t i = 1; i <= 3; i++) {
		client_say(&c, &change);
		assert_int_equal(client_hear(&c, LP_MSG_APPLIED)->u.applied.revision, 1);
		assert_int_equal(client_hear(&c, LP_MSG_CREDIT)->u.credit.consumed,
				 i * encoded.len);
	}
	lp_buf_finish(&encoded);
	client_finish(&c);
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
	client_open_session(&first, LP_ROLE_OWNER, "w");
	assert_int_equal(first.msg.u.welcome.files, 0);
	client_say(&first, &change);
	assert_non_null(client_hear(&first, LP_MSG_APPLIED));
	change.u.change.ops = &ops[1];
	change.u.change.flags = LP_CHANGE_FIRST;
	client_say(&first, &change);
	for (size_t at = 0; at < HAVE; at += PIECE) {
		data.u.data.at = at;
		data.u.data.content = (struct lp_bytes){bytes, PIECE};
		client_say(&first, &data);
	}
	while (consumed < HAVE)
		consumed = client_hear(&first, LP_MSG_CREDIT)->u.credit.consumed;
	client_open_session(&again, LP_ROLE_OWNER, "w");
	assert_int_equal(again.msg.u.welcome.partial_have, HAVE);
	assert_memory_equal(again.msg.u.welcome.partial, ops[1].digest, 16);
	assert_int_equal(again.msg.u.welcome.revision, 7);
	assert_int_equal(again.msg.u.welcome.files, 1);
	client_finish(&first);
	client_finish(&again);
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
	(void)snprintf(tree.dir, sizeof(tree.dir), "%s", client_instance.tree);
	memset(content, 'x', sizeof(content) - 1);
	for (int i = 0; i < 200; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%d", i);
		app_write(&tree, name, content);
	}
	list.u.list.paths = &top;
	list.u.list.n_paths = 1;
	client_open_session(&c, LP_ROLE_OWNER, "w");
	client_say(&c, &list);
	client_say(&c, &ask);
	assert_non_null(client_hear(&c, LP_MSG_STATUS)); /* the list is under way */
	instance_stop(&client_instance);
	client_finish(&c);
}

/* Any number of strangers takes no place from those who know the secret. */
static void strangers__make_room_for_the_next(void **state)
{
	static struct client many[40];
	struct lp_msg ask = {.kind = LP_MSG_ASK};
	struct client before, after;

	(void)state;
	client_open_session(&before, LP_ROLE_OBSERVER, "o");
	for (size_t i = 0; i < LP_COUNT_OF(many); i++) {
		client_start(&many[i]);
		assert_true(client_has_opened(&many[i]));
	}
	client_open_session(&after, LP_ROLE_OWNER, "w");
	assert_null(client_hear(&many[0], LP_MSG_CHALLENGE)); /* the oldest went */
	client_say(&before, &ask);
	assert_non_null(client_hear(&before, LP_MSG_STATUS));
	client_say(&after, &ask);
	assert_non_null(client_hear(&after, LP_MSG_STATUS));
	client_say_hello(&many[39], LP_ROLE_OBSERVER, "o"); /* the newest may still become known */
	assert_non_null(client_hear(&many[39], LP_MSG_CHALLENGE));
	for (size_t i = 0; i < LP_COUNT_OF(many); i++)
		client_finish(&many[i]);
	client_finish(&before);
	client_finish(&after);
}

/* Who waits for an answer that cannot be given is told so, and nobody else is disturbed. */
static void session__ends_with_an_answer_that_does_not_fit(void **state)
{
	const struct lp_msg ask = {.kind = LP_MSG_ASK};
	struct client owner, observer;

	(void)state;
	client_open_session(&owner, LP_ROLE_OWNER, "w");
	client_open_session(&observer, LP_ROLE_OBSERVER, "o");
	atomic_store(&unfit, LP_MSG_STATUS);
	client_say(&observer, &ask);
	assert_null(client_hear(&observer, LP_MSG_STATUS));
	assert_non_null(strstr(observer.reason, "an answer does not fit"));
	atomic_store(&unfit, 0);
	client_finish(&observer);
	client_say(&owner, &ask);
	assert_non_null(client_hear(&owner, LP_MSG_STATUS));
	client_open_session(&observer, LP_ROLE_OBSERVER, "o");
	client_say(&observer, &ask);
	assert_non_null(client_hear(&observer, LP_MSG_STATUS));
	client_finish(&observer);
	client_finish(&owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(stranger__may_say_hello_and_nothing_else,
						client_set_up, client_tear_down),
		cmocka_unit_test_setup_teardown(opening__refuses_what_does_not_fit, client_set_up,
						client_tear_down),
		cmocka_unit_test_setup_teardown(opening__without_a_secret_is_closed_to_all,
						client_set_up, client_tear_down),
		cmocka_unit_test_setup_teardown(observer__asks_and_changes_nothing, client_set_up,
						client_tear_down),
		cmocka_unit_test_setup_teardown(session__ends_with_an_answer_that_does_not_fit,
						client_set_up, client_tear_down),
		cmocka_unit_test_setup_teardown(owner__is_one_at_a_time, client_set_up,
						client_tear_down),
		cmocka_unit_test_setup_teardown(owner__gets_credit_for_what_was_consumed,
						client_set_up, client_tear_down),
		cmocka_unit_test_setup_teardown(owner__that_comes_back_hears_what_is_there,
						client_set_up, client_tear_down),
		cmocka_unit_test_setup_teardown(strangers__make_room_for_the_next, client_set_up,
						client_tear_down),
		cmocka_unit_test_setup_teardown(instance__ends_while_it_lists, client_set_up,
						client_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
