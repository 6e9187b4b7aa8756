/* test_patch.c: large files of which the receiver has a version, or a beginning. */
#include "common/base/lp_mem.h"
#include "tests/unit/link/feed_rig.h"
#include "tests/unit/noise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MIB        ((size_t)1024 * 1024)
#define LARGE      (8 * MIB)
#define PAGE_BYTES 4096

static const struct lp_feed_have bases = {.bases = true};
static uint8_t *base, *next; /* LARGE + MIB each */

static int set_up(void **state)
{
	(void)state;
	feed_set_up();
	base = lp_xcalloc(1, LARGE + MIB);
	next = lp_xcalloc(1, LARGE + MIB);
	fill_noise(base, LARGE + MIB, 1);
	memcpy(next, base, LARGE + MIB);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	feed_tear_down();
	free(base);
	free(next);
	return 0;
}

static void patch__sends_what_was_written(void **state)
{
	struct lp_ranges written = {0};

	(void)state;
	fill_noise(next + 3 * MIB + 100, PAGE_BYTES, 2);
	lp_ranges_add(&written, 3 * MIB + 100, PAGE_BYTES);
	announce_base("f", base, LARGE, next, LARGE, &written);
	feed_to_receiver(&bases, 0, NULL);
	assert_true(has_content("f", next, LARGE));
	assert_int_equal(received.patches, 1);
	assert_int_equal(received.content_bytes, PAGE_BYTES);
	assert_true(received.bytes < PAGE_BYTES + 512);
	assert_true(received.has_root);
}

static void patch__finds_by_chunks_what_moved(void **state)
{
	(void)state;
	memmove(next + MIB + 10, base + MIB, LARGE - MIB);
	fill_noise(next + MIB, 10, 2);
	announce_base("f", base, LARGE, next, LARGE + 10, NULL);
	feed_to_receiver(&bases, 0, NULL);
	assert_true(has_content("f", next, LARGE + 10));
	assert_true(received.patches > 0 && received.datas == 0);
	assert_true(received.content_bytes <= (size_t)LP_CHUNK_MAX_BYTES * 2);
}

/* Ranges anywhere, the file cut or longer: whatever they are, the content comes out whole. */
static void patch__makes_the_content_from_any_ranges(void **state)
{
	uint32_t seed = 1;

	(void)state;
	for (int round = 0; round < 40; round++) {
		size_t len = LARGE - 300000 + (size_t)(round % 3) * 300000, n = 0;
		struct lp_ranges written = {0};

		memcpy(next, base, LARGE);
		memset(next + LARGE, round, MIB);
		for (n = (size_t)round % 7 + 1; n > 0; n--) {
			size_t at, bytes;

			seed = seed * 1103515245u + 12345u;
			at = seed % LARGE;
			bytes = (seed >> 8) % (round % 5 == 0 ? 700000 : 5000) + 1;
			if (at + bytes > LARGE)
				bytes = LARGE - at;
			fill_noise(next + at, bytes, seed);
			lp_ranges_add(&written, at, bytes);
		}
		announce_base("f", base, LARGE, next, len, &written);
		feed_to_receiver(&bases, 0, NULL);
		assert_true(has_content("f", next, len));
		assert_int_equal(received.datas, 0);
		feed_tear_down();
		feed_set_up();
	}
}

static void patch__is_not_used_where_it_is_of_no_use(void **state)
{
	(void)state;
	/* The receiver may not hold the base. */
	next[5] ^= 1;
	announce_base("f", base, LARGE, next, LARGE, NULL);
	feed_to_receiver(NULL, 0, NULL);
	assert_true(received.patches == 0 && received.content_bytes == LARGE);
	/* Nothing is left of it. */
	fill_noise(next, LARGE, 2);
	announce_base("g", base, LARGE, next, LARGE, NULL);
	feed_to_receiver(&bases, 0, NULL);
	assert_true(received.patches == 0 && received.content_bytes == LARGE);
	assert_true(has_content("g", next, LARGE));
}

static void write_into_what_is_sent(void)
{
	next[4 * MIB + 50] ^= 1;
	rewrite("f", next, LARGE);
}

static void cut(void)
{
	rewrite("f", next, MIB);
}

/* A file that is written again meanwhile: nothing half-written goes out. */
static void patch__leaves_out_what_is_not_as_announced(void **state)
{
	void (*const changes[])(void) = {write_into_what_is_sent, cut};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(changes); i++) {
		struct lp_ranges written = {0};

		fill_noise(next + 4 * MIB, 100, 2);
		lp_ranges_add(&written, 4 * MIB, 100);
		announce_base("f", base, LARGE, next, LARGE, &written);
		feed_to_receiver(&bases, 1, changes[i]);
		assert_int_equal(received.skips, 1);
		assert_false(received.has_root);
		assert_true(has_content("f", base, LARGE));
		assert_string_equal(lp_buf_text(&feed_stale), "f\n");
		feed_tear_down();
		feed_set_up();
	}
}

