/* test_link.c: a link against an instance that the test speaks for, message by message. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/loop/loop_internal.h"
#include "link/link_internal.h"
#include "tests/unit/link/fake_ws.h"
#include "wire/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SECRET      "a secret of the test"
#define DEADLINE_US 30000000u

static struct lp_loop *loop;
static struct lp_link *link_;
static struct lp_index *workspace;
static uint64_t revision;
static char large_path[64];
static unsigned ups, downs, finals, caught_up, idles, stales;
static char reason[256];

static struct lp_index *source_index(void *ctx)
{
	(void)ctx;
	return workspace;
}

static int source_open(void *ctx, const char *path)
{
	(void)ctx;
	return strcmp(path, "large") == 0 ? open(large_path, O_RDONLY | O_CLOEXEC) : -ENOENT;
}

static void source_stale(void *ctx, const char *path)
{
	(void)ctx;
	(void)path;
	stales++;
}

static uint64_t source_revision(void *ctx)
{
	(void)ctx;
	return revision;
}

static void source_raise(void *ctx, uint64_t floor)
{
	(void)ctx;
	revision = revision < floor ? floor : revision;
}

static void on_up(void *ctx, struct lp_link *link, const struct lp_msg_welcome *welcome)
{
	(void)ctx;
	(void)link;
	(void)welcome;
	ups++;
}

static void on_caught_up(void *ctx, struct lp_link *link)
{
	(void)ctx;
	(void)link;
	caught_up++;
}

static void on_message(void *ctx, struct lp_link *link, const struct lp_msg *msg)
{
	(void)ctx;
	(void)link;
	(void)msg;
}

static void on_idle(void *ctx, struct lp_link *link)
{
	(void)ctx;
	assert_true(lp_link_is_idle(link));
	idles++;
}

static void on_down(void *ctx, struct lp_link *link, const char *why, bool final)
{
	(void)ctx;
	(void)link;
	downs++;
	finals += final;
	(void)snprintf(reason, sizeof(reason), "%s", why);
}

static const struct lp_source source = {.index = source_index,
					.open = source_open,
					.stale = source_stale,
					.revision = source_revision,
					.raise_revision = source_raise};
static const struct lp_link_ops ops = {.on_up = on_up,
				       .on_caught_up = on_caught_up,
				       .on_message = on_message,
				       .on_idle = on_idle,
				       .on_down = on_down};
static const uint8_t id[LP_WIRE_ID_BYTES] = "workspace";

static void put(const char *path, const char *content)
{
	struct lp_entry e = {.kind = LP_KIND_FILE,
			     .mode = 0644,
			     .size = strlen(content),
			     .digest = lp_digest_of(content, strlen(content))};

	assert_int_equal(lp_index_put(workspace, path, &e, NULL, NULL), 0);
}

static int set_up(void **state)
{
	struct lp_link_opts opts = {.url = "ws://instance/",
				    .secret = SECRET,
				    .app = "app",
				    .holder = "test",
				    .workspace = id,
				    .role = LP_ROLE_OWNER,
				    .reconnect = true};

	(void)state;
	ups = downs = finals = caught_up = idles = stales = 0;
	revision = 0;
	workspace = lp_index_create();
	put("f", "content");
	assert_int_equal(lp_loop_create(&loop, NULL), 0);
	assert_int_equal(lp_link_create(&link_, loop, &opts, &ops, &source, NULL), 0);
	assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	fake_accept();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	lp_link_destroy(link_);
	lp_loop_destroy(loop);
	lp_index_destroy(workspace);
	fake_reset();
	return 0;
}

/* What the link sent next, which must be of that kind. */
static const struct lp_msg *expect(enum lp_msg_kind kind)
{
	const struct lp_msg *msg;

	(void)fake_pump(SIZE_MAX);
	msg = fake_sent();
	if (!msg || msg->kind != kind)
		fail_msg("%s instead of %s", msg ? lp_msg_name(msg->kind) : "nothing",
			 lp_msg_name(kind));
	return msg;
}

static void expect_nothing(void)
{
	const struct lp_msg *msg;

	(void)fake_pump(SIZE_MAX);
	msg = fake_sent();
	if (msg)
		fail_msg("%s instead of nothing", lp_msg_name(msg->kind));
}

/* Waits for a timer to bring about a message. */
static const struct lp_msg *wait_for(enum lp_msg_kind kind)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;

	while (fake_pump(SIZE_MAX) == 0) {
		assert_true(lp_now_us() < deadline_us);
		assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	}
	return expect(kind);
}

