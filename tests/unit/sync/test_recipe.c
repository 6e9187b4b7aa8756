/* test_recipe.c: how contents are made of others: following a recipe gives the content, and what
 * both have is not new. The seed is printed; TEST_SEED and TEST_ROUNDS choose others. */
#include "common/base/lp_mem.h"
#include "common/base/lp_util.h"
#include "sync/chunk.h"
#include "tests/unit/noise.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define CONTENT_MAX    ((size_t)2 * 1024 * 1024)
#define DEFAULT_SEED   20240229
#define DEFAULT_ROUNDS 100

struct content {
	uint8_t *p;
	size_t len;
	struct lp_chunks *chunks;
};

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static bool with_blocks;

static void cut(struct content *c)
{
	struct lp_hasher *h = with_blocks ? lp_hasher_create_fine() : lp_hasher_create();

	lp_hasher_add(h, c->p, c->len);
	lp_chunks_unref(c->chunks);
	c->chunks = lp_hasher_chunks(h);
	lp_hasher_destroy(h);
	assert_non_null(c->chunks);
}

static void finish(struct content *c)
{
	free(c->p);
	lp_chunks_unref(c->chunks);
}

/* Follows the recipe; what is new comes from the content itself. Returns how much that was. */
static uint64_t assert_leads_to(const struct content *base, const struct content *to,
				const struct lp_segment *segments, size_t n)
{
	LP_AUTO_FREE uint8_t *made = lp_xcalloc(1, to->len);
	uint64_t at = 0, fresh = 0;

	for (size_t i = 0; i < n; i++) {
		const struct lp_segment *s = &segments[i];

		assert_int_equal(s->at, at);
		assert_true(s->len > 0 && s->len <= to->len - at);
		if (s->is_new) {
			assert_int_equal(s->from, 0);
			memcpy(made + at, to->p + at, s->len);
			fresh += s->len;
		} else {
			assert_true(s->from <= base->len && s->len <= base->len - s->from);
			memcpy(made + at, base->p + s->from, s->len);
		}
		/* Neighbours that could be one are one. */
		assert_false(i > 0 && s->is_new && segments[i - 1].is_new);
		assert_false(i > 0 && !s->is_new && !segments[i - 1].is_new &&
			     segments[i - 1].from + segments[i - 1].len == s->from);
		at += s->len;
	}
	assert_int_equal(at, to->len);
	assert_memory_equal(made, to->p, to->len);
	return fresh;
}

static uint64_t check(const struct content *base, const struct content *to, size_t *n)
{
	struct lp_segment *segments;
	uint64_t fresh;

	*n = lp_chunks_recipe(base->chunks, to->chunks, &segments);
	fresh = assert_leads_to(base, to, segments, *n);
	free(segments);
	return fresh;
}

static struct content random_content(size_t len, uint64_t seed)
{
	struct content c = {.p = lp_xcalloc(1, CONTENT_MAX), .len = len};

	fill_noise(c.p, len, seed);
	cut(&c);
	return c;
}

static struct content copy_of(const struct content *c)
{
	struct content copy = {.p = lp_xcalloc(1, CONTENT_MAX), .len = c->len};

	memcpy(copy.p, c->p, c->len);
	return copy;
}

static void recipe__of_the_same_is_one_segment(void **state)
{
	struct content base = random_content(1000000, 1);
	size_t n;

	(void)state;
	assert_int_equal(check(&base, &base, &n), 0);
	assert_int_equal(n, 1);
	finish(&base);
}

static void recipe__without_a_base_is_all_new(void **state)
{
	struct content to = random_content(1000000, 2);
	struct lp_segment *segments;
	size_t n = lp_chunks_recipe(NULL, to.chunks, &segments);

	(void)state;
	assert_int_equal(n, 1);
	assert_true(segments[0].is_new);
	assert_int_equal(segments[0].len, 1000000);
	free(segments);
	finish(&to);
}

