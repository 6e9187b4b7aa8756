/* tests/unit/proxy/test_buf.c: byte queues on cached blocks. */
#include "proxy/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

static void buf_reserve__keeps_content_while_moving_and_growing(void **state)
{
	struct lp_px_cache cache = {0};
	struct lp_px_buf b = {.cache = &cache};
	unsigned char next_in = 0;
	unsigned char next_out = 0;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		assert_int_equal(lp_px_buf_reserve(&b, 97, LP_PX_BULK_BYTES), 0);
		for (int i = 0; i < 97; i++) {
			lp_px_buf_put(&b, &next_in, 1);
			next_in++;
		}
		for (int i = 0; i < 80; i++) {
			assert_int_equal((unsigned char)*lp_px_buf_at(&b), next_out);
			next_out++;
			lp_px_buf_drop(&b, 1);
		}
	}
	assert_int_equal(lp_px_buf_len(&b), 2000 * 17);
	lp_px_buf_finish(&b);
	lp_px_cache_finish(&cache);
}

static void buf_reserve__refuses_more_than_max(void **state)
{
	struct lp_px_buf b = {0};

	(void)state;
	assert_int_equal(lp_px_buf_reserve(&b, 10, 100), 0);
	lp_px_buf_put(&b, "0123456789", 10);
	b.cap = b.end; /* as if the block were full */
	assert_int_equal(lp_px_buf_reserve(&b, 91, 100), -EMSGSIZE);
	assert_int_equal(lp_px_buf_reserve(&b, SIZE_MAX, 100), -EMSGSIZE);
	assert_int_equal(lp_px_buf_len(&b), 10);
	lp_px_buf_finish(&b);
}

static void cache__hands_out_the_block_given_back_last(void **state)
{
	struct lp_px_cache cache = {0};
	struct lp_px_buf a = {.cache = &cache};
	struct lp_px_buf b = {.cache = &cache};
	const uint8_t *block;

	(void)state;
	assert_int_equal(lp_px_buf_reserve(&a, 1, LP_PX_BULK_BYTES), 0);
	block = a.data;
	lp_px_buf_relax(&a);
	assert_null(a.data);
	assert_int_equal(cache.count[LP_PX_CLASS_BLOCK], 1);
	assert_int_equal(lp_px_buf_reserve(&b, 1, LP_PX_BULK_BYTES), 0);
	assert_ptr_equal(b.data, block);
	lp_px_buf_put(&b, "x", 1);
	lp_px_buf_relax(&b);
	assert_non_null(b.data);
	lp_px_buf_finish(&b);
	lp_px_cache_finish(&cache);
	assert_int_equal(cache.count[LP_PX_CLASS_BLOCK], 0);
}

static void fair_share__shrinks_when_much_is_handed_out(void **state)
{
	struct lp_px_cache cache = {0};
	static struct lp_px_buf bufs[LP_PX_PLENTY_BYTES / LP_PX_TUNNEL_BYTES];

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(bufs); i++) {
		assert_int_equal(lp_px_fair_share(&cache, LP_PX_BULK_BYTES), LP_PX_BULK_BYTES);
		bufs[i].cache = &cache;
		assert_int_equal(
			lp_px_buf_reserve(&bufs[i], LP_PX_TUNNEL_BYTES, LP_PX_TUNNEL_BYTES), 0);
	}
	assert_int_equal(lp_px_fair_share(&cache, LP_PX_BULK_BYTES), LP_PX_BLOCK_BYTES);
	for (size_t i = 0; i < LP_COUNT_OF(bufs); i++)
		lp_px_buf_finish(&bufs[i]);
	assert_int_equal(cache.used_bytes, 0);
	assert_int_equal(lp_px_fair_share(&cache, LP_PX_BULK_BYTES), LP_PX_BULK_BYTES);
	lp_px_cache_finish(&cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buf_reserve__keeps_content_while_moving_and_growing),
		cmocka_unit_test(buf_reserve__refuses_more_than_max),
		cmocka_unit_test(cache__hands_out_the_block_given_back_last),
		cmocka_unit_test(fair_share__shrinks_when_much_is_handed_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