/* Opens the connection up to WELCOME; wrong_secret: the instance does not know it. */
static void welcome(const struct lp_digest *root, bool wrong_secret)
{
	struct lp_msg_hello hello = expect(LP_MSG_HELLO)->u.hello;
	struct lp_msg msg = {.kind = LP_MSG_CHALLENGE};
	uint8_t mac[LP_WIRE_MAC_BYTES], nonce[LP_WIRE_NONCE_BYTES] = "nonce";

	assert_int_equal(hello.version, LP_WIRE_VERSION);
	hello.app = lp_bytes_of("app"); /* the message is gone with the next */
	msg.u.challenge.version = LP_WIRE_VERSION;
	memcpy(msg.u.challenge.nonce, nonce, sizeof(nonce));
	fake_say(&msg);
	lp_auth_mac(SECRET, LP_AUTH_CLIENT, &hello, nonce, mac);
	assert_memory_equal(expect(LP_MSG_PROOF)->u.proof.mac, mac, sizeof(mac));
	msg = (struct lp_msg){.kind = LP_MSG_WELCOME};
	lp_auth_mac(wrong_secret ? "another secret of it" : SECRET, LP_AUTH_INSTANCE, &hello, nonce,
		    msg.u.welcome.mac);
	msg.u.welcome.instance = lp_bytes_of("i");
	msg.u.welcome.revision = 41;
	memcpy(msg.u.welcome.root, root->b, 16);
	msg.u.welcome.foreign = true;
	fake_say(&msg);
}

static void applied(uint64_t rev)
{
	struct lp_msg msg = {.kind = LP_MSG_APPLIED};

	msg.u.applied.revision = rev;
	fake_say(&msg);
}

static void failed(void)
{
	struct lp_msg msg = {.kind = LP_MSG_FAILED};

	msg.u.failed.stage = LP_WIRE_STAGE_APPLY;
	msg.u.failed.resync = true;
	fake_say(&msg);
}

static void credit(uint64_t consumed)
{
	struct lp_msg msg = {.kind = LP_MSG_CREDIT};

	msg.u.credit.consumed = consumed;
	fake_say(&msg);
}

static void list(const char *path, struct lp_wire_entry *entries, size_t n, bool last)
{
	struct lp_msg msg = {.kind = LP_MSG_LISTING};

	msg.u.listing.path = lp_bytes_of(path);
	msg.u.listing.entries = entries;
	msg.u.listing.n_entries = n;
	msg.u.listing.last = last;
	fake_say(&msg);
}

/* A link that streams: the trees were equal. */
static void start_streaming(void)
{
	struct lp_digest root = lp_index_root(workspace);
	const struct lp_msg *msg;

	welcome(&root, false);
	msg = expect(LP_MSG_CHANGE);
	assert_int_equal(msg->u.change.n_ops, 0);
	assert_int_equal(msg->u.change.flags, LP_CHANGE_FIRST | LP_CHANGE_LAST);
	assert_memory_equal(msg->u.change.root, root.b, 16);
	assert_int_equal(msg->u.change.revision, 42);
	applied(42);
	assert_true(ups == 1 && caught_up == 1 && idles == 1);
	assert_true(lp_link_is_idle(link_));
	assert_int_equal(lp_link_applied(link_), 42);
}

/* The workspace changes, and the link is told. */
static void save(const char *path, const char *content)
{
	struct lp_changeset *cs = lp_changeset_create();
	struct lp_blob *blob = lp_blob_create(strlen(content));
	struct lp_frame *frame;

	memcpy(blob->data, content, blob->len);
	put(path, content);
	lp_changeset_add(cs, LP_OP_PUT, path, &lp_index_get(workspace, path)->e, blob);
	cs->root = lp_index_root(workspace);
	cs->revision = ++revision;
	frame = lp_frame_create(cs);
	lp_link_push(link_, cs, frame);
	lp_frame_unref(frame);
	lp_changeset_unref(cs);
}

/* The CHANGE that leads to what the workspace holds now. */
static void expect_catch_up(const char *const *paths, size_t n)
{
	struct lp_digest root = lp_index_root(workspace);
	const struct lp_msg *msg = expect(LP_MSG_CHANGE);

	assert_int_equal(msg->u.change.flags, LP_CHANGE_FIRST | LP_CHANGE_LAST);
	assert_int_equal(msg->u.change.n_ops, n);
	assert_memory_equal(msg->u.change.root, root.b, 16);
	for (size_t i = 0; i < n; i++) {
		bool deleted = paths[i][0] == '-';

		assert_int_equal(msg->u.change.ops[i].op, deleted ? LP_OP_DELETE : LP_OP_PUT);
		assert_int_equal(msg->u.change.ops[i].path.len, strlen(paths[i] + deleted));
		assert_memory_equal(msg->u.change.ops[i].path.p, paths[i] + deleted,
				    strlen(paths[i] + deleted));
	}
}

