/* proxy/flow.h: a body on its way from one connection to the other: how many of the bytes that were
 * read belong to it and in which form they go out. Pure. */
#ifndef LP_PROXY_FLOW_H
#define LP_PROXY_FLOW_H

#include "proxy/buf.h"
#include "proxy/chunk.h"
#include "proxy/http.h"

/* What happens to the bytes. */
enum lp_px_form {
	LP_PX_RAW,     /* sent as they came, straight from the input buffer; only of the trailers
			  some stay behind */
	LP_PX_DECHUNK, /* content of the chunks only, for an HTTP/1.0 client */
	LP_PX_ENCHUNK, /* put into chunks, for an upstream that ends a body by closing */
};

/* cleared: bytes at the front of the input that were checked and may be sent (LP_PX_RAW). */
struct lp_px_flow {
	enum lp_px_body kind;
	enum lp_px_form form;
	bool done;     /* the last byte was seen */
	uint64_t left; /* of LP_PX_BODY_LENGTH */
	struct lp_px_chunk chunk;
	size_t cleared;
};

/* How the input ended, if it did. */
enum lp_px_input {
	LP_PX_IN_OPEN,
	LP_PX_IN_EOF,
	LP_PX_IN_RESET,
};

void lp_px_flow_init(struct lp_px_flow *f, enum lp_px_body kind, enum lp_px_form form,
		     uint64_t length);

/* Looks at what is new in `in`. LP_PX_RAW counts it as cleared, the other forms move it to `out` as
 * long as less than LP_PX_BULK_BYTES wait there. A line of the trailers is looked at when it is
 * whole. Returns 0, -EBADMSG (broken chunks), -EPIPE (the
 * input ended too early) or -ENOMEM. */
int lp_px_flow_scan(struct lp_px_flow *f, struct lp_px_buf *in, enum lp_px_input state,
		    struct lp_px_buf *out) LP_MUST_USE;

#endif
