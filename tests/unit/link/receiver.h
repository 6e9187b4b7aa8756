/* receiver.h: an instance as the protocol describes it, in memory: takes the messages of changesets
 * and says what the tree holds then. Strict: whatever does not fit fails the test. */
#ifndef LP_TESTS_RECEIVER_H
#define LP_TESTS_RECEIVER_H

#include "wire/msg.h"

/* What the messages since the last receiver_reset were. */
struct received {
	unsigned changes, datas, patches, skips, ops, deletes, moves;
	size_t largest, content_bytes;
	uint64_t bytes; /* encoded */
	bool has_root;
	bool is_last;
};

extern struct received received;

/* One encoded message of revision 7. Its parts are checked against each other, contents against
 * their digests when they are whole. */
void receiver_take(const void *data, size_t len);

/* The content of a file or the target of a link, NULL when there is none. Borrowed until the next
 * message. */
const struct lp_buf *receiver_has(const char *path);
size_t receiver_count(void);

/* The content of which the first bytes came before: of the file that is announced with that
 * digest. */
void receiver_set_partial(const struct lp_digest *digest, const void *data, size_t len);

/* Forgets what was received, and with `all` the tree as well. */
void receiver_reset(bool all);

#endif
