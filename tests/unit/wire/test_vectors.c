/* test_vectors.c: the worked example of docs/protocol.md, byte by byte. The path of the document is
 * the first argument. */
#include "common/base/lp_fs.h"
#include "common/base/lp_secret.h"
#include "sync/index.h"
#include "tests/unit/wire/wire_raw.h"
#include "tests/unit/wire/wire_samples.h"
#include "wire/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char secret[] = "correct horse battery staple";
static const char content[] = "print('hello')\n";
static const char *document_path;
static struct lp_buf document;

static int read_document(void **state)
{
	(void)state;
	return lp_read_file(AT_FDCWD, document_path, &document);
}

static int drop_document(void **state)
{
	(void)state;
	lp_buf_finish(&document);
	return 0;
}

static int digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* The bytes of the block that begins with "```hex NAME". */
static void read_block(const char *name, struct lp_buf *out)
{
	char fence[64];
	const char *p;

	(void)snprintf(fence, sizeof(fence), "\n```hex %s\n", name);
	p = strstr(lp_buf_text(&document), fence);
	if (!p)
		fail_msg("the document has no bytes of '%s'", name);
	p += strlen(fence);
	while (*p != '`') {
		int high = digit(p[0]);

		if (high < 0) {
			assert_true(*p == ' ' || *p == '\n');
			p++;
			continue;
		}
		assert_true(digit(p[1]) >= 0);
		raw_byte(out, (unsigned)(high << 4 | digit(p[1])));
		p += 2;
	}
}

static void assert_documented(const char *name, const void *data, size_t len)
{
	const uint8_t *bytes = data;
	struct lp_buf b = {0};

	read_block(name, &b);
	if (b.len != len || memcmp(b.data, data, len) != 0) {
		for (size_t i = 0; i < len; i++)
			print_message("%02x%s", bytes[i],
				      i % 24 == 23 || i + 1 == len ? "\n" : " ");
		fail_msg("the document says something else of '%s'; see above", name);
	}
	lp_buf_finish(&b);
}

static void count_up(uint8_t *out, size_t len, unsigned from)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(from + i);
}

static struct lp_msg_hello example_hello(void)
{
	struct lp_msg_hello h = {.version = LP_WIRE_VERSION,
				 .features = LP_FEATURE_ZSTD,
				 .role = LP_ROLE_OWNER,
				 .app = lp_bytes_of("hello"),
				 .holder = lp_bytes_of("me@laptop pid 4711")};

	count_up(h.nonce, sizeof(h.nonce), 0x00);
	count_up(h.workspace, sizeof(h.workspace), 0xf0);
	return h;
}

static struct lp_entry example_entry(void)
{
	return (struct lp_entry){.kind = LP_KIND_FILE,
				 .mode = 0644,
				 .size = sizeof(content) - 1,
				 .digest = lp_digest_of(content, sizeof(content) - 1)};
}

static struct lp_digest example_root(void)
{
	struct lp_index *ix = lp_index_create();
	struct lp_entry e = example_entry();
	struct lp_digest root;

	assert_int_equal(lp_index_put(ix, "app.py", &e, NULL, NULL), 0);
	root = lp_index_root(ix);
	lp_index_destroy(ix);
	return root;
}

static void assert_message(const struct lp_msg *msg)
{
	struct lp_buf b = {0};
	struct lp_msg back;

	assert_int_equal(lp_msg_encode(msg, &b), 0);
	assert_documented(lp_msg_name(msg->kind), b.data, b.len);
	/* And from the document back. */
	b.len = 0;
	read_block(lp_msg_name(msg->kind), &b);
	assert_int_equal(lp_msg_decode(&back, b.data, b.len, NULL), 0);
	assert_true(wire_equal(msg, &back));
	lp_msg_finish(&back);
	lp_buf_finish(&b);
}

