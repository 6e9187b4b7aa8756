/* test_auth.c: the proofs of the opening, against HMAC-SHA-256 computed here from RFC 2104 and a
 * text put together by hand. */
#include "common/base/lp_secret.h"
#include "tests/unit/wire/wire_raw.h"
#include "tests/unit/wire/wire_samples.h"
#include "wire/auth.h"

#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char secret[] = "correct horse battery staple";

/* H((K ^ opad) || H((K ^ ipad) || text)) with K of one block, hashed before when it is longer. */
static void rfc2104(const void *key, size_t key_len, const struct lp_buf *text, uint8_t out[32])
{
	uint8_t block[64] = {0}, inner[32];
	struct lp_buf b = {0};

	if (key_len > sizeof(block))
		assert_true(EVP_Digest(key, key_len, block, NULL, EVP_sha256(), NULL));
	else
		memcpy(block, key, key_len);
	for (size_t i = 0; i < sizeof(block); i++)
		raw_byte(&b, block[i] ^ 0x36);
	raw_bytes(&b, text->data, text->len);
	assert_true(EVP_Digest(b.data, b.len, inner, NULL, EVP_sha256(), NULL));
	b.len = 0;
	for (size_t i = 0; i < sizeof(block); i++)
		raw_byte(&b, block[i] ^ 0x5c);
	raw_bytes(&b, inner, sizeof(inner));
	assert_true(EVP_Digest(b.data, b.len, out, NULL, EVP_sha256(), NULL));
	lp_buf_finish(&b);
}

/* RFC 4231, 4.3: the helper above is what it says. */
static void rfc2104__matches_its_test_vector(void **state)
{
	static const uint8_t expected[32] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e,
					     0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
					     0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83,
					     0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
	struct lp_buf text = {0};
	uint8_t out[32];

	(void)state;
	raw_bytes(&text, "what do ya want for nothing?", 28);
	rfc2104("Jefe", 4, &text, out);
	assert_memory_equal(out, expected, sizeof(out));
	lp_buf_finish(&text);
}

static struct lp_msg_hello sample_hello(void)
{
	struct lp_msg_hello h = {.version = 1, .role = 0x0102030405060708u};

	for (unsigned i = 0; i < sizeof(h.nonce); i++)
		h.nonce[i] = (uint8_t)i;
	for (unsigned i = 0; i < sizeof(h.workspace); i++)
		h.workspace[i] = (uint8_t)(0xf0 + i);
	h.app = lp_bytes_of("hello");
	return h;
}

static void sample_nonce(uint8_t nonce[LP_WIRE_NONCE_BYTES])
{
	for (unsigned i = 0; i < LP_WIRE_NONCE_BYTES; i++)
		nonce[i] = (uint8_t)(0x80 + i);
}

static void auth_mac__is_hmac_of_the_documented_text(void **state)
{
	static const struct {
		enum lp_auth_side side;
		const char *label;
		size_t label_len;
	} sides[] = {
		{LP_AUTH_CLIENT, "livepush.v1 client\0", 19},
		{LP_AUTH_INSTANCE, "livepush.v1 instance\0", 21},
	};
	static const uint8_t numbers[16] = {0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8};
	char long_secret[LP_SECRET_MAX_BYTES + 1] = {0};
	const struct lp_msg_hello hello = sample_hello();
	uint8_t nonce[LP_WIRE_NONCE_BYTES], expected[32], mac[LP_WIRE_MAC_BYTES];

	(void)state;
	memset(long_secret, 's', sizeof(long_secret) - 1);
	sample_nonce(nonce);
	for (size_t i = 0; i < LP_COUNT_OF(sides); i++) {
		struct lp_buf text = {0};

		raw_bytes(&text, sides[i].label, sides[i].label_len);
		raw_bytes(&text, hello.nonce, 32);
		raw_bytes(&text, nonce, 32);
		raw_bytes(&text, numbers, sizeof(numbers));
		raw_bytes(&text, hello.workspace, 16);
		raw_bytes(&text, "hello", 5);
		rfc2104(secret, strlen(secret), &text, expected);
		lp_auth_mac(secret, sides[i].side, &hello, nonce, mac);
		assert_memory_equal(mac, expected, sizeof(mac));
		rfc2104(long_secret, strlen(long_secret), &text, expected);
		lp_auth_mac(long_secret, sides[i].side, &hello, nonce, mac);
		assert_memory_equal(mac, expected, sizeof(mac));
		lp_buf_finish(&text);
	}
}

