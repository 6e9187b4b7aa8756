/* test_blocks.c: digests of blocks, whatever pieces the content comes in. */
#include "common/base/lp_mem.h"
#include "common/base/lp_util.h"
#include "sync/blocks.h"
#include "tests/unit/noise.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void blocks__do_not_depend_on_the_pieces(void **state)
{
	static const size_t lens[] = {1,
				      LP_BLOCK_BYTES - 1,
				      LP_BLOCK_BYTES,
				      LP_BLOCK_BYTES + 1,
				      10 * LP_BLOCK_BYTES,
				      10 * LP_BLOCK_BYTES + 77};
	static const size_t pieces[] = {1, 3, 4096, LP_BLOCK_BYTES, LP_BLOCK_BYTES + 1, 100000};
	static uint8_t content[11 * LP_BLOCK_BYTES];

	(void)state;
	fill_noise(content, sizeof(content), 1);
	for (size_t i = 0; i < LP_COUNT_OF(lens); i++) {
		struct lp_blocks *b = lp_blocks_create();
		LP_AUTO_FREE uint64_t *whole = NULL;
		size_t n = (size_t)lp_blocks_count(lens[i]);

		lp_blocks_add(b, content, lens[i]);
		whole = lp_blocks_get(b);
		assert_non_null(whole);
		for (size_t k = 1; k < n; k++)
			assert_true(whole[k] != whole[k - 1]);
		for (size_t p = 0; p < LP_COUNT_OF(pieces); p++) {
			LP_AUTO_FREE uint64_t *parts = NULL;

			lp_blocks_reset(b);
			for (size_t at = 0; at < lens[i]; at += pieces[p])
				lp_blocks_add(b, content + at,
					      pieces[p] < lens[i] - at ? pieces[p] : lens[i] - at);
			parts = lp_blocks_get(b);
			assert_memory_equal(parts, whole, n * sizeof(*whole));
		}
		lp_blocks_destroy(b);
	}
}

static void blocks__are_counted(void **state)
{
	(void)state;
	assert_int_equal(lp_blocks_count(0), 0);
	assert_int_equal(lp_blocks_count(1), 1);
	assert_int_equal(lp_blocks_count(LP_BLOCK_BYTES), 1);
	assert_int_equal(lp_blocks_count(LP_BLOCK_BYTES + 1), 2);
	assert_int_equal(lp_blocks_count(UINT64_MAX), UINT64_MAX / LP_BLOCK_BYTES + 1);
}

/* What they take in memory is bounded, whatever the content. */
static void blocks__end_where_there_are_too_many(void **state)
{
	const size_t piece = 64 * LP_BLOCK_BYTES;
	LP_AUTO_FREE uint8_t *content = lp_xcalloc(1, piece);
	struct lp_blocks *b = lp_blocks_create();
	uint64_t *digests;

	(void)state;
	assert_null(lp_blocks_get(b));
	for (size_t i = 0; i < LP_BLOCKS_MAX * LP_BLOCK_BYTES / piece; i++)
		lp_blocks_add(b, content, piece);
	digests = lp_blocks_get(b);
	assert_non_null(digests);
	assert_true(digests[0] == digests[LP_BLOCKS_MAX - 1]);
	free(digests);
	lp_blocks_add(b, content, 1);
	assert_null(lp_blocks_get(b));
	lp_blocks_add(b, content, piece);
	assert_null(lp_blocks_get(b));
	lp_blocks_reset(b);
	lp_blocks_add(b, content, 1);
	digests = lp_blocks_get(b);
	assert_non_null(digests);
	free(digests);
	lp_blocks_destroy(b);
	lp_blocks_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks__do_not_depend_on_the_pieces),
		cmocka_unit_test(blocks__are_counted),
		cmocka_unit_test(blocks__end_where_there_are_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
