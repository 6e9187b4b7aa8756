/* feed_rig.h: a workspace of files and a changeset about them, for what turns changesets into
 * messages. One of each at a time. */
#ifndef LP_TESTS_FEED_RIG_H
#define LP_TESTS_FEED_RIG_H

#include "link/feed.h"
#include "tests/unit/link/receiver.h"

extern char feed_files[64];          /* the workspace */
extern struct lp_changeset *feed_cs; /* of revision 7 */
extern struct lp_buf feed_stale;     /* paths that were reported, one a line, with the
				      * name of an error as in `f: EIO` */
extern int feed_open_error;          /* what opening fails with; 0: it does not */
extern const char *feed_unreadable;  /* reading this file fails with EBADF; NULL: none */
extern const struct lp_source feed_source;

void feed_set_up(void);
void feed_tear_down(void);

/* An empty changeset takes the place of the present one. */
void feed_start_over(void);

/* The chunks of a content: a reference; NULL when it is small. */
struct lp_chunks *chunks_of(const void *content, size_t len);
struct lp_digest digest_of(const void *content, size_t len);

/* Writes a file of the workspace; announces it, too, as it is then. with_blob: its content travels
 * in the changeset; with_chunks: its chunks do. The operation is borrowed until the next. */
void rewrite(const char *path, const void *content, size_t len);
struct lp_op *announce(const char *path, const void *content, size_t len, bool with_blob);
struct lp_op *announce_chunks(const char *path, const void *content, size_t len);

/* The same, with a base that the receiver gets to hold. written: may be NULL. */
struct lp_op *announce_base(const char *path, const void *base, size_t base_len,
			    const void *content, size_t len, const struct lp_ranges *written);

/* Feeds the changeset to the receiver (receiver.h); after message number `at`, calls meanwhile. */
void feed_to_receiver(const struct lp_feed_have *have, unsigned at, void (*meanwhile)(void));

bool has_content(const char *path, const void *content, size_t len);
bool has_text(const char *path, const char *text);

#endif
