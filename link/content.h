/* link/content.h: the content of one large file as DATA or PATCH messages, read as there is room to
 * send them and held against the digests of its chunks before any of it goes out. Decides nothing
 * about what happens when it does not match. */
#ifndef LP_LINK_CONTENT_H
#define LP_LINK_CONTENT_H

#include "sync/changeset.h"
#include "wire/msg.h"

/* A zeroed struct is one that is not open. Private but for `at`. */
struct lp_content {
	const struct lp_op *op; /* borrowed from its changeset */
	int fd;
	bool open;
	uint64_t at;       /* where in the file the next message begins */
	uint32_t chunk;    /* the chunk that `at` lies in, when the operation has chunks */
	uint64_t chunk_at; /* where it begins */
	const struct lp_segment *segments; /* of a recipe; NULL: the content goes out as it is */
	size_t n_segments;
	size_t segment;
	uint32_t has_chunk; /* of a recipe: the chunk that is in the piece; UINT32_MAX: none */
	struct lp_hasher *hasher; /* when there are no chunks and it began at 0 */
	uint8_t *piece;           /* LP_WIRE_PIECE_BYTES */
	struct lp_buf body;       /* new bytes of a PATCH under way */
};

/* Whether the operation's content can be sent as a recipe that is worth it. */
bool lp_content_has_recipe(struct lp_op *op);

/* Begins with the byte at `at`. fd: of the file, taken. recipe: PATCH instead of DATA; only when
 * lp_content_has_recipe. Without a chunk list, what begins in the middle is not checked here but by
 * the receiver alone. */
void lp_content_open(struct lp_content *c, struct lp_op *op, int fd, uint64_t at, bool recipe);

/* Appends the next message to out and adds the bytes of content in it to *sent. Returns 1, or 0
 * when it was the last one, or with nothing appended -ESTALE when the file is not what was
 * announced, -ENOMEM, or another -errno when it cannot be read. */
int lp_content_next(struct lp_content *c, struct lp_buf *out, uint64_t *sent) LP_MUST_USE;

/* Ends it before its time or after; what it needed to read is kept for the next one. */
void lp_content_close(struct lp_content *c);

/* Releases everything. */
void lp_content_finish(struct lp_content *c);

#endif
