/* wire/auth.h: the challenge and response over a shared secret. The secret itself is never sent. */
#ifndef LP_WIRE_AUTH_H
#define LP_WIRE_AUTH_H

#include "wire/msg.h"

enum lp_auth_side {
	LP_AUTH_CLIENT,
	LP_AUTH_INSTANCE,
};

/* HMAC-SHA-256 (RFC 2104) with the secret over: "livepush.v1 client" or "livepush.v1 instance",
 * NUL, both nonces (client's first), version and role as 8 bytes big-endian each, the workspace id,
 * the app's name. Different texts per side, so that a proof cannot be reflected. */
void lp_auth_mac(const char *secret, enum lp_auth_side side, const struct lp_msg_hello *hello,
		 const uint8_t instance_nonce[LP_WIRE_NONCE_BYTES], uint8_t out[LP_WIRE_MAC_BYTES]);

/* Compares in constant time. */
bool lp_auth_equal(const uint8_t *a, const uint8_t *b, size_t len);

#endif
