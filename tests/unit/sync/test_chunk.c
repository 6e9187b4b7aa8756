/* test_chunk.c: where contents are cut, the digests of large contents, and how chunks follow what
 * was written. The seed is printed; TEST_SEED and TEST_ROUNDS choose others. */
#include "common/base/lp_mem.h"
#include "common/base/lp_util.h"
#include "sync/blocks.h"
#include "sync/gear.h"
#include "tests/unit/noise.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define CONTENT_MAX    ((size_t)3 * 1024 * 1024)
#define DEFAULT_SEED   20240229
#define DEFAULT_ROUNDS 60

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* The rule as docs/protocol.md has it, with nothing carried along: the hash of the 64 bytes before
 * `end` is computed from scratch for each place. */
static uint64_t hash_before(const uint8_t *end)
{
	static uint64_t gear[256];
	uint64_t h = 0;

	for (uint64_t i = 0, state = 0; gear[255] == 0 && i < 256; i++) {
		uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));

		z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
		gear[i] = z ^ (z >> 31);
	}
	for (const uint8_t *p = end - 64; p < end; p++)
		h = 2 * h + gear[*p];
	return h;
}

static size_t first_chunk_len(const uint8_t *p, size_t len)
{
	for (size_t n = 16384; n < len && n < 131072; n++)
		if (hash_before(p + n) >> (n < 65536 ? 46 : 50) == 0)
			return n;
	return len < 131072 ? len : 131072;
}

/* With blocks, so that these are followed up, too. */
static struct lp_chunks *chunks_of(const uint8_t *p, size_t len)
{
	struct lp_hasher *h = lp_hasher_create_fine();
	struct lp_chunks *chunks;

	lp_hasher_add(h, p, len);
	chunks = lp_hasher_chunks(h);
	lp_hasher_destroy(h);
	return chunks;
}

static void assert_same_chunks(const struct lp_chunks *a, const struct lp_chunks *b)
{
	assert_non_null(a);
	assert_non_null(b);
	assert_int_equal(a->n, b->n);
	assert_int_equal(a->bytes, b->bytes);
	assert_memory_equal(a->c, b->c, a->n * sizeof(a->c[0]));
	if (a->blocks && b->blocks)
		assert_memory_equal(a->blocks, b->blocks,
				    lp_blocks_count(a->bytes) * sizeof(a->blocks[0]));
}

static void cut__is_where_the_rule_says(void **state)
{
	LP_AUTO_FREE uint8_t *p = lp_xcalloc(1, CONTENT_MAX);
	struct lp_chunks *chunks;
	size_t at = 0;

	(void)state;
	fill_noise(p, CONTENT_MAX, DEFAULT_SEED);
	/* Some of it is monotonous, so that a chunk is as long as can be. */
	memset(p + CONTENT_MAX / 2, 'x', 600000);
	chunks = chunks_of(p, CONTENT_MAX);
	assert_true(chunks->n > 10);
	for (uint32_t i = 0; i < chunks->n; i++) {
		struct lp_digest d = lp_digest_of(p + at, chunks->c[i].len);

		assert_int_equal(chunks->c[i].len, first_chunk_len(p + at, CONTENT_MAX - at));
		assert_true(lp_digest_equal(&chunks->c[i].digest, &d));
		at += chunks->c[i].len;
	}
	assert_int_equal(at, CONTENT_MAX);
	assert_int_equal(chunks->bytes, CONTENT_MAX);
	lp_chunks_unref(chunks);
}

/* A change of the rule would make every instance send everything again, and nobody else notice. */
static void cut__stays_as_it_was_published(void **state)
{
	static const uint32_t lens[] = {68186, 75130, 86871, 25584, 93607, 85251, 67747, 21912};
	LP_AUTO_FREE uint8_t *p = lp_xcalloc(1, (size_t)512 * 1024);
	char hex[LP_DIGEST_HEX_BYTES];
	struct lp_chunks *chunks;
	struct lp_digest d;

	(void)state;
	for (uint32_t i = 0, x = 1; i < 512 * 1024; i++, x = x * 1103515245 + 12345)
		p[i] = (uint8_t)(x >> 16);
	chunks = chunks_of(p, (size_t)512 * 1024);
	assert_int_equal(chunks->n, LP_COUNT_OF(lens));
	for (size_t i = 0; i < LP_COUNT_OF(lens); i++)
		assert_int_equal(chunks->c[i].len, lens[i]);
	d = lp_chunks_digest(chunks);
	lp_digest_hex(&d, hex);
	assert_string_equal(hex, "639d98a84e2c8e8d51494a302909160c");
	lp_chunks_unref(chunks);
}