static void link__streams_and_answers(void **state)
{
	(void)state;
	start_streaming();
	save("f", "other");
	save("g", "new");
	assert_false(lp_link_is_idle(link_));
	assert_int_equal(expect(LP_MSG_CHANGE)->u.change.revision, 43);
	assert_int_equal(expect(LP_MSG_CHANGE)->u.change.revision, 44);
	applied(43);
	assert_int_equal(idles, 1);
	applied(44);
	assert_int_equal(idles, 2);
	assert_int_equal(lp_link_applied(link_), 44);
	applied(44); /* once too often does no harm */
	assert_true(lp_link_is_idle(link_));
}

static void link__gives_up_where_trying_again_is_no_use(void **state)
{
	static const struct {
		const char *name;
		uint64_t code;
		bool is_final;
	} cases[] = {
		{"another version", LP_REFUSE_VERSION, true},
		{"the secret", LP_REFUSE_SECRET, true},
		{"another owner", LP_REFUSE_HELD, true},
		{"taken over", LP_REFUSE_TAKEN, true},
		{"going down", LP_REFUSE_CLOSED, false},
	};

	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_msg msg = {.kind = LP_MSG_REFUSED};

		if (i > 0) {
			(void)tear_down(state);
			(void)set_up(state);
		}
		msg.u.refused.code = cases[i].code;
		msg.u.refused.text = lp_bytes_of(cases[i].name);
		fake_say(&msg);
		assert_true(fake_was_closed());
		fake_lose("closed");
		assert_int_equal(downs, 1);
		assert_int_equal(finals, cases[i].is_final);
		assert_string_equal(reason, cases[i].name);
	}
}

static void link__does_not_trust_an_instance_without_the_secret(void **state)
{
	const struct lp_digest none = {{0}};

	(void)state;
	welcome(&none, true);
	assert_true(fake_was_closed());
	expect_nothing();
	fake_lose("closed");
	assert_int_equal(finals, 1);
	assert_int_equal(ups, 0);
}

static void link__closes_on_what_does_not_belong(void **state)
{
	struct lp_msg msgs[] = {
		{.kind = LP_MSG_WELCOME}, {.kind = LP_MSG_APPLIED}, {.kind = LP_MSG_LISTING},
		{.kind = LP_MSG_LOG},     {.kind = LP_MSG_CHANGE},
	};

	for (size_t i = 0; i <= LP_COUNT_OF(msgs); i++) {
		if (i > 0) {
			(void)tear_down(state);
			(void)set_up(state);
		}
		if (i == LP_COUNT_OF(msgs))
			fake_say_bytes("nonsense", 8);
		else
			fake_say(&msgs[i]);
		assert_true(fake_was_closed());
		fake_lose("closed");
		assert_true(downs == 1 && finals == 0 && ups == 0);
	}
}

static void link__comes_back_and_sends_what_was_saved_meanwhile(void **state)
{
	static const char *const paths[] = {"-x", "g"};
	struct lp_wire_entry entries[] = {{.name = lp_bytes_of("f"),
					   .kind = LP_KIND_FILE,
					   .mode = 0644,
					   .size = 7,
					   .owned = true},
					  {.name = lp_bytes_of("own"), .kind = LP_KIND_FILE},
					  {.name = lp_bytes_of("x"),
					   .kind = LP_KIND_FILE,
					   .owned = true}};
	struct lp_digest content = lp_digest_of("content", 7), other = lp_digest_of("o", 1);

	(void)state;
	memcpy(entries[0].digest, content.b, 16);
	start_streaming();
	save("g", "lost");
	fake_lose("lost");
	assert_true(downs == 1 && finals == 0 && !lp_link_is_streaming(link_));
	save("g", "saved while it was down");
	while (!link_->ws)
		assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	(void)fake_sent(); /* perhaps the lost one */
	fake_accept();
	welcome(&other, false);
	assert_int_equal(expect(LP_MSG_LIST)->u.list.n_paths, 1);
	assert_int_equal(lp_index_remove(workspace, "g"), 1);
	put("g", "");
	list("", entries, 3, true);
	/* Without content: the source has no such file, so it is said to be gone. */
	(void)paths;
	{
		const struct lp_msg *msg = expect(LP_MSG_CHANGE);

		assert_int_equal(msg->u.change.n_ops, 2);
		assert_int_equal(msg->u.change.ops[0].op, LP_OP_DELETE);
		assert_int_equal(msg->u.change.ops[1].op, LP_OP_DELETE);
		assert_int_equal(stales, 1);
	}
	applied(revision);
	assert_true(lp_link_is_idle(link_));
}

