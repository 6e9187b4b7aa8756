/* controller/rows.h: the records of a tree's own files (the log of what is owned, the journal):
 * rows in batches. A batch counts wholly or not at all: its digest says whether it is complete, so
 * that one that was cut off by a crash is as if it had never been begun. Bytes of this machine, in
 * its own order; pure memory. */
#ifndef LP_CONTROLLER_ROWS_H
#define LP_CONTROLLER_ROWS_H

#include "common/base/lp_buf.h"
#include "sync/index.h"

enum lp_row_kind {
	LP_ROW_ENTRY = 1, /* the path is this entry */
	LP_ROW_ABSENT,    /* nothing of the workspace is at the path, nor below */
	LP_ROW_MOVED,     /* what was at `from` is at the path now */
	LP_ROW_OP,        /* an operation of a changeset */
	LP_ROW_COUNT_,
};

/* sig: of an entry, its signature; 0: unknown. Of an operation: the one in whose directory it is,
 * and op, flags, was_mode (what was there before), ino (what is put or moved). path and from are
 * terminated; from may be "". */
struct lp_row {
	enum lp_row_kind kind;
	struct lp_entry e;
	uint64_t sig;
	uint64_t ino;
	uint32_t op;
	uint32_t flags;
	uint32_t was_mode;
	const char *path;
	const char *from;
};

/* What is said once per batch. boot: of the system that ran then. */
struct lp_batch {
	uint64_t id;
	uint64_t revision;
	uint64_t boot;
	uint64_t bytes;
	uint64_t n_rows;
};

/* Begins a batch at the end of out; returns where, for lp_rows_end, or -errno. */
ssize_t lp_rows_begin(struct lp_buf *out) LP_MUST_USE;
int lp_rows_add(struct lp_buf *out, const struct lp_row *row) LP_MUST_USE;

/* Completes it; n_rows is counted by the caller. */
void lp_rows_end(struct lp_buf *out, size_t begin, const struct lp_batch *batch);

/* A walk over data[0..len). */
struct lp_rows {
	const uint8_t *p;
	size_t len;
	uint64_t left; /* rows of the batch */
	size_t batch_left;
};

/* The next batch; false at the end and when what follows is not a whole batch. */
bool lp_rows_batch(struct lp_rows *rows, struct lp_batch *out);

/* The next row of the batch; false at its end and when a row makes no sense. Texts are borrowed
 * from the data; paths are clean. */
bool lp_rows_next(struct lp_rows *rows, struct lp_row *out);

#endif