/* Whatever the pieces, also around the size where a content becomes large. */
static void hasher__does_not_depend_on_the_pieces(void **state)
{
	static const size_t lens[] = {0,
				      1,
				      LP_INLINE_MAX_BYTES - 1,
				      LP_INLINE_MAX_BYTES,
				      LP_INLINE_MAX_BYTES + 1,
				      LP_INLINE_MAX_BYTES + 70000,
				      1000003};
	static const size_t pieces[] = {997, 16384, 65536, 131072, 262144, 2000000};
	LP_AUTO_FREE uint8_t *p = lp_xcalloc(1, 1000003);
	struct lp_hasher *h = lp_hasher_create();

	(void)state;
	fill_noise(p, 1000003, 7);
	for (size_t l = 0; l < LP_COUNT_OF(lens); l++) {
		struct lp_chunks *whole = chunks_of(p, lens[l]), *parts;
		struct lp_digest expected =
			whole ? lp_chunks_digest(whole) : lp_digest_of(p, lens[l]);

		assert_int_equal(whole != NULL, lens[l] > LP_INLINE_MAX_BYTES);
		for (size_t s = 0; s < LP_COUNT_OF(pieces); s++) {
			struct lp_digest d;

			lp_hasher_reset(h);
			for (size_t at = 0; at < lens[l]; at += pieces[s]) {
				size_t rest = lens[l] - at;

				lp_hasher_add(h, p + at, rest < pieces[s] ? rest : pieces[s]);
				if (at % 3 == 0)
					(void)lp_hasher_get(h); /* asking changes nothing */
			}
			d = lp_hasher_get(h);
			assert_true(lp_digest_equal(&d, &expected));
			parts = lp_hasher_chunks(h);
			if (whole)
				assert_same_chunks(parts, whole);
			else
				assert_null(parts);
			lp_chunks_unref(parts);
		}
		lp_chunks_unref(whole);
	}
	lp_hasher_destroy(h);
}

static void chunks__are_counted(void **state)
{
	const struct lp_chunk c[] = {{.len = 1}, {.len = 2}}, more = {.len = 3};
	struct lp_chunks *list = lp_chunks_create(c, 2, &more), *empty;

	(void)state;
	assert_int_equal(list->n, 3);
	assert_int_equal(list->bytes, 6);
	assert_int_equal(list->c[2].len, 3);
	assert_ptr_equal(lp_chunks_ref(list), list);
	lp_chunks_unref(list);
	assert_int_equal(list->c[0].len, 1);
	lp_chunks_unref(list);
	lp_chunks_unref(NULL);
	empty = lp_chunks_create(NULL, 0, NULL);
	assert_int_equal(empty->n, 0);
	assert_int_equal(empty->bytes, 0);
	lp_chunks_unref(empty);
}

/* A content that can be read and counts how much was. */
struct source {
	const uint8_t *p;
	size_t len;
	size_t read;
	int fails_after; /* that many reads; < 0: never */
};

static int read_source(void *ctx, uint64_t at, void *out, size_t len)
{
	struct source *s = ctx;

	assert_true(len > 0);
	assert_true(at <= s->len && len <= s->len - at);
	if (s->fails_after >= 0 && s->fails_after-- == 0)
		return -EIO;
	memcpy(out, s->p + at, len);
	s->read += len;
	return 0;
}

