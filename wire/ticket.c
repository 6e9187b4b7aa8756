/* wire/ticket.c: tickets, with OpenSSL's HMAC. */
#include "wire/ticket.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_hex.h"
#include "wire/auth.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#define MAC_BYTES ((size_t)32)

static const char key_label[] = "livepush.v1 ticket";

static const char *const uses[] = {
	[LP_TICKET_LINK] = "link",
	[LP_TICKET_COOKIE] = "cookie",
};

static const char *const scopes[LP_TICKET_SCOPE_COUNT_] = {
	[LP_TICKET_ADMIN] = "admin",
	[LP_TICKET_RELOAD] = "reload",
};

static void hmac(const void *key, size_t key_len, const void *text, size_t len,
		 uint8_t out[MAC_BYTES])
{
	unsigned out_len = (unsigned)MAC_BYTES;

	if (!HMAC(EVP_sha256(), key, (int)key_len, text, len, out, &out_len) ||
	    out_len != MAC_BYTES)
		abort(); /* OpenSSL cannot even do SHA-256 */
}

/* What is signed: "EXPIRY.SCOPE". */
static void sign(const char *claim, const char *secret, enum lp_ticket_use use,
		 char hex[2 * MAC_BYTES + 1])
{
	char text[LP_TICKET_MAX_BYTES + 8];
	uint8_t key[MAC_BYTES], mac[MAC_BYTES];
	size_t use_len = strlen(uses[use]) + 1, claim_len = strlen(claim);

	memcpy(text, uses[use], use_len);
	memcpy(text + use_len, claim, claim_len + 1);
	hmac(secret, strlen(secret), key_label, sizeof(key_label) - 1, key);
	hmac(key, sizeof(key), text, use_len + claim_len, mac);
	lp_hex(hex, mac, sizeof(mac));
	OPENSSL_cleanse(key, sizeof(key));
}

void lp_ticket_make(char out[LP_TICKET_MAX_BYTES], const char *secret, enum lp_ticket_use use,
		    enum lp_ticket_scope scope, uint64_t expiry_s)
{
	char claim[48], hex[2 * MAC_BYTES + 1];

	(void)snprintf(claim, sizeof(claim), "%" PRIu64 ".%s", expiry_s, scopes[scope]);
	sign(claim, secret, use, hex);
	(void)snprintf(out, LP_TICKET_MAX_BYTES, "%s.%s", claim, hex);
}

int lp_ticket_check(const char *ticket, const char *secret, enum lp_ticket_use use, uint64_t now_s,
		    enum lp_ticket_scope *scope)
{
	const char *dot = strchr(ticket, '.'), *second = dot ? strchr(dot + 1, '.') : NULL;
	char claim[48], hex[2 * MAC_BYTES + 1];
	size_t claim_len = second ? (size_t)(second - ticket) : 0;
	uint64_t expiry_s;
	char *end;

	if (claim_len == 0 || claim_len >= sizeof(claim) || strlen(second + 1) != 2 * MAC_BYTES)
		return -EACCES;
	memcpy(claim, ticket, claim_len);
	claim[claim_len] = '\0';
	sign(claim, secret, use, hex);
	if (!lp_auth_equal((const uint8_t *)hex, (const uint8_t *)second + 1, 2 * MAC_BYTES))
		return -EACCES;
	/* Signed by us, so it is as lp_ticket_make writes it. */
	expiry_s = strtoull(claim, &end, 10);
	for (int i = LP_TICKET_ADMIN; i < LP_TICKET_SCOPE_COUNT_; i++) {
		if (*end != '.' || strcmp(end + 1, scopes[i]) != 0)
			continue;
		*scope = (enum lp_ticket_scope)i;
		return now_s < expiry_s ? 0 : -ETIME;
	}
	return -EACCES;
}

bool lp_ticket_same(const char *given, const char *secret)
{
	uint8_t key[MAC_BYTES], a[MAC_BYTES], b[MAC_BYTES];

	/* Equally long whatever was given. */
	lp_random(key, sizeof(key));
	hmac(key, sizeof(key), given, strlen(given), a);
	hmac(key, sizeof(key), secret, strlen(secret), b);
	return lp_auth_equal(a, b, sizeof(a));
}
