/* controller/history.h: the last output of the app, kept for whoever asks later. Bounded memory;
 * knows no sessions. */
#ifndef LP_CONTROLLER_HISTORY_H
#define LP_CONTROLLER_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#define LP_HISTORY_MAX_BYTES ((size_t)256 * 1024)

struct lp_history; /* opaque */

/* A piece of output, cut anywhere. stream: as in LOG (wire/msg_types.h). at_ms: when it was read,
 * since 1970. data: borrowed. */
struct lp_output {
	uint64_t generation;
	uint64_t stream;
	uint64_t at_ms;
	const char *data;
	size_t len;
};

typedef void lp_output_fn(void *ctx, const struct lp_output *piece);

struct lp_history *lp_history_create(void);
void lp_history_destroy(struct lp_history *h); /* NULL is allowed */

/* Keeps a copy of a piece of output; the oldest pieces make room. */
void lp_history_add(struct lp_history *h, const struct lp_output *piece);

/* Calls each with the pieces that hold the last `lines` lines, oldest first; the first is cut to
 * begin with a line. Borrowed until it returns. */
void lp_history_last(const struct lp_history *h, uint64_t lines, lp_output_fn *each, void *ctx);

#endif
