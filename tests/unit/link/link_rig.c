/* link_rig.c: see link_rig.h. */
#include "tests/unit/link/link_rig.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "wire/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define DEADLINE_US 30000000u

struct lp_loop *loop;
struct lp_link *link_;
struct lp_index *workspace;
uint64_t revision;
char large_path[64];
unsigned ups, downs, finals, caught_up, idles, stales, messages;
char reason[256];
struct lp_digest partial;
uint64_t claimed;
uint64_t partial_have;
bool foreign;

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

static void source_stale(void *ctx, const char *path, int cause)
{
	(void)ctx;
	(void)cause;
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
	messages++;
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

const struct lp_source source = {.index = source_index,
				 .open = source_open,
				 .stale = source_stale,
				 .revision = source_revision,
				 .raise_revision = source_raise};
const struct lp_link_ops ops = {.on_up = on_up,
				.on_caught_up = on_caught_up,
				.on_message = on_message,
				.on_idle = on_idle,
				.on_down = on_down};
const uint8_t id[LP_WIRE_ID_BYTES] = "workspace";

void put(const char *path, const char *content)
{
	struct lp_entry e = {.kind = LP_KIND_FILE,
			     .mode = 0644,
			     .size = strlen(content),
			     .digest = lp_digest_of(content, strlen(content))};

	assert_int_equal(lp_index_put(workspace, path, &e, NULL, NULL), 0);
}

int set_up(void **state)
{
	struct lp_link_opts opts = {.url = "ws://127.0.0.1/",
				    .secret = LINK_SECRET,
				    .app = "app",
				    .holder = "test",
				    .workspace = id,
				    .role = LP_ROLE_OWNER,
				    .reconnect = true};

	(void)state;
	ups = downs = finals = caught_up = idles = stales = messages = 0;
	revision = partial_have = 0;
	claimed = 41;
	foreign = true;
	workspace = lp_index_create();
	put("f", "content");
	assert_int_equal(lp_loop_create(&loop, NULL), 0);
	assert_int_equal(lp_link_create(&link_, loop, &opts, &ops, &source, NULL), 0);
	assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	fake_accept();
	return 0;
}

int tear_down(void **state)
{
	(void)state;
	lp_link_destroy(link_);
	lp_loop_destroy(loop);
	lp_index_destroy(workspace);
	fake_reset();
	return 0;
}

const struct lp_msg *expect(enum lp_msg_kind kind)
{
	const struct lp_msg *msg;

	(void)fake_pump(SIZE_MAX);
	msg = fake_sent();
	if (!msg || msg->kind != kind)
		fail_msg("%s instead of %s", msg ? lp_msg_name(msg->kind) : "nothing",
			 lp_msg_name(kind));
	return msg;
}

void expect_nothing(void)
{
	const struct lp_msg *msg;

	(void)fake_pump(SIZE_MAX);
	msg = fake_sent();
	if (msg)
		fail_msg("%s instead of nothing", lp_msg_name(msg->kind));
}

const struct lp_msg *wait_for(enum lp_msg_kind kind)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;

	while (fake_pump(SIZE_MAX) == 0) {
		assert_true(lp_now_us() < deadline_us);
		assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
	}
	return expect(kind);
}

void welcome(const struct lp_digest *root, bool wrong_secret)
{
	struct lp_msg_hello hello = expect(LP_MSG_HELLO)->u.hello;
	struct lp_msg msg = {.kind = LP_MSG_CHALLENGE};
	uint8_t mac[LP_WIRE_MAC_BYTES], nonce[LP_WIRE_NONCE_BYTES] = "nonce";

	assert_int_equal(hello.version, LP_WIRE_VERSION);
	hello.app = lp_bytes_of("app"); /* the message is gone with the next */
	msg.u.challenge.version = LP_WIRE_VERSION;
	memcpy(msg.u.challenge.nonce, nonce, sizeof(nonce));
	fake_say(&msg);
	lp_auth_mac(LINK_SECRET, LP_AUTH_CLIENT, &hello, nonce, mac);
	assert_memory_equal(expect(LP_MSG_PROOF)->u.proof.mac, mac, sizeof(mac));
	msg = (struct lp_msg){.kind = LP_MSG_WELCOME};
	lp_auth_mac(wrong_secret ? "another secret of it" : LINK_SECRET, LP_AUTH_INSTANCE, &hello,
		    nonce, msg.u.welcome.mac);
	msg.u.welcome.instance = lp_bytes_of("i");
	msg.u.welcome.revision = claimed;
	memcpy(msg.u.welcome.root, root->b, 16);
	msg.u.welcome.foreign = foreign;
	memcpy(msg.u.welcome.partial, partial.b, sizeof(partial.b));
	msg.u.welcome.partial_have = partial_have;
	fake_say(&msg);
}

void applied(uint64_t rev)
{
	struct lp_msg msg = {.kind = LP_MSG_APPLIED};

	msg.u.applied.revision = rev;
	fake_say(&msg);
}

void failed(void)
{
	struct lp_msg msg = {.kind = LP_MSG_FAILED};

	msg.u.failed.stage = LP_WIRE_STAGE_APPLY;
	msg.u.failed.resync = true;
	fake_say(&msg);
}

void credit(uint64_t consumed)
{
	struct lp_msg msg = {.kind = LP_MSG_CREDIT};

	msg.u.credit.consumed = consumed;
	fake_say(&msg);
}

void list(const char *path, struct lp_wire_entry *entries, size_t n, bool last)
{
	struct lp_msg msg = {.kind = LP_MSG_LISTING};

	msg.u.listing.path = lp_bytes_of(path);
	msg.u.listing.entries = entries;
	msg.u.listing.n_entries = n;
	msg.u.listing.last = last;
	fake_say(&msg);
}

void start_streaming(void)
{
	struct lp_digest root = lp_index_root(workspace);
	const struct lp_msg *msg;

	welcome(&root, false);
	msg = expect(LP_MSG_CHANGE);
	assert_int_equal(msg->u.change.n_ops, 0);
	assert_int_equal(msg->u.change.flags, LP_CHANGE_FIRST | LP_CHANGE_LAST);
	assert_memory_equal(msg->u.change.root, root.b, 16);
	/* What changes nothing takes no number. */
	assert_int_equal(msg->u.change.revision, claimed);
	applied(claimed);
	assert_true(ups == 1 && caught_up == 1 && idles == 1);
	assert_true(lp_link_is_idle(link_));
	assert_int_equal(lp_link_applied(link_), claimed);
}

void save(const char *path, const char *content)
{
	struct lp_changeset *cs = lp_changeset_create();
	struct lp_blob *blob = lp_blob_create(strlen(content));
	struct lp_reel *reel;
	struct lp_entry e;

	memcpy(blob->data, content, blob->len);
	put(path, content);
	e = lp_node_entry(lp_index_get(workspace, path));
	lp_changeset_add(cs, LP_OP_PUT, path, &e, blob);
	cs->root = lp_index_root(workspace);
	cs->revision = ++revision;
	reel = lp_reel_create(cs, &source);
	lp_link_push(link_, cs, reel);
	lp_reel_unref(reel);
	lp_changeset_unref(cs);
}

void expect_catch_up(const char *const *paths, size_t n)
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
