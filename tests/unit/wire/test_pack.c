/* test_pack.c: PACKED messages: round trips, and frames that lie about themselves. */
#include "tests/unit/noise.h"
#include "tests/unit/wire/wire_raw.h"
#include "wire/msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <zstd.h>

#include <cmocka.h>

#define MOST ((size_t)LP_WIRE_MSG_MAX_BYTES)

static struct lp_packer *packer;

static int make_packer(void **state)
{
	(void)state;
	packer = lp_packer_create();
	return 0;
}

static int drop_packer(void **state)
{
	(void)state;
	lp_packer_destroy(packer);
	lp_packer_destroy(NULL);
	return 0;
}

/* An encoded DATA message of len content bytes. */
static void encode_data(struct lp_buf *out, const uint8_t *content, size_t len)
{
	const struct lp_msg msg = {.kind = LP_MSG_DATA, .u.data.content = {content, len}};

	lp_buf_finish(out);
	assert_int_equal(lp_msg_encode(&msg, out), 0);
}

static void fill_text(uint8_t *p, size_t len)
{
	static const char text[] = "the quick brown fox jumps over the lazy dog\n";

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)text[i % (sizeof(text) - 1)];
}

static void assert_unpacks_to(const struct lp_buf *packed, const struct lp_buf *raw)
{
	struct lp_buf out = {0};
	struct lp_msg msg;

	assert_int_equal(lp_msg_decode(&msg, packed->data, packed->len, NULL), 0);
	assert_int_equal(msg.kind, LP_MSG_PACKED);
	assert_int_equal(msg.u.packed.raw_len, raw->len);
	raw_bytes(&out, "emptied", 7);
	assert_int_equal(lp_packer_unpack(packer, &msg.u.packed, &out, NULL), 0);
	assert_int_equal(out.len, raw->len);
	assert_memory_equal(out.data, raw->data, raw->len);
	lp_msg_finish(&msg);
	lp_buf_finish(&out);
}

static void pack__round_trips_when_it_is_worth_it(void **state)
{
	static const struct {
		size_t len;
		bool random;
		bool packs;
	} cases[] = {
		{0, false, false},     {16, false, false},    {240, false, false},
		{300, false, true},    {1000, false, true},   {1000, true, false},
		{262144, false, true}, {262144, true, false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		uint8_t *content = malloc(cases[i].len + 1);
		struct lp_buf raw = {0}, packed = {0};
		struct lp_msg msg;

		assert_non_null(content);
		if (cases[i].random)
			fill_noise(content, cases[i].len, 1);
		else
			fill_text(content, cases[i].len);
		encode_data(&raw, content, cases[i].len);
		packed.max = 1 << 20;
		raw_bytes(&packed, raw.data, raw.len);
		assert_int_equal(lp_packer_pack(packer, &packed), 0);
		assert_int_equal(packed.max, 1 << 20);
		assert_int_equal(lp_msg_decode(&msg, packed.data, packed.len, NULL), 0);
		if ((msg.kind == LP_MSG_PACKED) != cases[i].packs)
			fail_msg("%zu bytes", cases[i].len);
		lp_msg_finish(&msg);
		if (cases[i].packs) {
			assert_true(packed.len < raw.len);
			assert_unpacks_to(&packed, &raw);
		} else {
			assert_int_equal(packed.len, raw.len);
			assert_memory_equal(packed.data, raw.data, raw.len);
		}
		lp_buf_finish(&raw);
		lp_buf_finish(&packed);
		free(content);
	}
}

/* A frame depends on no other: every second one alone can be read. */
static void pack__makes_frames_that_stand_alone(void **state)
{
	uint8_t content[4096];
	struct lp_buf raw = {0}, packed = {0};

	(void)state;
	fill_text(content, sizeof(content));
	for (unsigned i = 0; i < 20; i++) {
		content[0] = (uint8_t)i;
		encode_data(&raw, content, sizeof(content));
		packed.len = 0;
		raw_bytes(&packed, raw.data, raw.len);
		assert_int_equal(lp_packer_pack(packer, &packed), 0);
		if (i % 2)
			assert_unpacks_to(&packed, &raw);
	}
	lp_buf_finish(&raw);
	lp_buf_finish(&packed);
}

/* A zstd frame of `len` zeros. */
static size_t compress_zeros(uint8_t *out, size_t room, size_t len)
{
	uint8_t *zeros = calloc(1, len ? len : 1);
	size_t n;

	assert_non_null(zeros);
	n = ZSTD_compress(out, room, zeros, len, 3);
	assert_false(ZSTD_isError(n));
	free(zeros);
	return n;
}

static void unpack__refuses_lies(void **state)
{
	static const struct {
		const char *name;
		size_t real;
		uint64_t said;
	} cases[] = {
		{"said less", 1000, 999},
		{"said more", 1000, 1001},
		{"said nothing", 1000, 0},
		{"nothing in it", 0, 1},
		{"a bomb that says little", 64 << 20, 100},
		{"a bomb that says the most", 64 << 20, MOST},
		{"a bomb that says what it is", 64 << 20, 64 << 20},
		{"the most and one", MOST + 1, MOST + 1},
		{"far too much", 1000, UINT64_MAX},
	};
	uint8_t frame[32768];

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_msg_packed packed = {.raw_len = cases[i].said};
		struct lp_buf out = {0};
		struct lp_err err = {0};

		packed.content.p = frame;
		packed.content.len = compress_zeros(frame, sizeof(frame), cases[i].real);
		if (lp_packer_unpack(packer, &packed, &out, &err) != -EBADMSG)
			fail_msg("%s: accepted", cases[i].name);
		assert_int_equal(err.code, EBADMSG);
		assert_int_equal(out.len, 0);
		assert_true(out.cap <= 2 * MOST);
		lp_buf_finish(&out);
	}
}