static void recipe__finds_what_was_moved(void **state)
{
	struct content base = random_content(1000000, 3), to = copy_of(&base);
	size_t n;

	(void)state;
	/* A byte more at the beginning moves everything. */
	memmove(to.p + 1, to.p, to.len);
	to.len++;
	cut(&to);
	assert_in_range(check(&base, &to, &n), 1, 2 * LP_CHUNK_MAX_BYTES);
	/* The halves change places. */
	memcpy(to.p, base.p + 500000, 500000);
	memcpy(to.p + 500000, base.p, 500000);
	to.len = 1000000;
	cut(&to);
	assert_in_range(check(&base, &to, &n), 1, 4 * LP_CHUNK_MAX_BYTES);
	assert_true(n <= 5);
	finish(&base);
	finish(&to);
}

/* Nothing is moved that can stay, though there are others like it. */
static void recipe__prefers_the_same_place(void **state)
{
	struct content base = {.p = lp_xcalloc(1, CONTENT_MAX), .len = CONTENT_MAX}, to;
	struct lp_segment *segments;
	size_t n;

	(void)state;
	cut(&base); /* all chunks are alike */
	to = copy_of(&base);
	memset(to.p + 600000, 'x', 10);
	cut(&to);
	n = lp_chunks_recipe(base.chunks, to.chunks, &segments);
	assert_int_equal(assert_leads_to(&base, &to, segments, n) % LP_CHUNK_MAX_BYTES, 0);
	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++)
		assert_true(segments[i].is_new || segments[i].from == segments[i].at);
	free(segments);
	finish(&base);
	finish(&to);
}