static void document__shows_the_opening(void **state)
{
	struct lp_msg hello = {.kind = LP_MSG_HELLO, .u.hello = example_hello()};
	struct lp_msg challenge = {.kind = LP_MSG_CHALLENGE,
				   .u.challenge = {.version = 1, .features = LP_FEATURE_ZSTD}};
	struct lp_msg proof = {.kind = LP_MSG_PROOF};
	struct lp_msg welcome = {
		.kind = LP_MSG_WELCOME,
		.u.welcome = {.instance = lp_bytes_of("web-1"), .foreign = true, .has_app = true}};

	(void)state;
	count_up(challenge.u.challenge.nonce, LP_WIRE_NONCE_BYTES, 0x80);
	lp_auth_mac(secret, LP_AUTH_CLIENT, &hello.u.hello, challenge.u.challenge.nonce,
		    proof.u.proof.mac);
	lp_auth_mac(secret, LP_AUTH_INSTANCE, &hello.u.hello, challenge.u.challenge.nonce,
		    welcome.u.welcome.mac);
	count_up(welcome.u.welcome.boot, LP_WIRE_ID_BYTES, 0xb0);
	assert_message(&hello);
	assert_message(&challenge);
	assert_message(&proof);
	assert_message(&welcome);
}

static void document__shows_the_text_of_the_proof(void **state)
{
	const struct lp_msg_hello hello = example_hello();
	struct lp_buf text = {0};
	uint8_t nonce[LP_WIRE_NONCE_BYTES];
	static const uint8_t numbers[16] = {0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1};

	(void)state;
	count_up(nonce, sizeof(nonce), 0x80);
	raw_bytes(&text, "livepush.v1 client", 19);
	raw_bytes(&text, hello.nonce, sizeof(hello.nonce));
	raw_bytes(&text, nonce, sizeof(nonce));
	raw_bytes(&text, numbers, sizeof(numbers));
	raw_bytes(&text, hello.workspace, sizeof(hello.workspace));
	raw_bytes(&text, "hello", 5);
	assert_documented("text of the client's proof", text.data, text.len);
	lp_buf_finish(&text);
}

static void document__shows_the_digests(void **state)
{
	const struct lp_entry e = example_entry();
	const struct lp_digest root = example_root();
	struct lp_buf part = {0}, sum = {0};
	struct lp_digest d;

	(void)state;
	assert_documented("digest of the content", e.digest.b, sizeof(e.digest.b));
	raw_bytes(&part, "\x01\x00\x00\x01\xa4", 5);
	raw_bytes(&part, e.digest.b, sizeof(e.digest.b));
	raw_bytes(&part, "app.py", 6);
	assert_documented("text of the part", part.data, part.len);
	d = lp_digest_of(part.data, part.len);
	assert_documented("part", d.b, sizeof(d.b));
	raw_bytes(&sum, d.b, sizeof(d.b));
	raw_bytes(&sum, "\0\0\0\0\0\0\0\x01", 8);
	assert_documented("text of the root", sum.data, sum.len);
	d = lp_digest_of(sum.data, sum.len);
	/* What the index makes of it is the same as by hand. */
	assert_true(lp_digest_equal(&d, &root));
	assert_documented("root", root.b, sizeof(root.b));
	lp_buf_finish(&part);
	lp_buf_finish(&sum);
}

static void document__shows_a_large_digest(void **state)
{
	struct lp_hasher *h = lp_hasher_create();
	struct lp_digest d;
	uint32_t x = 1;

	(void)state;
	for (size_t i = 0; i < 524288; i++, x = x * 1103515245 + 12345) {
		uint8_t byte = (uint8_t)(x >> 16);

		lp_hasher_add(h, &byte, 1);
	}
	d = lp_hasher_get(h);
	assert_documented("digest of the larger content", d.b, sizeof(d.b));
	lp_hasher_destroy(h);
}

