/* common/loop/ws_pin.c: whether the peer of a TLS connection has one of the public keys that it was
 * said to have. */
#include "common/base/lp_util.h"
#include "common/loop/ws_internal.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <string.h>

#define PIN_PREFIX "sha256//"

/* The pin of the peer's key: SHA-256 of its SubjectPublicKeyInfo, in base64 (RFC 7469, 2.4). */
static bool pin_of(struct lws *wsi, char out[64])
{
	X509 *certificate = SSL_get1_peer_certificate(lws_get_ssl(wsi));
	uint8_t digest[32], *der = NULL;
	unsigned digest_len = sizeof(digest);
	int len;
	bool ok = false;

	if (!certificate)
		return false;
	len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
	if (len > 0 && EVP_Digest(der, (size_t)len, digest, &digest_len, EVP_sha256(), NULL) == 1) {
		memcpy(out, PIN_PREFIX, sizeof(PIN_PREFIX));
		(void)EVP_EncodeBlock((uint8_t *)out + sizeof(PIN_PREFIX) - 1, digest,
				      (int)digest_len);
		ok = true;
	}
	OPENSSL_free(der);
	X509_free(certificate);
	return ok;
}

bool lp_ws_is_pinned(struct lws *wsi, const char *pins)
{
	char pin[64];
	size_t len;

	if (!lws_get_ssl(wsi) || !pin_of(wsi, pin))
		return false;
	for (; *pins; pins += len + (pins[len] == ';')) {
		len = strcspn(pins, ";");
		if (len == strlen(pin) && memcmp(pins, pin, len) == 0)
			return true;
	}
	return false;
}
