/* sync/digest.h: the 128-bit XXH3 digests that name contents. They find differences; they do not
 * defend against forgery (who may write at all is decided by wire/auth.h). */
#ifndef LP_SYNC_DIGEST_H
#define LP_SYNC_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LP_DIGEST_HEX_BYTES 33 /* 32 digits and NUL */

/* Contents up to this size travel with their operation and are named by the digest of their bytes.
 * Larger ones are read when they are sent, and named by the digest of their chunks
 * (sync/chunk.h). */
#define LP_INLINE_MAX_BYTES ((size_t)128 * 1024)

/* Canonical (big-endian) form of XXH128_hash_t, so that digests compare across machines. */
struct lp_digest {
	uint8_t b[16];
};

/* Digest of len bytes (XXH3_128bits, seed 0). */
struct lp_digest lp_digest_of(const void *data, size_t len);

bool lp_digest_equal(const struct lp_digest *a, const struct lp_digest *b);

/* Whether it is all zeros: "none". */
bool lp_digest_is_none(const struct lp_digest *d);

/* Writes 32 lower-case digits and NUL. */
void lp_digest_hex(const struct lp_digest *d, char out[LP_DIGEST_HEX_BYTES]);

/* The digest that names a content that comes in pieces of any sizes: lp_digest_of all of it up to
 * LP_INLINE_MAX_BYTES, lp_chunks_digest of its chunks beyond. */
struct lp_hasher; /* opaque, heap */
struct lp_hasher *lp_hasher_create(void);

/* One whose chunks have blocks (sync/chunk.h). */
struct lp_hasher *lp_hasher_create_fine(void);
void lp_hasher_reset(struct lp_hasher *h);

/* Takes the next len bytes. A large first piece is read where it is; what is small is kept until
 * the content turns out to be large. */
void lp_hasher_add(struct lp_hasher *h, const void *data, size_t len);

/* The digest of all that was added; more may be added after. */
struct lp_digest lp_hasher_get(const struct lp_hasher *h);

/* The chunks of all that was added: a new reference. NULL for a content up to
 * LP_INLINE_MAX_BYTES. */
struct lp_chunks;
struct lp_chunks *lp_hasher_chunks(const struct lp_hasher *h);
void lp_hasher_destroy(struct lp_hasher *h);

#endif