/* The failure that nothing but time or the user heals must not block what comes after it. */
static void link__rests_between_failures_and_forgets_nothing(void **state)
{
	struct lp_wire_entry none;

	(void)state;
	start_streaming();
	save("f", "fails");
	save("g", "queued behind it");
	(void)fake_pump(1);
	failed();
	assert_int_equal(expect(LP_MSG_CHANGE)->u.change.revision, 43);
	(void)expect(LP_MSG_LIST);
	expect_nothing(); /* what was queued is not sent any more */
	assert_false(lp_link_is_resting(link_));
	lp_index_remove(workspace, "f");
	lp_index_remove(workspace, "g");
	list("", &none, 0, true);
	expect_catch_up(NULL, 0);
	failed();
	assert_true(lp_link_is_resting(link_));
	assert_false(lp_link_is_idle(link_));
	save("h", "while it rests");
	expect_nothing();
	lp_index_remove(workspace, "h");
	(void)wait_for(LP_MSG_LIST);
	assert_false(lp_link_is_resting(link_));
	list("", &none, 0, true);
	expect_catch_up(NULL, 0);
	applied(revision);
	assert_true(lp_link_is_idle(link_));
	save("f", "well again");
	assert_int_equal(expect(LP_MSG_CHANGE)->u.change.revision, revision);
	applied(revision);
	assert_true(lp_link_is_idle(link_));
	failed(); /* counts anew: at once */
	(void)expect(LP_MSG_LIST);
}

static void link__walks_again_when_it_falls_behind(void **state)
{
	struct lp_wire_entry none;
	char path[16];
	unsigned n = 0;

	(void)state;
	start_streaming();
	for (int i = 0; i < 100; i++) {
		(void)snprintf(path, sizeof(path), "f%d", i);
		save(path, "x");
		(void)fake_pump(i < 5 ? 1 : 0); /* five get out, then it hangs */
		assert_true(link_->in_flight <= 8);
	}
	while (fake_pump(1) > 0)
		;
	while (fake_sent())
		n++;
	assert_int_equal(n, 5);
	for (int i = 0; i < 5; i++) {
		assert_false(lp_link_is_idle(link_));
		applied(43 + (uint64_t)i);
	}
	assert_int_equal(idles, 1);
	(void)expect(LP_MSG_LIST);
	lp_index_remove(workspace, "");
	list("", &none, 0, true);
	expect_catch_up(NULL, 0);
	applied(revision);
	assert_true(lp_link_is_idle(link_));
	assert_int_equal(idles, 2);
}

static void link__adds_what_changes_while_it_walks(void **state)
{
	static const char *const paths[] = {"-a", "-d/gone"};
	const struct lp_digest other = lp_digest_of("o", 1);
	struct lp_entry dir = {.kind = LP_KIND_DIR, .mode = 0755};
	struct lp_wire_entry entries[] = {
		{.name = lp_bytes_of("a"), .kind = LP_KIND_FILE, .owned = true},
		{.name = lp_bytes_of("d"), .kind = LP_KIND_DIR, .mode = 0755, .owned = true}},
			     below[] = {{.name = lp_bytes_of("gone"),
					 .kind = LP_KIND_FILE,
					 .owned = true}};

	(void)state;
	lp_index_remove(workspace, "f");
	assert_int_equal(lp_index_put(workspace, "d", &dir, NULL, NULL), 0);
	put("d/x", "x");
	welcome(&other, false);
	(void)expect(LP_MSG_LIST);
	list("", entries, 2, true);
	assert_int_equal(expect(LP_MSG_LIST)->u.list.paths[0].len, 1);
	save("d/y", "y");
	lp_index_remove(workspace, "d/y"); /* told as a change, found as gone */
	lp_index_remove(workspace, "d/x");
	expect_nothing();
	list("d", below, 1, true);
	{
		const struct lp_msg *msg = expect(LP_MSG_CHANGE);

		assert_int_equal(msg->u.change.n_ops, 3);
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(msg->u.change.ops[i].op, LP_OP_DELETE);
		assert_memory_equal(msg->u.change.ops[0].path.p, paths[0] + 1, 1);
		assert_memory_equal(msg->u.change.ops[1].path.p, paths[1] + 1, 6);
	}
	applied(revision);
	assert_int_equal(caught_up, 1);
}

