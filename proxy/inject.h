/* proxy/inject.h: puts a piece of text, a script element, into HTML pages that pass through: which
 * requests and responses that concerns, and where in a page it belongs. Streams: of a page at most
 * a few bytes are held back. No I/O. Leaves alone whatever is not a whole, plain page: other
 * statuses and types, compressed bodies, ranges, and pages whose policy names scripts by nonce or
 * digest. */
#ifndef LP_PROXY_INJECT_H
#define LP_PROXY_INJECT_H

#include "proxy/flow.h"
#include "proxy/http.h"

#define LP_PX_TAG_MAX_BYTES 4096

/* The text; shared by reference, any thread. */
struct lp_px_tag;

/* A copy of text with one reference; NULL when text is NULL, empty or beyond LP_PX_TAG_MAX_BYTES,
 * or when there is no memory. */
struct lp_px_tag *lp_px_tag_create(const char *text);
struct lp_px_tag *lp_px_tag_ref(struct lp_px_tag *tag); /* NULL is allowed */
void lp_px_tag_unref(struct lp_px_tag *tag);            /* NULL is allowed */
size_t lp_px_tag_len(const struct lp_px_tag *tag);

/* How far the search in one page is. A zeroed struct does nothing. */
struct lp_px_inject {
	struct lp_px_tag *tag; /* one reference; NULL: the request is none for pages */
	bool active;           /* the page passes through here */
	bool is_in;            /* the text is in it */
	uint8_t state;
	uint8_t name_len;
	uint8_t held_len;
	char quote;
	char name[5];
	char held[8]; /* what may begin the element before which the text goes */
};

/* Whether a request asks for a page that may be changed: GET of text/html, not of a range. Its
 * answer has to come uncompressed. */
bool lp_px_inject_wants(const struct lp_px_head *request);

/* A request begins: takes a reference to the tag (NULL: none) if it wants that. */
void lp_px_inject_prepare(struct lp_px_inject *j, struct lp_px_tag *tag,
			  const struct lp_px_head *request);

/* The request has been answered with this head: whether the text goes into it. */
bool lp_px_inject_begin(struct lp_px_inject *j, const struct lp_px_head *response);

/* A field of a response that is not true of a changed page any more. */
bool lp_px_inject_spoils(const struct lp_px_field *f);

/* Forgets the tag and the search. */
void lp_px_inject_finish(struct lp_px_inject *j);

/* lp_px_flow_scan for a response whose page is searched: moves it from in to out, with the text.
 * When that is in, f goes on by itself: j is not active any more. Returns as lp_px_flow_scan. */
int lp_px_inject_scan(struct lp_px_inject *j, struct lp_px_flow *f, struct lp_px_buf *in,
		      enum lp_px_input state, struct lp_px_buf *out) LP_MUST_USE;

#endif
