/* test_digest.c: the digests that name contents. */
#include "sync/digest.h"

#include "common/base/lp_util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void digest_of__gives_the_published_values(void **state)
{
	/* XXH3_128bits with seed 0, as `xxhsum -H2` prints it. */
	static const struct {
		const char *text;
		const char *hex;
	} cases[] = {
		{"", "99aa06d3014798d86001c324468d497f"},
		{"a", "a96faf705af16834e6c632b61e964e1f"},
		{"abc", "06b05ab6733a618578af5f94892f3950"},
		{"livepush\n", "01e68c18bf48cea8ae729a52b7469719"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_digest d = lp_digest_of(cases[i].text, strlen(cases[i].text));
		char hex[LP_DIGEST_HEX_BYTES];

		lp_digest_hex(&d, hex);
		assert_string_equal(hex, cases[i].hex);
	}
}

static void digest_of__takes_no_memory_for_nothing(void **state)
{
	struct lp_digest a = lp_digest_of(NULL, 0), b = lp_digest_of("x", 0);

	(void)state;
	assert_true(lp_digest_equal(&a, &b));
	assert_false(lp_digest_is_none(&a));
}

static void digest_equal__sees_every_byte(void **state)
{
	struct lp_digest a = {{0}}, b = {{0}};

	(void)state;
	assert_true(lp_digest_is_none(&a));
	for (size_t i = 0; i < sizeof(a.b); i++) {
		b.b[i] = 1;
		assert_false(lp_digest_equal(&a, &b));
		assert_false(lp_digest_is_none(&b));
		b.b[i] = 0;
	}
	assert_true(lp_digest_equal(&a, &b));
}

/* Pieces of any size give what the whole gives, also around the sizes where XXH3 changes method. */
static void hasher__agrees_with_digest_of(void **state)
{
	static const size_t lens[] = {0,   1,   3,   4,   8,   9,    16,   17,   128,
				      129, 240, 241, 256, 512, 1024, 1025, 4096, 70000};
	static const size_t pieces[] = {1, 7, 64, 1000, 70000};
	static uint8_t data[70000];
	struct lp_hasher *h = lp_hasher_create();

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 + i / 251);
	for (size_t l = 0; l < LP_COUNT_OF(lens); l++) {
		struct lp_digest whole = lp_digest_of(data, lens[l]);

		for (size_t p = 0; p < LP_COUNT_OF(pieces); p++) {
			struct lp_digest d;

			lp_hasher_reset(h);
			for (size_t at = 0; at < lens[l]; at += pieces[p]) {
				size_t rest = lens[l] - at;

				lp_hasher_add(h, data + at, rest < pieces[p] ? rest : pieces[p]);
				lp_hasher_add(h, NULL, 0);
			}
			d = lp_hasher_get(h);
			assert_true(lp_digest_equal(&d, &whole));
			d = lp_hasher_get(h); /* asking changes nothing */
			assert_true(lp_digest_equal(&d, &whole));
		}
	}
	lp_hasher_destroy(h);
	lp_hasher_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digest_of__gives_the_published_values),
		cmocka_unit_test(digest_of__takes_no_memory_for_nothing),
		cmocka_unit_test(digest_equal__sees_every_byte),
		cmocka_unit_test(hasher__agrees_with_digest_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