static void link__wants_the_listings_that_it_asked_for(void **state)
{
	static const struct {
		const char *name;
		const char *path;
		bool last;
		unsigned times;
		bool is_fine;
	} cases[] = {
		{"as asked", "", true, 1, true},
		{"another directory", "d", true, 1, false},
		{"not the last although it is", "", false, 1, false},
	};
	const struct lp_digest other = lp_digest_of("o", 1);
	struct lp_wire_entry none;

	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		if (i > 0) {
			(void)tear_down(state);
			(void)set_up(state);
		}
		lp_index_remove(workspace, "f");
		put("f", "content");
		welcome(&other, false);
		(void)expect(LP_MSG_LIST);
		list(cases[i].path, &none, 0, cases[i].last);
		assert_int_equal(fake_was_closed(), !cases[i].is_fine);
		if (cases[i].is_fine) {
			list("", &none, 0, true); /* once more, unasked: not walking any more */
			assert_false(fake_was_closed());
			continue;
		}
		fake_lose("closed");
		assert_int_equal(finals, 0);
	}
}

static void link__keeps_to_the_window(void **state)
{
	LP_AUTO_FREE uint8_t *bytes = lp_xcalloc(1, (size_t)40 * 1024 * 1024);
	struct lp_changeset *cs = lp_changeset_create();
	struct lp_entry e = {
		.kind = LP_KIND_FILE, .mode = 0644, .size = (uint64_t)40 * 1024 * 1024};
	uint64_t sent = 0, consumed = 0, data = 0;
	const struct lp_msg *msg;
	bool done = false;
	int fd;

	(void)state;
	(void)snprintf(large_path, sizeof(large_path), "/tmp/livepush-link-XXXXXX");
	fd = mkstemp(large_path);
	assert_int_equal(lp_write_all(fd, bytes, e.size), 0);
	assert_int_equal(close(fd), 0);
	e.digest = lp_digest_of(bytes, e.size);
	start_streaming();
	sent = consumed = link_->sent;
	lp_changeset_add(cs, LP_OP_PUT, "large", &e, NULL);
	cs->revision = ++revision;
	lp_link_push(link_, cs, NULL);
	lp_changeset_unref(cs);
	while (!done) {
		uint64_t before = sent;

		(void)fake_pump(SIZE_MAX);
		while ((msg = fake_sent())) {
			sent += fake_sent_bytes();
			data += msg->kind == LP_MSG_DATA ? msg->u.data.content.len : 0;
			done |= msg->kind == LP_MSG_CHANGE && msg->u.change.flags & LP_CHANGE_LAST;
		}
		assert_true(sent > before);
		assert_true(sent - consumed <= LP_WIRE_WINDOW_BYTES);
		assert_int_equal(sent, link_->sent);
		credit(sent + 1); /* more than was sent: not believed */
		assert_int_equal(fake_pump(SIZE_MAX), 0);
		consumed = sent - 1000000;
		credit(consumed);
	}
	assert_int_equal(data, e.size);
	assert_int_equal(unlink(large_path), 0);
}

static void create__refuses_bad_secrets_and_urls(void **state)
{
	struct lp_link_opts opts = {
		.url = "http://x", .secret = "short", .app = "a", .holder = "h", .workspace = id};
	struct lp_link *bad = NULL;
	struct lp_err err = {0};

	(void)state;
	assert_int_equal(lp_link_create(&bad, loop, &opts, &ops, &source, &err), -EINVAL);
	opts.secret = SECRET;
	assert_int_equal(lp_link_create(&bad, loop, &opts, &ops, &source, &err), 0);
	while (finals == 0)
		assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	lp_link_destroy(bad);
	lp_link_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(link__streams_and_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(link__gives_up_where_trying_again_is_no_use, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(link__does_not_trust_an_instance_without_the_secret,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(link__closes_on_what_does_not_belong, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			link__comes_back_and_sends_what_was_saved_meanwhile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(link__rests_between_failures_and_forgets_nothing,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(link__walks_again_when_it_falls_behind, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(link__adds_what_changes_while_it_walks, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(link__wants_the_listings_that_it_asked_for, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(link__keeps_to_the_window, set_up, tear_down),
		cmocka_unit_test_setup_teardown(create__refuses_bad_secrets_and_urls, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