/* Writes a few random ranges and perhaps cuts or grows the content. Returns the new length. */
static size_t edit(uint64_t *seed, uint8_t *p, size_t len, struct lp_ranges *written)
{
	size_t n = next_random(seed) % 6, grown;

	for (size_t i = 0; i < n; i++) {
		size_t at = next_random(seed) % len, most = len - at;
		size_t some = 1 + next_random(seed) % (next_random(seed) % 4 ? 5000 : 300000);

		some = some < most ? some : most;
		fill_noise(p + at, some, next_random(seed) | 1);
		lp_ranges_add(written, at, some);
	}
	if (next_random(seed) % 3 == 0) { /* cut */
		len -= next_random(seed) % (len - LP_INLINE_MAX_BYTES - 1);
	} else if (next_random(seed) % 2) { /* appended to */
		grown = next_random(seed) % 400000;
		grown = grown < CONTENT_MAX - len ? grown : CONTENT_MAX - len;
		fill_noise(p + len, grown, next_random(seed) | 1);
		len += grown;
	}
	return len;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void rewrite__is_as_if_all_had_been_read(void **state)
{
	uint64_t seed = from_environment("TEST_SEED", DEFAULT_SEED);
	uint64_t rounds = from_environment("TEST_ROUNDS", DEFAULT_ROUNDS);
	LP_AUTO_FREE uint8_t *p = lp_xcalloc(1, CONTENT_MAX);
	size_t len = CONTENT_MAX / 2, total = 0, read = 0, with_blocks = 0;
	struct lp_chunks *chunks, *next, *expected;

	(void)state;
	print_message("TEST_SEED=%" PRIu64 " TEST_ROUNDS=%" PRIu64 "\n", seed, rounds);
	seed = seed ? seed : 1;
	fill_noise(p, len, seed);
	memset(p + 100000, 0, 700000);
	chunks = chunks_of(p, len);
	for (uint64_t round = 0; round < rounds; round++) {
		struct lp_ranges written = {0};
		struct source source = {.p = p, .fails_after = -1};

		if (len < CONTENT_MAX / 8)
			len = CONTENT_MAX / 2; /* what comes back is as it was: counts as new */
		source.len = len = edit(&seed, p, len, &written);
		assert_int_equal(
			lp_chunks_rewrite(chunks, len, &written, read_source, &source, &next), 0);
		expected = chunks_of(p, len);
		assert_same_chunks(next, expected);
		total += len;
		read += source.read;
		with_blocks += next->blocks != NULL;
		lp_chunks_unref(next);
		lp_chunks_unref(chunks);
		chunks = expected;
	}
	assert_true(read < total / 3 * 2);
	assert_true(rounds < 10 || (with_blocks > 0 && with_blocks < rounds));
	lp_chunks_unref(chunks);
}

static void rewrite__reads_little(void **state)
{
	const size_t len = CONTENT_MAX;
	LP_AUTO_FREE uint8_t *p = lp_xcalloc(1, len);
	struct lp_ranges nothing = {0}, written = {0};
	struct source source = {.p = p, .len = len, .fails_after = -1};
	struct lp_chunks *before, *after;

	(void)state;
	fill_noise(p, len, 99);
	before = chunks_of(p, len);
	assert_int_equal(lp_chunks_rewrite(before, len, &nothing, read_source, &source, &after), 0);
	assert_int_equal(source.read, 0);
	assert_same_chunks(after, before);
	lp_chunks_unref(after);
	memset(p + 1000000, 'x', 4096);
	lp_ranges_add(&written, 1000000, 4096);
	assert_int_equal(lp_chunks_rewrite(before, len, &written, read_source, &source, &after), 0);
	assert_in_range(source.read, 4096, 2 * LP_CHUNK_MAX_BYTES);
	lp_chunks_unref(after);
	lp_chunks_unref(before);
}

static void rewrite__hands_on_what_reading_says(void **state)
{
	const size_t len = 500000;
	LP_AUTO_FREE uint8_t *p = lp_xcalloc(1, len);
	struct lp_ranges written = {0};
	struct lp_chunks *before, *after = NULL;

	(void)state;
	fill_noise(p, len, 5);
	before = chunks_of(p, len);
	lp_ranges_add(&written, 0, 10);
	lp_ranges_add(&written, len - 10, 10);
	/* Two chunks, then the block that each end is in. */
	for (int reads = 0; reads < 6; reads++) {
		struct source source = {.p = p, .len = len, .fails_after = reads};

		assert_int_equal(
			lp_chunks_rewrite(before, len, &written, read_source, &source, &after),
			-EIO);
		assert_null(after);
	}
	lp_chunks_unref(before);
}

/* Lists that cannot be, as from a damaged file: an answer, and the right one when all is read. */
static void rewrite__survives_odd_lists(void **state)
{
	static const uint32_t lens[][3] = {{0, 0, 0}, {1, 0, 5}, {UINT32_MAX, UINT32_MAX, 7}};
	const size_t len = 300000;
	LP_AUTO_FREE uint8_t *p = lp_xcalloc(1, len);
	struct lp_ranges all = {0};
	struct lp_chunks *expected;

	(void)state;
	fill_noise(p, len, 5);
	expected = chunks_of(p, len);
	lp_ranges_add(&all, 0, len);
	for (size_t i = 0; i < LP_COUNT_OF(lens); i++) {
		const struct lp_chunk c[] = {
			{.len = lens[i][0]}, {.len = lens[i][1]}, {.len = lens[i][2]}};
		struct lp_chunks *odd = lp_chunks_create(c, 3, NULL), *after = NULL;
		struct source source = {.p = p, .len = len, .fails_after = -1};

		assert_int_equal(lp_chunks_rewrite(odd, len, &all, read_source, &source, &after),
				 0);
		assert_same_chunks(after, expected);
		lp_chunks_unref(after);
		lp_chunks_unref(odd);
	}
	lp_chunks_unref(expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cut__is_where_the_rule_says),
		cmocka_unit_test(cut__stays_as_it_was_published),
		cmocka_unit_test(hasher__does_not_depend_on_the_pieces),
		cmocka_unit_test(chunks__are_counted),
		cmocka_unit_test(rewrite__is_as_if_all_had_been_read),
		cmocka_unit_test(rewrite__reads_little),
		cmocka_unit_test(rewrite__hands_on_what_reading_says),
		cmocka_unit_test(rewrite__survives_odd_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