static void document__shows_catch_up_and_change(void **state)
{
	const struct lp_entry e = example_entry();
	const struct lp_digest root = example_root(), log = lp_digest_of("started\n", 8);
	struct lp_bytes top = {(const uint8_t *)"", 0};
	struct lp_wire_entry foreign = {
		.name = lp_bytes_of("app.log"), .kind = LP_KIND_FILE, .mode = 0644, .size = 8};
	struct lp_wire_op op = {.op = LP_OP_PUT,
				.kind = LP_KIND_FILE,
				.path = lp_bytes_of("app.py"),
				.mode = 0644,
				.size = e.size,
				.has_content = true,
				.content = lp_bytes_of(content)};
	struct lp_msg list = {.kind = LP_MSG_LIST, .u.list = {&top, 1}};
	struct lp_msg listing = {.kind = LP_MSG_LISTING,
				 .u.listing = {.last = true, .entries = &foreign, .n_entries = 1}};
	struct lp_msg change = {.kind = LP_MSG_CHANGE,
				.u.change = {.revision = 1,
					     .flags = LP_CHANGE_FIRST | LP_CHANGE_LAST,
					     .ops = &op,
					     .n_ops = 1}};
	struct lp_msg applied = {
		.kind = LP_MSG_APPLIED,
		.u.applied = {.revision = 1, .files = 1, .bytes = e.size, .took_us = 412}};
	struct lp_msg credit = {.kind = LP_MSG_CREDIT};
	struct lp_msg restarted = {
		.kind = LP_MSG_RESTARTED,
		.u.restarted = {
			.revision = 1, .generation = 2, .took_us = 84213, .spawned_us = 5127}};
	struct lp_msg settled = {.kind = LP_MSG_SETTLED, .u.settled = {.revision = 1}};
	struct lp_buf encoded = {0};

	(void)state;
	memcpy(foreign.digest, log.b, sizeof(log.b));
	memcpy(op.digest, e.digest.b, sizeof(op.digest));
	memcpy(change.u.change.root, root.b, sizeof(root.b));
	memcpy(applied.u.applied.root, root.b, sizeof(root.b));
	assert_int_equal(lp_msg_encode(&change, &encoded), 0);
	credit.u.credit.consumed = encoded.len;
	assert_message(&list);
	assert_message(&listing);
	assert_message(&change);
	assert_message(&applied);
	assert_message(&credit);
	assert_message(&restarted);
	assert_message(&settled);
	lp_buf_finish(&encoded);
}

/* Every kind has its section, and every limit of the header is the document's. */
static void document__names_every_message_and_limit(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
	} limits[] = {
		{"524,288", LP_WIRE_MSG_MAX_BYTES},    {"262,144", LP_WIRE_PIECE_BYTES},
		{"8,388,608", LP_WIRE_WINDOW_BYTES},   {"16,384", LP_WIRE_OPS_MAX},
		{"16,384", LP_WIRE_EXCERPT_MAX_BYTES}, {"512", LP_WIRE_TEXT_MAX_BYTES},
		{"4,095", LP_PATH_MAX_BYTES},          {"255", LP_NAME_MAX_BYTES},
		{"1,024", LP_SECRET_MAX_BYTES},        {"131,072", LP_INLINE_MAX_BYTES},
		{"16,384", LP_CHUNK_MIN_BYTES},        {"65,536", LP_CHUNK_AVG_BYTES},
		{"131,072", LP_CHUNK_MAX_BYTES},
	};

	(void)state;
	for (unsigned kind = 0; kind < 256; kind++) {
		const char *name = lp_msg_name((enum lp_msg_kind)kind);
		char heading[32];

		if (name[0] == '?')
			continue;
		(void)snprintf(heading, sizeof(heading), "\n### %s (%u)\n", name, kind);
		if (!strstr(lp_buf_text(&document), heading))
			fail_msg("the document has no section '%s (%u)'", name, kind);
	}
	for (size_t i = 0; i < LP_COUNT_OF(limits); i++) {
		uint64_t value = 0;

		for (const char *p = limits[i].text; *p; p++)
			value = *p == ',' ? value : value * 10 + (uint64_t)(*p - '0');
		assert_int_equal(value, limits[i].value);
		if (!strstr(lp_buf_text(&document), limits[i].text))
			fail_msg("the document does not say %s", limits[i].text);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(document__shows_the_opening),
		cmocka_unit_test(document__shows_the_text_of_the_proof),
		cmocka_unit_test(document__shows_the_digests),
		cmocka_unit_test(document__shows_a_large_digest),
		cmocka_unit_test(document__shows_catch_up_and_change),
		cmocka_unit_test(document__names_every_message_and_limit),
	};

	if (argc != 2) {
		(void)fprintf(stderr, "usage: %s docs/protocol.md\n", argv[0]);
		return 2;
	}
	document_path = argv[1];
	return cmocka_run_group_tests(tests, read_document, drop_document);
}
