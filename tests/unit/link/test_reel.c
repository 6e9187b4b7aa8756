/* test_reel.c: one encoding for many readers, however far they are apart. */
#include "common/base/lp_mem.h"
#include "link/reel.h"
#include "tests/unit/link/feed_rig.h"
#include "tests/unit/noise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LARGE ((size_t)24 * 1024 * 1024)

static uint8_t *noise; /* LARGE */
static unsigned opens;

static int counting_open(void *ctx, const char *path)
{
	opens++;
	return feed_source.open(ctx, path);
}

static struct lp_source source;

static int set_up(void **state)
{
	(void)state;
	feed_set_up();
	source = feed_source;
	source.open = counting_open;
	opens = 0;
	noise = lp_xcalloc(1, LARGE);
	fill_noise(noise, LARGE, 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	feed_tear_down();
	free(noise);
	return 0;
}

/* All messages from where the reader is to the receiver; a feed of its own when it has to be. */
static bool read_to_end(struct lp_reader *r)
{
	static const struct lp_feed_have have = {.bases = true};
	struct lp_reel_message m = {0};
	struct lp_buf out = {0};
	struct lp_feed *f;
	int n = 1;

	while (!m.last && (n = lp_reader_next(r, &m)) == 1)
		receiver_take(m.raw->data, m.raw->len);
	if (n == 1)
		return true;
	assert_int_equal(n, 0);
	f = lp_feed_create(feed_cs, &feed_source, &have, &r->where);
	for (; lp_feed_next(f, &out) == 1; out.len = 0)
		receiver_take(out.data, out.len);
	lp_buf_finish(&out);
	lp_feed_destroy(f);
	return false;
}

static void reel__encodes_once_for_fifty(void **state)
{
	struct lp_reel *reel;
	struct lp_reader readers[50];
	const uint8_t *same = NULL;
	struct lp_reel_message m;

	(void)state;
	announce("a", "one", 3, true);
	reel = lp_reel_create(feed_cs, &source);
	for (size_t i = 0; i < LP_COUNT_OF(readers); i++)
		lp_reader_open(&readers[i], reel);
	for (size_t i = 0; i < LP_COUNT_OF(readers); i++) {
		assert_int_equal(lp_reader_next(&readers[i], &m), 1);
		assert_true(m.last && !m.left_out && (!same || m.raw->data == same));
		same = m.raw->data;
		receiver_reset(true);
		receiver_take(m.raw->data, m.raw->len);
		assert_true(has_text("a", "one"));
	}
	assert_int_equal(lp_reel_encoded(reel), 1);
	lp_reel_unref(reel);
	for (size_t i = 0; i < LP_COUNT_OF(readers); i++)
		lp_reader_close(&readers[i]);
	lp_reader_close(&readers[0]);
}

static void reel__reads_a_large_file_once_for_those_in_step(void **state)
{
	struct lp_reel *reel;
	struct lp_reader a = {0}, b = {0};
	struct lp_reel_message m = {0};

	(void)state;
	announce_chunks("f", noise, LARGE);
	reel = lp_reel_create(feed_cs, &source);
	lp_reader_open(&a, reel);
	lp_reader_open(&b, reel);
	receiver_reset(true);
	while (!m.last) {
		assert_int_equal(lp_reader_next(&a, &m), 1);
		assert_int_equal(lp_reader_next(&b, &m), 1);
		receiver_take(m.raw->data, m.raw->len);
		assert_true(lp_reel_kept_bytes(reel) <= 2 * LP_WIRE_MSG_MAX_BYTES);
	}
	assert_true(has_content("f", noise, LARGE));
	assert_int_equal(opens, 1);
	lp_reader_close(&a);
	lp_reader_close(&b);
	lp_reel_unref(reel);
}

/* One that stops reading costs the ceiling at most, and gets everything all the same. */
static void reel__keeps_no_more_than_its_ceiling(void **state)
{
	static const size_t stops[] = {0, 1, 2, 7, 50};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(stops); i++) {
		struct lp_reader fast = {0}, slow = {0};
		struct lp_reel_message m = {0};
		struct lp_reel *reel;
		struct lp_buf held[64] = {{0}};

		announce_chunks("f", noise, LARGE);
		announce("g", "two", 3, true);
		reel = lp_reel_create(feed_cs, &source);
		lp_reader_open(&fast, reel);
		lp_reader_open(&slow, reel);
		receiver_reset(true);
		for (size_t n = 0; n < stops[i]; n++) {
			assert_int_equal(lp_reader_next(&slow, &m), 1);
			assert_int_equal(lp_buf_add(&held[n], m.raw->data, m.raw->len), 0);
			assert_int_equal(lp_reader_next(&fast, &m), 1);
			receiver_take(m.raw->data, m.raw->len);
		}
		while (lp_reader_next(&fast, &m) == 1) {
			receiver_take(m.raw->data, m.raw->len);
			assert_true(lp_reel_kept_bytes(reel) <=
				    LP_REEL_MAX_BYTES + 2 * LP_WIRE_MSG_MAX_BYTES);
			if (m.last)
				break;
		}
		assert_true(has_content("f", noise, LARGE) && has_text("g", "two"));
		lp_reader_close(&fast);
		receiver_reset(true);
		for (size_t n = 0; n < stops[i]; n++)
			receiver_take(held[n].data, held[n].len);
		assert_false(read_to_end(&slow));
		assert_true(has_content("f", noise, LARGE) && has_text("g", "two"));
		assert_int_equal(feed_stale.len, 0);
		lp_reader_close(&slow);
		lp_reel_unref(reel);
		for (size_t n = 0; n < stops[i]; n++)
			lp_buf_finish(&held[n]);
		(void)tear_down(state);
		(void)set_up(state);
	}
}