/* Random edits of any kind: overwrite, insert, remove, append, double. */
static void edit(uint64_t *seed, struct content *c)
{
	size_t at = next_random(seed) % c->len, some = 1 + next_random(seed) % 50000;
	size_t rest = c->len - at;

	switch (next_random(seed) % 5) {
	case 0:
		fill_noise(c->p + at, some < rest ? some : rest, next_random(seed) | 1);
		break;
	case 1:
		if (some > CONTENT_MAX - c->len)
			break;
		memmove(c->p + at + some, c->p + at, rest);
		fill_noise(c->p + at, some, next_random(seed) | 1);
		c->len += some;
		break;
	case 2:
		some = some < rest ? some : rest;
		if (c->len - some <= LP_INLINE_MAX_BYTES)
			break;
		memmove(c->p + at, c->p + at + some, rest - some);
		c->len -= some;
		break;
	case 3:
		some = some < CONTENT_MAX - c->len ? some : CONTENT_MAX - c->len;
		memset(c->p + c->len, 'a', some);
		c->len += some;
		break;
	default:
		if (c->len > CONTENT_MAX / 2)
			break;
		memcpy(c->p + c->len, c->p, c->len);
		c->len *= 2;
	}
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void follow_random_edits(void)
{
	uint64_t seed = from_environment("TEST_SEED", DEFAULT_SEED);
	uint64_t rounds = from_environment("TEST_ROUNDS", DEFAULT_ROUNDS);
	struct content base, to;
	uint64_t fresh = 0, all = 0;

	print_message("TEST_SEED=%" PRIu64 " TEST_ROUNDS=%" PRIu64 "\n", seed, rounds);
	seed = seed ? seed : 1;
	base = random_content(CONTENT_MAX / 3, seed);
	for (uint64_t round = 0; round < rounds; round++) {
		size_t n;

		to = copy_of(&base);
		for (uint64_t edits = next_random(&seed) % 4; edits > 0; edits--)
			edit(&seed, &to);
		cut(&to);
		fresh += check(&base, &to, &n);
		all += to.len;
		finish(&base);
		base = to;
	}
	assert_true(fresh < all / 2);
	finish(&base);
}

static void recipe__leads_from_any_base_to_any_content(void **state)
{
	(void)state;
	follow_random_edits();
	with_blocks = true;
	follow_random_edits();
	with_blocks = false;
}

/* A little that is written over in place is all that is new, wherever it is: also on a cut, and
 * where the cuts behind it move. */
static void recipe__finds_by_blocks_what_was_written_over(void **state)
{
	struct content base, to;
	uint64_t at = 0;
	size_t n;

	(void)state;
	with_blocks = true;
	base = random_content(CONTENT_MAX - 5000, 3);
	for (uint32_t i = 0; i + 1 < base.chunks->n; i++) {
		to = copy_of(&base);
		at += base.chunks->c[i].len;
		memset(to.p + at - 2048, 'x', 4096);
		cut(&to);
		assert_in_range(check(&base, &to, &n), 4096, 2 * LP_BLOCK_BYTES);
		assert_int_equal(n, 3);
		finish(&to);
	}
	/* The last block, which is shorter; appended to; cut in the middle of one. */
	to = copy_of(&base);
	to.p[to.len - 1] ^= 1;
	cut(&to);
	assert_int_equal(check(&base, &to, &n), base.len % LP_BLOCK_BYTES);
	finish(&to);
	to = copy_of(&base);
	memset(to.p + to.len, 'y', 100);
	to.len += 100;
	cut(&to);
	assert_int_equal(check(&base, &to, &n), base.len % LP_BLOCK_BYTES + 100);
	finish(&to);
	to = copy_of(&base);
	to.len = 1000000;
	cut(&to);
	assert_true(check(&base, &to, &n) <= to.len % LP_BLOCK_BYTES);
	finish(&to);
	finish(&base);
	with_blocks = false;
}

/* written, base_bytes, bytes, and the recipe as text: K(eep) and N(ew) with lengths. */
static const struct {
	struct lp_ranges written;
	uint64_t base_bytes, bytes;
	struct {
		bool is_new;
		uint64_t len;
	} expected[6];
	size_t n;
} by_range[] = {
	{{0}, 100, 100, {{false, 100}}, 1},
	{{0}, 0, 0, {{false, 0}}, 0},
	{{0}, 0, 10, {{true, 10}}, 1},
	{{0}, 100, 40, {{false, 40}}, 1},
	{{0}, 100, 150, {{false, 100}, {true, 50}}, 2},
	{{1, {{10, 5}}}, 100, 100, {{false, 10}, {true, 5}, {false, 85}}, 3},
	{{1, {{0, 100}}}, 100, 100, {{true, 100}}, 1},
	{{2, {{0, 1}, {99, 1}}}, 100, 100, {{true, 1}, {false, 98}, {true, 1}}, 3},
	{{1, {{90, 20}}}, 100, 110, {{false, 90}, {true, 20}}, 2},
	{{1, {{90, 5}}}, 100, 110, {{false, 90}, {true, 5}, {false, 5}, {true, 10}}, 4},
	{{1, {{120, 5}}}, 100, 130, {{false, 100}, {true, 30}}, 2},
	{{1, {{90, 20}}}, 100, 95, {{false, 90}, {true, 5}}, 2},
	{{1, {{90, 20}}}, 100, 90, {{false, 90}}, 1},
	{{1, {{90, 20}}}, 100, 50, {{false, 50}}, 1},
	{{1, {{10, UINT64_MAX - 10}}}, 100, 100, {{false, 10}, {true, 90}}, 2},
};

static void ranges_recipe__keeps_what_was_not_written(void **state)
{
	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(by_range); i++) {
		struct lp_segment *segments;
		uint64_t at = 0;
		size_t n = lp_ranges_recipe(&by_range[i].written, by_range[i].base_bytes,
					    by_range[i].bytes, &segments);

		print_message("case %zu\n", i);
		assert_int_equal(n, by_range[i].n);
		for (size_t k = 0; k < n; k++) {
			assert_int_equal(segments[k].at, at);
			assert_int_equal(segments[k].is_new, by_range[i].expected[k].is_new);
			assert_int_equal(segments[k].len, by_range[i].expected[k].len);
			assert_int_equal(segments[k].from, segments[k].is_new ? 0 : at);
			at += segments[k].len;
		}
		free(segments);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recipe__of_the_same_is_one_segment),
		cmocka_unit_test(recipe__without_a_base_is_all_new),
		cmocka_unit_test(recipe__finds_what_was_moved),
		cmocka_unit_test(recipe__prefers_the_same_place),
		cmocka_unit_test(recipe__leads_from_any_base_to_any_content),
		cmocka_unit_test(recipe__finds_by_blocks_what_was_written_over),
		cmocka_unit_test(ranges_recipe__keeps_what_was_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
