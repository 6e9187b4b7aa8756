/* wire/auth.c: HMAC over the opening of a connection, with OpenSSL. */
#include "wire/auth.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

static const char *const labels[] = {
	[LP_AUTH_CLIENT] = "livepush.v1 client",
	[LP_AUTH_INSTANCE] = "livepush.v1 instance",
};

static void put_be64(uint8_t *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

void lp_auth_mac(const char *secret, enum lp_auth_side side, const struct lp_msg_hello *hello,
		 const uint8_t instance_nonce[LP_WIRE_NONCE_BYTES], uint8_t out[LP_WIRE_MAC_BYTES])
{
	uint8_t text[32 + 2 * LP_WIRE_NONCE_BYTES + 16 + LP_WIRE_ID_BYTES + LP_WIRE_TEXT_MAX_BYTES];
	size_t label_len = strlen(labels[side]) + 1, len = 0;
	size_t app_len =
		hello->app.len < LP_WIRE_TEXT_MAX_BYTES ? hello->app.len : LP_WIRE_TEXT_MAX_BYTES;
	unsigned out_len = LP_WIRE_MAC_BYTES;

	memcpy(text, labels[side], label_len);
	len += label_len;
	memcpy(text + len, hello->nonce, LP_WIRE_NONCE_BYTES);
	len += LP_WIRE_NONCE_BYTES;
	memcpy(text + len, instance_nonce, LP_WIRE_NONCE_BYTES);
	len += LP_WIRE_NONCE_BYTES;
	put_be64(text + len, hello->version);
	put_be64(text + len + 8, hello->role);
	len += 16;
	memcpy(text + len, hello->workspace, LP_WIRE_ID_BYTES);
	len += LP_WIRE_ID_BYTES;
	if (app_len > 0)
		memcpy(text + len, hello->app.p, app_len);
	len += app_len;
	if (!HMAC(EVP_sha256(), secret, (int)strlen(secret), text, len, out, &out_len) ||
	    out_len != LP_WIRE_MAC_BYTES)
		abort(); /* OpenSSL cannot even do SHA-256 */
	OPENSSL_cleanse(text, sizeof(text));
}

bool lp_auth_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}