static void auth_mac__changes_with_every_input(void **state)
{
	uint8_t nonce[LP_WIRE_NONCE_BYTES], macs[64][LP_WIRE_MAC_BYTES];
	struct lp_msg_hello h;
	size_t n = 0;

	(void)state;
	sample_nonce(nonce);
	h = sample_hello();
	lp_auth_mac(secret, LP_AUTH_CLIENT, &h, nonce, macs[n++]);
	lp_auth_mac(secret, LP_AUTH_INSTANCE, &h, nonce, macs[n++]);
	lp_auth_mac("correct horse battery staplf", LP_AUTH_CLIENT, &h, nonce, macs[n++]);
	lp_auth_mac("correct horse battery staple ", LP_AUTH_CLIENT, &h, nonce, macs[n++]);
	for (size_t i = 0; i < 32; i += 31, n += 2) {
		h = sample_hello();
		h.nonce[i] ^= 1;
		lp_auth_mac(secret, LP_AUTH_CLIENT, &h, nonce, macs[n]);
		h = sample_hello();
		nonce[i] ^= 1;
		lp_auth_mac(secret, LP_AUTH_CLIENT, &h, nonce, macs[n + 1]);
		nonce[i] ^= 1;
	}
	for (unsigned bit = 0; bit < 64; bit += 21, n += 2) {
		h = sample_hello();
		h.version ^= (uint64_t)1 << bit;
		lp_auth_mac(secret, LP_AUTH_CLIENT, &h, nonce, macs[n]);
		h = sample_hello();
		h.role ^= (uint64_t)1 << bit;
		lp_auth_mac(secret, LP_AUTH_CLIENT, &h, nonce, macs[n + 1]);
	}
	for (size_t i = 0; i < 16; i += 15) {
		h = sample_hello();
		h.workspace[i] ^= 1;
		lp_auth_mac(secret, LP_AUTH_CLIENT, &h, nonce, macs[n++]);
	}
	h = sample_hello();
	h.app = lp_bytes_of("hellp");
	lp_auth_mac(secret, LP_AUTH_CLIENT, &h, nonce, macs[n++]);
	h.app = lp_bytes_of("hello2");
	lp_auth_mac(secret, LP_AUTH_CLIENT, &h, nonce, macs[n++]);
	h.app = (struct lp_bytes){NULL, 0};
	lp_auth_mac(secret, LP_AUTH_CLIENT, &h, nonce, macs[n++]);
	assert_true(n <= LP_COUNT_OF(macs));
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			if (lp_auth_equal(macs[i], macs[k], LP_WIRE_MAC_BYTES))
				fail_msg("inputs %zu and %zu give the same", k, i);
}

/* Nonces swapped and sides swapped: a peer that sends back what it got proves nothing. */
static void auth_mac__cannot_be_reflected(void **state)
{
	struct lp_msg_hello h = sample_hello(), swapped = sample_hello();
	uint8_t nonce[LP_WIRE_NONCE_BYTES], a[LP_WIRE_MAC_BYTES], b[LP_WIRE_MAC_BYTES];

	(void)state;
	sample_nonce(nonce);
	memcpy(swapped.nonce, nonce, sizeof(nonce));
	lp_auth_mac(secret, LP_AUTH_CLIENT, &h, nonce, a);
	lp_auth_mac(secret, LP_AUTH_INSTANCE, &swapped, h.nonce, b);
	assert_false(lp_auth_equal(a, b, sizeof(a)));
	lp_auth_mac(secret, LP_AUTH_CLIENT, &swapped, h.nonce, b);
	assert_false(lp_auth_equal(a, b, sizeof(a)));
	memcpy(nonce, h.nonce, sizeof(nonce));
	lp_auth_mac(secret, LP_AUTH_CLIENT, &h, nonce, a);
	lp_auth_mac(secret, LP_AUTH_INSTANCE, &h, nonce, b);
	assert_false(lp_auth_equal(a, b, sizeof(a)));
}

static void auth_equal__sees_every_bit(void **state)
{
	uint8_t a[LP_WIRE_MAC_BYTES] = {7}, b[LP_WIRE_MAC_BYTES] = {7};

	(void)state;
	assert_true(lp_auth_equal(a, b, sizeof(a)));
	for (size_t bit = 0; bit < 8 * sizeof(a); bit++) {
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(lp_auth_equal(a, b, sizeof(a)));
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_true(lp_auth_equal(a, b, sizeof(a)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc2104__matches_its_test_vector),
		cmocka_unit_test(auth_mac__is_hmac_of_the_documented_text),
		cmocka_unit_test(auth_mac__changes_with_every_input),
		cmocka_unit_test(auth_mac__cannot_be_reflected),
		cmocka_unit_test(auth_equal__sees_every_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