static void data__goes_on_where_the_connection_broke(void **state)
{
	static const size_t cases[] = {1, MIB, 3 * MIB + 17, LARGE - 1};
	const struct lp_digest other = {{1}};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_feed_have have = {.bases = true, .partial_have = cases[i]};

		have.partial = announce_chunks("f", base, LARGE)->e.digest;
		receiver_set_partial(&have.partial, base, cases[i]);
		feed_to_receiver(&have, 0, NULL);
		assert_true(has_content("f", base, LARGE));
		assert_int_equal(received.content_bytes, LARGE - cases[i]);
		/* Not of another content. */
		have.partial = other;
		feed_to_receiver(&have, 0, NULL);
		assert_int_equal(received.content_bytes, LARGE);
		feed_tear_down();
		feed_set_up();
	}
}

/* With the chunks known, a change is seen where it is, not at the end. */
static void data__stops_at_the_first_chunk_that_differs(void **state)
{
	(void)state;
	announce_chunks("f", next, LARGE);
	next[4 * MIB + 50] ^= 1;
	rewrite("f", next, LARGE);
	feed_to_receiver(NULL, 0, NULL);
	assert_int_equal(received.skips, 1);
	assert_true(received.content_bytes <= 4 * MIB + 50);
	assert_null(receiver_has("f"));
}

static void move__goes_first(void **state)
{
	struct lp_entry e;

	(void)state;
	e = announce("d", "one", 3, true)->e;
	feed_to_receiver(NULL, 0, NULL);
	feed_start_over();
	announce("a", "two", 3, true);
	lp_changeset_add_move(feed_cs, "d", "z", &e);
	lp_changeset_sort(feed_cs);
	feed_to_receiver(NULL, 0, NULL);
	assert_int_equal(received.moves, 1);
	assert_true(has_text("z", "one") && has_text("a", "two") && !receiver_has("d"));
}

/* A feed that begins anywhere between two messages of another, or behind the last one, goes on as
 * that one would. */
static void feed__goes_on_from_a_mark(void **state)
{
	struct lp_ranges written = {0};
	struct lp_buf out = {0}, rest = {0};
	size_t n_messages = SIZE_MAX;

	(void)state;
	memset(next + 2 * MIB, 1, MIB);
	lp_ranges_add(&written, 2 * MIB, MIB);
	for (size_t stop = 0; stop <= n_messages; stop++) {
		struct lp_feed *first, *second;
		struct lp_feed_mark mark;

		announce_base("patched", base, LARGE, next, LARGE, &written);
		announce_chunks("whole", base, MIB);
		announce("unlisted", base, MIB, false);
		announce("small", "small", 5, true);
		receiver_reset(false);
		first = lp_feed_create(feed_cs, &feed_source, &bases, NULL);
		for (size_t i = 0; i < stop; i++) {
			out.len = 0;
			assert_int_equal(lp_feed_next(first, &out), 1);
			receiver_take(out.data, out.len);
		}
		mark = lp_feed_where(first);
		second = lp_feed_create(feed_cs, &feed_source, &bases, &mark);
		n_messages = stop;
		for (rest.len = 0; lp_feed_next(second, &rest) == 1; rest.len = 0, n_messages++)
			receiver_take(rest.data, rest.len);
		assert_true(received.is_last && received.has_root);
		assert_true(has_content("patched", next, LARGE));
		assert_true(has_content("whole", base, MIB));
		assert_true(has_content("unlisted", base, MIB));
		assert_true(has_text("small", "small"));
		assert_true(received.patches > 1 && received.datas > 8);
		lp_feed_destroy(first);
		lp_feed_destroy(second);
		feed_tear_down();
		feed_set_up();
	}
	assert_true(n_messages > 15);
	lp_buf_finish(&out);
	lp_buf_finish(&rest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(patch__sends_what_was_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(patch__finds_by_chunks_what_moved, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(patch__makes_the_content_from_any_ranges, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(patch__is_not_used_where_it_is_of_no_use, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(patch__leaves_out_what_is_not_as_announced, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(data__goes_on_where_the_connection_broke, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(data__stops_at_the_first_chunk_that_differs, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(move__goes_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(feed__goes_on_from_a_mark, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