/* A reader that goes away must not make others lose messages. */
static void reel__survives_readers_that_leave(void **state)
{
	struct lp_reader a = {0}, b = {0}, c = {0};
	struct lp_reel_message m;
	struct lp_reel *reel;

	(void)state;
	announce_chunks("f", noise, (size_t)2 * 1024 * 1024);
	reel = lp_reel_create(feed_cs, &source);
	lp_reader_open(&a, reel);
	lp_reader_open(&b, reel);
	lp_reader_open(&c, reel);
	for (int i = 0; i < 5; i++)
		assert_int_equal(lp_reader_next(&a, &m), 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(lp_reader_next(&b, &m), 1);
	lp_reader_close(&a);
	lp_reel_unref(reel);
	receiver_reset(true);
	assert_true(read_to_end(&c));
	assert_true(has_content("f", noise, (size_t)2 * 1024 * 1024));
	lp_reader_close(&c);
	while (!m.last)
		assert_int_equal(lp_reader_next(&b, &m), 1);
	lp_reader_close(&b);
}

static void reel__packs_once(void **state)
{
	struct lp_packer *packer = lp_packer_create();
	struct lp_reader a = {0}, b = {0};
	struct lp_reel_message m;
	struct lp_reel *reel;
	const struct lp_buf *packed;

	(void)state;
	memset(noise, 'x', 50000);
	announce("a", noise, 50000, true);
	reel = lp_reel_create(feed_cs, &source);
	lp_reader_open(&a, reel);
	lp_reader_open(&b, reel);
	assert_int_equal(lp_reader_next(&a, &m), 1);
	packed = lp_reader_packed(&a, packer);
	assert_true(packed->len < 1000 && m.raw->len > 50000);
	assert_int_equal(lp_reader_next(&b, &m), 1);
	assert_ptr_equal(lp_reader_packed(&b, packer), packed);
	lp_reader_close(&a);
	lp_reader_close(&b);
	lp_reel_unref(reel);
	lp_reel_unref(NULL);
	lp_packer_destroy(packer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reel__encodes_once_for_fifty, set_up, tear_down),
		cmocka_unit_test_setup_teardown(reel__reads_a_large_file_once_for_those_in_step,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(reel__keeps_no_more_than_its_ceiling, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(reel__survives_readers_that_leave, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(reel__packs_once, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