static void unpack__takes_the_most(void **state)
{
	uint8_t frame[4096];
	struct lp_msg_packed packed = {.raw_len = LP_WIRE_MSG_MAX_BYTES};
	struct lp_buf out = {0};

	(void)state;
	packed.content.p = frame;
	packed.content.len = compress_zeros(frame, sizeof(frame), LP_WIRE_MSG_MAX_BYTES);
	assert_int_equal(lp_packer_unpack(packer, &packed, &out, NULL), 0);
	assert_int_equal(out.len, LP_WIRE_MSG_MAX_BYTES);
	lp_buf_finish(&out);
}

static void unpack__refuses_damage_and_recovers(void **state)
{
	uint8_t content[2000], frame[4096], damaged[4096];
	struct lp_msg_packed packed = {.raw_len = sizeof(content)};
	struct lp_buf out = {0};
	size_t n;

	(void)state;
	fill_noise(content, sizeof(content) / 2, 1);
	fill_text(content + sizeof(content) / 2, sizeof(content) / 2);
	n = ZSTD_compress(frame, sizeof(frame), content, sizeof(content), 3);
	assert_false(ZSTD_isError(n));
	packed.content.p = damaged;
	for (size_t len = 0; len < n; len++) {
		memcpy(damaged, frame, n);
		packed.content.len = len;
		assert_int_equal(lp_packer_unpack(packer, &packed, &out, NULL), -EBADMSG);
	}
	/* A changed byte of content is not noticed here (the digest does); nothing else may happen.
	 */
	packed.content.len = n;
	for (size_t at = 0; at < n; at++) {
		int r;

		memcpy(damaged, frame, n);
		damaged[at] ^= 0x55;
		r = lp_packer_unpack(packer, &packed, &out, NULL);
		assert_true(r == -EBADMSG || (r == 0 && out.len == sizeof(content)));
		assert_true(r == -EBADMSG || at >= 4);
	}
	packed.content = (struct lp_bytes){(const uint8_t *)"not zstd at all", 15};
	assert_int_equal(lp_packer_unpack(packer, &packed, &out, NULL), -EBADMSG);
	packed.content = (struct lp_bytes){frame, n};
	assert_int_equal(lp_packer_unpack(packer, &packed, &out, NULL), 0);
	assert_memory_equal(out.data, content, sizeof(content));
	lp_buf_finish(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pack__round_trips_when_it_is_worth_it),
		cmocka_unit_test(pack__makes_frames_that_stand_alone),
		cmocka_unit_test(unpack__refuses_lies),
		cmocka_unit_test(unpack__takes_the_most),
		cmocka_unit_test(unpack__refuses_damage_and_recovers),
	};

	return cmocka_run_group_tests(tests, make_packer, drop_packer);
}
